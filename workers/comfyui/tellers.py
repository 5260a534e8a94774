"""What a client is told: by our own routes, and by those that speak as the public ComfyUI API wrapper does; pure.

Errors of a workflow are told in ComfyUI's own words.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from workers.comfyui.delivery import Delivered, Delivery

__all__ = ["Failure", "PlainTeller", "Teller", "Timings", "WrapperTeller"]

WORKFLOW_IS_WRONG, COMFYUI_FAILED = 422, 502


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why there are no images: ``error`` and ``node_errors`` are ComfyUI's own, a text is ours."""

    status: int
    error: Mapping[str, Any] | str
    node_errors: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    @property
    def message(self) -> str:
        """In one line."""
        if isinstance(self.error, str):
            return self.error
        return f"{self.error.get('type') or 'error'}: {self.error.get('message') or ''}".strip()


@dataclasses.dataclass
class Timings:
    """s, since the request had its turn."""

    generation_s: float = 0.0
    delivery_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """All in all."""
        return self.generation_s + self.delivery_s


class Teller(ABC):
    """JSON objects for one request."""

    def __init__(self, request_id: str, delivery: Delivery) -> None:
        self.request_id = request_id
        self.delivery = delivery

    @abstractmethod
    def progress(self, progress: Mapping[str, Any], elapsed_s: float) -> dict[str, Any]:
        """An event of a stream."""

    @abstractmethod
    def done(self, files: Sequence[Delivered], timings: Timings) -> dict[str, Any]:
        """The answer."""

    @abstractmethod
    def failed(self, failure: Failure, timings: Timings) -> dict[str, Any]:
        """The answer when there are no images."""

    def last(self, answer: dict[str, Any], timings: Timings) -> dict[str, Any]:
        """The last event of a stream."""
        return answer

    def for_webhook(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """What a webhook is told."""
        return {"id": self.request_id, **answer}


class PlainTeller(Teller):
    """As our own routes tell it."""

    def progress(self, progress: Mapping[str, Any], elapsed_s: float) -> dict[str, Any]:
        return {"request_id": self.request_id, **progress, "elapsed_s": round(elapsed_s, 3)}

    def done(self, files: Sequence[Delivered], timings: Timings) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "status": "completed",
            "images": [file.fields(with_data=self.delivery.with_data) for file in files],
            "timings": {"generation_s": round(timings.generation_s, 3), "delivery_s": round(timings.delivery_s, 3)},
        }

    def failed(self, failure: Failure, timings: Timings) -> dict[str, Any]:
        nodes = {"node_errors": failure.node_errors} if failure.node_errors else {}
        return {"request_id": self.request_id, "status": "failed", "error": failure.error, **nodes}


class WrapperTeller(Teller):
    """As the public wrapper documents it."""

    def progress(self, progress: Mapping[str, Any], elapsed_s: float) -> dict[str, Any]:
        message = f"node {progress['node']}" if progress.get("node") is not None else str(progress.get("status"))
        if "max" in progress:
            message += f": {progress.get('value')} of {progress.get('max')}"
        return {
            "request_id": self.request_id,
            "status": "generating",
            "message": message,
            "elapsed_time": round(elapsed_s, 3),
        }

    def done(self, files: Sequence[Delivered], timings: Timings) -> dict[str, Any]:
        output = [
            {
                **file.fields(with_data=self.delivery.with_data),
                "local_path": "",
                "subfolder": file.file.subfolder,
                "type": file.file.type,
                "output_type": file.file.kind,
            }
            for file in files
        ]
        return self._result("completed", "Processing complete.", output, timings)

    def failed(self, failure: Failure, timings: Timings) -> dict[str, Any]:
        result = self._result("failed", failure.message, [], timings)
        return {**result, "error": failure.error, "node_errors": failure.node_errors}

    def last(self, answer: dict[str, Any], timings: Timings) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "status": "final_result",
            "result": answer,
            "elapsed_time": round(timings.elapsed_s, 3),
        }

    def for_webhook(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in answer.items() if name != "comfyui_response"}

    def _result(self, status: str, message: str, output: list[dict[str, Any]], timings: Timings) -> dict[str, Any]:
        spans_s = {"preprocess_ms": 0.0, "generation_ms": timings.generation_s, "postprocess_ms": timings.delivery_s}
        return {
            "id": self.request_id,
            "message": message,
            "status": status,
            "comfyui_response": {},
            "output": output,
            "timings": {name: round(1000 * span_s) for name, span_s in spans_s.items()},
        }
