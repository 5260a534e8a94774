"""Every exception says what happened, what to do, and with which status it answers."""

from __future__ import annotations

import json

import pytest

from pyworker import errors
from pyworker.errors import (
    AuthenticationFailed,
    BodyTooLarge,
    InvalidJson,
    JsonDataException,
    NotReady,
    PyWorkerError,
    QueueFull,
    SettingsError,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]
PLAIN = [cls for cls in CLASSES if cls not in {JsonDataException, SettingsError, errors.DeploymentError}]


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
def test_every_exception_has_a_docstring_of_its_own_and_an_http_error_status(cls: type[PyWorkerError]) -> None:
    assert issubclass(cls, PyWorkerError)
    assert cls.__dict__.get("__doc__")
    assert 400 <= cls.status <= 599


@pytest.mark.parametrize("cls", PLAIN, ids=name_of)
def test_the_docstring_is_the_message_and_the_answer_is_a_json_object(cls: type[PyWorkerError]) -> None:
    error = cls()
    assert " ".join(str(cls.__doc__).split()) == str(error)
    assert "\n" not in str(error)
    assert json.loads(json.dumps(error.body())) == {"error": str(error)}
    assert all(isinstance(value, str) for value in error.headers().values())


def test_a_message_of_its_own_takes_the_docstrings_place() -> None:
    assert InvalidJson("not like this").body() == {"error": "not like this"}


def test_wrong_fields_are_answered_as_they_are() -> None:
    error = JsonDataException({"prompt": "missing parameter"})
    assert error.body() == error.message == {"prompt": "missing parameter"}
    assert "prompt" in str(error)


def test_a_bad_request_never_answers_with_a_status_that_clients_retry() -> None:
    retried = {408, 429, *range(500, 600)}
    for cls in (JsonDataException, InvalidJson, errors.BadPath, errors.UnsupportedMedia, BodyTooLarge):
        assert cls.status not in retried


@pytest.mark.parametrize(
    ("wait_s", "header"), [(0.0, "1"), (-5.0, "1"), (0.2, "1"), (2.1, "3"), (1e9, "3600"), (float("inf"), "3600")]
)
def test_retry_after_is_in_whole_seconds(wait_s: float, header: str) -> None:
    assert QueueFull(retry_after_s=wait_s).headers() == {"Retry-After": header}


def test_a_worker_that_is_not_ready_says_when_to_come_back() -> None:
    assert "Retry-After" in NotReady().headers()


def test_a_large_body_may_be_asked_to_come_back() -> None:
    assert BodyTooLarge().headers() == {}
    assert BodyTooLarge(retry_after_s=2).headers() == {"Retry-After": "2"}


def test_every_problem_of_the_settings_is_named() -> None:
    assert str(SettingsError(["A is missing", "B is wrong"])).splitlines()[1:] == ["  - A is missing", "  - B is wrong"]


def test_why_a_signature_does_not_hold_is_not_told_to_the_caller() -> None:
    error = AuthenticationFailed("the MAC differs")
    assert error.detail == "the MAC differs"
    assert "MAC" not in str(error.body())
