"""docs/reference/deployment.md against the code: fields, defaults, placeholders, and an example that is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pyworker.engine.core.deployment.reading import GROUP_FIELDS, MODEL_FIELDS
from pyworker.engine.core.parameters import PLACEHOLDERS, EndpointParameters, GroupParameters, Resources
from pyworker.engine.deployment import load
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "reference" / "deployment.md"
FIELDS = {
    "[endpoint]": {"name", *EndpointParameters.__struct_fields__},
    "[[workergroup]]": set(GROUP_FIELDS),
    "[workergroup.model]": set(MODEL_FIELDS),
    "[workergroup.resources]": set(Resources.__struct_fields__),
}


def _rows(section: str) -> dict[str, str]:
    """The second column by the first, of the table under a heading."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]*)(?: \||$)", text, re.MULTILINE))


@pytest.mark.parametrize("section", FIELDS)
def test_every_field_is_on_the_page_and_no_other(section: str) -> None:
    assert _rows(section).keys() == FIELDS[section]


def test_every_placeholder_is_on_the_page_and_no_other() -> None:
    assert {name.strip("{}") for name in _rows("Placeholders and variables")} == PLACEHOLDERS


@pytest.mark.parametrize(
    ("section", "type_"),
    [("[endpoint]", EndpointParameters), ("[[workergroup]]", GroupParameters), ("[workergroup.resources]", Resources)],
)
def test_defaults_that_are_numbers_are_those_of_the_code(section: str, type_: type[msgspec.Struct]) -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(type_)}
    shown = {name: float(words) for name, words in _rows(section).items() if re.fullmatch(r"[\d.]+", words)}
    assert shown == {name: defaults[name] for name in shown}
    assert shown.keys() >= {name for name, default in defaults.items() if type(default) in {int, float}}


def test_the_example_of_the_page_is_a_deployment(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(PAGE) if block.check == "deployment"]
    (tmp_path / "deployment.toml").write_text(block.text)
    (tmp_path / "workers" / "chat").mkdir(parents=True)
    (tmp_path / "workers" / "chat" / "server.py").touch()
    deployment = load(tmp_path, {"MODEL": "some/model", "HF_TOKEN": "hf"})
    assert deployment.name == "chat"
    qwen, rented = deployment.groups
    assert qwen.launch is not None
    assert qwen.launch.model == ("vllm", "serve", "some/model", "--port", "{model_port}")
    assert (rented.provider, rented.launch) == ("external", None)
