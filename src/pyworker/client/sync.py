"""The same client without ``async``, for scripts, notebooks and threads.

::

    with Client("http://127.0.0.1:8080", api_key) as client:
        endpoint = client.endpoint("default")
        print(endpoint.request("/generate", {"prompt": "Hello"}).json())
        for event in endpoint.stream("/generate_stream", {"prompt": "Hello"}):
            print(event.json())

A client may be used by many threads at once. Its connections live in an event loop of their own, in a thread of
their own; a thread that has a loop running can use it, too, but then that loop stands still meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

from pyworker.client.answer import Answer as AsyncAnswer
from pyworker.client.client import Client as AsyncClient
from pyworker.client.endpoint import DEFAULT_RETRY
from pyworker.client.endpoint import Endpoint as AsyncEndpoint
from pyworker.client.events import Event
from pyworker.client.hedging import Hedge
from pyworker.client.loop_thread import LoopThread
from pyworker.client.outgoing import Options, SessionOptions
from pyworker.client.requests import Requests
from pyworker.client.result import Result
from pyworker.client.retry import Retry
from pyworker.client.session import Session as AsyncSession

__all__ = ["Answer", "Client", "ClientOptions", "Endpoint", "Session"]

_T = TypeVar("_T")


class ClientOptions(TypedDict, total=False):
    """What may be said of a client: as of ``pyworker.client.Client``."""

    timeout_s: float
    web_url: str | None
    on_obstacle: Callable[[str], None] | None


class Client:
    """Calls endpoints through one engine; to be used with ``with``. What it is told is what the other one is told."""

    def __init__(self, engine_url: str, api_key: str, **options: Unpack[ClientOptions]) -> None:
        self._client = AsyncClient(engine_url, api_key, **options)
        self._thread = LoopThread()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._thread.run(self._client.__aenter__)
        except BaseException:  # an interrupt, most likely
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._thread.stop(partial(self._client.__aexit__, None, None, None))

    def endpoint(self, name: str, *, retry: Retry = DEFAULT_RETRY, hedge: Hedge | None = None) -> Endpoint:
        """An endpoint by its name. Raises EngineUnreachable; NotFound when the account has none of that name."""
        return Endpoint(self._thread.run(partial(self._client.endpoint, name, retry=retry, hedge=hedge)), self._thread)


class _Requests:
    """What can be asked of an endpoint, and of a session; each call waits for its answer."""

    def __init__(self, asked: Requests, thread: LoopThread) -> None:
        self._asked = asked
        self._thread = thread

    def request(self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]) -> Result:
        """Send a request and read the whole answer, whatever its status."""
        return self._thread.run(partial(self._asked.request, route, payload, **options))

    @contextmanager
    def open(
        self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> Generator[Answer, None, None]:
        """An answer whose body is still on its way; leaving the block before its end stops the work."""
        opening = self._asked.open(route, payload, **options)
        answer = self._thread.run(opening.__aenter__)
        try:
            yield Answer(answer, self._thread)
        finally:
            self._thread.clean_up(partial(opening.__aexit__, None, None, None))

    def stream(
        self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> Generator[Event, None, None]:
        """The events of an answer, each as soon as it is complete. Raises AnsweredWithError unless it is 2xx."""
        return _iterated(self._thread, self._asked.stream(route, payload, **options))

    def stream_bytes(
        self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> Generator[bytes, None, None]:
        """The body of an answer as it comes. Raises AnsweredWithError unless it is 2xx."""
        return _iterated(self._thread, self._asked.stream_bytes(route, payload, **options))


class Answer:
    """Status and headers; the body may still be on its way and is read once, whole or as it comes."""

    def __init__(self, answer: AsyncAnswer, thread: LoopThread) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.worker_url = answer.worker_url
        self.request_idx = answer.request_idx
        self.ok = answer.ok
        self._answer = answer
        self._thread = thread

    def read(self) -> bytes:
        """The whole body. Raises WorkerUnreachable when it breaks off."""
        return self._thread.run(self._answer.read)

    def chunks(self) -> Generator[bytes, None, None]:
        """The body as it comes. Raises WorkerUnreachable when it breaks off."""
        return _iterated(self._thread, self._answer.chunks())

    def events(self) -> Generator[Event, None, None]:
        """Its events as they come. Raises WorkerUnreachable when it breaks off."""
        return _iterated(self._thread, self._answer.events())


class Endpoint(_Requests):
    """One endpoint, by its ``name``; get it from ``Client.endpoint``."""

    def __init__(self, endpoint: AsyncEndpoint, thread: LoopThread) -> None:
        super().__init__(endpoint, thread)
        self._endpoint = endpoint
        self.name = endpoint.name

    def __repr__(self) -> str:
        return repr(self._endpoint)

    @contextmanager
    def session(self, **options: Unpack[SessionOptions]) -> Generator[Session, None, None]:
        """One worker for several requests, until the block ends."""
        session = self.open_session(**options)
        try:
            yield session
        finally:
            session.close()

    def open_session(self, **options: Unpack[SessionOptions]) -> Session:
        """The same, to be closed by whoever opens it."""
        return Session(self._thread.run(partial(self._endpoint.open_session, **options)), self._thread)


class Session(_Requests):
    """An open session: its ``id`` and its worker's address. Its requests all go there."""

    def __init__(self, session: AsyncSession, thread: LoopThread) -> None:
        super().__init__(session, thread)
        self._session = session
        self.id = session.id
        self.worker_url = session.worker_url

    def __repr__(self) -> str:
        return repr(self._session)

    def is_open(self) -> bool:
        """Whether the worker still has it. Raises WorkerUnreachable, NoAnswerInTime."""
        return self._thread.run(self._session.is_open)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._thread.clean_up(self._session.close)


async def _next(pieces: AsyncGenerator[_T]) -> _T | None:
    return await anext(pieces, None)


def _iterated(thread: LoopThread, pieces: AsyncGenerator[_T]) -> Generator[_T, None, None]:
    try:
        while (piece := thread.run(partial(_next, pieces))) is not None:
            yield piece
    finally:
        thread.clean_up(pieces.aclose)
