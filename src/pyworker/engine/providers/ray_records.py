"""What the engine remembers of its instances on a cluster: one file each, mode 0600 because the order holds secrets."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pyworker.engine.core.parameters import Resources
from pyworker.engine.providers.base import InstanceState
from pyworker.instance.order import Order

__all__ = ["Record", "Records"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. RUNNING means that it shall have an actor, ``placed`` that this has a node and has answered.

    ``node_id`` is where its folder is, once that is known.
    """

    order: dict[str, Any]
    resources: Resources
    state: InstanceState = InstanceState.RUNNING
    reason: str = ""
    node_id: str = ""
    placed: bool = False

    def __repr__(self) -> str:
        return f"<record of instance {self.order.get('id')}, {self.state.value}>"

    def told(self) -> Order:
        """The order as an order."""
        return Order(**self.order)


class Records:
    """The records under ``folder``. Blocks on the disk; raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def namespace(self) -> str:
        """The name under which this engine's actors are found, now and by the next engine on this folder."""
        path = self._folder / "namespace"
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, f"pyworker-{secrets.token_hex(8)}".encode())
        return path.read_text()

    def all(self) -> dict[int, Record]:
        """All that can be read, by the instance's number."""
        return {instance_id: record for instance_id in self._ids() if (record := self.get(instance_id))}

    def get(self, instance_id: int) -> Record | None:
        """One of them; None when there is none, or it is damaged."""
        try:
            return msgspec.json.decode(self._path(instance_id).read_bytes(), type=Record)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return None

    def put(self, instance_id: int, record: Record) -> None:
        """Keep it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(self._path(instance_id), msgspec.json.encode(record))

    def forget(self, instance_id: int) -> None:
        """It is no more."""
        self._path(instance_id).unlink(missing_ok=True)

    def _path(self, instance_id: int) -> Path:
        return self._folder / f"{instance_id}.json"

    def _ids(self) -> Iterator[int]:
        if self._folder.exists():
            yield from sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdigit())

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_suffix(".new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        temporary.replace(path)
