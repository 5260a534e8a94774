"""What goes wrong in an author's code: whose fault it is, and the log of it, once for each kind.

A payload class reads what clients send, so that what it stumbles over is a client's fault as a rule. A parser is code
like any other: only ValueError and JsonDataException say that the client's payload is bad.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

from pyworker.errors import HandlerFailed, JsonDataException, QueueFull

__all__ = ["AUTHOR_ERRORS", "Faults"]

log = logging.getLogger("pyworker.handler")

KINDS = 100
LARGE = 10**18  # a number that says more than how large it is

AUTHOR_ERRORS = (Exception, SystemExit)  # sys.exit() in a handler is no order to end the worker
_STUMBLES = (LookupError, TypeError, AttributeError, ArithmeticError)


class Faults:
    """Those of one route. ``what`` names the author's function: "request_parser of /generate"."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()

    def of_reader(self, what: str, error: BaseException) -> Exception:
        """The answer when a payload class fails: 422 for what it did not expect, 500 for all else."""
        if isinstance(error, _STUMBLES):
            if self._is_new(what, *_kind(error)):
                log.warning(
                    "the %s raised %s at %s: the client is told that its payload is bad (422); check the field first, "
                    "and raise JsonDataException, if it is so; mend the code if not",
                    what,
                    type(error).__name__,
                    _where(error.__traceback__),
                )
            return JsonDataException({"error": f"{type(error).__name__}: {error}"})
        return self.of_parser(what, error)

    def of_parser(self, what: str, error: BaseException) -> Exception:
        """The answer when a parser fails: 422 for what it says of the payload, 500 for all else."""
        if isinstance(error, JsonDataException | QueueFull):
            return error
        if isinstance(error, ValueError):
            return JsonDataException({"error": str(error)})
        self.tell(what, error, "the request is answered with a 500")
        return HandlerFailed()

    def tell(self, what: str, error: BaseException, then: str) -> None:
        """To the log, with its trace, when it has not failed at this place in this way before."""
        if self._is_new(what, *_kind(error)):
            log.error("the %s failed: %s", what, then, exc_info=error)

    def tell_value(self, what: str, value: object, then: str) -> None:
        """That the author's code gave something else than was asked. What it gave may be a prompt: only its type."""
        is_shown = value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGE)
        if self._is_new(what, type(value)):
            log.error("the %s gave %s; %s", what, repr(value) if is_shown else f"a {type(value).__name__}", then)

    def _is_new(self, *kind: object) -> bool:
        if kind in self._told or len(self._told) >= KINDS:
            return False
        self._told.add(kind)
        return True


def _kind(error: BaseException) -> tuple[object, ...]:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return type(error), *((frame.filename, frame.lineno) for frame in last)


def _where(trace: TracebackType | None) -> str:
    return " ".join(f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-1:])
