"""What an instance finds around it, its ports, its logs and its folder."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from pyworker.engine.providers.supervision import disk_trouble
from pyworker.instance import logs, ports
from pyworker.instance.folder import Folder
from pyworker.instance.order import FAILED, Ended, Order
from pyworker.instance.surroundings import (
    Chosen,
    inherited,
    logs_by_itself,
    model_environment,
    redacted,
    secrets_in,
    worker_environment,
)

CHOSEN = Chosen("/data/7", "/usr/bin/python3", "/data/7/logs/model.log", "/data/7/state", 20_001, 20_002, 20_003)


def order(**changes: object) -> Order:
    return Order(7, "llm/default", ["worker"], ["model"], {})._replace(**changes)


# --- placeholders ---------------------------------------------------------------------------------


def test_each_placeholder_is_filled_in() -> None:
    filled = CHOSEN.fill("{python} {folder} {model_log} {model_port} {worker_port}")
    assert filled == "/usr/bin/python3 /data/7 /data/7/logs/model.log 20003 20001"


@pytest.mark.parametrize("text", ["", "{}", '{"a": {"b": 1}}', "{unknown}", "${HOME}", "{ folder }", "{folder"])
def test_other_braces_stay_as_they_are(text: str) -> None:
    assert CHOSEN.fill(text) == text


@pytest.mark.parametrize(
    ("changes", "by_itself"),
    [
        ({}, False),
        ({"model": ["serve", "--log={model_log}"]}, True),
        ({"environment": {"LOG_FILE": "{model_log}"}}, True),
        ({"model": None}, False),
    ],
)
def test_a_model_server_that_is_told_of_its_log_writes_it(changes: dict[str, object], by_itself: bool) -> None:
    assert logs_by_itself(order(**changes)) is by_itself


# --- environment ----------------------------------------------------------------------------------


def test_of_the_engines_environment_only_what_is_no_secret_is_handed_on() -> None:
    kept = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "CUDA_HOME": "/cuda", "LD_LIBRARY_PATH": "/lib"}
    lost = {"PYWORKER_API_KEY": "k", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "t", "MASTER_TOKEN": "m", "MYPATH": "x"}
    assert inherited({**kept, **lost}) == kept


def test_the_order_is_above_what_is_usual_and_below_what_must_be_so() -> None:
    said = {
        "PATH": "/opt/bin",
        "PUBLIC_IPADDR": "203.0.113.7",
        "MODEL_SERVER_URL": "http://127.0.0.1:{model_port}/v1",
        "WORKER_PORT": "3000",
        "PYWORKER_STATE_DIR": "/elsewhere",
    }
    found = worker_environment(order(environment=said), CHOSEN, {"PATH": "/bin", "HOME": "/root"})
    assert found["PATH"] == "/opt/bin"
    assert found["HOME"] == "/root"
    assert found["PUBLIC_IPADDR"] == "203.0.113.7"
    assert found["MODEL_SERVER_URL"] == "http://127.0.0.1:20003/v1"
    assert found["WORKER_PORT"] == found["VAST_TCP_PORT_20001"] == "20001"
    assert found["PYWORKER_STATE_DIR"] == "/data/7/state"


def test_a_worker_without_a_model_server_of_ours_is_told_of_none() -> None:
    found = worker_environment(order(model=None), CHOSEN, {})
    assert not {"MODEL_LOG", "MODEL_SERVER_URL"} & found.keys()


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("203.0.113.7", None)])
def test_a_worker_that_is_reached_over_loopback_listens_there_only(address: str, host: str | None) -> None:
    assert worker_environment(order(public_address=address), CHOSEN, {}).get("WORKER_HOST") == host


def test_gpus_are_named_in_the_order_in_which_they_were_counted() -> None:
    found = worker_environment(order(gpus=["1", "3"]), CHOSEN, {"CUDA_VISIBLE_DEVICES": "0"})
    assert found["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert worker_environment(order(), CHOSEN, {"CUDA_VISIBLE_DEVICES": "0"})["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_drain_of_no_time_is_still_a_number_that_a_worker_takes() -> None:
    assert worker_environment(order(drain_s=0.0), CHOSEN, {})["PYWORKER_DRAIN_S"] == "0.001"


def test_the_model_server_gets_none_of_the_workers_secrets() -> None:
    said = {"MASTER_TOKEN": "m", "PYWORKER_TICKET_KEY": "k", "PYWORKER_API_KEY": "a", "HF_TOKEN": "h"}
    assert model_environment(order(environment=said), CHOSEN, {}).keys() & said.keys() == {"HF_TOKEN"}
    assert "PYWORKER_API_KEY" not in worker_environment(order(environment=said), CHOSEN, {})


def test_secrets_are_taken_out_of_a_text_the_longest_first() -> None:
    secrets = secrets_in({"MASTER_TOKEN": "abcdef", "API_KEY": "abcdefgh", "KEY_ID": "k1", "REPORT_ADDR": "http://e"})
    assert secrets == ["abcdefgh", "abcdef"]
    assert redacted("abcdefgh abcdef k1 http://e", secrets) == "*** *** k1 http://e"


def test_an_order_does_not_show_its_secrets() -> None:
    assert "abcdef" not in repr(order(environment={"MASTER_TOKEN": "abcdef"}))


# --- ports ----------------------------------------------------------------------------------------


def test_a_port_is_taken_again_when_it_is_free_and_another_one_when_not() -> None:
    first = ports.choose(["a", "b"], {})
    assert len(set(first.values())) == 2
    assert ports.choose(["a"], first) != {"a": first["a"]}  # this process has claimed it
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.choose(["a"], {"a": port})["a"] != port


# --- logs -----------------------------------------------------------------------------------------


def test_a_log_is_begun_anew_and_one_older_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    for run in ("first", "second", "third"):
        logs.rotate(log)
        log.write_text(run)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "model.log": "third",
        "model.log.1": "second",
    }
    logs.rotate(tmp_path / "not-there.log")


def test_a_log_that_is_too_long_is_copied_away_and_emptied_in_place(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 100)
        writer.flush()
        logs.bound(log, tmp_path / "not-there.log", max_bytes=100)
        assert log.stat().st_size == 100
        logs.bound(log, max_bytes=99)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert log.with_name("model.log.1").read_bytes() == b"x" * 100


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    assert logs.last_lines(log, 5) == []
    log.write_bytes(b"one\n\n\xff two\r\nthree is long\nfour")
    assert logs.last_lines(log, 3, max_chars=8) == ["\ufffd two", "three is", "four"]
    assert logs.last_lines(log, 0) == []


# --- the folder -----------------------------------------------------------------------------------


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "7")
    folder.make()
    told = order(environment={"A": "b"}, gpus=["0"], gpu_share=0.5)
    folder.write_order(told)
    assert folder.read_order() == told


@pytest.mark.parametrize("text", ["", "[]", "{", '{"id": 1}', '{"colour": "red"}'])
def test_a_damaged_order_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "instance.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        Folder(tmp_path).read_order()


def test_there_is_one_supervisor(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.supervisor_pid() is None
    (tmp_path / "supervisor.lock").write_text("1")  # of an earlier one
    assert folder.supervisor_pid() is None


def test_an_end_says_when_it_was_and_is_forgotten_when_a_new_run_begins(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.read_ended() is None
    folder.write_ended(Ended(FAILED, "it broke"))
    ended = folder.read_ended()
    assert ended is not None
    assert (ended.state, ended.reason) == (FAILED, "it broke")
    assert ended.at_s > 1.7e9
    folder.forget_ended()
    assert folder.read_ended() is None
    folder.forget_ended()


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk that holds /data is full: free some space"),
        (errno.EDQUOT, "is full"),
        (errno.EACCES, "/data cannot be written (Permission denied): put the data folder where"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_trouble_with_the_disk_says_what_to_do(number: int, words: str) -> None:
    error = OSError(number, os.strerror(number))
    assert words in disk_trouble(error, Path("/data"))
