"""`make demo`: what `pyworker up workers/hello_world` does, with two questions, more load than one worker can bear, and
what to try next.

Ports are free ones; logs and state lie in a temporary folder; so a second demo beside the first is fine. On a terminal
it stays up until Ctrl-C, elsewhere it ends with status 0 once all was shown. When a part fails it says which, shows the
end of its log, keeps the folder, and ends with status 1. Nothing is left running either way.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from workers.hello_world.demo.engine import PartFailed
from workers.hello_world.demo.screen import Screen
from workers.hello_world.demo.script import Script
from workers.hello_world.demo.terminal import hung_up

__all__ = ["main"]

FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Returns the exit status."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="pyworker-demo-"))
    screen = Screen()
    status = asyncio.run(_run(Script(screen, folder, model=options.model), screen, folder))
    if status != FAILED:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.hello_world.demo", description="see hello_world at work")
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: SmolLM2 as installed)")
    return parser


async def _run(script: Script, screen: Screen, folder: Path) -> int:
    """Play it to its end, to a failure or to a signal, and end what it started. Returns the exit status."""
    loop = asyncio.get_running_loop()
    playing = asyncio.ensure_future(script.play())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, playing.cancel)
    watching = asyncio.ensure_future(hung_up())
    watching.add_done_callback(lambda _: playing.cancel())
    screen.when_gone = lambda: loop.call_soon_threadsafe(playing.cancel)
    try:
        await playing
    except asyncio.CancelledError:
        screen.line("\nEnding the workers and the engine.")
        return 0 if script.answered else INTERRUPTED
    except PartFailed as error:
        screen.failure(error, folder)
        return FAILED
    finally:
        watching.cancel()
        await script.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
