"""A random language model of 400 kB for tests: loads in a tenth of a second, speaks syllables, rarely stops."""

from __future__ import annotations

import itertools
from pathlib import Path

import gguf
import numpy as np

__all__ = ["write_tiny_model"]

WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 128
CONTEXT_TOKENS = 8192
CONTROL = ("<unk>", "<s>", "</s>")
SYLLABLES = tuple(f"\u2581{first}{vowel}" for first, vowel in itertools.product("bcdfghjklmnprstvwz", "aeiou"))


def write_tiny_model(path: Path) -> Path:
    """Write the model to ``path`` and return it. The same numbers every time."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    words = _add_vocabulary(writer)
    for name, tensor in _tensors(words):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter) -> int:
    """Control tokens, a token for each byte, and syllables. Returns how many."""
    single_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = [*CONTROL, *single_bytes, *SYLLABLES]
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(SYLLABLES)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(tokens)


def _tensors(words: int) -> list[tuple[str, np.ndarray]]:
    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 0.1, shape).astype(np.float32)

    ones = np.ones(WIDTH, np.float32)
    output = weights(words, WIDTH)
    output[: len(CONTROL) + 256] *= 0.01  # rarely stops, and rarely speaks in single bytes
    tensors = [("token_embd.weight", weights(words, WIDTH)), ("output_norm.weight", ones), ("output.weight", output)]
    for layer in range(LAYERS):
        block = {f"attn_{part}": weights(WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        block |= {"attn_norm": ones, "ffn_norm": ones, "ffn_down": weights(WIDTH, INNER)}
        block |= {"ffn_gate": weights(INNER, WIDTH), "ffn_up": weights(INNER, WIDTH)}
        tensors += [(f"blk.{layer}.{name}.weight", tensor) for name, tensor in block.items()]
    return tensors
