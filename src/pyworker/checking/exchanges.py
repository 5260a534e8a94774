"""The worker, running before a fake model: every handler gets a request for every act, and a client looks on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from pyworker.backend import Backend
from pyworker.checking.acts import Act, Staged
from pyworker.checking.author import AuthorCode
from pyworker.checking.verdicts import Seen
from pyworker.settings import WorkerSettings
from pyworker.testing import FakeModel, FakeRequest
from pyworker.worker.core.readiness import State
from pyworker.worker.serve import RunningWorker, running_worker

__all__ = ["Asked", "Stage", "staged_worker"]

ANSWER_S: Final = 5.0
READY_S: Final = 15.0
LOOK_AGAIN_S: Final = 0.01
UNMEASURED: Final = 1e9  # workload/s: nobody waits because of it
_MISCOUNTS: Final = ("count_workload of", "the workload_calculator of")  # as the worker's log begins then
_PLACE = re.compile(r"{(\w+)(?::[^{}]*)?}")


@dataclass(frozen=True)
class Asked:
    """A request to the worker: an envelope with this payload, or without one the bare method."""

    method: str
    path: str
    payload: Any

    @property
    def url_path(self) -> str:
        """With something in each of its places."""
        return _PLACE.sub("made-up", self.path)


class Stage:
    """A running worker and the model it believes to stand before."""

    def __init__(self, worker: RunningWorker, raised: _Raised, author: AuthorCode) -> None:
        self.worker = worker
        self._raised = raised
        self._author = author
        self._current: Staged | None = None

    async def play(self, request: FakeRequest) -> None:
        """What the fake model does with whatever comes."""
        await (self._current.play(request) if self._current is not None else request.answer({}))

    async def ready(self) -> bool:
        """Wait until the worker takes requests; False when it does not come to it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while self.worker.runtime.readiness.state is not State.READY:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(LOOK_AGAIN_S)
                return True
        return False

    async def ask(self, asked: Asked, act: Act, made_up: Any, *, waits: bool) -> Seen:
        """One request while the model does this."""
        self._current = staged = Staged(act, made_up, waits=waits)
        self._raised.error = self._raised.miscount = None
        status, headers, body = None, {}, bytearray()
        complete, hung = True, False
        try:
            async with asyncio.timeout(ANSWER_S), self._sent(asked) as answer:
                status, headers = answer.status, dict(answer.headers)
                async for piece in answer.content.iter_any():
                    staged.first_piece.set()
                    body += piece
        except TimeoutError:
            hung = True
        except aiohttp.ClientError:
            complete = False
        error = self._raised.error
        miscount = self._raised.miscount
        return Seen(
            act=act.name,
            status=status,
            headers=headers,
            body=bytes(body),
            complete=complete,
            hung=hung,
            held_back=staged.held_back,
            asked=staged.asked,
            error=error,
            error_at=self._place(error),
            miscount=miscount,
            miscount_at=self._place(miscount),
        )

    def _place(self, error: Exception | None) -> str:
        return (self._author.place_of_error(error) or "") if error is not None else ""

    @contextlib.asynccontextmanager
    async def _sent(self, asked: Asked) -> AsyncGenerator[aiohttp.ClientResponse]:
        url = self.worker.url + asked.url_path
        body = None if asked.payload is None else {"auth_data": _proof(self.worker.url), "payload": asked.payload}
        async with (
            aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(None)) as session,
            session.request(asked.method, url, json=body) as answer,
        ):
            yield answer


class _Raised(logging.Handler):
    """The last exception that the worker logged, and the last in counting a workload, which fails no request."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.error: Exception | None = None
        self.miscount: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        error = record.exc_info[1] if record.exc_info else None
        said = record.getMessage()
        if said.startswith(_MISCOUNTS):
            self.miscount = error if isinstance(error, Exception) else ValueError(said)
        elif isinstance(error, Exception):
            self.error = error


@contextlib.asynccontextmanager
async def staged_worker(
    backend: Backend, routes: Sequence[web.AbstractRouteDef], author: AuthorCode, state_dir: Path
) -> AsyncGenerator[Stage]:
    """The worker, serving on a free port of this machine, with neither engine nor benchmark nor lifecycle.

    Raises ConfigurationError.
    """
    raised = _Raised()
    logger = logging.getLogger("pyworker")
    logger.addHandler(raised)
    stages: list[Stage] = []

    async def play(request: FakeRequest) -> None:
        await stages[0].play(request)

    try:
        async with FakeModel(health_path="/pyworker-check-health", default=play) as model:
            _put_before(backend, model)
            async with running_worker(backend, routes, _settings(state_dir)) as worker:
                stages.append(Stage(worker, raised, author))
                yield stages[0]
    finally:
        logger.removeHandler(raised)


def _put_before(backend: Backend, model: FakeModel) -> None:
    """The author's Backend before the fake: its own paths, nothing that takes long."""
    backend.model_server_url = model.url + urlsplit(backend.model_server_url).path.rstrip("/")
    backend.healthcheck_url = model.url + model.health_path
    backend.model_log_file, backend.readiness = None, "health"
    backend.lifecycle, backend.fixed_throughput = None, UNMEASURED
    backend.unsecured, backend.report_addr, backend.mtoken = True, None, None


def _settings(state_dir: Path) -> WorkerSettings:
    return WorkerSettings(host="127.0.0.1", port=0, http_port=0, unsecured=True, state_dir=state_dir, drain_s=0.2)


def _proof(url: str) -> dict[str, Any]:
    return {"cost": 1.0, "endpoint": "check", "reqnum": 1, "request_idx": 1, "url": url, "signature": ""}
