"""Every variable that is read from the environment is on its page, and nothing else is."""

from __future__ import annotations

import re

from pyworker.settings import VARIABLES
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "environment.md"


def _rows(section: str) -> dict[str, str]:
    """Name to meaning, of the tables under a heading."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.MULTILINE))


def test_every_variable_of_the_worker_is_documented_in_its_own_words() -> None:
    rows = _rows("The worker")
    for variable in VARIABLES:
        assert rows.get(variable.name) == variable.use, f"{PAGE.name} must say of {variable.name}: {variable.use}"


def test_every_variable_of_the_start_script_is_documented_and_nothing_else() -> None:
    script = re.sub(r"^\s*#.*$", "", (ROOT / "start_server.sh").read_text(), flags=re.MULTILINE)
    own = set(re.findall(r"^readonly (\w+)", script, re.MULTILINE)) | {"BASH", "BASH_SOURCE", "OWN_FOLDER", "SECONDS"}
    read = set(re.findall(r"(?:\$\{!?|\$|\bneed |\bis_true )([A-Z][A-Z_]+)", script)) - own
    rows = _rows("The start script")
    assert read - rows.keys() - _rows("The worker").keys() == {"VAST_TCP_PORT_", "PYTHONPATH"} & read
    assert rows.keys() - read == {"HF_TOKEN"}  # which is only passed on
