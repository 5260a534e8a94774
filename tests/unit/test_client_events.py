"""Server-sent events from the pieces of a body."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.client.events import Event, EventReader, LineReader

BODY = (
    '\ufeffdata: one\n\n: a comment\n\nevent: token\r\nid: 7\r\ndata: {"t": "ü"}\r\n\r\n'
    "data:a\rdata: b\r\rretry: 5\nunknown\n\ndata\n\nevent: lost\n\ndata: last, without an end"
).encode()
EVENTS = [
    Event("one"),
    Event('{"t": "ü"}', "token", "7"),
    Event("a\nb", id="7"),
    Event("", id="7"),
    Event("last, without an end", id="7"),
]


def read(reader: EventReader | LineReader, pieces: list[bytes]) -> list[Event]:
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.feed(b"", last=True)]


@given(st.lists(st.integers(0, len(BODY))))
def test_events_are_the_same_wherever_the_body_was_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(BODY)]
    pieces = [BODY[begin:end] for begin, end in itertools.pairwise(places)]
    assert read(EventReader(), pieces) == EVENTS


def test_an_event_is_there_as_soon_as_its_empty_line_is() -> None:
    reader = EventReader()
    assert list(reader.feed(b"data: one\n")) == []
    assert list(reader.feed(b"\n")) == [Event("one")]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1))
def test_data_of_several_lines_comes_back_as_it_was(lines: list[str]) -> None:
    body = "".join(f"data: {line}\n" for line in lines) + "\n"
    assert read(EventReader(), [body.encode()]) == [Event("\n".join(lines))]


def test_an_id_stays_until_there_is_another_and_none_with_a_zero_counts() -> None:
    body = b"id: 1\ndata: a\n\ndata: b\n\nid: 2\x00\ndata: c\n\n"
    assert [event.id for event in read(EventReader(), [body])] == ["1", "1", "1"]


@given(st.lists(st.integers(0, 30)))
def test_lines_are_events_too(cuts: list[int]) -> None:
    body = '{"t": 1}\n\n{"t": "ü"}\r\n{"t": 3}'.encode()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[begin:end] for begin, end in itertools.pairwise(places)]
    assert [event.json()["t"] for event in read(LineReader(), pieces)] == [1, "ü", 3]


def test_data_that_is_no_json_says_so() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        Event("soon").json()
