"""The deployment that the demo runs: the one that lies here, or a copy of it with another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

__all__ = ["with_model"]

HERE: Final = Path(__file__).resolve().parents[1]


def with_model(model: Path | None, folder: Path) -> Path:
    """Where the deployment is; with a ``model`` a copy in ``folder`` whose model server loads that GGUF file."""
    if model is None:
        return HERE
    text = (HERE / "deployment.toml").read_text(encoding="utf-8")
    server = '"workers.hello_world.model_server",'
    for old, new in {
        server: f'{server} "--model", {_toml(model.absolute())},',
        '"demo/worker.py"': _toml(HERE / "demo" / "worker.py"),
        '"../.."': _toml(HERE.parents[1]),
    }.items():
        assert text.count(old) == 1, f"deployment.toml does not say {old} once"
        text = text.replace(old, new)
    path = folder / "deployment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _toml(path: Path) -> str:
    """A path as a TOML string."""
    return json.dumps(str(path), ensure_ascii=False)
