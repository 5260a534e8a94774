"""What the fields of a call that makes or changes something mean, beside the parameters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyworker.engine.core.parameters import GroupParameters
from pyworker.errors import BadRequest, JsonDataException
from pyworker.tickets import SCHEMES, Scheme
from pyworker.wire_management import EndpointRequest

__all__ = ["by_their_names", "kept_as_given", "known_scheme", "seconds_left", "wanted_state"]

MOST_LEFT_S: Final = 1e9
STATES: Final = ("active", "stopped")
_OTHER_NAMES: Final = {"min_workers": "cold_workers"}
_NOT_EXTRA: Final = {"id", "api_key", "endpoint_id", "endpoint_name", "launch", "client_id", "created_at", "version"}
_SECRET: Final = {"docker_login_user", "docker_login_pass", "docker_login_repo"}  # clients send them; not ours to keep


def by_their_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the wire by the names that parameters have here."""
    return {_OTHER_NAMES.get(name, name): value for name, value in fields.items()}


def kept_as_given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the wire that mean nothing here and are given back as they came."""
    known = _NOT_EXTRA | _SECRET | set(GroupParameters.__struct_fields__)
    return {name: value for name, value in fields.items() if name not in known and value is not None}


def seconds_left(asked: EndpointRequest) -> float | None:
    """Until the endpoint is to delete itself, in s; below 0: never; None: it is not said. Raises JsonDataException."""
    left_s = asked.auto_delete_in_seconds
    if left_s is not None and not (left_s < 0 or 0 < left_s < MOST_LEFT_S):
        words = f"must be a number above 0, below {MOST_LEFT_S:g}; or below 0: never"
        raise JsonDataException({"auto_delete_in_seconds": words})
    return left_s


def wanted_state(asked: EndpointRequest) -> str | None:
    """Whether it is to be active or stopped; None when it is not said. Raises JsonDataException."""
    if asked.endpoint_state not in {None, *STATES}:
        raise JsonDataException({"endpoint_state": f"is {' or '.join(STATES)}"})
    return asked.endpoint_state


def known_scheme(number: int | None) -> Scheme | None:
    """A signature scheme; None for tickets. Raises BadRequest when there is no such scheme."""
    if number is None:
        return None
    for scheme in SCHEMES:
        if scheme == number:
            return scheme
    raise BadRequest("signature_scheme is 1, 3 or 4; leave it out for tickets")
