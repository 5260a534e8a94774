"""Prompts that no cache knows."""

from __future__ import annotations

from pyworker.prompts import random_prompt


def test_a_prompt_has_as_many_words_as_asked_for() -> None:
    assert [len(random_prompt(words).split()) for words in (0, 1, 250)] == [0, 1, 250]


def test_no_two_prompts_begin_alike() -> None:
    """What prefix caches keep are blocks of the beginning."""
    beginnings = {" ".join(random_prompt(100).split()[:8]) for _ in range(1000)}
    assert len(beginnings) == 1000
