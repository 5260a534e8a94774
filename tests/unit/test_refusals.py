"""Refusals of a worker that are alike: the first at once, then how many more, once a second."""

from __future__ import annotations

from pyworker.worker.core.refusals import MOST_KINDS, VARIOUS, Refusals


def test_the_first_of_a_kind_is_told_at_once_and_the_others_as_a_number() -> None:
    refusals = Refusals()
    assert [refusals.add("no ticket") for _ in range(4)] == [("no ticket", True), *[("no ticket", False)] * 3]
    assert refusals.add("used") == ("used", True)
    assert (refusals.rest("no ticket"), refusals.rest("used")) == (3, 0)


def test_while_they_go_on_they_are_told_as_numbers_only() -> None:
    refusals = Refusals()
    refusals.add("no ticket")
    refusals.add("no ticket")
    assert refusals.rest("no ticket") == 1
    assert refusals.add("no ticket") == ("no ticket", False)
    assert refusals.rest("no ticket") == 1


def test_after_a_second_without_any_the_next_is_a_first_one() -> None:
    refusals = Refusals()
    refusals.add("no ticket")
    assert refusals.rest("no ticket") == 0
    assert refusals.add("no ticket") == ("no ticket", True)


def test_kinds_without_end_do_not_fill_the_memory_nor_the_log() -> None:
    refusals = Refusals()
    told = [refusals.add(str(number)) for number in range(1000)]
    assert sum(is_first for _, is_first in told) == MOST_KINDS + 1
    assert refusals.rest(VARIOUS) == 1000 - MOST_KINDS - 1
