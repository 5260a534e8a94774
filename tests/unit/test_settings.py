"""The environment: all that is missing or wrong is named at once, and no secret with it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pyworker.errors import SettingsError
from pyworker.settings import VARIABLES, LogSettings, WorkerSettings, unknown_variables
from pyworker.tickets import TicketKey

SECRET = b"0123456789abcdef-secret"
KEY = base64.urlsafe_b64encode(SECRET).decode().rstrip("=")
RENTED = {
    "WORKER_PORT": "3000",
    "VAST_TCP_PORT_3000": "41234",
    "PUBLIC_IPADDR": "203.0.113.9",
    "CONTAINER_ID": "77",
    "REPORT_ADDR": "https://run.example.com/, https://two.example.com",
    "MASTER_TOKEN": "the-master-token",
}


def problems(env: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as wrong:
        WorkerSettings.from_env(env)
    assert all(problem in str(wrong.value) for problem in wrong.value.problems)
    return wrong.value.problems


def test_nothing_is_needed_on_a_laptop() -> None:
    settings = WorkerSettings.from_env({})
    assert (settings.url, settings.report_addrs, settings.unsecured) == ("http://127.0.0.1:3000", (), False)


def test_a_rented_machine_says_where_it_is_and_whom_it_reports_to() -> None:
    settings = WorkerSettings.from_env(RENTED | {"USE_SSL": "true"})
    assert settings.url == "https://203.0.113.9:41234"
    assert settings.report_addrs == ("https://run.example.com", "https://two.example.com")
    assert (settings.worker_id, settings.mtoken) == (77, "the-master-token")


def test_the_public_port_is_that_of_the_port_it_listens_on() -> None:
    settings = WorkerSettings.from_env({"WORKER_PORT": "3001", "VAST_TCP_PORT_3000": "1", "VAST_TCP_PORT_3001": "2"})
    assert settings.url == "http://127.0.0.1:2"


def test_all_that_is_missing_to_report_is_named_at_once_with_its_use() -> None:
    found = problems({"REPORT_ADDR": "http://engine"})
    assert {problem.split()[0] for problem in found} == {
        "PUBLIC_IPADDR",
        "CONTAINER_ID",
        "MASTER_TOKEN",
        "VAST_TCP_PORT_3000",
    }
    assert all("is missing: the " in problem for problem in found)


def test_a_worker_on_any_free_port_needs_no_public_port() -> None:
    env = {name: value for name, value in RENTED.items() if not name.startswith("VAST")}
    assert WorkerSettings.from_env(env | {"WORKER_PORT": "0"}).public_port is None


def test_all_that_is_wrong_is_named_at_once_with_its_value() -> None:
    wrong = {
        "WORKER_PORT": "70000",
        "WORKER_HTTP_PORT": "http",
        "CONTAINER_ID": "C.77",
        "REPORT_ADDR": "run.example.com",
        "USE_SSL": "yes",
        "UNSECURED": "si",
        "PYWORKER_MAX_BODY_MB": "-1",
        "PYWORKER_MAX_UNAUTHENTICATED_MB": "nan",
        "PYWORKER_MAX_SESSION_S": "inf",
        "PYWORKER_DRAIN_S": "0",
        "PYWORKER_REPORT_INTERVAL_S": "soon",
    }
    found = problems({**RENTED, **wrong})
    for name, value in wrong.items():
        assert any(problem.startswith(f"{name} is {value!r}: ") for problem in found), name
    assert len(found) == len(wrong)


def test_a_wrong_public_port_is_named_as_it_is_called() -> None:
    (problem,) = problems(RENTED | {"VAST_TCP_PORT_3000": "none"})
    assert problem.startswith("VAST_TCP_PORT_3000 is 'none'")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("WORKER_PORT", "must be a whole number"),
        ("CONTAINER_ID", "must be a whole number"),
        ("PYWORKER_DRAIN_S", "must be a number above 0"),
    ],
)
def test_what_is_no_number_is_told_in_plain_words(name: str, said: str) -> None:
    (problem,) = problems({name: "abc"})
    assert problem.startswith(f"{name} is 'abc': {said}. It is ")


def test_a_misspelt_variable_of_ours_is_told_what_was_meant() -> None:
    known = [row.name for row in VARIABLES]
    known += ["PYWORKER_API_KEY", "PYWORKER_ENGINE", "PYWORKER_SDK_PYTHON", "PYWORKER_TICKET_KEY_ID"]
    first, second = unknown_variables(dict.fromkeys([*known, "PYWORKER_DRAIN", "PYWORKER_TICKET_KEYS", "PATH"], "1"))
    assert "PYWORKER_DRAIN means nothing to a worker: did you mean PYWORKER_DRAIN_S?" in first
    assert "did you mean PYWORKER_TICKET_KEY?" in second


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_variable_is_not_given(text: str) -> None:
    assert WorkerSettings.from_env({row.name: text for row in VARIABLES}).url == "http://127.0.0.1:3000"


@pytest.mark.parametrize(
    ("text", "flag"), [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False)]
)
def test_flags(text: str, flag: bool) -> None:
    assert WorkerSettings.from_env({"UNSECURED": text}).unsecured is flag


def test_sizes_are_given_in_mib() -> None:
    assert WorkerSettings.from_env({"PYWORKER_MAX_BODY_MB": "1.5"}).max_body_bytes == 1_572_864


# --- ticket keys ----------------------------------------------------------------------------------


def test_a_ticket_key_is_base64url_with_or_without_its_padding() -> None:
    for text in (KEY, KEY + "="):
        settings = WorkerSettings.from_env({"PYWORKER_TICKET_KEY": text, "PYWORKER_TICKET_KEY_ID": "k1"})
        assert settings.ticket_keys == (TicketKey("k1", SECRET),)


def test_there_may_be_two_keys_while_they_change() -> None:
    new = base64.urlsafe_b64encode(b"n" * 32).decode()
    env = {"PYWORKER_TICKET_KEY": f"{KEY}, {new}", "PYWORKER_TICKET_KEY_ID": "k1 , k2"}
    assert WorkerSettings.from_env(env).ticket_keys == (TicketKey("k1", SECRET), TicketKey("k2", b"n" * 32))


@pytest.mark.parametrize("ids", ["", "k1,k2"])
def test_each_key_needs_its_id(ids: str) -> None:
    (problem,) = problems({"PYWORKER_TICKET_KEY": KEY, "PYWORKER_TICKET_KEY_ID": ids})
    assert "give one id for each key" in problem
    assert KEY not in problem


@pytest.mark.parametrize("text", ["c2hvcnQ", "!" + KEY, KEY + "ü"])
def test_a_key_that_is_none_is_refused_without_being_shown(text: str) -> None:
    (problem,) = problems({"PYWORKER_TICKET_KEY": text, "PYWORKER_TICKET_KEY_ID": "k1"})
    assert "id k1" in problem
    assert text not in problem


# --- secrets --------------------------------------------------------------------------------------


def test_secrets_are_in_no_repr() -> None:
    env = RENTED | {"PYWORKER_TICKET_KEY": KEY, "PYWORKER_TICKET_KEY_ID": "k1"}
    shown = repr(WorkerSettings.from_env(env))
    assert "k1" in shown
    for secret in ("the-master-token", KEY, "secret"):
        assert secret not in shown


def test_secrets_are_in_no_message() -> None:
    env = RENTED | {"PYWORKER_TICKET_KEY": KEY, "PYWORKER_TICKET_KEY_ID": "", "CONTAINER_ID": "x", "USE_SSL": "x"}
    text = str(problems(env))
    for secret in ("the-master-token", KEY):
        assert secret not in text


# --- the log and the state ------------------------------------------------------------------------


def test_the_log_never_fails_to_be_set_up() -> None:
    assert LogSettings.from_env({"LOG_LEVEL": "LOUD", "LOG_FORMAT": "xml"}) == LogSettings("INFO", as_json=False)
    assert LogSettings.from_env({"LOG_LEVEL": "debug", "LOG_FORMAT": "JSON"}) == LogSettings("DEBUG", as_json=True)


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"PYWORKER_STATE_DIR": "/var/lib/w"}, "/var/lib/w"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/pyworker"),
        ({"HOME": "/h"}, "/h/.local/state/pyworker"),
    ],
)
def test_the_state_lies_in_a_fixed_place(env: dict[str, str], folder: str) -> None:
    assert WorkerSettings.from_env(env).state_dir == Path(folder)
