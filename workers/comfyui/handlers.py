"""The worker's routes. All of them post a workflow to ComfyUI's ``/prompt`` and see it through to its images."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import AsyncGenerator
from typing import Any, Final, TypeVar

from aiohttp import ClientResponse, web

from lib.data_types import EndpointHandler
from workers.comfyui.abandoned import Abandoned
from workers.comfyui.answers import EventStream, files_as_they_are
from workers.comfyui.comfy import Comfy, ComfyFailed
from workers.comfyui.data_types import CustomWorkflowData, Job, PromptData, WorkflowData, WrapperData, WrapperStreamData
from workers.comfyui.delivery import Delivered, deliver
from workers.comfyui.settings import settings
from workers.comfyui.tellers import (
    COMFYUI_FAILED,
    WORKFLOW_IS_WRONG,
    Failure,
    PlainTeller,
    Teller,
    Timings,
)
from workers.comfyui.webhooks import Webhooks

__all__ = ["CustomWorkflowHandler", "PromptHandler", "Services", "WrapperHandler", "WrapperStreamHandler", "measure"]

NOTHING_MADE: Final = (
    "the workflow ended without a file: it needs a node that saves one, and when it is the same as one before, "
    "a seed that differs"
)

WorkflowData_T = TypeVar("WorkflowData_T", bound=WorkflowData)

# a request's, from when it is sent to ComfyUI till it is answered: both happen in the task of the request
_job: contextvars.ContextVar[Job] = contextvars.ContextVar("job")


@dataclasses.dataclass(frozen=True)
class Services:
    """What all handlers share."""

    comfy: Comfy
    webhooks: Webhooks
    abandoned: Abandoned


class _Failed(Exception):
    """There are no images; ``args[0]`` is the Failure."""


@dataclasses.dataclass(kw_only=True)
class WorkflowHandler(EndpointHandler[WorkflowData_T]):
    """Sends a workflow, follows it, and answers with what it made. A client that leaves has it cancelled."""

    services: Services
    teller: type[Teller] = PlainTeller

    @property
    def endpoint(self) -> str:
        """ComfyUI's own route, whatever ours is called."""
        return "/prompt"

    @property
    def healthcheck_endpoint(self) -> str:
        """Answers when ComfyUI does."""
        return "/system_stats"

    def generate_payload_json(self, payload: WorkflowData_T) -> dict[str, Any]:
        """The workflow as ``/prompt`` takes it."""
        job = payload.job()
        _job.set(job)
        if self.remote_function is None:
            self.services.abandoned.sent(job.client_id)
        return {"prompt": job.workflow, "client_id": job.client_id}

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        """The images, or what ComfyUI has against the workflow."""
        job = _job.get()
        self.services.abandoned.answered(job.client_id)
        run = _Run(self.services, job, self.teller(job.request_id, job.delivery))
        if model_response.status != 200:
            return run.refused(await _refusal(model_response))
        async with self._until_answered(job.client_id, model_response) as prompt_id:
            await self.services.comfy.sweep(settings().client_prefix, but=prompt_id)
            if job.delivery.is_stream:
                return await run.as_stream(client_request, prompt_id)
            return await run.as_answer(prompt_id)

    @contextlib.asynccontextmanager
    async def _until_answered(self, client_id: str, model_response: ClientResponse) -> AsyncGenerator[str, None]:
        """The prompt's id. Whatever ends the request early ends the prompt in ComfyUI, too."""
        prompt_id, answered = "", False
        try:
            prompt_id = str((await model_response.json())["prompt_id"])
            yield prompt_id
            answered = True
        finally:
            if prompt_id and not answered:
                await self.services.comfy.cancel(prompt_id)
            elif not answered:
                await self.services.comfy.cancel_of(client_id)


class PromptHandler(WorkflowHandler[PromptData]):
    """``/prompt``: the default workflow."""

    @classmethod
    def payload_cls(cls) -> type[PromptData]:
        """What a request to this route holds."""
        return PromptData


class CustomWorkflowHandler(WorkflowHandler[CustomWorkflowData]):
    """``/custom-workflow``: the client's own."""

    @classmethod
    def payload_cls(cls) -> type[CustomWorkflowData]:
        """What a request to this route holds."""
        return CustomWorkflowData


class WrapperHandler(WorkflowHandler[WrapperData]):
    """``/generate/sync``: as the public wrapper does."""

    @classmethod
    def payload_cls(cls) -> type[WrapperData]:
        """What a request to this route holds."""
        return WrapperData


