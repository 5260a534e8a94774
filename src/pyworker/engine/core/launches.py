"""What a workergroup may be told to start: the rules that a deployment's file and a call of the engine share. Pure.

Values are never part of a problem's words: they may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from pyworker.engine.core.parameters import PLACEHOLDERS, GroupParameters, Launch, checked
from pyworker.errors import JsonDataException
from pyworker.names import nearest

__all__ = ["placeholder_problem", "require_launch_fits", "variable_problem"]

_PLACEHOLDER: Final = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PROVIDED: Final = re.compile(
    r"REPORT_ADDR|MASTER_TOKEN|CONTAINER_ID|WORKER_PORT|WORKER_HTTP_PORT|VAST_TCP_PORT_.*"
    r"|PYWORKER_(STATE_DIR|DRAIN_S|TICKET_KEY|TICKET_KEY_ID|API_KEY)"
)
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def placeholder_problem(text: str) -> str:
    """Which placeholder in a text does not exist, and what was meant; "" when all do."""
    unknown = next((name for name in _PLACEHOLDER.findall(text) if name not in PLACEHOLDERS), None)
    if unknown is None:
        return ""
    near = nearest(unknown.lower(), PLACEHOLDERS)
    known = ", ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))
    meant = f"did you mean {{{near}}}?" if near else f"there is {known}, and ${{{unknown}}} for a variable"
    return f"{{{unknown}}} stands for nothing; {meant}"


def variable_problem(name: str) -> str:
    """Why a worker's environment cannot be given this variable; "" when it can."""
    if _PROVIDED.fullmatch(name):
        return "comes from the engine, for each worker another: remove it"
    if not _VARIABLE_NAME.fullmatch(name):
        return "is no name for a variable: letters, digits and _ only"
    return ""


def require_launch_fits(group: GroupParameters, misspelt_variable: Callable[[str], str]) -> None:
    """Whether the provider and the launch go together, and the launch can be started.

    ``misspelt_variable`` says what is wrong with a variable that is called like one of ours, "" for nothing.

    Raises JsonDataException ``{field: what it must be}`` with all that is wrong.
    """
    launch = group.launch
    if launch is None:
        if group.provider != "external":
            raise JsonDataException({"launch": f"is missing: the provider {group.provider} starts its workers with it"})
        return
    problems = dict(_problems(launch, misspelt_variable))
    if group.provider == "external":
        words = "must be local or ray with a launch; external workers join with a token and are not started"
        problems = {"provider": words, **problems}
    if problems:
        raise JsonDataException(problems)


def _problems(launch: Launch, misspelt_variable: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    for name, command in (("worker", launch.worker), ("model", launch.model)):
        if command is not None and not (command and command[0]):
            yield f"launch.{name}", 'must name a program, as ["program", "--option"]: no shell reads it'
        yield from _unusable(f"launch.{name}", *(command or ()))
    for name, value in launch.environment.items():
        place = f"launch.environment.{name}"
        if problem := variable_problem(name) or misspelt_variable(name):
            yield place, problem
        else:
            yield from _unusable(place, value)
    yield from _unusable("launch.working_directory", launch.working_directory)
    try:
        checked(launch.resources, {})
    except JsonDataException as error:
        for name, words in error.message.items():
            yield f"launch.resources.{name}", words


def _unusable(place: str, *texts: str) -> Iterator[tuple[str, str]]:
    """No process can be given a text with the character 0 in it."""
    for text in texts:
        if problem := "must not hold the character 0" if "\0" in text else placeholder_problem(text):
            yield place, problem
