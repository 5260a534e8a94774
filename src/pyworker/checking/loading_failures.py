"""What kept a worker's file from coming to its server, and what to do about it."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from typing import Any, Final

from pyworker.checking.author import AuthorCode
from pyworker.checking.findings import fault, one_line, raised
from pyworker.errors import ConfigurationError, WorkerFileFailed
from pyworker.names import nearest
from pyworker.wire_check import Finding

__all__ = ["failed_load", "in_two"]

# packages that are installed by another name than they are imported by
_INSTALLED_AS: Final = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "dotenv": "python-dotenv",
    "google": "google-cloud",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "websocket": "websocket-client",
}
_UNKNOWN_KEYWORD = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def failed_load(error: WorkerFileFailed | ConfigurationError, author: AuthorCode, target: str) -> Finding:
    """The finding for what loading a worker raised."""
    cause = error.__cause__
    if cause is None:
        what, remedy = in_two(str(error))
        return fault("never-served", target, what, remedy or "call start_server(backend, routes) at the end")
    where = author.place_of_error(cause) or target
    rule, what, remedy = _judged(cause, author)
    return fault(rule, where, what, remedy)


def _judged(cause: BaseException, author: AuthorCode) -> tuple[str, str, str]:
    """Rule, what is wrong, what to do."""
    match cause:
        case ModuleNotFoundError():
            judged = "import", str(cause), _install(cause.name or "", author)
        case ImportError():
            judged = "import", one_line(cause), "correct the name, or the version that is installed"
        case SyntaxError():
            judged = "syntax", f"it is no Python: {cause.msg}", "correct this line"
        case ConfigurationError():
            what, remedy = in_two(str(cause))
            judged = "configuration", what, remedy or "docs/how-to/write-a-worker.md has the arguments"
        case SystemExit():
            judged = "ended", "the file ends the program before it serves", "leave sys.exit out"
        case _:
            judged = "raises", f"the file raises {raised(cause)}", _meant(cause) or "correct this line"
    return judged


def in_two(message: str) -> tuple[str, str]:
    """A message of ours: what is wrong, and behind its first colon or semicolon what to do."""
    match = re.search(r"[:;] ", message)
    if match is None:
        return one_line(message), ""
    return one_line(message[: match.start()]), one_line(message[match.end() :])


def _install(module: str, author: AuthorCode) -> str:
    top, dot, part = module.partition(".")
    if dot and top in sys.modules:
        return f"{top} has no {part}: correct the name, or the version that is installed"
    near = nearest(top, {path.stem for path in author.files()})
    meant = f"did you mean {near}, which lies beside it? Else " if near else ""
    return f"{meant}install it: pip install {_INSTALLED_AS.get(top, top.replace('_', '-'))}"


def _meant(error: BaseException) -> str | None:
    """For a keyword that a class of the author's has not got: the one that was meant."""
    match = _UNKNOWN_KEYWORD.search(str(error))
    if match is None:
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        cls: Any = frame.f_globals.get(match[1])
        if inspect.isclass(cls):
            near = nearest(match[2], inspect.signature(cls).parameters)
            return f"did you mean {near!r}?" if near else f"it takes {', '.join(inspect.signature(cls).parameters)}"
    return None
