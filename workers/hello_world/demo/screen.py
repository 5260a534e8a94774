"""How the demo looks: in colour and moving on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

__all__ = ["Screen", "Step"]


def _bin() -> str:
    """The folder of this Python's commands, as one would type it here."""
    folder = Path(sys.executable).parent
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _commands(engine_url: str, worker_url: str, api_key: str, endpoint: str) -> list[str]:
    """What to type to see more."""
    question = json.dumps({"prompt": "Why is the sky blue?", "max_response_tokens": 50})
    return [
        f"export PYWORKER_ENGINE={engine_url} PYWORKER_API_KEY={api_key}",
        f"{_bin()}/pyworker call {endpoint} /generate -d '{question}'",
        f"{_bin()}/pyworker call {endpoint} /generate_stream --stream -d '{question}'",
        f'{_bin()}/python -m workers.hello_world.client -e {endpoint} --engine "$PYWORKER_ENGINE"',
        f'{_bin()}/python -m workers.hello_world.test_load -n 10 -rps 2 -e {endpoint} --engine "$PYWORKER_ENGINE"',
        f"curl -s {worker_url}/pyworker/health",
        f"curl -s {worker_url}/pyworker/ready",
        f"curl -s {worker_url}/pyworker/metrics",
    ]


class Step:
    """Something being started; ``url`` is where it is in the end."""

    def __init__(self, screen: Screen, name: str, status: Status) -> None:
        self.url = ""
        self._screen = screen
        self._name = name
        self._status = status
        self._shown = ""

    def waits_for(self, what: str) -> None:
        """Show what it is doing now."""
        self._status.update(f"{self._name}: {what}")
        if what != self._shown and not self._screen.is_terminal:
            self._screen.line(f"{self._name:14}{what} ...")
        self._shown = what


class Screen:
    """Where the demo is shown: the terminal, or whatever stdout is."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.is_terminal = sys.stdout.isatty()  # not rich's own answer: FORCE_COLOR changes that

    def line(self, text: str = "", style: str | None = None, *, end: str = "\n") -> None:
        """One line, as it is."""
        self._console.print(text, style=style, end=end, soft_wrap=True)

    def title(self, folder: Path) -> None:
        """What this is."""
        self.line("A language model, a worker before it, and an engine that sends it requests; all on this machine.")
        self.line(f"Logs and state: {folder}\n")

    @contextmanager
    def step(self, name: str, what: str) -> Generator[Step]:
        """Show what is being waited for while the block runs, and afterwards that it is there."""
        began_s = time.monotonic()
        with self._console.status("") as status:
            step = Step(self, name, status)
            step.waits_for(what)
            yield step
        self.line(f"{name:14}ready at {step.url} after {time.monotonic() - began_s:.1f} s")

    def question(self, route: str, prompt: str) -> None:
        """A request goes out."""
        self.line(f"\nPOST {route}")
        self.line(f"> {prompt}", style="bold")

    def token(self, text: str) -> None:
        """A piece of the answer, as it comes."""
        self.line(text, "green", end="")

    def end_of_answer(self, numbers: Mapping[str, Any]) -> None:
        """Its length."""
        self.line()
        self.line(f"({numbers['prompt_tokens']} tokens asked, {numbers['response_tokens']} answered)", style="dim")

    def show_next(self, engine_url: str, worker_url: str, api_key: str, endpoint: str) -> None:
        """Commands to try while it runs."""
        where = "in another terminal" if self.is_terminal else "on a terminal, where the demo stays up"
        self.line(f"\nTo try next, {where}:\n")
        for command in _commands(engine_url, worker_url, api_key, endpoint):
            self.line(f"  {command}")
        if self.is_terminal:
            self.line("\nUp until Ctrl-C.")

    def failure(self, why: str, log: list[str], folder: Path) -> None:
        """What failed, and the end of its log."""
        self.line(f"\n{why}", style="bold red")
        self.line("The end of its log:\n")
        for text in log:
            self.line(f"  {text}")
        self.line(f"\nAll logs are in {folder}")
