"""The dry run of one worker, step by step, in a process that is there for nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from pyworker.checking import configuration
from pyworker.checking.author import AuthorCode
from pyworker.checking.blocking import BlockingCalls
from pyworker.checking.loading_failures import failed_load
from pyworker.checking.printed import PrintedPayloads
from pyworker.checking.source import Source, check_close_routes, read_source
from pyworker.checking.telling import Telling
from pyworker.checking.trials import Trials, Wanted, handlers_of
from pyworker.checking.variables import MissingVariables
from pyworker.errors import ConfigurationError, WorkerFileFailed
from pyworker.loading import Loaded, Target, load
from pyworker.settings import environment

__all__ = ["DryRun"]


class DryRun:
    """One worker, looked at; what comes of it is told line by line."""

    def __init__(self, target: Target, wanted: Wanted, telling: Telling) -> None:
        self._target = target
        self._telling = telling
        self._author = AuthorCode(target.folder)
        self._trials = Trials(self._author, telling, wanted)
        self._variables = MissingVariables(self._author)
        self._blocking = BlockingCalls(self._author, telling.found)
        self._printed = PrintedPayloads(self._author, telling.found, self._trials.payloads)

    def load(self) -> tuple[Loaded, Source] | None:
        """Read and run the worker's files; None when that failed, with why told."""
        telling = self._telling
        telling.begin("its files are Python")
        is_folder = Path(self._target.name).is_dir()
        source, findings = read_source(self._author.files() if is_folder else [self._target.file])
        telling.found_all(findings)
        if findings:
            telling.left_out("all that comes after its files can be read")
            return None
        telling.begin("it is imported and comes to its server")
        self._variables.install()
        self._blocking.install()
        try:
            loaded = load(self._target.name)
        except (WorkerFileFailed, ConfigurationError) as error:
            telling.found_all(self._variables.findings())
            telling.found(failed_load(error, self._author, self._target.name))
            telling.left_out("all that comes after it is loaded")
            return None
        telling.found_all(self._variables.findings())
        self._variables.is_loaded = True
        return loaded, source | read_source(file for file in loaded.files if file.suffix == ".py")[0]

    async def look(self, loaded: Loaded, source: Source) -> None:
        """Every step after it is loaded."""
        try:
            await self._look(loaded, source)
        finally:
            self._telling.found_all(self._variables.findings())  # those that only a request reads, too

    async def _look(self, loaded: Loaded, source: Source) -> None:
        telling = self._telling
        telling.begin("its configuration, routes and place")
        self._check_configuration(loaded, source)
        telling.begin("its payloads: made, sent as JSON, taken again, counted")
        with self._listening():
            await self._trials.payloads_of(loaded.backend)
        telling.begin("its handlers, before a model that answers, streams, fails and breaks off")
        left = list(_left_out(loaded))  # before the worker is put on its stage
        with self._listening():
            await self._trials.exchanges_of(loaded)
        for what in left:
            telling.left_out(what)

    def _check_configuration(self, loaded: Loaded, source: Source) -> None:
        telling, backend, env = self._telling, loaded.backend, environment()
        telling.found_all(configuration.check_place(backend, env))
        telling.found_all(configuration.check_backend(backend, env))
        loaded.routes, findings = configuration.check_routes(loaded.routes, backend)
        telling.found_all(findings)
        for handler in handlers_of(backend):
            telling.found_all(configuration.check_handler(handler, self._author))
        allowed = frozenset([*(mount.handler.endpoint for mount in backend.mounts), *backend.close_routes])
        telling.found_all(check_close_routes(source, allowed))

    @contextlib.contextmanager
    def _listening(self) -> Generator[None]:
        self._blocking.listening = True
        printed: Any = self._printed
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                yield
        finally:
            self._blocking.listening = False


def _left_out(loaded: Loaded) -> Iterator[str]:
    own = [str(getattr(route, "path", route)) for route in loaded.routes if not configuration.mount_of(route)]
    if own:
        yield f"your own routes: {', '.join(own)}"
    if loaded.backend.lifecycle is not None:
        yield "the lifecycle: it was not entered"
    yield "the model server itself: its address, its log's lines, how fast it is"
