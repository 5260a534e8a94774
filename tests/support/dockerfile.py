"""A Dockerfile as data: its instructions by stage. Enough of the format for one that is written plainly."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
}  # fmt: skip


@dataclass
class Stage:
    """``base`` is an image or an earlier stage; instructions are (name, rest of the line)."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def all(self, name: str) -> list[str]:
        """The arguments of each instruction of this name."""
        return [rest for instruction, rest in self.instructions if instruction == name]


def read(path: Path) -> list[Stage]:
    """Its stages. Raises ValueError with the line that is no instruction."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        if name not in INSTRUCTIONS or not rest.strip():
            raise ValueError(f"no instruction: {line!r}")
        if name == "FROM":
            match = re.fullmatch(r"(\S+) AS ([a-z][a-z0-9-]*)", rest)
            if match is None:
                raise ValueError(f"a stage without a name: {line!r}")
            stages.append(Stage(match[2], match[1]))
        elif not stages:
            raise ValueError(f"before the first FROM: {line!r}")
        else:
            stages[-1].instructions.append((name, rest.strip()))
    return stages


def commands(run: str) -> list[list[str]]:
    """The commands of a RUN, as argument lists."""
    if run.startswith("["):
        return [json.loads(run)]
    return [shlex.split(part) for part in run.split("&&")]


def copied(rest: str) -> tuple[str | None, list[str]]:
    """Of a COPY: the stage that it is from, None for the repository, and the sources."""
    words = shlex.split(rest)
    options = [word for word in words if word.startswith("--")]
    stage = next((word.partition("=")[2] for word in options if word.startswith("--from=")), None)
    return stage, [word for word in words if not word.startswith("--")][:-1]
