"""A Python that has pyworker as its wheel has it: without the folders of this repository beside it."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_alone(tmp_path: Path, code: str, *more: str) -> list[str]:
    """A command that runs ``code`` there, with the folders ``more`` at the end of its path."""
    site = tmp_path / "site"
    site.mkdir(exist_ok=True)
    if not (site / "pyworker").exists():
        (site / "pyworker").symlink_to(ROOT / "src" / "pyworker", target_is_directory=True)
    path = [str(site), sysconfig.get_path("purelib"), *more]  # no .pth is read: -S
    return [sys.executable, "-S", "-P", "-c", f"import sys; sys.path += {path}\n{code}"]
