"""Functions of authors: quick ones run where they are called, slow ones in a thread, one call at a time."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyworker.errors import QueueFull
from pyworker.worker import author_code
from pyworker.worker.author_code import AuthorFunction, in_thread, is_async, place_of
from pyworker.worker.author_faults import Faults

HERE = threading.get_ident


async def coroutine(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


class AsyncCallable:
    async def __call__(self, value: int) -> int:
        return value + 1


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (coroutine, True),
        (functools.partial(coroutine, 1), True),
        (AsyncCallable(), True),
        (AsyncCallable, False),
        (len, False),
        (lambda: None, False),
    ],
)
def test_what_is_async_is_known_beforehand(function: Any, expected: bool) -> None:
    assert is_async(function) is expected


@pytest.mark.parametrize("function", [coroutine, AsyncCallable(), lambda value: value + 1, lambda v: coroutine(v)])  # noqa: PLW0108
async def test_sync_and_async_functions_are_called_alike(function: Any) -> None:
    assert await AuthorFunction(function, "f").call(1) == 2


async def test_a_quick_function_runs_where_it_is_called() -> None:
    function = AuthorFunction(threading.get_ident, "f")
    assert [await function.call() for _ in range(3)] == [HERE()] * 3
    assert not function.is_away


class Slow:
    """Slow while it is told so."""

    def __init__(self) -> None:
        self.is_slow = True
        self.threads: list[int] = []
        self.running = 0
        self.most_running = 0

    def __call__(self) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.threads.append(threading.get_ident())
        if self.is_slow:
            time.sleep(0.02)
        self.running -= 1


@pytest.fixture
def _soon_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author_code, "SLOW_S", 0.01)


@pytest.mark.may_block
@pytest.mark.usefixtures("_soon_slow")
async def test_after_a_slow_call_it_runs_in_a_thread_one_call_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow()
    function = AuthorFunction(slow, "request_parser of /g")
    await function.call()
    assert function.is_away
    await asyncio.gather(*(function.call() for _ in range(5)))
    assert slow.most_running == 1
    assert HERE() not in slow.threads[1:]
    assert caplog.text.count("request_parser of /g, Slow, took") == 1


@pytest.mark.may_block
@pytest.mark.usefixtures("_soon_slow")
async def test_one_that_was_slow_only_once_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first call often loads what later ones find."""
    monkeypatch.setattr(author_code, "SLOW_S", 1e9)
    slow = Slow()
    function = AuthorFunction(slow, "f")
    monkeypatch.setattr(author_code, "SLOW_S", -1.0)
    await function.call()
    monkeypatch.setattr(author_code, "SLOW_S", 1e9)
    slow.is_slow = False
    for _ in range(author_code.QUICK_CALLS_TO_RETURN):
        assert function.is_away
        await function.call()
    assert not function.is_away
    monkeypatch.setattr(author_code, "SLOW_S", -1.0)
    await function.call()
    monkeypatch.setattr(author_code, "SLOW_S", 1e9)
    for _ in range(3 * author_code.QUICK_CALLS_TO_RETURN):
        await function.call()
    assert function.is_away  # slow for the second time: it stays


@pytest.mark.may_block
async def test_who_leaves_does_not_let_the_next_call_in_before_the_first_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(author_code, "SLOW_S", -1.0)
    go_on, began = threading.Event(), [threading.Event(), threading.Event()]
    numbers = iter((-1, 0, 1))

    def hold() -> None:
        number = next(numbers)
        if number >= 0:
            began[number].set()
            assert go_on.wait(30)

    function = AuthorFunction(hold, "f")
    await function.call()
    first = asyncio.create_task(function.call())
    await asyncio.to_thread(began[0].wait)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(function.call())
    await asyncio.sleep(0.01)
    assert not began[1].is_set()
    go_on.set()
    await second


async def test_an_error_in_a_thread_is_the_callers() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await in_thread(fail)


async def test_a_thread_sees_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("here")
    assert await in_thread(variable.get) == "here"


def fail_in(number: int) -> Callable[[], None]:
    """Two places, and an error of a kind of one's own."""

    def fail() -> None:
        if number == 1:
            raise KeyError("a")
        if number == 2:
            raise KeyError("b")
        raise ValueError("c")

    return fail


async def test_a_failure_is_told_once_for_each_place_and_kind(caplog: pytest.LogCaptureFixture) -> None:
    function, faults = AuthorFunction(len, "request_parser of /g"), Faults()
    for number in (1, 1, 2, 3, 3, 2):
        try:
            fail_in(number)()
        except (KeyError, ValueError) as error:
            faults.tell(function.named, error, "it is a 500")
    assert len(caplog.records) == 3
    assert caplog.records[0].exc_info is not None
    assert "request_parser of /g, len, failed: it is a 500" in caplog.text


def test_a_place_is_name_file_and_line() -> None:
    assert place_of(fail_in).startswith(f"fail_in at {__file__}:")
    assert place_of(functools.partial(fail_in, 1)).startswith("fail_in at ")
    assert place_of(len) == "len"
    assert place_of(Slow()) == "Slow"


def run_out() -> None:
    raise StopIteration


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("function", [run_out, leave])
async def test_what_no_future_takes_or_would_end_the_loop_is_an_error_like_others(function: Callable[[], None]) -> None:
    with pytest.raises(RuntimeError) as raised:
        await in_thread(function)
    assert isinstance(raised.value.__cause__, StopIteration | SystemExit)
    with pytest.raises(RuntimeError):
        await AuthorFunction(function, "f").call()


@pytest.fixture
def _in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author_code, "SLOW_S", -1.0)


@pytest.mark.may_block
@pytest.mark.usefixtures("_in_a_thread")
async def test_a_failure_in_the_thread_lets_the_next_call_in() -> None:
    results = iter([0, 1])
    function = AuthorFunction(lambda: next(results), "f")
    await function.call()
    assert function.is_away
    assert await function.call() == 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await function.call()


class Hanging:
    """Hangs in its thread until it is let go; its first call is quick."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        if number > 1:
            assert self.let_go.wait(30)
        return number


@pytest.mark.may_block
@pytest.mark.usefixtures("_in_a_thread")
async def test_a_call_that_hangs_is_named_and_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(author_code, "SAY_AFTER_S", 0.01)
    monkeypatch.setattr(author_code, "LIMIT_S", 0.02)
    monkeypatch.setattr(author_code, "MOST_HANGING", 2)
    hanging = Hanging()
    function = AuthorFunction(hanging, "request_parser of /g")
    await function.call()
    for _ in range(2):
        with pytest.raises(TimeoutError, match="given up"):
            await function.call()
    assert "the request_parser of /g, Hanging, has run for 0.01 s in its thread" in caplog.text
    with pytest.raises(TimeoutError, match="no more are begun"):
        await function.call()
    assert hanging.calls == 3
    hanging.let_go.set()
    monkeypatch.setattr(author_code, "LIMIT_S", 30.0)
    async with asyncio.timeout(30):
        while True:  # until a thread that was given up has ended
            try:
                assert await function.call() == 4
                break
            except TimeoutError:
                await asyncio.sleep(0.01)


@pytest.mark.may_block
@pytest.mark.usefixtures("_in_a_thread")
async def test_only_so_many_wait_for_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author_code, "MOST_WAITING", 1)
    hanging = Hanging()
    function = AuthorFunction(hanging, "f")
    await function.call()
    first, second, third = (asyncio.create_task(function.call()) for _ in range(3))
    with pytest.raises(QueueFull):
        await third
    hanging.let_go.set()
    assert [await first, await second] == [2, 3]
