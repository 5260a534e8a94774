"""A load test as a command line describes it: what is sent, when, and what comes of it."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from pyworker.client import Client
from pyworker.errors import BadRequest
from pyworker.load.arrivals import Ramp, Rate, Sine, Steady, due_times, gaps
from pyworker.load.limit import Search
from pyworker.load.outcome import Objective
from pyworker.load.payload import chat, filled
from pyworker.load.run import Send, run_load
from pyworker.load.senders import to_endpoint, to_url
from pyworker.load.summary import Summary
from pyworker.load.trace import Arrival, cut, read_trace
from pyworker.load.trial import FAILED, INTERRUPTED, Results, run_trial, watch
from pyworker.net import keep_alive_socket

__all__ = ["Plan", "Shape", "Source", "Target"]

PATTERNS: Final = ("constant", "poisson", "gamma")
DEFAULT_COUNT: Final = 100


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: an endpoint's name with a route on its workers, or a URL."""

    name: str
    route: str | None
    template: dict[str, Any] | None
    model: str
    cost: float
    timeout_s: float
    engine: str
    api_key: str

    @property
    def is_url(self) -> bool:
        """Whether no engine is asked."""
        return self.name.startswith(("http://", "https://"))

    def check(self) -> None:
        """Raises BadRequest for what is missing."""
        if not self.is_url and not self.route:
            raise BadRequest(f"say which route of {self.name!r}: pyworker load {self.name} /generate -d ...")
        if not self.is_url and self.template is None:
            raise BadRequest("say what to send with -d: a payload as the worker's route takes it")

    @asynccontextmanager
    async def sender(self, summary: Summary) -> AsyncGenerator[Send]:
        """What sends a request there."""
        payload = filled(self.template or chat(self.model), random.Random())  # noqa: S311 - no secrets
        if self.is_url:
            headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
            connector = aiohttp.TCPConnector(limit=0, socket_factory=keep_alive_socket)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout_s, sock_read=self.timeout_s)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
                yield to_url(http, self.name, payload, headers)
            return
        client = Client(self.engine, self.api_key, timeout_s=self.timeout_s, on_obstacle=summary.met)
        async with client:
            yield to_endpoint(client, self.name, self.route or "/", payload, lambda _: self.cost)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rate goes, per s and s, and how regular the arrivals are."""

    rate_per_s: float
    pattern: str
    burstiness: float
    ramp_to_per_s: float | None
    over_s: float
    swing_per_s: float | None
    period_s: float
    seed: int | None

    def due_times(self) -> Iterator[float]:
        """When requests are due, for ever. Raises BadRequest for what cannot be."""
        if self.pattern not in PATTERNS:
            raise BadRequest(f"--pattern is {self.pattern!r}; it takes {', '.join(PATTERNS)}")
        chance = random.Random(self.seed)  # noqa: S311 - no secrets
        return due_times(self._rate(), gaps(self.pattern, chance, self.burstiness))

    def _rate(self) -> Rate:
        if self.ramp_to_per_s is not None and self.swing_per_s is not None:
            raise BadRequest("a rate goes up a ramp or swings: give --ramp-to or --swing")
        if self.ramp_to_per_s is not None:
            return Ramp(self.rate_per_s, self.ramp_to_per_s, self.over_s)
        if self.swing_per_s is not None:
            return Sine(self.rate_per_s, self.swing_per_s, self.period_s)
        return Steady(self.rate_per_s)

    def told(self) -> str:
        """In words."""
        rate = f"{self.rate_per_s:g}/s"
        if self.ramp_to_per_s is not None:
            rate += f" to {self.ramp_to_per_s:g}/s within {self.over_s:g} s"
        elif self.swing_per_s is not None:
            rate += f" and {self.swing_per_s:g}/s up and down each {self.period_s:g} s"
        return f"{rate}, {self.pattern}" + (f" with burstiness {self.burstiness:g}" if self.pattern == "gamma" else "")


@dataclass(frozen=True, slots=True)
class Source:
    """What the arrivals are: recorded ones, or some of one size (tokens); at most ``count``."""

    trace: Path | None
    speed: float
    from_s: float
    until_s: float | None
    skip_bad_lines: bool
    input_tokens: int
    output_tokens: int
    count: int | None

    def arrivals(self, shape: Shape) -> list[Arrival]:
        """All of them. Raises BadRequest for a trace that is none, naming its lines."""
        if self.trace is None:
            due = itertools.islice(shape.due_times(), self.count or DEFAULT_COUNT)
            return [Arrival(due_s, self.input_tokens, self.output_tokens) for due_s in due]
        try:
            lines = self.trace.read_text(errors="replace").splitlines()
        except OSError as error:
            raise BadRequest(f"the trace {self.trace} cannot be read: {error.strerror}") from None
        trace = read_trace(lines, str(self.trace), skip_bad=self.skip_bad_lines)
        if trace.problems:
            sys.stderr.write(f"{len(trace.problems)} lines left out, the first: {trace.problems[0]}\n")
        arrivals = cut(trace.arrivals, speed=self.speed, from_s=self.from_s, until_s=self.until_s)[: self.count]
        if not arrivals:
            raise BadRequest(f"nothing is left of {self.trace} between --from and --until")
        return arrivals

    def told(self, shape: Shape) -> dict[str, str]:
        """In words."""
        if self.trace is None:
            return {"arrivals": shape.told(), "sizes": f"{self.input_tokens} tokens in, {self.output_tokens} out"}
        until = "its end" if self.until_s is None else f"{self.until_s:g} s"
        return {"trace": str(self.trace), "cut": f"{self.from_s:g} s to {until}", "speed": f"{self.speed:g}"}


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it."""

    target: Target
    shape: Shape
    source: Source
    objective: str
    json_file: Path | None
    html_file: Path | None

    def run(self) -> int:
        """Returns the exit status. Raises BadRequest for what cannot be."""
        self.target.check()
        summary, arrivals = Summary(Objective.of(self.objective)), self.source.arrivals(self.shape)
        title = f"{self.target.name} {self.target.route or ''}".strip()
        told = {"to": title, "requests": str(len(arrivals)), **self.source.told(self.shape)}
        results = Results(title, told, self.json_file, self.html_file)
        return run_trial(self.target.sender, arrivals, summary, results, watch(title, len(arrivals)))

    def find_limit(self, *, share: float, seconds: float) -> int:
        """Try one rate after another, each for so long; say which is the highest of which ``share`` is good."""
        self.target.check()
        objective = Objective.of(self.objective)
        if not str(objective):
            raise BadRequest("--find-limit needs an objective: --objective ttft=500ms,latency=10s")
        search = Search(self.shape.rate_per_s)
        sys.stdout.write(f"{'rate':>10}{'sent':>8}{'good':>9}\n")
        try:
            asyncio.run(self._search(search, objective, share, seconds))
        except KeyboardInterrupt:
            sys.stdout.write(_found(search, share, objective, is_whole=False))
            return INTERRUPTED
        sys.stdout.write(_found(search, share, objective, is_whole=True))
        return 0 if search.met_per_s else FAILED

    async def _search(self, search: Search, objective: Objective, share: float, seconds: float) -> None:
        while (rate_per_s := search.next_per_s) is not None:
            summary = Summary(objective)
            due = due_times(Steady(rate_per_s), gaps("poisson", random.Random(self.shape.seed)))  # noqa: S311
            sizes = self.source.input_tokens, self.source.output_tokens
            arrivals = [Arrival(due_s, *sizes) for due_s in itertools.takewhile(lambda at_s: at_s < seconds, due)]
            async with self.target.sender(summary) as send:
                await run_load(send, arrivals, summary, watch(f"{rate_per_s:.3g}/s", len(arrivals)))
            search.told(met=summary.good_share >= share)
            sys.stdout.write(f"{rate_per_s:>8.3g}/s{summary.sent:>8}{summary.good_share:>9.1%}\n")
            sys.stdout.flush()


def _found(search: Search, share: float, objective: Objective, *, is_whole: bool) -> str:
    if not search.met_per_s:
        return f"no rate that was tried keeps {share:.0%} of requests to {objective}\n"
    beyond = "" if search.missed_per_s is None else f"; {search.missed_per_s:.3g}/s does not"
    so_far = "" if is_whole else " so far"
    return f"\nlimit{so_far}: {search.met_per_s:.3g}/s keeps {share:.0%} of requests to {objective}{beyond}\n"
