"""``parameters`` of text-generation-inference as it documents them (its ``/docs``): types and bounds; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from lib.data_types import JsonDataException
from pyworker.fields import read_fields

__all__ = ["DEFAULT_NEW_TOKENS", "check_parameters"]

DEFAULT_NEW_TOKENS: Final = 100  # where max_new_tokens is not given


@dataclasses.dataclass
class _Parameters:
    """Their types. All may be left out; what is not here is newer than this, and TGI's to judge."""

    adapter_id: str | None = None
    best_of: int | None = None
    decoder_input_details: bool | None = None
    details: bool | None = None
    do_sample: bool | None = None
    frequency_penalty: float | None = None
    grammar: dict[str, Any] | None = None
    max_new_tokens: int | None = None
    repetition_penalty: float | None = None
    return_full_text: bool | None = None
    seed: int | None = None
    stop: list[str] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_n_tokens: int | None = None
    top_p: float | None = None
    truncate: int | None = None
    typical_p: float | None = None
    watermark: bool | None = None


@dataclasses.dataclass(frozen=True)
class _Bounds:
    """``above`` is left out itself, the others are not."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def hold(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )

    def __str__(self) -> str:
        words = {"above": self.above, "at least": self.at_least, "at most": self.at_most}
        return "must be " + " and ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None)


_BOUNDS: Final[Mapping[str, _Bounds]] = {
    "best_of": _Bounds(at_least=1),
    "frequency_penalty": _Bounds(above=-2),
    "max_new_tokens": _Bounds(at_least=1),
    "repetition_penalty": _Bounds(above=0),
    "seed": _Bounds(at_least=0, at_most=2**64 - 1),
    "temperature": _Bounds(above=0),
    "top_k": _Bounds(above=0),
    "top_n_tokens": _Bounds(at_least=0),
    "top_p": _Bounds(above=0, at_most=1),
    "truncate": _Bounds(at_least=1),
    "typical_p": _Bounds(above=0, at_most=1),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raises JsonDataException ``{parameter: reason}`` with all that is wrong."""
    problems: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        try:
            given |= read_fields({name: value}, _Parameters)
        except JsonDataException as error:
            problems.update(error.message)
    for name, bounds in _BOUNDS.items():
        if given.get(name) is not None and not bounds.hold(given[name]):
            problems[name] = str(bounds)
    grammar = given.get("grammar")
    if grammar is not None and not {"type", "value"} <= grammar.keys():
        problems["grammar"] = 'expected {"type": "json" or "regex", "value": ...}'
    if problems:
        raise JsonDataException(problems)
