"""The OpenAI worker's presets: what the servers write to their logs, and where they answer."""

from __future__ import annotations

import pytest

from workers.openai.presets import PRESETS, UnknownServer, preset

LINES = {
    "vllm": ("INFO:     Application startup complete.", "RuntimeError: Engine core initialization failed. See root"),
    "sglang": ("[2025-11-02 10:00:00] The server is fired up and ready to roll!", "Scheduler hit an exception: Trace"),
    "llamacpp": ("main: server is listening on http://127.0.0.1:8080 - starting", "error loading model: no file"),
    "ollama": (
        'level=INFO source=routes.go msg="Listening on 127.0.0.1:11434 (version 0.9)"',
        "bind: address already in use",
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_servers_lines_say_what_they_should(name: str) -> None:
    loaded, failed = LINES[name]
    assert any(text in loaded for text in preset(name).on_load)
    assert not any(text in loaded for text in preset(name).on_error)
    assert any(text in failed for text in preset(name).on_error)
    assert not any(text in failed for text in preset(name).on_load)


def test_ports_are_the_servers_own() -> None:
    assert {name: preset(name).port for name in PRESETS} == {
        "vllm": 8000,
        "sglang": 30000,
        "llamacpp": 8080,
        "ollama": 11434,
    }


def test_a_server_that_is_not_known_is_refused_with_all_that_are() -> None:
    with pytest.raises(UnknownServer, match="OPENAI_SERVER is 'vlm'; it takes one of vllm, sglang, llamacpp, ollama"):
        preset("vlm")