class WrapperStreamHandler(WorkflowHandler[WrapperStreamData]):
    """``/generate/stream``: the same as events."""

    @classmethod
    def payload_cls(cls) -> type[WrapperStreamData]:
        """What a request to this route holds."""
        return WrapperStreamData


async def measure(comfy: Comfy, prompt: dict[str, Any], client_id: str) -> None:
    """One request of the benchmark, to its end: ``/prompt`` itself answers before the work has begun.

    Raises ComfyFailed.
    """
    prompt_id = await comfy.submit({"prompt": prompt, "client_id": client_id})
    await comfy.wait_for(prompt_id, client_id)
    outcome = await comfy.outcome(prompt_id)
    if outcome.error is not None or not outcome.files:
        raise ComfyFailed(f"the default workflow fails: {outcome.error or NOTHING_MADE}")


class _Run:
    """One prompt on its way through ComfyUI, and how its client hears of it."""

    def __init__(self, services: Services, job: Job, teller: Teller) -> None:
        self._comfy = services.comfy
        self._webhooks = services.webhooks
        self._job = job
        self._teller = teller
        self._timings = Timings()
        self._began_s = time.monotonic()

    def refused(self, failure: Failure) -> web.Response:
        """ComfyUI did not take the workflow."""
        return web.json_response(self._failed(failure), status=failure.status)

    async def as_answer(self, prompt_id: str) -> web.Response:
        """When it is done."""
        try:
            await self._comfy.wait_for(prompt_id, self._job.client_id)
            files = await self._files(prompt_id)
        except (_Failed, ComfyFailed) as error:
            return self.refused(_failure(error))
        answer = self._done(files)
        return await files_as_they_are(files) if self._job.delivery.output == "file" else web.json_response(answer)

    async def as_stream(self, request: web.Request, prompt_id: str) -> EventStream:
        """As it goes."""
        stream = EventStream()
        await stream.prepare(request)
        await stream.send(self._teller.progress({"status": "queued"}, self._elapsed_s()))
        try:
            async with contextlib.aclosing(self._comfy.follow(prompt_id, self._job.client_id)) as steps:
                async for progress in steps:
                    await stream.send(self._teller.progress(progress, self._elapsed_s()))
            answer = self._done(await self._files(prompt_id))
        except (_Failed, ComfyFailed) as error:
            failure = _failure(error)
            stream.failed_with = failure.status
            answer = self._failed(failure)
        await stream.send(self._teller.last(answer, self._timings))
        await stream.write_eof()
        return stream

    async def _files(self, prompt_id: str) -> list[Delivered]:
        """What the prompt made. Raises _Failed, ComfyFailed."""
        self._timings.generation_s = self._elapsed_s()
        outcome = await self._comfy.outcome(prompt_id)
        if outcome.is_interrupted:
            raise _Failed(Failure(COMFYUI_FAILED, "somebody interrupted ComfyUI"))
        if outcome.error is not None:
            raise _Failed(Failure(WORKFLOW_IS_WRONG, outcome.error))
        if not outcome.files:
            raise _Failed(Failure(WORKFLOW_IS_WRONG, NOTHING_MADE))
        files = [await deliver(self._comfy, file, self._job.delivery, self._job.request_id) for file in outcome.files]
        self._timings.delivery_s = self._elapsed_s() - self._timings.generation_s
        return files

    def _done(self, files: list[Delivered]) -> dict[str, Any]:
        return self._told(self._teller.done(files, self._timings))

    def _failed(self, failure: Failure) -> dict[str, Any]:
        return self._told(self._teller.failed(failure, self._timings))

    def _told(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, which the client's webhook is told, too."""
        if self._job.delivery.webhook is not None:
            self._webhooks.post(self._job.delivery.webhook, self._teller.for_webhook(answer))
        return answer

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s


async def _refusal(response: ClientResponse) -> Failure:
    """What ComfyUI has against a workflow. A 5xx is its own failure."""
    status = WORKFLOW_IS_WRONG if response.status < 500 else COMFYUI_FAILED
    try:
        body: dict[str, Any] = await response.json(content_type=None)
        return Failure(status, body.get("error") or f"ComfyUI answers {response.status}", body.get("node_errors") or {})
    except (ValueError, AttributeError):
        return Failure(status, f"ComfyUI answers {response.status}")


def _failure(error: Exception) -> Failure:
    return error.args[0] if isinstance(error, _Failed) else Failure(COMFYUI_FAILED, str(error))
