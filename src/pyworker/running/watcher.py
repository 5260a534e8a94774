"""The process that watches over a worker, its model server, and the worker's files. As small as an interpreter can be.

When one of worker and model server ends, so does the other, and nothing is started again: whoever started us knows
better whether and when (an engine, systemd, a start script). With files that are watched a worker that ends is waited
for: the next change starts it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pyworker.instance import logs, ports, processes
from pyworker.instance.processes import SHOWN_CHARS, SHOWN_LINES, Child, LaunchFailed
from pyworker.instance.surroundings import without_workers_own
from pyworker.instance.wakeup import DRAIN_MARGIN_S, GRACE_S, Wakeup, end_one
from pyworker.running.plan import Plan
from pyworker.running.watching import Watch

__all__ = ["Watcher"]

LOOK_S: Final = 0.25  # at the worker's files
LOOK_AT_LOGS_S: Final = 10.0
UPDATE: Final = 75  # a worker's exit status that asks for a newer version of everything


class _Trial(NamedTuple):
    """A worker that is loaded and not served. ``is_first``: only for its files, beside the worker itself."""

    RESULT = "result.json"
    OUTPUT = "output"

    child: Child
    folder: Path
    began_ns: int
    is_first: bool

    def result(self) -> tuple[list[str], str]:
        """Its files, and what is wrong ("": nothing)."""
        try:
            result = json.loads((self.folder / self.RESULT).read_bytes())
        except (OSError, ValueError):  # it was ended before it came to that
            lines = logs.last_lines(self.child.log, 1, max_chars=SHOWN_CHARS)
            return [], lines[-1] if lines else f"it ended with status {self.child.status} and said nothing"
        return result["files"], result["problem"]

    def remove(self) -> None:
        """Its files in the temporary folder."""
        for name in (self.RESULT, self.OUTPUT):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rmdir()


class Watcher:
    """One run of a plan."""

    def __init__(self, plan: Plan, environment: Mapping[str, str], wakeup: Wakeup) -> None:
        self._plan = plan
        self._environment = environment
        self._wakeup = wakeup
        self._port = 0
        self._model: Child | None = None
        self._worker: Child | None = None
        self._trial: _Trial | None = None
        self._watch = Watch(plan.watched) if plan.watched else None
        self._bounded_s = 0.0

    def run(self) -> int:
        """Start, watch, end: the exit status."""
        try:
            self._start()
            status = self._watch_over()
        except (LaunchFailed, OSError) as error:
            _say(str(error))
            self._end()
            _tell_engine(self._environment, str(error))
            return 1
        self._end()
        return status

    def _start(self) -> None:
        plan = self._plan
        if plan.model is not None:
            log = Path(plan.model_log)
            log.parent.mkdir(parents=True, exist_ok=True)
            output = log.with_suffix(".out") if plan.logs_by_itself else log
            logs.rotate(*{log, output})
            self._port = ports.choose(["model"], {})["model"] if plan.wants_port else 0
            env = without_workers_own(plan.worker_environment(self._environment, self._port))
            command = plan.model_command(self._port)
            self._model = processes.start("model server", command, env=env, cwd="", log=output, field="--model-command")
            _say(f"the model server's log is {log}")
        self._start_worker()
        if self._watch is not None:
            self._trial = self._start_trial(is_first=True)

    def _start_worker(self) -> None:
        env = self._plan.worker_environment(self._environment, self._port)
        self._worker = processes.start("worker", self._plan.worker, env=env, cwd="", log=None, field="the worker")

    def _watch_over(self) -> int:
        """Until one ends by itself, or it is asked to end: the exit status."""
        while True:
            self._wakeup.wait(LOOK_S if self._watch else LOOK_AT_LOGS_S)
            processes.reap(self._children())
            if self._wakeup.stop:
                return 0
            if self._model is not None and self._model.status is not None:
                raise LaunchFailed(self._model.how_it_ended(self._last_lines(self._model)))
            if self._worker is not None and self._worker.status is not None:
                status = self._worker.status
                if self._watch is None or status == UPDATE:
                    return status if status >= 0 else 128 - status
                self._worker = None
                _say(f"the worker ended with status {status}; waiting for a change of its files")
            if self._watch is not None:
                self._look(self._watch)
            self._bound_logs()

    # --- files that change ---

    def _look(self, watch: Watch) -> None:
        if changed := watch.changed():
            self._end_trial()
            _say(f"{', '.join(Path(path).name for path in changed)} changed; trying it")
            self._trial = self._start_trial()
        elif self._trial is not None and self._trial.child.status is not None:
            trial, self._trial = self._trial, None
            self._judge(watch, trial)

    def _start_trial(self, *, is_first: bool = False) -> _Trial:
        began_ns = time.time_ns()
        folder = Path(tempfile.mkdtemp(prefix="pyworker-trial-"))
        command = [*self._plan.trial, str(folder / _Trial.RESULT)]
        env = self._plan.worker_environment(self._environment, self._port)
        output = folder / _Trial.OUTPUT
        child = processes.start("trial", command, env=env, cwd="", log=output, field="the worker")
        return _Trial(child, folder, began_ns, is_first)

    def _judge(self, watch: Watch, trial: _Trial) -> None:
        """The trial has ended: a worker that would start takes the place of the one before."""
        files, problem = trial.result()
        trial.remove()
        watch.watch_too(files, trial.began_ns)
        if trial.is_first:
            return  # the worker itself is there already, and says itself what is wrong with it
        if problem:
            serves_on = "the one before serves on" if self._worker else "none serves"
            _say(f"the new worker would not start, {serves_on}: {problem}")
            return
        if self._worker is not None:
            self._end_worker(self._worker)
        if not self._wakeup.stop:
            self._start_worker()

    # --- the end ---

    def _end(self) -> None:
        """The worker first, so that it can finish what is in flight; then the model server; then what they left."""
        self._end_trial()
        if self._worker is not None:
            self._end_worker(self._worker)
        if self._model is not None:
            end_one(self._model, self._children(), self._wakeup, GRACE_S)
        processes.end_orphans()

    def _end_trial(self) -> None:
        if self._trial is not None:
            end_one(self._trial.child, self._children(), self._wakeup, 0.0)
            self._trial.remove()
            self._trial = None

    def _end_worker(self, worker: Child) -> None:
        end_one(worker, self._children(), self._wakeup, self._plan.drain_s + DRAIN_MARGIN_S)

    def _children(self) -> list[Child]:
        trial = None if self._trial is None else self._trial.child
        return [child for child in (trial, self._worker, self._model) if child is not None]

    def _last_lines(self, model: Child) -> list[str]:
        lines = logs.last_lines(Path(self._plan.model_log), SHOWN_LINES, max_chars=SHOWN_CHARS)
        return lines or logs.last_lines(model.log, SHOWN_LINES, max_chars=SHOWN_CHARS)

    def _bound_logs(self) -> None:
        if self._model is not None and time.monotonic() > self._bounded_s + LOOK_AT_LOGS_S:
            logs.bound(Path(self._plan.model_log), self._model.log)
            self._bounded_s = time.monotonic()


def _say(text: str) -> None:
    sys.stderr.write(f"pyworker run: {text}\n")
    sys.stderr.flush()


def _tell_engine(environment: Mapping[str, str], reason: str) -> None:
    """The last word on this worker: it has ended, and so it says nothing more itself."""
    from pyworker.worker.failed_start import tell_engine  # noqa: PLC0415 - it brings much, and most runs end well

    tell_engine(environment, reason)
