"""``--set name=value``: parameters on the command line, checked before the engine is asked; and those of a file."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    import msgspec

    from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
    from pyworker.engine.deployment import Deployment

__all__ = ["assignments", "deployment", "endpoint_parameters", "group_body", "group_parameters"]

NOT_SET: Final = {"name", "launch"}  # one is an argument, the other comes from a file


def assignments(texts: Iterable[str] | None) -> dict[str, Any]:
    """``["max_workers=4", "provider=ray"]`` to ``{"max_workers": 4, "provider": "ray"}``."""
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise _wrong(f"{text!r} is no name=value, as max_workers=4")
        found[name.strip()] = _value(value.strip())
    return found


def deployment(path: str) -> Deployment:
    """Of the file that ``-f`` names. Raises DeploymentError."""
    from pyworker.engine.deployment import load

    return load(Path(path))


def endpoint_parameters(base: EndpointParameters | None, changes: Mapping[str, Any]) -> EndpointParameters:
    """An endpoint's, the defaults where nothing is said."""
    from pyworker.engine.core.parameters import EndpointParameters, checked

    _refuse(changes, EndpointParameters, {"min_workers": "cold_workers"})
    with _told():
        return checked(base or EndpointParameters(), changes)


def group_parameters(base: GroupParameters, changes: Mapping[str, Any]) -> GroupParameters:
    """A workergroup's."""
    from pyworker.engine.core.parameters import GroupParameters, checked

    _refuse(changes, GroupParameters, {})
    with _told():
        return checked(base, changes)


def group_body(endpoint_name: str, group: GroupParameters) -> dict[str, Any]:
    """What the engine is sent to make a workergroup.

    ``template_hash`` goes with a launch only: without one it would ask for a template of the engine's.
    """
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(group)
    template = {"template_hash": group.name} if group.launch else {}
    return {"endpoint_name": endpoint_name, **template, **fields}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refuse(changes: Mapping[str, Any], type_: type[msgspec.Struct], meant: Mapping[str, str]) -> None:
    from pyworker.names import nearest

    known = [name for name in type_.__struct_fields__ if name not in NOT_SET]
    for name in changes.keys() - set(known):
        near = meant.get(name) or nearest(name, known)
        hint = f"did you mean {near}? " if near else ""
        raise _wrong(f"there is no parameter {name!r}; {hint}There is {', '.join(known)}")


@contextmanager
def _told() -> Generator[None]:
    """What is wrong with parameters, as what is wrong with the command."""
    from pyworker.errors import JsonDataException

    try:
        yield
    except JsonDataException as error:
        raise _wrong("; ".join(f"{name}: {words}" for name, words in error.message.items())) from None


def _wrong(words: str) -> typer.BadParameter:
    return typer.BadParameter(words, param_hint="--set")
