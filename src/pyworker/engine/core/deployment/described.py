"""A table of a description as it is read: its fields by kind, and everything that is wrong with it, by place.

Pure. Values are never part of a problem's words: they may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pyworker.engine.core.deployment.toml_lines import Place
from pyworker.engine.core.launches import placeholder_problem
from pyworker.engine.core.parameters import PLACEHOLDERS
from pyworker.names import nearest

__all__ = ["Problems", "Table", "filled", "shown"]

_VARIABLE: Final = re.compile(r"(\$?)\$\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Problems:
    """What is wrong, in the order in which it was found."""

    found: list[tuple[Place, str]] = field(default_factory=list[tuple[Place, str]])

    def add(self, place: Place, words: str) -> None:
        """Note one."""
        self.found.append((place, words))


class Table:
    """A table at a place. Each reader gives None for a field that is not there, or wrong, which is then noted."""

    def __init__(self, values: Mapping[str, Any], place: Place, problems: Problems) -> None:
        self.values = values
        self.place = place
        self._problems = problems

    def wrong(self, name: str, words: str) -> None:
        """Note a problem with a field."""
        self._problems.add((*self.place, name), words)

    def allow(self, known: Iterable[str], meant: Mapping[str, str] | None = None) -> None:
        """Note every field that is not known, with the one that was probably meant."""
        names = sorted(known)
        for name in self.values.keys() - set(names):
            near = (meant or {}).get(name) or nearest(name, names)
            hint = f"did you mean {near}?" if near else f"there is {', '.join(names)}"
            self.wrong(name, f"there is no such field; {hint}")

    def text(self, name: str) -> str | None:
        """A text that is not empty."""
        value = self.values.get(name)
        if value is not None and not (isinstance(value, str) and value.strip()):
            self.wrong(name, "must be a text in quotes, and not empty")
            return None
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts that is not empty: a command."""
        value: Any = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, list) and value and all(isinstance(part, str) for part in cast("list[Any]", value)):
            return tuple(cast("list[str]", value))
        self.wrong(name, 'must be a list of texts, as ["program", "--option"]: no shell reads it')
        return None

    def table(self, name: str) -> Table | None:
        """A table inside this one."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong(name, f"must be a table: [{shown((*self.place, name))}]")
            return None
        return Table(cast("dict[str, Any]", value), (*self.place, name), self._problems)

    def tables(self, name: str) -> list[Table]:
        """An array of tables."""
        value: Any = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in cast("list[Any]", value)):
            self.wrong(name, f"must be written [[{name}]], in two brackets: there may be several")
            return []
        tables = cast("list[dict[str, Any]]", value)
        return [Table(one, (*self.place, name, number), self._problems) for number, one in enumerate(tables)]

    def filled(self, name: str, text: str, environment: Mapping[str, str]) -> str:
        """A text of the field with the environment's values in it; what is wrong with it is noted."""
        try:
            return filled(text, environment)
        except ValueError as error:
            self.wrong(name, str(error))
            return text


def filled(text: str, environment: Mapping[str, str]) -> str:
    """``${NAME}`` replaced from the environment, ``$${NAME}`` by ``${NAME}``; placeholders stay.

    Raises ValueError naming a variable that is not set, or a placeholder that does not exist.
    """
    if problem := placeholder_problem(text):
        raise ValueError(problem)
    return _VARIABLE.sub(lambda match: _value(match, environment), text)


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    escaped, name = match.groups()
    if escaped:
        return f"${{{name}}}"
    if not _NAME.fullmatch(name):
        raise ValueError("${...} must hold the name of one variable, as ${HF_TOKEN}")
    if name in PLACEHOLDERS:
        raise ValueError(f"${{{name}}} is a variable of the environment; write {{{name}}} without the $")
    if name not in environment:
        raise ValueError(f"the variable {name} is not set: export it first, or write $${{{name}}} for the text itself")
    return environment[name]


def shown(place: Place) -> str:
    """``workergroup.model.command``: a place as one would look for it; a number stands beside its table."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")
