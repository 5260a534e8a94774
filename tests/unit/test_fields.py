"""A JSON object checked against a class: every field that is missing or mistyped is named at once."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pytest

from pyworker.errors import JsonDataException
from pyworker.fields import read_fields


class Picture:
    """A type that JSON does not have."""


class Size(enum.Enum):
    SMALL = "small"


@dataclass
class Inner:
    seed: int


@dataclass
class Payload:
    prompt: str
    max_tokens: int
    temperature: float = 1.0
    stop: list[str] = field(default_factory=list)
    inner: Inner | None = None
    size: Size = Size.SMALL
    mode: Literal["fast", "good"] = "fast"
    anything: Any = None
    derived: str = field(init=False, default="")


@dataclass
class Positive:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("must be 0 or more")


@dataclass
class WithPositive:
    positive: Positive
    seed: int | str | None = None


class Renamed(msgspec.Struct, rename={"inside": "__outside"}):
    inside: int


FULL = {"prompt": "hi", "max_tokens": 3}


def problems(message: dict[str, Any], cls: type[Any] = Payload) -> dict[str, Any]:
    with pytest.raises(JsonDataException) as caught:
        read_fields(message, cls)
    return caught.value.message


def test_what_is_given_is_read_and_the_rest_left_to_the_defaults() -> None:
    assert Payload(**read_fields(FULL, Payload)) == Payload("hi", 3)


def test_every_missing_and_every_mistyped_field_is_named_at_once() -> None:
    assert problems({"max_tokens": "3", "temperature": [], "stop": "x", "inner": 1}) == {
        "prompt": "missing parameter",
        "max_tokens": "expected integer, got string",
        "temperature": "expected number, got array",
        "stop": "expected array, got string",
        "inner": "expected object | null, got integer",
    }


def test_null_is_not_given() -> None:
    assert problems({"prompt": None, "max_tokens": 1}) == {"prompt": "missing parameter"}
    assert read_fields({**FULL, "temperature": None, "stop": None}, Payload) == FULL


def test_unknown_fields_are_ignored() -> None:
    assert read_fields({**FULL, "colour": "red", "derived": "x"}, Payload) == FULL


@pytest.mark.parametrize("message", [{"prompt": "x"}, {"prompt": "x", "max_tokens": None}])
def test_an_optional_field_without_a_default_is_none_when_it_is_not_given(message: dict[str, Any]) -> None:
    @dataclass
    class Optionally:
        prompt: str
        max_tokens: int | None

    assert Optionally(**read_fields(message, Optionally)) == Optionally("x", None)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("prompt", 1, "expected string, got integer"),
        ("prompt", {}, "expected string, got object"),
        ("max_tokens", True, "expected integer, got boolean"),
        ("max_tokens", 1.5, "expected integer, got number"),
        ("temperature", "1", "expected number, got string"),
        ("temperature", True, "expected number, got boolean"),
        ("stop", ["a", 1], "expected string, got integer - at $[1]"),
        ("inner", {"seed": "x"}, "expected integer, got string - at $.seed"),
        ("inner", {}, "object missing required field seed"),
        ("size", "huge", "invalid enum value 'huge'"),
        ("mode", "bad", "invalid enum value 'bad'"),
    ],
)
def test_the_reason_says_what_was_expected_and_what_came(name: str, value: Any, reason: str) -> None:
    assert problems({**FULL, name: value}) == {name: reason}


def test_values_become_what_the_class_says() -> None:
    message = {**FULL, "temperature": 1, "inner": {"seed": 2}, "size": "small", "anything": {"x": [None]}}
    payload = Payload(**read_fields(message, Payload))
    assert (payload.temperature, type(payload.temperature)) == (1.0, float)
    assert (payload.inner, payload.size, payload.anything) == (Inner(2), Size.SMALL, {"x": [None]})


def test_an_integer_above_every_float_is_not_a_number() -> None:
    assert problems({**FULL, "temperature": 10**400}) == {"temperature": "number out of range"}


def test_a_value_is_passed_on_as_it_is_when_nothing_is_to_be_converted() -> None:
    stop = ["a"]
    anything = {"x": stop}

    @dataclass
    class Plain:
        stop: list  # type: ignore[type-arg]
        anything: dict  # type: ignore[type-arg]

    values = read_fields({"stop": stop, "anything": anything}, Plain)
    assert values["stop"] is stop
    assert values["anything"] is anything


def test_a_type_that_json_does_not_have_is_taken_as_it_comes() -> None:
    @dataclass
    class WithPicture:
        picture: Picture
        maybe: Picture | None = None
        either: int | str | Picture = 0

    message = {"picture": "base64", "maybe": 1, "either": "x"}
    assert read_fields(message, WithPicture) == message


def test_annotations_that_cannot_be_evaluated_are_not_checked() -> None:
    @dataclass
    class Unknown:
        prompt: NoSuchType  # type: ignore[name-defined]  # noqa: F821

    assert read_fields({"prompt": 1}, Unknown) == {"prompt": 1}
    assert problems({}, Unknown) == {"prompt": "missing parameter"}


def test_a_renamed_field_has_one_name_in_the_json_and_another_in_the_class() -> None:
    assert Renamed(**read_fields({"__outside": 1}, Renamed)) == Renamed(1)
    assert problems({"inside": 1}, Renamed) == {"__outside": "missing parameter"}


def test_a_class_of_ones_own_can_refuse_a_value() -> None:
    assert problems({"positive": {"number": -1}}, WithPositive) == {"positive": "must be 0 or more"}


def test_a_field_of_several_types_names_them_all() -> None:
    assert problems({"positive": {"number": 1}, "seed": []}, WithPositive) == {
        "seed": "expected integer | string | null, got array"
    }
