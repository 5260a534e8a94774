"""The lock files pin by hash, name no address, and fit what pyproject.toml asks for."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_holds_versions_and_hashes_and_nothing_else(lock: Path) -> None:
    allowed = re.compile(r"[a-z0-9.-]+==[\w.]+( ; [\w<>=!.' ]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lock.read_text().splitlines() if not allowed.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_has_a_hash(lock: Path) -> None:
    lines = lock.read_text().splitlines()
    following = {line: after for line, after in zip(lines, [*lines[1:], ""], strict=True) if "==" in line}
    assert following
    assert [line for line, after in following.items() if "--hash=" not in after] == []


def test_whatever_pyproject_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[^\w-]", line)[0].lower() for line in wanted}
    assert names <= set(_versions(ROOT / "requirements" / "dev.txt"))


def test_what_runs_has_the_same_versions_as_what_is_tested() -> None:
    dev = _versions(ROOT / "requirements" / "dev.txt")
    for name in ("run.txt", "hello-world.txt"):
        locked = _versions(ROOT / "requirements" / name)
        assert locked == {package: dev[package] for package in locked}, name
        assert {"aiohttp", "typer"} <= locked.keys()


def test_what_builds_packages_has_the_same_version_in_both_files() -> None:
    build, dev = (_versions(ROOT / "requirements" / name) for name in ("build.txt", "dev.txt"))
    assert {name: dev[name] for name in build if name in dev} == {name: build[name] for name in build if name in dev}


def _versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock.read_text(), re.MULTILINE))
