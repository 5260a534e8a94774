"""How a worker is put together: its Backend, its routes, its place."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from pyworker.api import EndpointHandler, LogAction
from pyworker.backend import Backend, Handler, Mount
from pyworker.checking.author import AuthorCode
from pyworker.checking.findings import fault, one_line, raised, warning
from pyworker.errors import ConfigurationError, SettingsError
from pyworker.settings import WorkerSettings, unknown_variables
from pyworker.wire_check import Finding
from pyworker.worker.inbound.answers import RefusalLog
from pyworker.worker.inbound.app import SlowStarters, make_app
from pyworker.worker.runtime import with_authors_words

__all__ = [
    "check_backend",
    "check_handler",
    "check_log_actions",
    "check_place",
    "check_remote_function",
    "check_routes",
    "mount_of",
]


def check_place(backend: Backend, env: Mapping[str, str]) -> Iterator[Finding]:
    """The environment, as the worker would read it at its start."""
    try:
        with_authors_words(WorkerSettings.from_env(env), backend)
    except SettingsError as error:
        for problem in error.problems:
            what, _, use = problem.partition(": ")
            yield fault("environment", "environment", what, use or "see docs/reference/environment.md")
    except ConfigurationError as error:
        what, _, remedy = str(error).partition(": ")
        yield fault("environment", "Backend", what, remedy or "see docs/reference/environment.md")
    for problem in unknown_variables(env):
        what, _, hint = problem.partition(": ")
        yield warning("environment", "environment", what, hint)


def check_backend(backend: Backend, env: Mapping[str, str]) -> Iterator[Finding]:
    """What each argument means together with the others."""
    benchmark = backend.benchmark_handler
    if backend.fixed_throughput is None and (benchmark is None or not benchmark.has_benchmark):
        yield warning(
            "no-benchmark",
            "Backend",
            "nothing measures the capacity: it is learned from requests, beginning with one at a time",
            "give a benchmark_handler (HandlerConfig: benchmark_config), or fixed_throughput",
        )
    has_log = bool(backend.model_log_file or env.get("MODEL_LOG"))
    yield from check_log_actions(backend.log_actions, has_log=has_log and backend.readiness != "health")


def check_log_actions(actions: Sequence[tuple[LogAction, str]], *, has_log: bool) -> Iterator[Finding]:
    """Pure: whether the lines of the log can be told from each other."""
    loaded = [text for action, text in actions if action is LogAction.ModelLoaded]
    errors = [text for action, text in actions if action is LogAction.ModelError]
    if has_log and not loaded:
        yield warning(
            "log-actions",
            "log_actions",
            "there is a log, and no line of it says that the model has loaded: an open port counts as loaded",
            "add the line that the model writes when it is ready: (LogAction.ModelLoaded, '...'), or on_load",
        )
    for text in loaded:
        for error in errors:
            if text in error or error in text:
                longer, shorter = ("error", "loaded") if text in error else ("loaded", "error")
                yield fault(
                    "log-actions",
                    "log_actions",
                    f"{text!r} means loaded and {error!r} means error: the line of one holds the other's text",
                    f"each line with the text for {longer} also counts as {shorter}: choose a longer text",
                )


def check_routes(
    routes: Sequence[web.AbstractRouteDef], backend: Backend
) -> tuple[list[web.AbstractRouteDef], list[Finding]]:
    """Those that can be registered beside each other, and what is wrong with the rest; every handler is at one."""
    good: list[web.AbstractRouteDef] = []
    findings: list[Finding] = []
    for route in routes:
        try:
            make_app([*good, route], max_body_bytes=1, starters=SlowStarters(), refusals=RefusalLog())
        except ConfigurationError as error:
            findings.append(_bad_route(route, good, error))
        else:
            good.append(route)
    mounted = [mount_of(route) for route in routes]
    for mount in backend.mounts:
        if mount not in mounted:
            name = type(mount.handler).__name__
            findings.append(
                warning("route", name, f"{name} is at no route: nobody can call it", "add its route to the list")
            )
    if not any(mounted):
        findings.append(fault("route", "routes", "no route leads to the model", "add backend.routes(...) to them"))
    return good, findings


def _bad_route(
    route: web.AbstractRouteDef, others: Sequence[web.AbstractRouteDef], error: ConfigurationError
) -> Finding:
    path, method = getattr(route, "path", repr(route)), getattr(route, "method", "")
    if any(getattr(other, "path", None) == path for other in others):
        what, remedy = f"{method} {path} is there twice", "give each handler a path of its own"
    else:
        what, remedy = one_line(error), "a route is a method, a path that begins with /, and a function"
    return fault("route", f"route {path}", what, remedy)


def check_handler(handler: Handler, author: AuthorCode) -> Iterator[Finding]:
    """What can be seen of a handler without a request."""
    if not isinstance(handler, EndpointHandler):
        return
    kind: Any = type(handler)
    yield from _check_class_attributes(handler, author)
    if not inspect.iscoroutinefunction(kind.generate_client_response):
        where = author.place_of(kind.generate_client_response)
        yield fault("not-async", where, f"{kind.__name__}.generate_client_response is not async", "write `async def`")
    function = handler.remote_function
    if function is not None and not inspect.iscoroutinefunction(inspect.unwrap(function)):
        name = getattr(function, "__name__", "remote_function")
        yield fault("not-async", author.place_of(function), f"the remote function {name} is not async", _ASYNC)


def _check_class_attributes(handler: EndpointHandler[Any], author: AuthorCode) -> Iterator[Finding]:
    """A handler is a dataclass: what only its class says, the default of the field wins over."""
    options = {field.name for field in dataclasses.fields(EndpointHandler)}
    for cls in type(handler).__mro__:
        if cls is EndpointHandler:
            return
        said = vars(cls)
        fields: set[str] = set(said.get("__annotations__", ())) if "__dataclass_fields__" in said else set()
        for name in sorted(options & said.keys() - fields):
            holds = getattr(handler, name)
            if not hasattr(said[name], "__get__") and holds != said[name]:
                what = f"{name} = {said[name]!r} of the class {cls.__name__} is not heard: {holds!r} holds"
                yield warning("class-attribute", author.place_of(cls), what, _annotated(name, said[name], cls))


def _annotated(name: str, value: Any, cls: type) -> str:
    kind = type(value).__name__
    return f"@dataclasses.dataclass above the class and `{name}: {kind} = ...` in it, or {cls.__name__}({name}=...)"


_ASYNC = "write `async def`, and move what blocks to asyncio.to_thread"


def check_remote_function(function: Any, payload: Mapping[str, Any], author: AuthorCode) -> Iterator[Finding]:
    """Whether it takes a payload as its keywords; it is not called."""
    try:
        inspect.signature(function).bind(**payload)
    except TypeError as error:
        name = getattr(function, "__name__", "remote_function")
        what = f"{name} cannot be called with the benchmark's payload: {raised(error)}"
        yield fault("remote-function", author.place_of(function), what, "its parameters are the payload's fields")
    except ValueError:
        return  # one that does not tell its parameters


def mount_of(route: web.AbstractRouteDef) -> Mount | None:
    """The handler at a route; None for an author's own route."""
    mount = getattr(getattr(route, "handler", None), "__self__", None)
    return mount if isinstance(mount, Mount) else None
