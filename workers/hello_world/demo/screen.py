"""How the demo looks: in colour and moving on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import json
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.status import Status

from workers.hello_world.demo.engine import PartFailed
from workers.hello_world.demo.view import LogLine

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Screen", "Step"]

INDENT: Final = "  "
LOG_LINES: Final = 12


def _bin() -> str:
    """The folder of this Python's commands, as one would type it here."""
    folder = Path(sys.executable).parent
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _commands(engine_url: str, worker_url: str, api_key: str, endpoint: str) -> list[str]:
    """What to type to see more."""
    question = json.dumps({"prompt": "Why is the sky blue?", "max_response_tokens": 50})
    return [
        f"export PYWORKER_ENGINE={engine_url} PYWORKER_API_KEY={api_key}",
        f"{_bin()}/pyworker endpoint show {endpoint}",
        f"{_bin()}/pyworker worker list",
        f"{_bin()}/pyworker endpoint logs {endpoint} --follow",
        f"{_bin()}/pyworker call {endpoint} /generate_stream --stream -d '{question}'",
        f'{_bin()}/python -m workers.hello_world.test_load -n 10 -rps 2 -e {endpoint} --engine "$PYWORKER_ENGINE"',
        f"curl -s {worker_url}/pyworker/ready",
    ]


class Step:
    """Something being started; ``url`` is where it is in the end, ``note`` what else is known of it then."""

    def __init__(self, screen: Screen, name: str, status: Status) -> None:
        self.name = name
        self.url = ""
        self.note = ""
        self._screen = screen
        self._status = status
        self._shown = ""

    def waits_for(self, what: str) -> None:
        """Show what it is doing now."""
        self._status.update(f"{self.name}: {what}")
        if what != self._shown and not self._screen.is_terminal:
            self._screen.line(f"{self.name:10}{what} ...")
        self._shown = what


class Screen:
    """Where the demo is shown: the terminal, or whatever stdout is. ``when_gone`` is called when nobody reads it."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()  # not rich's own answer: FORCE_COLOR changes that
        self.when_gone: Callable[[], object] = lambda: None
        stdout = io.TextIOWrapper(io.BufferedWriter(_Stdout(self)), "utf-8", write_through=True)
        self._console = Console(file=stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._column = 0

    def line(self, text: str = "", style: str | None = None, *, end: str = "\n") -> None:
        """One line, as it is."""
        self._console.print(text, style=style, end=end, soft_wrap=True)

    def text(self, text: str, indent: str = "", style: str | None = None) -> None:
        """Lines that a terminal breaks between words, with ``indent`` before what follows."""
        width = max(self._console.width, 40) if self.is_terminal else 10_000
        wrapper = textwrap.TextWrapper(width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
        for line in text.split("\n"):
            for part in wrapper.wrap(line) or [""]:
                self.line(part, style)

    def title(self, folder: Path) -> None:
        """What this is."""
        self.text("What `pyworker up workers/hello_world` does: an engine starts workers, each with a language model.")
        self.line(f"Logs and state: {folder}\n")

    @contextmanager
    def step(self, name: str, what: str) -> Generator[Step]:
        """Show what is being waited for while the block runs, and afterwards that it is there."""
        began_s = time.monotonic()
        with self._console.status("") as status:
            step = Step(self, name, status)
            step.waits_for(what)
            yield step
        self.line(f"{step.name:10}ready at {step.url} after {time.monotonic() - began_s:.1f} s{step.note}")

    def question(self, route: str, prompt: str) -> None:
        """A request goes out."""
        self.line(f"\nPOST {route}")
        self.line(f"> {prompt}", style="bold")
        self._column = 0

    def token(self, text: str) -> None:
        """A piece of the answer, as it comes; a terminal's lines are broken between words."""
        for piece in _words(text):
            if self.is_terminal and piece.startswith(" ") and self._column + len(piece) + 8 > self._console.width:
                piece, self._column = "\n" + piece[1:], 0  # noqa: PLW2901
            self._column += len(piece)
            self.line(piece, "green", end="")

    def end_of_answer(self, numbers: Mapping[str, Any]) -> None:
        """Its length."""
        self.line()
        self.line(f"({numbers['prompt_tokens']} tokens asked, {numbers['response_tokens']} answered)", style="dim")

    def log(self, line: LogLine) -> None:
        """A line of the endpoint's log, with the time of day."""
        at = time.strftime("%H:%M:%S", time.localtime(line.at))
        said = line.text.partition("; its last lines")[0]  # of a worker's own log: `pyworker worker logs` has them
        self.text(f"{INDENT}{at}  {said}", indent=" " * 12, style="cyan")

    def burst_begins(self, requests: int, target_queue_time_s: float) -> None:
        """More is asked than one worker can do in time."""
        self.text(
            f"\n{requests} requests at once: more than one worker does within the {target_queue_time_s:g} s of "
            "target_queue_time. What the engine does, and why:\n"
        )

    def burst_again(self) -> None:
        """The same, with two workers."""
        self.text("\nThe same again, with two workers:\n")

    def burst_ends(self, answered: Mapping[int, int]) -> None:
        """How many each worker has answered."""
        each = ", ".join(f"{count} by worker {worker_id}" for worker_id, count in sorted(answered.items()))
        self.text(f"{INDENT}{sum(answered.values())} requests answered: {each}")

    def burst_left_out(self, start_s: float) -> None:
        """It would take too long."""
        self.text(
            f"\nHow a second worker comes when there is more to do is left out: here the first took {start_s:.0f} s. "
            "Try the load test below, with -n 200."
        )

    def show_next(self, engine_url: str, worker_url: str, api_key: str, endpoint: str) -> None:
        """Commands to try while it runs."""
        where = "in another terminal" if self.is_terminal else "on a terminal, where the demo stays up"
        self.line(f"\nTo try next, {where}:\n")
        for command in _commands(engine_url, worker_url, api_key, endpoint):
            self.line(f"{INDENT}{command}")
        if self.is_terminal:
            self.text("\nWorkers that nobody asks are stopped after a minute; it is shown here. Up until Ctrl-C.\n")

    def failure(self, error: PartFailed, folder: Path) -> None:
        """What failed, and the end of its logs."""
        self.text(f"\n{error}", style="bold red")
        for path in error.logs:
            self.line(f"\nThe end of {path.relative_to(folder)}:\n")
            with path.open(errors="replace") as file:
                for text in deque(file, LOG_LINES):
                    self.line(INDENT + text.rstrip())
        self.line(f"\nAll logs are in {folder}")


class _Stdout(io.FileIO):
    """Standard output that never fails: a terminal may be hung up, a pipe closed."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(sys.stdout.fileno(), "w", closefd=False)
        self._screen = screen
        self._is_gone = False

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            if not self._is_gone:
                self._screen.when_gone()
            self._is_gone = True
            return memoryview(data).nbytes


def _words(text: str) -> list[str]:
    """The text in pieces, each with the space before it."""
    first, *others = text.split(" ")
    return [piece for piece in (first, *(f" {other}" for other in others)) if piece]
