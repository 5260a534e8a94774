"""Every exception of pyworker.

The docstring of a class is its message and says what to do about it; ``status`` is the HTTP status it
answers with. Raise them anywhere below the proxy; ``worker.inbound.app`` turns them into a JSON answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "AnsweredWithError",
    "AuthenticationFailed",
    "BadFraming",
    "BadPath",
    "BadRequest",
    "BenchmarkFailed",
    "BodyTooLarge",
    "CallFailed",
    "ConfigurationError",
    "DeploymentError",
    "EngineRefused",
    "EngineUnreachable",
    "HandlerFailed",
    "HeadTooLarge",
    "InvalidJson",
    "JsonDataException",
    "LaunchForbidden",
    "ModelFailed",
    "ModelUnreachable",
    "MtokenMissing",
    "NoAnswerInTime",
    "NoHttp",
    "NotFound",
    "NotReady",
    "Overloaded",
    "ProviderError",
    "PyWorkerError",
    "QueueFull",
    "SecretsExposed",
    "SessionGone",
    "SessionNotFound",
    "SettingsError",
    "SlowBody",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInUse",
    "StoreNotWritable",
    "StoreTooNew",
    "TicketOvertaken",
    "TooManyCalls",
    "TooManySessions",
    "UnsupportedMedia",
    "WorkerFileFailed",
    "WorkerNotReached",
    "WorkerUnreachable",
    "WrongKey",
    "WrongToken",
]


class PyWorkerError(Exception):
    """Something in pyworker failed; the message says what."""

    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None) -> None:
        self.message: Any = message or " ".join((type(self).__doc__ or "").split())
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """The JSON object that is answered."""
        return {"error": str(self.message)}

    def headers(self) -> dict[str, str]:
        """Headers that go with the answer."""
        return {}


class _TryLater(PyWorkerError):
    """Answers with ``Retry-After`` (whole seconds, at least 1), unless there is no time to come back at."""

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = None if retry_after_s is None else max(1, math.ceil(min(retry_after_s, 3600.0)))

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


# --- before anything runs -------------------------------------------------------------------------


class ConfigurationError(PyWorkerError):
    """The worker is put together wrongly; the message names the argument and what was meant."""


class SettingsError(ConfigurationError):
    """Environment variables are missing or wrong; the message lists all of them, with their use."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(["the environment is not complete:", *(f"  - {problem}" for problem in problems)]))


class DeploymentError(ConfigurationError):
    """The deployment's file is wrong; the message lists all problems, each with its line and field."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(["the deployment is not described completely:", *self.problems]))


class WorkerFileFailed(PyWorkerError):
    """The worker's own file failed before it served; the message says where and why."""


class BenchmarkFailed(PyWorkerError):
    """The benchmark gave no result; the message says why. It is tried again by itself."""


# --- the client's fault ---------------------------------------------------------------------------


class JsonDataException(PyWorkerError):
    """The request's JSON does not have the fields it needs: ``{field: reason}``."""

    status = 422

    def __init__(self, json_msg: Mapping[str, Any]) -> None:
        super().__init__()
        self.message = dict(json_msg)
        self.args = (self.message,)

    def body(self) -> dict[str, Any]:
        return self.message


class InvalidJson(PyWorkerError):
    """invalid JSON"""

    status = 422


class UnsupportedMedia(PyWorkerError):
    """This route takes a JSON envelope; send other bodies with the header X-Auth-Data to a pass-through route."""

    status = 415


class BadPath(PyWorkerError):
    """A path parameter may not hold '/', '\\', '..' or control characters."""

    status = 400


class BadFraming(PyWorkerError):
    """The request's body does not come in the pieces that HTTP wants."""

    status = 400


class NoHttp(PyWorkerError):
    """The request is not HTTP/1.1."""

    status = 400


class HeadTooLarge(PyWorkerError):
    """The request's first line is longer than 8 KiB, its headers than 64 KiB, or they are more than 128."""

    status = 431


class AuthenticationFailed(PyWorkerError):
    """The request is not signed by the engine for this worker."""

    status = 401

    def __init__(self, detail: str = "") -> None:
        super().__init__()
        self.detail = detail  # for the log; the caller is told the same whatever it was


class MtokenMissing(AuthenticationFailed):
    """From elsewhere than the worker's own machine this takes Authorization: Bearer <mtoken>, its MASTER_TOKEN."""


