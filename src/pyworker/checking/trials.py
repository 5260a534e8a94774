"""The handlers of a loaded worker, tried: first what they make of payloads, then before the fake model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from pyworker.api import ApiPayload, EndpointHandler
from pyworker.backend import Backend, Handler, is_remote
from pyworker.checking import configuration
from pyworker.checking.acts import ACTS, MADE_UP, Act
from pyworker.checking.author import AuthorCode, attempt, attempt_in_thread
from pyworker.checking.exchanges import Asked, Stage, staged_worker
from pyworker.checking.findings import fault, one_line
from pyworker.checking.functions import check_functions, plain
from pyworker.checking.loading_failures import in_two
from pyworker.checking.payloads import PayloadClass, check_payload_class
from pyworker.checking.telling import Telling
from pyworker.checking.verdicts import GOOD_ACTS, Seen, Subject, judge, judge_count, left_open
from pyworker.errors import PyWorkerError
from pyworker.handlers import DeclaredHandler, PassThroughHandler
from pyworker.loading import Loaded
from pyworker.wire_check import Finding

__all__ = ["Trials", "Wanted", "handlers_of"]

BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
UNUSABLE: Final = frozenset({"payload", "payload-json", "parser", "raises", "round-trip"})  # nothing can be sent then
NO_PAYLOAD: Final = {"prompt": "made-up"}


@dataclass(frozen=True)
class Wanted:
    """How it is done: ``answer`` is what the model says in JSON, None for a made-up one."""

    answer: Any = None
    call_remote: bool = False


def handlers_of(backend: Backend) -> list[Handler]:
    """Each once, the one for the benchmark first."""
    benchmark = backend.benchmark_handler
    handlers = [*([] if benchmark is None else [benchmark]), *(mount.handler for mount in backend.mounts)]
    return list({id(handler): handler for handler in handlers}.values())


@dataclass
class Trials:
    """What was made of payloads is kept for the exchanges: a client's payload, by the handler's id."""

    author: AuthorCode
    telling: Telling
    wanted: Wanted
    payloads: dict[int, Any] = field(default_factory=dict[int, Any])
    unusable: dict[type[ApiPayload], bool] = field(default_factory=dict[type[ApiPayload], bool])

    miscounted: set[int] = field(default_factory=set[int])  # ids of handlers and payload classes, as was told
    spoiled: set[int] = field(default_factory=set[int])  # handlers whose functions give nothing that can be sent

    # --- payloads ---

    async def payloads_of(self, backend: Backend) -> None:
        """Make them, count them, send them to and fro."""
        benchmark = backend.benchmark_handler
        for handler in handlers_of(backend):
            made: list[Any] = []
            told: set[str] = set()
            if handler is benchmark or isinstance(handler, PassThroughHandler):
                told = await self._check_functions(handler, made)
                if id(handler) in self.spoiled:
                    continue
            cls = _payload_class(handler)
            if cls is not None:
                is_benchmark = benchmark is not None and cls is _payload_class(benchmark)
                await self._check_class(PayloadClass(cls, is_benchmark), told & {"same-payload"})
                if self.unusable[cls]:
                    continue
                made = made or [(await attempt_in_thread(cls.for_test)).value]
            if made:
                self._keep(handler, made[0])

    async def _check_functions(self, handler: Handler, made: list[Any]) -> set[str]:
        """The rules that a handler's functions break; ``made`` gets their payloads."""
        told: set[str] = set()
        async for finding in check_functions(handler, self.author, made):
            self.telling.found(finding)
            told.add(finding.rule)
            if _spoils_payloads(finding):
                self.spoiled.add(id(handler))
        if "workload" in told:
            self.miscounted.add(id(handler))
        return told

    async def _check_class(self, payload: PayloadClass, told: set[str]) -> None:
        """``told``: rules that what makes its payloads is known to break."""
        if payload.cls in self.unusable:
            return
        self.unusable[payload.cls] = False
        async for finding in check_payload_class(payload, self.author):
            if finding.rule not in told:
                self.telling.found(finding)
            if finding.rule in {"workload", "raises"}:
                self.miscounted.add(id(payload.cls))
            self.unusable[payload.cls] |= _spoils_payloads(finding)

    def _keep(self, handler: Handler, made: Any) -> None:
        self.payloads[id(handler)] = plain(made)
        function = handler.remote_function if isinstance(handler, EndpointHandler | DeclaredHandler) else None
        if function is not None:
            arguments: Any = attempt(_arguments, handler, made).value
            if isinstance(arguments, dict):
                self.telling.found_all(
                    configuration.check_remote_function(function, cast("Any", arguments), self.author)
                )

    # --- exchanges ---

    async def exchanges_of(self, loaded: Loaded) -> None:
        """Every handler before the fake model, in each of its acts."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                async with staged_worker(loaded.backend, loaded.routes, self.author, Path(folder)) as stage:
                    for route in loaded.routes:
                        await self._try_route(route, loaded.backend, stage)
            except PyWorkerError as error:
                what, remedy = in_two(str(error))
                self.telling.found(fault("configuration", loaded.target.name, what, remedy or "correct this"))
                self.telling.left_out("the handlers' answers: the worker cannot start")

    async def _try_route(self, route: Any, backend: Backend, stage: Stage) -> None:
        mount = configuration.mount_of(route)
        if mount is None:
            return
        handler, method, path = mount.handler, getattr(route, "method", "*"), getattr(route, "path", "/")
        if method in BODILESS:
            self.telling.left_out(f"{method} {path}: only requests with a payload are tried")
        elif is_remote(handler) and not self.wanted.call_remote:
            self.telling.left_out(f"{path}: its remote function is called only with --call-remote")
        elif id(handler) in self.spoiled or (id(handler) not in self.payloads and _payload_class(handler) is not None):
            self.telling.left_out(f"{path}: there is no payload to try it with")
        else:
            payload = self.payloads.get(id(handler), self.payloads.get(id(backend.benchmark_handler), NO_PAYLOAD))
            asked = Asked("POST" if method == "*" else method, path, payload)
            await self._try_handler(handler, asked, stage)

    async def _try_handler(self, handler: Handler, asked: Asked, stage: Stage) -> None:
        subject, broken, is_open = self._subject(handler, asked), set[str](), False
        for act in ACTS[:1] if is_remote(handler) else ACTS:
            if is_open and act.name in GOOD_ACTS:
                continue  # a made-up answer does not do
            if not await stage.ready():
                self.telling.left_out(f"{asked.path}, {act.name}: the worker does not become ready again")
                return
            seen = await stage.ask(_for_act(asked, act), act, self._answer, waits=subject.streams)
            if not (seen.asked or seen.hung or is_remote(handler)):
                self._say_refused(handler, subject, seen)
                return
            if not {id(handler), id(_payload_class(handler))} & self.miscounted:
                self._tell(judge_count(subject, seen), broken)
            left = self._judge(subject, seen, broken)
            is_open = is_open or left
            if seen.hung and not left:
                return

    def _judge(self, subject: Subject, seen: Seen, broken: set[str]) -> bool:
        """Tell what is wrong, once for each rule. True when something could not be seen."""
        made_up = self.wanted.answer is None
        self._tell(judge(subject, seen, made_up=made_up), broken)
        left = left_open(subject, seen, made_up=made_up)
        if left is not None:
            self.telling.left_out(left)
        return left is not None

    def _tell(self, findings: Iterable[Finding], broken: set[str]) -> None:
        for finding in findings:
            if finding.rule not in broken:  # what is wrong in two acts is wrong in one way
                broken.add(finding.rule)
                self.telling.found(finding)

    @property
    def _answer(self) -> Any:
        return MADE_UP if self.wanted.answer is None else self.wanted.answer

    def _subject(self, handler: Handler, asked: Asked) -> Subject:
        has_payload = id(handler) in self.payloads
        name, function = f"the handler of {asked.path}", None
        if isinstance(handler, EndpointHandler):
            kind: Any = type(handler)
            name, function = kind.__name__, kind.generate_client_response
        elif isinstance(handler, DeclaredHandler):
            function = handler.response_generator or handler.remote_function
            name = getattr(function, "__name__", name)
        if function is None:
            return Subject(name, asked.path, asked.path, has_payload=has_payload)
        where = self.author.place_of(function)
        says_so = "stream" in f"{asked.path} {handler.endpoint} {name}".lower()
        return Subject(name, asked.path, where, "stream" in asked.payload or says_so, has_payload=has_payload)

    def _say_refused(self, handler: Handler, subject: Subject, seen: Seen) -> None:
        is_parsed = isinstance(handler, DeclaredHandler) and handler.request_parser is not None
        if id(handler) in self.payloads and not is_parsed:
            self.telling.found(_refused(subject, seen))
        else:
            self.telling.left_out(f"{subject.route}: no payload is known that a client may send there")


def _payload_class(handler: Handler) -> type[ApiPayload] | None:
    if isinstance(handler, EndpointHandler):
        return handler.payload_cls()
    return handler.payload_class if isinstance(handler, DeclaredHandler) else None


def _spoils_payloads(finding: Finding) -> bool:
    return finding.level == "fault" and finding.rule in UNUSABLE


def _arguments(handler: Handler, made: Any) -> Any:
    """What a remote function is called with."""
    if isinstance(handler, EndpointHandler):
        return handler.generate_payload_json(made)
    return made.generate_payload_json() if isinstance(made, ApiPayload) else made


def _for_act(asked: Asked, act: Act) -> Asked:
    if act.name == "stream" and "stream" in asked.payload:
        return Asked(asked.method, asked.path, {**asked.payload, "stream": True})
    return asked


def _refused(subject: Subject, seen: Seen) -> Finding:
    said = one_line(seen.body.decode(errors="replace"))
    what = f"{subject.name} answers {seen.status} to its own test payload, before the model is asked: {said}"
    return fault("refused", f"{subject.where} ({subject.route})", what, "give payloads that a client may send")
