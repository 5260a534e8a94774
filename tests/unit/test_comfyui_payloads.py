"""What the ComfyUI worker takes: fields checked, settings read, storage and webhooks only where they are allowed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

import pytest

from pyworker.errors import JsonDataException
from pyworker.testing import FakeServer, answer
from workers.comfyui import data_types, delivery
from workers.comfyui.data_types import CustomWorkflowData, PromptData, WrapperData, WrapperStreamData
from workers.comfyui.settings import BadSettings, Settings, read_settings
from workers.comfyui.storage import Bucket, UploadFailed, upload
from workers.comfyui.webhooks import Webhook, Webhooks, signature

WORKFLOW = {"1": {"class_type": "SaveImage", "inputs": {"seed": "__RANDOM_INT__"}}}
STORAGE = {"bucket_name": "images", "access_key_id": "id", "secret_access_key": "secret"}
SECRET = "hidden"  # noqa: S105
ELSEWHERE = {**STORAGE, "endpoint_url": "https://storage.example.com"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the worker's environment holds; read anew for each test."""
    environ: dict[str, str] = {}

    def settings() -> Settings:
        return read_settings(environ)

    for module in (data_types, delivery):
        monkeypatch.setattr(module, "settings", settings)
    return environ


def problems(payload: type[Any], fields: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(JsonDataException) as caught:
        payload.from_json_msg(fields)
    return caught.value.message


# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({}, "prompt", "missing parameter"),
        ({"prompt": 5}, "prompt", "expected string"),
        ({"prompt": "a", "width": 1000.5}, "width", "expected integer"),
        ({"prompt": "a", "width": 1001}, "width", "multiple of 8 from 64 to 4096"),
        ({"prompt": "a", "height": 8}, "height", "multiple of 8"),
        ({"prompt": "a", "steps": 0}, "steps", "from 1 to 200"),
        ({"prompt": "a", "seed": -1}, "seed", "from 0"),
        ({"prompt": "a", "model": "dalle"}, "model", "flux, sd3, sd15"),
        ({"prompt": "a", "output": "paper"}, "output", "base64, file, s3"),
        ({"prompt": "a", "output": "file", "stream": True}, "output", "stream"),
    ],
)
def test_what_is_wrong_with_a_prompt_is_named(fields: dict[str, Any], field: str, reason: str) -> None:
    assert reason in problems(PromptData, fields)[field]


def test_all_that_is_wrong_is_told_at_once() -> None:
    asked = {"prompt": "a", "width": 1, "steps": 0, "output": "s3", "webhook": {"url": "ftp://x"}}
    assert problems(PromptData, asked).keys() == {"width", "steps", "s3", "webhook"}


def test_a_workflow_of_the_clients_own_is_checked_and_its_random_numbers_differ() -> None:
    assert "Export (API)" in problems(CustomWorkflowData, {"workflow": {"nodes": [], "links": []}})["workflow"]
    data = CustomWorkflowData.from_json_msg({"workflow": WORKFLOW})
    seeds = {data.workflow_to_send()["1"]["inputs"]["seed"] for _ in range(5)}
    assert len(seeds) > 1
    assert all(isinstance(seed, int) for seed in seeds)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "workflow_json"),
        ({"workflow_json": WORKFLOW, "modifier": "Text2Image"}, "workflow_json"),
        ({"workflow_json": {}}, "workflow_json"),
        ({"modifier": "Nope"}, "modifier"),
        ({"modifier": "flux", "modifications": {"width": 1}}, "modifications"),
        ({"modifier": "flux", "modifications": 5}, "modifications"),
        ({"modifier": "flux", "s3": {"bucket_name": "b"}}, "s3"),
    ],
)
def test_the_wrappers_input_is_checked_field_by_field(given: dict[str, Any], field: str) -> None:
    assert problems(WrapperData, {"input": given})["input"].keys() == {field}


def test_the_wrappers_modifier_fills_the_default_workflow_in() -> None:
    asked = {"prompt": "a cat", "width": 640, "height": 512, "steps": 4, "seed": 3, "ignored": 1}
    data = WrapperData.from_json_msg({"input": {"modifier": "sd15", "modifications": asked, "request_id": "mine"}})
    workflow = data.workflow_to_send()
    assert (workflow["text"]["inputs"]["text"], workflow["sampler"]["inputs"]["seed"]) == ("a cat", 3)
    assert (workflow["latent"]["inputs"]["width"], data.job().request_id) == (640, "mine")
    assert WrapperStreamData.from_json_msg({"input": {"workflow_json": WORKFLOW}}).delivery().is_stream


@pytest.mark.parametrize("payload", [PromptData, CustomWorkflowData, WrapperData])
def test_test_payloads_pass_their_own_checks_and_differ(payload: type[Any]) -> None:
    first, second = payload.for_test(), payload.for_test()
    assert first != second
    again = payload.from_json_msg(dataclasses.asdict(first))
    assert again.count_workload() == pytest.approx(4600)
    assert first.workflow_to_send() != second.workflow_to_send()


