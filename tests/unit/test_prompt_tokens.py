"""Prompt tokens: known counts, byte pairs against a plain reference, and what it costs."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.hello_world import prompt_tokens
from workers.hello_world.gguf_header import read_metadata
from workers.hello_world.prompt_tokens import EXACT_CHARACTERS, TokenCounter, count_tokens, load_counter
from workers.hello_world.weights import installed_model

# as llama.cpp's /tokenize counts them; the integration test asks it about many more
KNOWN = {
    "": 0,
    "Hello": 1,
    "What is the capital of France?": 7,
    "Hello wörld 123 <|im_start|>": 10,
    "  two  spaces\n\n\tand a tab ": 10,
    "\x04": 0,  # a byte the vocabulary lacks
}


@pytest.mark.parametrize(("text", "tokens"), KNOWN.items())
def test_counts_as_the_model_does(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_a_control_token_is_one_wherever_it_stands() -> None:
    assert count_tokens("<|im_start|>Hello<|im_end|>") == 3
    assert count_tokens("<|im_start") > 1


def test_a_lone_surrogate_is_counted_and_does_not_fail() -> None:
    assert count_tokens("a\ud800b") == count_tokens("a?b")


def test_a_very_long_prompt_is_counted_by_its_beginning() -> None:
    sentence = " The worker counts the tokens of every prompt."
    times = EXACT_CHARACTERS * 3 // len(sentence)
    assert count_tokens(sentence * times) == pytest.approx(count_tokens(sentence) * times, rel=0.01)


def test_forgetting_words_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_tokens, "REMEMBERED_WORDS", 2)
    assert count_tokens("one two three four one two three four") == 8


def test_the_tokenizer_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        counter = load_counter(installed_model())
        assert counter.count("Hello") == 1
        assert tracemalloc.get_traced_memory()[0] < 12_000_000
    finally:
        tracemalloc.stop()


MERGES = {
    merge: rank for rank, merge in enumerate(read_metadata(installed_model(), ["tokenizer.ggml.merges"]).popitem()[1])
}


@given(st.text("abcdehilnorst", min_size=1, max_size=60))
def test_byte_pairs_join_as_the_plain_algorithm_joins_them(word: str) -> None:
    assert TokenCounter(MERGES, (), ()).count(word) == len(plain_byte_pairs(word))


def plain_byte_pairs(word: str) -> list[bytes]:
    """Look for the leftmost pair of lowest rank, join it, begin again."""
    symbols = [character.encode() for character in word]
    while True:
        pairs = [(MERGES.get(b"%b %b" % pair, len(MERGES)), at) for at, pair in enumerate(itertools.pairwise(symbols))]
        rank, at = min(pairs, default=(len(MERGES), 0))
        if rank == len(MERGES):
            return symbols
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
