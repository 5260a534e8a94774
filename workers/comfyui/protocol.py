"""What ComfyUI says, as facts: its websocket messages, its history and its queue; pure.

https://docs.comfy.org/development/comfyui-server/comms_messages and .../comms_routes describe them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

__all__ = ["Outcome", "OutputFile", "Queued", "is_end", "outcome_of", "progress_of", "queue_of"]

Message = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class OutputFile:
    """A file that a node has made; ``kind`` is what the node calls it: ``images``, ``gifs``, ..."""

    node_id: str
    kind: str
    filename: str
    subfolder: str
    type: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a prompt ended: the files it made, or what went wrong in ComfyUI's own words."""

    files: tuple[OutputFile, ...]
    error: dict[str, Any] | None
    is_interrupted: bool
    history: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Queued:
    """A prompt that waits or runs."""

    prompt_id: str
    client_id: str
    is_running: bool


# --- the websocket --------------------------------------------------------------------------------


def is_end(message: Message, prompt_id: str) -> bool:
    """Whether this is the last word on a prompt, well or not: its history is there when it comes."""
    data = _data(message, prompt_id)
    return message.get("type") == "executing" and "node" in data and data["node"] is None


def progress_of(message: Message, prompt_id: str) -> dict[str, Any] | None:
    """What a message says of how far the prompt is; None when it says nothing of that."""
    data = _data(message, prompt_id)
    match message.get("type"):
        case "execution_start":
            return {"status": "started"} if data else None
        case "executing" if data.get("node") is not None:
            return {"status": "executing", "node": data["node"]}
        case "progress" if data:
            return {"status": "progress", "node": data.get("node"), "value": data.get("value"), "max": data.get("max")}
        case _:
            return None


def _data(message: Message, prompt_id: str) -> dict[str, Any]:
    """What a message holds, if it is about this prompt."""
    data = _object(message.get("data"))
    return data if data.get("prompt_id") == prompt_id else {}


# --- the history ----------------------------------------------------------------------------------


def outcome_of(entry: Message) -> Outcome:
    """From a prompt's entry in the history."""
    status = _object(entry.get("status"))
    messages = {message[0]: _object(message[1]) for message in status.get("messages", []) if len(message) == 2}
    failed = status.get("status_str") == "error"
    error = messages.get("execution_error")
    return Outcome(
        files=tuple(_kept(list(_files(_object(entry.get("outputs")))))),
        error=_words(error) if error is not None else {"message": "the execution failed"} if failed else None,
        is_interrupted="execution_interrupted" in messages,
        history=dict(entry),
    )


def _words(error: dict[str, Any]) -> dict[str, Any]:
    """Less the values of inputs and outputs, which may be large, and the traceback, which is for ComfyUI's log."""
    names = {"type": "exception_type", "message": "exception_message", "node_id": "node_id", "node_type": "node_type"}
    return {ours: error.get(theirs) for ours, theirs in names.items()}


def _files(outputs: dict[str, Any]) -> Iterator[OutputFile]:
    for node_id, output in outputs.items():
        for kind, items in _object(output).items():
            for item in cast("list[Any]", items) if isinstance(items, list) else []:
                file = _object(item)
                if isinstance(file.get("filename"), str):
                    place = (str(file.get("subfolder") or ""), str(file.get("type") or "output"))
                    yield OutputFile(node_id, kind, file["filename"], *place)


def _kept(files: list[OutputFile]) -> list[OutputFile]:
    """What was saved; where nothing was, what was only to be looked at."""
    return [file for file in files if file.type == "output"] or files


# --- the queue ------------------------------------------------------------------------------------


def queue_of(answer: Message) -> list[Queued]:
    """From ``GET /queue``, whose items are ``[number, prompt id, workflow, extra data, ...]``."""
    return [
        Queued(str(item[1]), str(_object(item[3]).get("client_id") or ""), name == "queue_running")
        for name in ("queue_running", "queue_pending")
        for item in answer.get(name) or ()
        if len(item) > 3
    ]


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
