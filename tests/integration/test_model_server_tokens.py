"""Prompt tokens are what llama.cpp's ``/tokenize`` says they are, for all sorts of text."""
# ruff: noqa: S311 - the same texts every time

from __future__ import annotations

import http.client
import itertools
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import xllamacpp

from workers.hello_world.prompt_tokens import EXACT_CHARACTERS, count_tokens
from workers.hello_world.weights import installed_model

ROOT = Path(__file__).parents[2]
PIECES = (
    *("  ", " ", "\n", "\t", "\r\n", "\n\n  ", "\u00a0", "\u2003", "\u3000", "\u200b", "\x1c", "\x00", "\x04"),
    *(
        "a",
        "The",
        "don't",
        "'ll",
        "'S",
        "'",
        "\u2019s",
        "é",
        "e\u0301",
        "ß",
        "日本",
        "\u0627",
        "한국",
        "\ufffd",
        "\U0001f1e9",
    ),
    *("1", "23", "²", "½", "Ⅷ", "१२", "٣", "😀", "👩‍👩‍👧", "_", "__", "->", "=====", "#!", "\\n", "0x1f", "3.14"),
    *("<|im_start|>", "<file_sep>", "<|im", "|>"),
)

Tokenize = Callable[[str], int]


@pytest.fixture(scope="module")
def tokenize() -> Iterator[Tokenize]:
    """How many tokens llama.cpp makes of a text."""
    params = xllamacpp.CommonParams()
    params.model.path = str(installed_model())
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 256, 1, 1
    params.verbosity, params.warmup, params.fit_params = 0, False, False
    server = xllamacpp.Server(params)
    connection = http.client.HTTPConnection(urlsplit(server.listening_address).netloc, timeout=30)

    def ask(text: str) -> int:
        connection.request("POST", "/tokenize", json.dumps({"content": text}), {"Content-Type": "application/json"})
        return len(json.loads(connection.getresponse().read())["tokens"])

    yield ask
    connection.close()
    del server


def differing(texts: Iterator[str], tokenize: Tokenize) -> list[tuple[str, int, int]]:
    """Those texts that are counted differently, with our count and llama.cpp's."""
    counts = ((text, count_tokens(text), tokenize(text)) for text in texts)
    return [(text, ours, theirs) for text, ours, theirs in counts if ours != theirs]


def test_code_and_prose(tokenize: Tokenize) -> None:
    paths = [*ROOT.glob("src/pyworker/*.py"), *ROOT.glob("*.md"), ROOT / "pyproject.toml"]
    whole = "\n".join(path.read_text() for path in paths)
    pages = (whole[at : at + EXACT_CHARACTERS] for at in range(0, len(whole), EXACT_CHARACTERS))
    assert differing(pages, tokenize) == []


def test_every_character_alone_doubled_and_among_others(tokenize: Tokenize) -> None:
    codes = [*range(0x3400), *range(0x3400, 0x20000, 19)]  # above, long runs of characters are alike
    letters_to_symbols = (chr(code) for code in codes if unicodedata.category(chr(code)) not in {"Cs", "Cn"})
    words = (f"a{character} {character}b {character}{character} 1{character}\n" for character in letters_to_symbols)
    pages = ("".join(page) for page in iter(lambda: list(itertools.islice(words, 400)), []))
    assert differing(pages, tokenize) == []


def test_spaces_digits_marks_and_control_tokens_in_any_order(tokenize: Tokenize) -> None:
    choose = random.Random(1)
    texts = ("".join(choose.choices(PIECES, k=choose.randrange(1, 300))) for _ in range(400))
    assert differing(texts, tokenize) == []


def test_characters_in_any_order(tokenize: Tokenize) -> None:
    choose = random.Random(2)
    ranges = [range(0x80), range(0x20, 0x250), range(0x20, 0x3000)]
    texts = ("".join(chr(choose.choice(choose.choice(ranges))) for _ in range(200)) for _ in range(400))
    assert differing(texts, tokenize) == []


def test_long_words_without_a_space(tokenize: Tokenize) -> None:
    choose = random.Random(3)
    alphabets = ["a", "ab", " ", "=", "abcdefghijklmnopqrstuvwxyz", "ABCDEFabcdef+/", "aé日😀"]
    texts = ("".join(choose.choices(alphabet, k=2000)) for alphabet in alphabets)
    assert differing(texts, tokenize) == []
