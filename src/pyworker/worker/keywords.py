"""A payload as the keywords of a function: what is missing and what it does not take is the client's mistake."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pyworker.errors import JsonDataException
from pyworker.fields import MISSING_PARAMETER
from pyworker.names import nearest

__all__ = ["Keywords"]


class Keywords:
    """The keywords of ``function``, looked up once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = inspect.signature(function).parameters.values()
        by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        self._known = {one.name: one.default is inspect.Parameter.empty for one in parameters if one.kind in by_name}
        self._takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)

    def check(self, payload: Mapping[str, Any]) -> None:
        """Raises JsonDataException ``{name: reason}`` when the function cannot be called so."""
        problems = {
            name: MISSING_PARAMETER for name, required in self._known.items() if required and name not in payload
        }
        if not self._takes_all:
            problems |= {name: self._unknown(name) for name in payload if name not in self._known}
        if problems:
            raise JsonDataException(problems)

    def _unknown(self, name: str) -> str:
        near = nearest(name, self._known)
        return f"unknown parameter; did you mean {near!r}?" if near else "unknown parameter"