class TicketOvertaken(PyWorkerError):
    """The ticket has expired or was used: ask the engine's /route/ again."""

    status = 408


class SlowBody(PyWorkerError):
    """The body came too slowly; send it faster or in smaller pieces."""

    status = 408


class SessionGone(PyWorkerError):
    """session_id names no open session; create one with /session/create."""

    status = 410


class SessionNotFound(PyWorkerError):
    """There is no such session."""

    status = 400


class BodyTooLarge(_TryLater):
    """The body is larger than this worker takes."""

    status = 413

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


# --- not now --------------------------------------------------------------------------------------


class QueueFull(_TryLater):
    """The wait in this worker's queue is above the handler's limit; come back after Retry-After, or ask /route/."""

    status = 429


class TooManySessions(_TryLater):
    """This worker has as many open sessions as it takes; end one or ask /route/ for another worker."""

    status = 429


class NotReady(_TryLater):
    """The worker is not ready; GET /pyworker/ready on the worker's machine says what it waits for."""

    status = 503


class Overloaded(_TryLater):
    """The engine has too much to do: try again in a moment."""

    status = 503


class TooManyCalls(_TryLater):
    """Too many calls of this kind in a short time: come back after Retry-After, and more slowly."""

    status = 429


# --- ours or the model server's -------------------------------------------------------------------


class ModelUnreachable(PyWorkerError):
    """The model server does not accept connections; see its log."""

    status = 502


class ModelFailed(PyWorkerError):
    """The model server broke off its answer; see its log."""

    status = 502


class HandlerFailed(PyWorkerError):
    """The worker's own code failed on this request; its log has the trace."""

    status = 500


# --- the engine's answers -------------------------------------------------------------------------


class WrongKey(PyWorkerError):
    """The API key is missing or wrong: send it as Authorization: Bearer, as api_key in the body, or in the query."""

    status = 401


class WrongToken(PyWorkerError):
    """This mtoken is not known to the engine: issue one with `pyworker worker token` and set it as MASTER_TOKEN."""

    status = 401


class LaunchForbidden(PyWorkerError):
    """This engine takes no commands over the network: name a template of its deployment, or start it --allow-launch."""

    status = 403


class BadRequest(PyWorkerError):
    """The call's arguments are wrong; the message says which."""

    status = 400


class NotFound(PyWorkerError):
    """There is nothing under this address; the message says what was looked for."""

    status = 404


class ProviderError(PyWorkerError):
    """A worker could not be started or stopped; the message says why and what to do."""


class WorkerNotReached(PyWorkerError):
    """A worker on a machine of its own did not do as it was told; the message says why and what to do."""

    status = 502


# --- what the engine keeps -----------------------------------------------------------------------------


class StoreError(PyWorkerError):
    """The engine's data directory cannot be used; the message says why."""


class StoreFull(StoreError):
    """The disk that holds the engine's data is full: make room on it. Nothing of this change was stored."""

    status = 507


class StoreNotWritable(StoreError):
    """The engine's data cannot be written: make its folder and files this user's, or name another with --data-dir."""


class StoreDamaged(StoreError):
    """The engine's store is damaged: move it away and put a backup in its place."""


class StoreTooNew(StoreError):
    """The store was made by a newer pyworker: run that version, or restore the backup made before it was migrated."""


class StoreBusy(StoreError):
    """Another program holds the engine's store: end it (an open sqlite3 shell?), then try again."""

    status = 503


class StoreInUse(StoreError):
    """Another engine uses this data directory: stop it, or name another directory with --data-dir."""


class SecretsExposed(StoreError):
    """A secret of the engine can be read by others; the message has the chmod command that ends it."""


# --- a client's call ------------------------------------------------------------------------------


class CallFailed(PyWorkerError):
    """The call got no answer from a worker; the message says why."""


class EngineUnreachable(CallFailed):
    """The engine does not accept connections: start one with `pyworker engine`, or name another with --engine."""

    status = 503


class EngineRefused(CallFailed, _TryLater):
    """The engine refused the call; the message is its own."""

    def __init__(self, message: str | None = None, *, status: int = 500, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.answered_status = status


class NoAnswerInTime(CallFailed):
    """No worker answered before the call's deadline."""

    status = 504


class WorkerUnreachable(CallFailed):
    """The connection to the worker broke before its answer was complete."""

    status = 502


class AnsweredWithError(CallFailed):
    """The worker, or the model behind it, answered with an error; the message has its status and words."""