def test_a_seed_that_is_not_given_is_another_each_time() -> None:
    data = PromptData.from_json_msg({"prompt": "a cat"})
    assert len({data.workflow_to_send()["sampler"]["inputs"]["seed"] for _ in range(5)}) > 1


# --- settings -------------------------------------------------------------------------------------


def test_the_default_model_and_its_file_are_settings(environment: dict[str, str]) -> None:
    environment |= {"COMFYUI_MODEL": "sd15", "COMFYUI_MODEL_FILE": "mine.safetensors"}
    data = PromptData.from_json_msg({"prompt": "a cat"})
    assert data.workflow_to_send()["checkpoint"]["inputs"]["ckpt_name"] == "mine.safetensors"
    assert data.count_workload() == pytest.approx(600 * 260 / 785)  # 512 by 512, as the model was made for
    other = PromptData.from_json_msg({"prompt": "a cat", "model": "sd3"})
    assert other.workflow_to_send()["checkpoint"]["inputs"]["ckpt_name"].startswith("sd3")


@pytest.mark.parametrize(
    ("environ", "words"),
    [({"COMFYUI_MODEL": "x"}, "COMFYUI_MODEL is 'x'"), ({"S3_BUCKET_NAME": "b"}, "S3_ACCESS_KEY_ID, S3_SECRET")],
)
def test_settings_that_cannot_be_used_are_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        read_settings(environ)


def test_secrets_are_not_shown(environment: dict[str, str]) -> None:
    environment |= {f"S3_{name.upper()}": f"{SECRET} {value}" for name, value in STORAGE.items()}
    environment["WEBHOOK_SECRET"] = SECRET
    bucket = Bucket.from_json({**STORAGE, "access_key_id": SECRET, "secret_access_key": SECRET}, None)
    assert SECRET not in repr([read_settings(environment), bucket, Webhook("u", secret=SECRET)])


# --- where a request may have things sent to ------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://storage.example.com", "COMFYUI_ALLOWED_HOSTS"),
        ("http://127.0.0.1:9", "COMFYUI_ALLOWED_HOSTS"),
        ("file:///etc/passwd", "expected an address"),
        ("https://[", "expected an address"),
    ],
)
def test_a_request_cannot_make_the_worker_call_any_address(url: str, words: str) -> None:
    asked = {"prompt": "a", "output": "s3", "s3": {**STORAGE, "endpoint_url": url}, "webhook": {"url": url}}
    wrong = problems(PromptData, asked)
    assert words in wrong["s3"]["endpoint_url"]
    assert words in wrong["webhook"]["url"]


def test_hosts_that_are_allowed_may_be_named(environment: dict[str, str]) -> None:
    environment["COMFYUI_ALLOWED_HOSTS"] = "Storage.example.com, hooks.example.com"
    asked = {"prompt": "a", "output": "s3", "s3": ELSEWHERE, "webhook": {"url": "https://hooks.example.com/done"}}
    data = PromptData.from_json_msg(asked)
    assert data.delivery().bucket == Bucket.from_json(ELSEWHERE, None)


def test_amazon_needs_no_permission_but_a_region_that_is_one() -> None:
    asked = {"prompt": "a", "output": "s3"}
    assert PromptData.from_json_msg({**asked, "s3": {**STORAGE, "region": "eu-west-1"}}).delivery().bucket
    wrong = problems(PromptData, {**asked, "s3": {**STORAGE, "region": "x.evil.example/"}})
    assert "us-east-1" in wrong["s3"]["region"]


def test_storage_that_is_asked_for_and_not_there_is_told_before_the_work() -> None:
    assert "say where" in problems(PromptData, {"prompt": "a", "output": "s3"})["s3"]["bucket_name"]


async def test_an_upload_that_fails_is_told_in_the_storages_words() -> None:
    async with FakeServer(default=answer("<Error><Code>AccessDenied</Code></Error>", status=403)) as storage:
        bucket = Bucket.from_json({**STORAGE, "endpoint_url": storage.url}, None)
        with pytest.raises(UploadFailed, match="AccessDenied"):
            await upload(bucket, "a.png", b"png", "image/png")


# --- webhooks -------------------------------------------------------------------------------------


async def test_a_webhook_is_told_once_and_signed(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeServer(default=answer(status=500)) as server:
        webhook = Webhook(f"{server.url}/done", extra_params={"mine": 1}, secret=SECRET)
        with caplog.at_level(logging.WARNING, "pyworker.handler"):
            Webhooks().post(webhook, {"id": "1", "status": "completed"})
            request = await server.requests.next()
            while not caplog.records:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # until the answer has been read
        assert request.json() == {"id": "1", "status": "completed", "extra": {"mine": 1}}
        assert request.headers["X-Webhook-Signature"] == signature(SECRET, request.body)
        assert [record.getMessage() for record in caplog.records] == ["a webhook answered 500"]
        assert len(server.requests) == 1
