"""The workload of requests to OpenAI's API, in tokens: what they ask for, and what answers say they were.

An estimate before, the server's own count after. For the estimate a token is four bytes of text, a picture or a
recording in a prompt is a fixed number of tokens, and an answer is as long as its client allows. None of these
functions raises, whatever the payload holds: what is wrong with it is the model server's to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

__all__ = ["ESTIMATES", "RECORDING", "answered", "chat", "completion", "embeddings", "image", "rerank", "speech"]

BYTES_PER_TOKEN: Final = 4
ANSWER_TOKENS: Final = 256  # where the client leaves the length to the server
LONGEST_ANSWER_TOKENS: Final = 32_768  # "as much as you can" is more than any server gives
MOST_CHOICES: Final = 128
PART_TOKENS: Final = 1000.0  # a picture, a recording or a file in a prompt
PARTS: Final = frozenset({"image", "image_url", "input_image", "input_audio", "audio_url", "video_url", "input_file"})
MEGAPIXEL_TOKENS: Final = 1000.0  # of a picture that is to be made
SPEECH_TOKENS_PER_BYTE: Final = 2.0  # 15 letters a second, 30 tokens of audio a second
TOKENS_PER_SECOND: Final = 50.0  # of a recording that is heard
RECORDING: Final = 30 * TOKENS_PER_SECOND  # one whose length nobody knows before it has been heard

_LENGTHS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_PROMPTS: Final = ("prompt", "messages", "input", "instructions", "tools", "suffix")
_PICTURE_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_COUNTS: Final = tuple(re.compile(rb'"%b"\s*:\s*(?=\{)' % name) for name in (b"usage", b"timings"))  # best first
_PARTS_OF_COUNT: Final = (
    *("prompt_tokens", "completion_tokens"),
    *("input_tokens", "output_tokens"),
    *("prompt_n", "cache_n", "predicted_n"),
)

Payload = Mapping[str, Any]


def chat(payload: Payload) -> float:
    """``/v1/chat/completions`` and ``/v1/responses``."""
    return _prompt(payload) + _choices(payload) * _answer_tokens(payload)


def completion(payload: Payload) -> float:
    """``/v1/completions``, where a list may hold several prompts."""
    return _prompt(payload) + _prompts(payload.get("prompt")) * _choices(payload) * _answer_tokens(payload)


def embeddings(payload: Payload) -> float:
    """``/v1/embeddings``: text or token ids, one or many."""
    return _prompt(payload)


def rerank(payload: Payload) -> float:
    """``/v1/rerank``: the query is read anew with each document."""
    documents = payload.get("documents")
    count = len(cast("list[Any]", documents)) if isinstance(documents, list) else 1
    return tokens(payload.get("query")) * count + tokens(documents)


def speech(payload: Payload) -> float:
    """``/v1/audio/speech``: as long as its text."""
    return _text_bytes(payload.get("input")) * SPEECH_TOKENS_PER_BYTE


def image(payload: Payload) -> float:
    """``/v1/images/generations``: by size and number."""
    found = _PICTURE_SIZE.fullmatch(str(payload.get("size")))
    pixels = int(found[1]) * int(found[2]) if found else 1024 * 1024
    return tokens(payload.get("prompt")) + _choices(payload) * MEGAPIXEL_TOKENS * pixels / (1024 * 1024)


ESTIMATES: Final[Mapping[str, Callable[[Payload], float]]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/responses": chat,
    "/v1/embeddings": embeddings,
    "/v1/rerank": rerank,
    "/v1/audio/speech": speech,
    "/v1/images/generations": image,
}


def tokens(value: Any) -> float:
    """About how many tokens there are in a text, a list of token ids, or whatever holds such."""
    total, left = 0.0, [value]
    while left:  # no recursion: how deep it goes is the client's choice
        part = left.pop()
        if isinstance(part, str):
            total += _text_bytes(part) / BYTES_PER_TOKEN
        elif isinstance(part, list):
            total += _of_list(cast("list[Any]", part), left)
        elif isinstance(part, dict):
            inside = cast("dict[str, Any]", part)
            if isinstance(kind := inside.get("type"), str) and kind in PARTS:
                total += PART_TOKENS
            else:
                left.extend(inside.values())
    return total


def _of_list(values: list[Any], left: list[Any]) -> float:
    """Token ids are counted; all else is looked into later."""
    if values and isinstance(values[0], int):
        return float(len(values))
    left.extend(values)
    return 0.0


def _text_bytes(text: Any) -> int:
    if not isinstance(text, str):
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _prompt(payload: Payload) -> float:
    return sum(tokens(payload[name]) for name in _PROMPTS if name in payload)


def _prompts(prompt: Any) -> int:
    """How many prompts there are: a list of token ids is one."""
    if not isinstance(prompt, list):
        return 1
    several = cast("list[Any]", prompt)
    return len(several) if several and not isinstance(several[0], int) else 1


def _choices(payload: Payload) -> int:
    counts = (_whole(payload.get(name), MOST_CHOICES) for name in ("n", "best_of"))
    return max((count for count in counts if count is not None), default=1)


def _answer_tokens(payload: Payload) -> int:
    lengths = (_whole(payload.get(name), LONGEST_ANSWER_TOKENS) for name in _LENGTHS)
    return next((length for length in lengths if length is not None), ANSWER_TOKENS)


def _whole(value: Any, most: int) -> int | None:
    """A number from 1 to ``most``; None for what asks for nothing (llama.cpp's -1) or is no whole number."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return min(value, most) if is_whole else None


# --- answers --------------------------------------------------------------------------------------


def answered(last_bytes: bytes) -> float | None:
    """The tokens that an answer says it took; None when it does not say.

    ``usage`` says it, in a stream's last events only if the client asked for it
    (``stream_options: {"include_usage": true}``); llama.cpp's ``timings`` say it in any case. Neither can be forged by
    the text of an answer, where the quotes around them are escaped.
    """
    for name in _COUNTS:
        for place in reversed(list(name.finditer(last_bytes))):
            counted = _counted(last_bytes[place.end() :].decode(errors="replace"))
            if counted:
                return counted
    return None


def _counted(text: str) -> float:
    """What the object that ``text`` begins with counts up to; 0.0 when that is nothing, or it is cut off."""
    try:
        counts, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return 0.0
    if "seconds" in counts:
        return _number(counts["seconds"]) * TOKENS_PER_SECOND
    parts = sum(_number(counts.get(name)) for name in _PARTS_OF_COUNT)
    return max(parts, _number(counts.get("total_tokens")))


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12
    return float(value) if is_number else 0.0
