"""Counts the tokens of a prompt as SmolLM2 does, with the tokenizer that lies in the model file.

The text is cut at the model's control tokens, the rest into words by the expression that llama.cpp calls ``smollm``,
and each word is merged by byte pairs. How many tokens a word makes is remembered, so that a prompt of 1 KB costs some
40 µs.

Agrees with llama.cpp's ``/tokenize``. Only a text of more than ``EXACT_CHARACTERS``, which would keep the event loop
busy, is counted by that beginning and its share of the whole.
"""

from __future__ import annotations

import functools
import heapq
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from workers.hello_world.gguf_header import NotAModelFile, read_metadata
from workers.hello_world.weights import installed_model

__all__ = ["EXACT_CHARACTERS", "TokenCounter", "count_tokens", "load_counter", "load_tokenizer"]

EXACT_CHARACTERS: Final = 8_192
REMEMBERED_WORDS: Final = 16_384
REMEMBERED_CHARACTERS: Final = 32  # longer words do not come again

_CONTROL_TOKEN: Final = 3  # of tokenizer.ggml.token_type
_TOKENS, _TYPES, _MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"
_MODEL, _SPLITTER = "tokenizer.ggml.model", "tokenizer.ggml.pre"


def count_tokens(text: str) -> int:
    """How many tokens the installed model makes of ``text``. Raises what load_tokenizer() raises."""
    return load_tokenizer().count(text)


@functools.cache
def load_tokenizer() -> TokenCounter:
    """Read the installed model's tokenizer, once; it takes 0.05 s, so better at the start than within a request.

    Raises ModelNotInstalled or NotAModelFile.
    """
    return load_counter(installed_model())


def load_counter(model: Path) -> TokenCounter:
    """The counter of a model file. Raises NotAModelFile when its tokenizer is not of SmolLM2's kind."""
    data = read_metadata(model, (_MODEL, _SPLITTER, _TOKENS, _TYPES, _MERGES))
    if (data.get(_MODEL), data.get(_SPLITTER)) != (b"gpt2", b"smollm") or not {_TOKENS, _TYPES, _MERGES} <= data.keys():
        raise NotAModelFile(f"{model} does not hold a tokenizer of SmolLM2's kind")
    tokens: list[bytes] = data[_TOKENS]
    control = [token.decode() for token, kind in zip(tokens, data[_TYPES], strict=True) if kind == _CONTROL_TOKEN]
    silent = set(_BYTES).difference(tokens)
    return TokenCounter({merge: rank for rank, merge in enumerate(data[_MERGES])}, control, silent)


class TokenCounter:
    """Byte-pair encoding that only counts.

    ``merges``: ``b"left right"`` to its rank, the lowest merged first. ``control``: texts that are one token each.
    ``silent``: bytes without a token, which the model drops.
    """

    def __init__(self, merges: Mapping[bytes, int], control: Collection[str], silent: Collection[bytes]) -> None:
        self._counts = _WordCounts(merges, frozenset(silent))
        longest_first = sorted(control, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first))) if control else None

    def count(self, text: str) -> int:
        """How many tokens ``text`` is."""
        if len(text) > EXACT_CHARACTERS:
            return round(self.count(text[:EXACT_CHARACTERS]) * len(text) / EXACT_CHARACTERS)
        if self._control is None or not self._control.search(text):
            return self._count_words(text)
        parts = self._control.split(text)
        return len(parts) - 1 + sum(map(self._count_words, parts))

    def _count_words(self, text: str) -> int:
        words = _ASCII_WORDS if text.isascii() else _unicode_words()
        return sum(map(self._counts.__getitem__, words.findall(text)))


class _WordCounts(dict[str, int]):
    """Tokens by word; counted when first asked for, forgotten all at once when there are too many."""

    def __init__(self, merges: Mapping[bytes, int], silent: frozenset[bytes]) -> None:
        super().__init__()
        self._merges = merges
        self._silent = silent

    def __missing__(self, word: str) -> int:
        symbols = [_BYTES[byte] for byte in word.encode(errors="replace")]
        count = sum(symbol not in self._silent for symbol in _merge(symbols, self._merges))
        if len(word) <= REMEMBERED_CHARACTERS:
            if len(self) >= REMEMBERED_WORDS:
                self.clear()
            self[word] = count
        return count


def _merge(symbols: list[bytes], merges: Mapping[bytes, int]) -> list[bytes]:
    """The tokens of a word that is given byte by byte: of all neighbours those of lowest rank are joined; and again.

    A heap holds the pairs; those that a join has overtaken are recognised by their text and skipped.
    """
    after = [*range(1, len(symbols)), -1]
    before = list(range(-1, len(symbols) - 1))
    heap: list[tuple[int, int, bytes]] = []

    def offer(left: int, right: int) -> None:
        pair = symbols[left] + b" " + symbols[right]
        rank = merges.get(pair)
        if rank is not None:
            heapq.heappush(heap, (rank, left, pair))

    for left in range(len(symbols) - 1):
        offer(left, left + 1)
    while heap:
        _, left, pair = heapq.heappop(heap)
        right = after[left]
        if right < 0 or symbols[left] + b" " + symbols[right] != pair:
            continue
        symbols[left] += symbols[right]
        symbols[right] = b""
        after[left] = after[right]
        if after[left] >= 0:
            before[after[left]] = left
            offer(left, after[left])
        if before[left] >= 0:
            offer(before[left], left)
    return [symbol for symbol in symbols if symbol]


def _byte_symbols() -> tuple[bytes, ...]:
    """The character that stands for each byte in the vocabulary (GPT-2's table), as UTF-8."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(others)).encode() for byte in range(256))


def _words(letter: str, number: str, other: str) -> re.Pattern[str]:
    """GPT-2's expression for words, with every digit a word of its own, as llama.cpp's ``smollm`` cuts them."""
    gap = rf"[{_SPACE}]+"
    return re.compile(rf" ?{letter}+|'(?:[stmd]|re|ve|ll)|{number}| ?{other}+|{gap}(?!{letter}|{other})|{gap}")


@functools.cache
def _unicode_words() -> re.Pattern[str]:
    """``\\w`` holds the letters, the numbers and ``_``; numbers other than decimal digits have to be listed."""
    characters = filter(str.isnumeric, map(chr, range(0x80, 0x20000)))  # none lies higher
    numbers = "".join(c for c in characters if unicodedata.category(c) in {"Nl", "No"})
    return _words(rf"[^\W\d_{numbers}]", rf"[\d{numbers}]", rf"(?:[^\w{_SPACE}]|_)")


_BYTES: Final = _byte_symbols()
_SPACE: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ASCII_WORDS: Final = _words("[A-Za-z]", "[0-9]", r"[^\t-\r A-Za-z0-9]")
