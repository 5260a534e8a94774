"""A log written, renamed, emptied and looked at in any order: every complete line arrives once, in order."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyworker.worker.model.log_tail import LogTail

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\ufffd"), max_size=20)
SETTLED_POLLS = 20


class LogIsFollowed(RuleBasedStateMachine):
    """The writer writes numbered lines in pieces; what it wrote is compared with what was read."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model.log"
        self.written_to = self.path
        self.tail = LogTail(self.path)
        self.lines = 0
        self.rest = b""  # of the line that is being written
        self.line = ""
        self.due: list[str] = []  # complete lines that must have come by the end
        self.unseen: list[str] = []  # those of them that no poll has seen
        self.begun: set[str] = set()  # every line ever begun
        self.came: list[str] = []
        self.may_rename = False

    def append(self, data: bytes) -> None:
        with self.written_to.open("ab") as file:
            file.write(data)

    @precondition(lambda self: not self.rest)
    @rule(text=TEXTS)
    def begin_line(self, text: str) -> None:
        self.lines += 1
        self.line = f"<{self.lines}>{text}"
        self.rest = self.line.encode() + b"\n"
        self.begun.add(self.line)

    @precondition(lambda self: self.rest)
    @rule(size=st.integers(1, 40))
    def write_piece(self, size: int) -> None:
        piece, self.rest = self.rest[:size], self.rest[size:]
        self.append(piece)
        if not self.rest:
            self.due.append(self.line)
            self.unseen.append(self.line)

    @rule(polls=st.sampled_from([1, 1, 1, 5]))
    def poll(self, polls: int) -> None:
        for _ in range(polls):
            self.came += self.tail.poll()
        self.unseen.clear()
        self.may_rename = self.written_to.exists()

    @precondition(lambda self: self.may_rename and self.written_to == self.path)
    @rule()
    def rename(self) -> None:
        """The writer has the file open and goes on with it."""
        self.written_to = self.path.with_suffix(f".{self.lines}")
        self.path.rename(self.written_to)
        self.may_rename = False

    @precondition(lambda self: self.written_to != self.path)
    @rule()
    def reopen(self) -> None:
        """A line that was begun is never ended."""
        self.rest, self.written_to = b"", self.path
        self.path.touch()
        self.may_rename = False

    @precondition(lambda self: self.written_to.exists())
    @rule()
    def empty(self) -> None:
        """What nobody has seen is lost."""
        os.truncate(self.written_to, 0)
        self.due = [line for line in self.due if line not in self.unseen]
        self.unseen.clear()
        self.rest = b""

    @invariant()
    def nothing_is_made_up(self) -> None:
        for line in self.came:
            known = line.rstrip("\ufffd")  # half a character
            assert any(begun.startswith(known) for begun in self.begun)

    def teardown(self) -> None:
        self.poll(SETTLED_POLLS)
        self.tail.close()
        self.folder.cleanup()
        assert [line for line in self.came if line in set(self.due)] == self.due


TestLogIsFollowed = LogIsFollowed.TestCase
TestLogIsFollowed.settings = settings(max_examples=60, stateful_step_count=40)
