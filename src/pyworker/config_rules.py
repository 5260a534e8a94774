"""What may stand in a configuration: each rule says what is wrong with a value, and what was meant.

Rules are generators of problems, so that everything is named at once.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from pyworker.errors import ConfigurationError
from pyworker.names import refuse_unknown

__all__ = [
    "a_class",
    "a_flag",
    "a_function",
    "a_lifecycle",
    "a_number",
    "a_route",
    "a_text",
    "an_object",
    "keywords_checked",
    "refuse",
    "texts",
    "without_names",
]

_PLACE = re.compile(r"{\w+(:[^{}]*)?}")
_OWN_ROUTES = frozenset({"/session/create", "/session/end", "/session/get", "/session/health"})
_C = TypeVar("_C", bound=type[Any])
Problems = Iterator[str]


def keywords_checked(cls: _C) -> _C:
    """A dataclass whose constructor says which keyword was meant, and remembers in ``given`` which were."""
    init = cls.__init__
    known = list(inspect.signature(cls).parameters)

    @functools.wraps(init)
    def checked(self: Any, *values: Any, **given: Any) -> None:
        refuse_unknown(cls.__name__, [name for name in given if name not in known], known)
        object.__setattr__(self, "given", frozenset([*known[: len(values)], *given]))
        init(self, *values, **given)

    cls.__init__ = checked
    return cls


def refuse(what: str, problems: Iterator[str]) -> None:
    """Raises ConfigurationError with all problems of ``what``, each on a line of its own."""
    told = [f"{what}: {problem}" for problem in problems]
    if told:
        raise ConfigurationError("\n".join(told))


def a_number(
    name: str, value: object, *, least: float = 0, none: str = "", whole: bool = False, above: bool = False
) -> Problems:
    """A number from ``least`` up, or ``above`` it. ``none`` says what None stands for, "" when for nothing."""
    if value is None and none:
        return
    kind = int if whole else int | float
    if (
        isinstance(value, kind)
        and not isinstance(value, bool)
        and least <= value < math.inf
        and not (above and value == least)
    ):
        return
    limit = f"above {least:g}" if above else f"from {least:g} up"
    words = f"a {'whole ' if whole else ''}number {limit}{f', or None {none}' if none else ''}"
    yield f"{name} is {value!r}; it takes {words}"


def a_flag(name: str, value: object) -> Problems:
    """True or False: a text such as "false" would count as true."""
    if not isinstance(value, bool):
        yield f"{name} is {value!r}; it takes True or False"


def a_text(name: str, value: object, example: str) -> Problems:
    """Text that is not empty, or None."""
    if value is not None and not (isinstance(value, str) and value):
        yield f"{name} is {value!r}; it takes a text like {example!r}"


def texts(name: str, value: object, example: str) -> Problems:
    """A list of texts. A single text is a likely mistake: each of its letters would be one."""
    if isinstance(value, str):
        yield f"{name} is the text {value!r}; it takes a list: [{value!r}]"
    elif not isinstance(value, Sequence):
        yield f"{name} is {value!r}; it takes a list of texts, like [{example!r}]"
    else:
        for one in cast("Sequence[object]", value):
            if not isinstance(one, str) or not one:
                yield f"{name} holds {one!r}; it takes texts that are not empty, like {example!r}"


def a_route(name: str, value: object) -> Problems:
    """A path that begins with "/"."""
    if not isinstance(value, str):
        yield f"{name} is {value!r}; it takes a path like '/generate'"
    elif not value.startswith("/"):
        meant = "/" + value.split("://")[-1].partition("/")[2] if "://" in value else "/" + value
        yield f"{name} is {value!r}; it must begin with a slash: did you mean {meant!r}?"
    elif set("?# \t\r\n") & set(value):
        yield f"{name} is {value!r}; a path holds no spaces, no '?' and no '#'"
    elif set("{}") & set(_PLACE.sub("", value)):
        yield f"{name} is {value!r}; a place in it is written {{name}}, and filled from the request's path"
    elif value in _OWN_ROUTES:
        yield f"{name} is {value!r}; that is the worker's own"
    elif value.startswith("/pyworker/"):
        yield f"{name} is {value!r}; what begins with /pyworker/ is the worker's own"


def without_names(route: str) -> str:
    """The route as the router sees it: two that differ in the names of their places are one."""
    return _PLACE.sub(r"{\1}", route)


def a_class(name: str, value: object, base: type[Any]) -> Problems:
    """A class derived from ``base``, not an object of it; or None."""
    if value is None or (isinstance(value, type) and issubclass(cast("type[Any]", value), base)):
        return
    if isinstance(value, base):
        yield f"{name} is an object; give its class: {name}={type(value).__name__}"
    else:
        yield f"{name} is {value!r}; it takes a class derived from {base.__name__}"


def an_object(name: str, value: object, kind: type[Any]) -> Problems:
    """An object of this class, or None."""
    if value is not None and not isinstance(value, kind):
        yield f"{name} is {value!r}; it takes a {kind.__name__}"


def a_lifecycle(name: str, value: object) -> Problems:
    """An async context manager, or a function that makes one; or None."""
    if inspect.isasyncgenfunction(value) or inspect.iscoroutinefunction(value):
        needs = "" if inspect.isasyncgenfunction(value) else ", and a yield in it"
        yield f"{name} is `async def {_name(value)}` alone; it needs @contextlib.asynccontextmanager above it{needs}"
    elif inspect.isgeneratorfunction(inspect.unwrap(value) if callable(value) else value):
        yield f"{name} is a sync generator, {_name(value)}; make it async, with @contextlib.asynccontextmanager"
    elif not (value is None or callable(value) or hasattr(type(value), "__aenter__")):
        kind = " (a sync one is there: make it async)" if hasattr(type(value), "__enter__") else ""
        yield f"{name} is {value!r}; it takes an async context manager, or a function that makes one{kind}"


def a_function(
    name: str,
    value: object,
    arguments: Sequence[str] | None,
    *,
    only_async: bool = False,
    returns: str = "what it makes",
) -> Problems:
    """A function of so many arguments, or None. ``arguments``: what each is, None when any will do."""
    if value is None:
        return
    words = " and ".join(arguments or ("the payload's fields",)) if arguments != () else "no arguments"
    if not callable(value):
        yield f"{name} is {value!r}; it takes a function of {words}"
        return
    if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        yield f"{name} is {_name(value)}, which yields; it must return {returns}"
        return
    if only_async and _is_plainly_sync(value):
        yield f"{name} is {_name(value)}, which is not async; write `async def {_name(value)}`"
    if arguments is not None and not _takes(value, len(arguments)):
        yield f"{name} is {_name(value)}{_signature(value)}; it is called with {words}"


def _is_plainly_sync(function: Callable[..., Any]) -> bool:
    """A function whose calls cannot be awaited. A lambda, or what a decorator made, may give something to await."""
    while isinstance(function, functools.partial):
        function = function.func
    is_plain = inspect.isfunction(function) or inspect.ismethod(function)
    is_lambda = getattr(function, "__name__", "") == "<lambda>"
    unwrapped = inspect.unwrap(function)
    return is_plain and not is_lambda and not inspect.iscoroutinefunction(unwrapped)


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except ValueError:  # one that is built in and does not say
        return True
    except TypeError:
        return False
    return True


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(...)"


def _name(value: object) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
