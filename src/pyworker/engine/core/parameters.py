"""What an endpoint and a workergroup are told: their parameters, with the defaults and meanings of the wire, section 6.

Pure. A parameter that is out of its range is named, with the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from pyworker.engine.core.key_limits import KeyLimits
from pyworker.errors import JsonDataException
from pyworker.fields import read_fields

__all__ = [
    "A_NAME",
    "PLACEHOLDERS",
    "EndpointParameters",
    "GroupParameters",
    "Launch",
    "Resources",
    "checked",
    "checked_name",
    "is_name",
]

PLACEHOLDERS: Final = frozenset({"folder", "model_log", "model_port", "python", "worker_port"})


class EndpointParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an endpoint scales and queues. Loads are in workload/s, times in s."""

    min_load: float = 1.0  # must always be servable by active workers; 0 allows none
    target_util: float = 0.9  # anticipated load / active capacity
    cold_mult: float = 3.0  # total capacity, active and cold, as a multiple of the active target
    min_cold_load: float = 0.0  # floor for the total capacity
    cold_workers: int = 5  # at least so many with the model loaded, active or cold
    max_workers: int = 16  # hard limit, active and cold
    max_queue_time: float = 30.0  # a worker with a longer expected wait gets no more requests
    target_queue_time: float = 10.0  # above this workers are added fast
    inactivity_timeout: float | None = None  # without requests for so long: may go to zero; negative: never
    key_requests_per_minute: float = 0.0  # with the endpoint's own key; 0: no limit
    key_workload_per_minute: float = 0.0
    key_concurrent: int = 0

    @property
    def key_limits(self) -> KeyLimits:
        """What may be asked with the endpoint's own key."""
        return KeyLimits(
            requests_per_minute=self.key_requests_per_minute,
            workload_per_minute=self.key_workload_per_minute,
            concurrent=self.key_concurrent,
        )


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker takes of a machine."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 0.0
    custom: dict[str, float] = {}


class Launch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes of one worker, as argument lists (never a shell's), and what they find in their environment.

    In every text the PLACEHOLDERS stand for what a provider chose at this start: ``{model_port}``, ``{worker_port}``,
    ``{model_log}``, ``{folder}`` (the worker's own), ``{python}``. The environment may hold secrets: its values are
    not in the ``repr()``.
    """

    worker: tuple[str, ...]
    model: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    working_directory: str = ""  # of the engine, when empty
    resources: Resources = Resources()

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name != "environment"}
        names = ", ".join(self.environment)
        return f"Launch({', '.join(f'{name}={value!r}' for name, value in shown.items())}, environment=<{names}>)"


class GroupParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workergroup: workers made alike, by one provider.

    Without a ``launch`` (provider ``external``) its workers join with a token and are not started.
    """

    name: str = "default"
    provider: str = "external"
    launch: Launch | None = None
    max_workers: int | None = None  # None: the endpoint's limit alone
    test_workers: int = 3  # made first, to learn what one can do
    signature_scheme: int | None = None  # None: tickets
    drain_s: float = 30.0  # how long requests and sessions may finish when a worker is stopped


MOST_OF_NAME: Final = 100  # characters
A_NAME: Final = f"1 to {MOST_OF_NAME} characters that can be printed"
_FROM_0: Final = (0.0, math.inf, "a number, 0 or more")
_ABOVE_0: Final = (math.nextafter(0.0, 1.0), math.inf, "a number above 0")
_A_LIMIT: Final = (0.0, 1e12, "a number from 0 to 1e12; 0: no limit")
_MOST_AT_ONCE: Final = (0.0, 1e9, "a whole number from 0 to 1e9; 0: no limit")
_RANGES: Final[Mapping[str, tuple[float, float, str]]] = {
    "min_load": _FROM_0,
    "target_util": (math.nextafter(0.0, 1.0), 1.0, "above 0 and at most 1"),
    "cold_mult": (1.0, math.inf, "1 or more"),
    "min_cold_load": _FROM_0,
    "cold_workers": (0, 10_000, "from 0 to 10000"),
    "max_workers": (0, 10_000, "from 0 to 10000"),
    "max_queue_time": _ABOVE_0,
    "target_queue_time": _ABOVE_0,
    "inactivity_timeout": (-math.inf, math.inf, "a number of seconds; below 0: never to zero"),
    "key_requests_per_minute": _A_LIMIT,
    "key_workload_per_minute": _A_LIMIT,
    "key_concurrent": _MOST_AT_ONCE,
    "requests_per_minute": _A_LIMIT,
    "workload_per_minute": _A_LIMIT,
    "concurrent": _MOST_AT_ONCE,
    "test_workers": (1, 10_000, "from 1 to 10000"),
    "drain_s": (0.0, 86_400.0, "from 0 to 86400"),
    "cpus": _FROM_0,
    "gpus": _FROM_0,
    "memory_gb": _FROM_0,
}
_ONE_OF: Final[Mapping[str, frozenset[object]]] = {
    "provider": frozenset({"local", "ray", "external"}),
    "signature_scheme": frozenset({1, 3, 4}),
}

_Parameters = TypeVar("_Parameters", bound=msgspec.Struct)


def checked(parameters: _Parameters, changes: Mapping[str, Any]) -> _Parameters:
    """The parameters with these changes; ``null`` changes nothing, what is no parameter is ignored.

    Raises JsonDataException ``{name: what it must be}`` with all that is wrong.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    changed = msgspec.structs.replace(parameters, **read_fields(given, type(parameters)))
    problems = {name: f"must be {words}" for name, words in _out_of_range(changed)}
    if problems:
        raise JsonDataException(problems)
    return changed


def is_name(text: str) -> bool:
    """Whether an endpoint, a workergroup or a key may be called so: in a log and in a terminal it is one line."""
    return bool(text.strip()) and len(text) <= MOST_OF_NAME and text.isprintable()


def checked_name(text: str | None, field: str) -> str:
    """The name that the field gives. Raises JsonDataException when it gives none, or one that cannot be used."""
    if text is None or not is_name(text):
        raise JsonDataException({field: f"must be {A_NAME}"})
    return text


def _out_of_range(parameters: msgspec.Struct) -> Iterator[tuple[str, str]]:
    for name in parameters.__struct_fields__:
        value = getattr(parameters, name)
        if value is None:
            continue
        if name == "name" and not is_name(value):
            yield name, A_NAME
        if name in _RANGES and not _within(value, *_RANGES[name][:2]):
            yield name, _RANGES[name][2]
        if name in _ONE_OF and value not in _ONE_OF[name]:
            yield name, " or ".join(sorted(str(choice) for choice in _ONE_OF[name]))


def _within(value: float, low: float, high: float) -> bool:
    return low <= value <= high and math.isfinite(value)
