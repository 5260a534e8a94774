"""Every field of the declarative style is on its page, with its default, in the words of the code."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pyworker import BenchmarkConfig, HandlerConfig, LogActionConfig, WorkerConfig
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "declarative.md"
CLASSES = [WorkerConfig, HandlerConfig, BenchmarkConfig, LogActionConfig]


def table(cls: Any) -> list[str]:
    """The rows that the page must have."""
    words = dict(attributes(cls))
    return [f"| `{field.name}` | `{default(field)}` | {words[field.name]} |" for field in dataclasses.fields(cls)]


def attributes(cls: Any) -> Iterator[tuple[str, str]]:
    """Each field and what its class's docstring says of it."""
    text = inspect.getdoc(cls).partition("Attributes:\n")[2]  # type: ignore[union-attr]
    for name, words in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
        yield name, re.sub(r"``(.*?)``", r"`\1`", " ".join(words.split()))


def default(field: Any) -> str:
    """As it is written."""
    made = field.default_factory() if field.default is dataclasses.MISSING else field.default
    return repr(made).replace("'", '"')


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_is_documented_with_its_default_in_its_own_words(cls: Any) -> None:
    section = PAGE.read_text().partition(f"## {cls.__name__}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `.*` \| `.*` \| .* \|$", section, re.MULTILINE) == table(cls)
