"""docs/reference/commands.md against the commands: every option is there, and no other."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer.main

from pyworker.cli import app
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "commands.md").read_text()
ENVIRONMENT = (ROOT / "docs" / "reference" / "environment.md").read_text()
SCRIPTS = {
    "workers.hello_world.client": "A worker's own scripts",
    "workers.hello_world.test_load": "A worker's own scripts",
    "workers.hello_world.model_server": "The example's model server",
    "workers.hello_world.demo": "The example's model server",
    "benchmarks": "Benchmarks",
}


def _commands() -> dict[str, list[typer.main.click.Parameter]]:
    """Parameters by the command's words."""
    found: dict[str, list[typer.main.click.Parameter]] = {}

    def add(words: str, command: typer.main.click.Command) -> None:
        found[words] = command.params
        for name, inner in getattr(command, "commands", {}).items():
            add(f"{words} {name}", inner)

    add("pyworker", typer.main.get_command(app))
    return found


def _section(words: str) -> str:
    """The text under the heading that begins with these words."""
    match = re.search(rf"^## {re.escape(words)}( [A-Z ]+)?$\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return match[2] if match else ""


def _options_shown(words: str) -> set[str]:
    """Those with a row in the section's table."""
    return {name for line in _section(words).splitlines() if line.startswith("| `-") for name in _options_in(line)}


def _options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<=[`, ])(--?[a-z][a-z-]*)", text))


@pytest.mark.parametrize("words", [words for words, params in _commands().items() if len(words.split()) > 1 and params])
def test_the_page_has_the_options_of_each_command(words: str) -> None:
    options = {name for param in _commands()[words] if param.param_type_name == "option" for name in param.opts}
    common = _options_shown("Which engine")
    assert _section(words) or not options - {"--help"}
    assert common == {"--engine", "--api-key", "-k"}
    expected = options - {"--help"} - (common if common <= options else set())
    assert _options_shown(words) == expected


def test_the_page_has_a_section_for_each_command_and_no_other() -> None:
    commands = _commands()
    groups = {" ".join(words.split()[:-1]) for words in commands}
    shown = {re.sub(r" [A-Z ]+$", "", words) for words in re.findall(r"^## (pyworker .*)$", PAGE, re.MULTILINE)}
    assert shown == commands.keys() - groups


@pytest.mark.parametrize("module", SCRIPTS)
def test_the_page_has_the_options_of_each_script(module: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", module, "--help"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    options = set(re.findall(r"(?<=[ ,])(--?[a-z][a-z-]*)", done.stdout.partition("options:")[2]))
    assert options - {"-h", "--help"} <= _options_in(_section(SCRIPTS[module]))


def test_the_variables_that_commands_read_are_on_the_page_of_the_environment() -> None:
    read = {str(param.envvar) for params in _commands().values() for param in params if param.envvar}
    assert read
    assert [name for name in sorted(read) if f"| `{name}` |" not in ENVIRONMENT] == []
