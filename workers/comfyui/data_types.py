"""What requests hold: a prompt for the default workflow, a workflow of the client's own, or the wrapper's ``input``."""

from __future__ import annotations

import dataclasses
import random
from abc import abstractmethod
from typing import Any, ClassVar, Final, Self
from uuid import uuid4

from lib.data_types import ApiPayload, JsonDataException
from pyworker.fields import read_fields
from pyworker.prompts import random_prompt
from workers.comfyui.delivery import Delivery, read_delivery
from workers.comfyui.settings import settings
from workers.comfyui.templates import TEMPLATES, Asked
from workers.comfyui.workflow import Workflow, fill_random, picture_of, wrong_with
from workers.comfyui.workload import STANDARD, Picture, workload

__all__ = ["CustomWorkflowData", "Job", "PromptData", "WorkflowData", "WrapperData"]

OUTPUTS: Final = ("base64", "file", "s3")
MIN_SIDE_PX, MAX_SIDE_PX, SIDE_STEP_PX = 64, 4096, 8
MAX_STEPS: Final = 200
SEEDS: Final = 2**64
DEFAULT_MODIFIER: Final = "Text2Image"


@dataclasses.dataclass(frozen=True)
class Job:
    """A workflow, ready to be sent, and what is to be done with what it makes."""

    workflow: Workflow
    delivery: Delivery
    request_id: str
    client_id: str


class WorkflowData(ApiPayload):
    """Whatever comes down to a workflow."""

    @abstractmethod
    def workflow_to_send(self) -> Workflow:
        """In ComfyUI's API format."""

    @abstractmethod
    def delivery(self) -> Delivery:
        """What is to be done with its images. Raises JsonDataException."""

    def id_of_request(self) -> str:
        """The client's own, or a new one."""
        return str(uuid4())

    def job(self) -> Job:
        """Ready to be sent."""
        request_id = self.id_of_request()
        return Job(self.workflow_to_send(), self.delivery(), request_id, settings().client_prefix + uuid4().hex)

    def count_workload(self) -> float:
        """See workload.py: 200 for each second that an RTX 4090 takes."""
        return workload(picture_of(self.workflow_to_send()), settings().template.standard_s)


@dataclasses.dataclass(kw_only=True)
class _Answered(WorkflowData):
    """How the answer comes: ``output`` is base64 (in JSON), file (the image itself) or s3 (its address)."""

    output: str = "base64"
    stream: bool = False
    s3: dict[str, Any] | None = None
    webhook: dict[str, Any] | None = None

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        """All that is wrong, in one answer."""
        data = super().from_json_msg(json_msg)
        problems = data.problems()
        if data.output not in OUTPUTS:
            problems["output"] = f"expected one of {', '.join(OUTPUTS)}"
        elif data.stream and data.output == "file":
            problems["output"] = "a stream is of events: take base64 or s3, or leave stream out"
        try:
            data.delivery()
        except JsonDataException as error:
            problems.update(error.message)
        if problems:
            raise JsonDataException(problems)
        return data

    def problems(self) -> dict[str, Any]:
        """What is wrong besides, by field."""
        return {}

    def delivery(self) -> Delivery:
        """As its fields say."""
        return read_delivery(self.output, self.s3, self.webhook, stream=self.stream)


@dataclasses.dataclass(kw_only=True)
class PromptData(_Answered):
    """``/prompt``: an image by the default workflow. What is left out is the workflow's own; ``seed`` is random."""

    prompt: str
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    steps: int = STANDARD.steps
    seed: int | None = None
    model: str | None = None

    @classmethod
    def for_test(cls) -> Self:
        """What benchmark and load test send: the standard picture of something random."""
        return cls(prompt=random_prompt(20), width=STANDARD.width, height=STANDARD.height)

    def problems(self) -> dict[str, Any]:
        """Numbers that are out of bounds, models that are not known."""
        problems: dict[str, Any] = {}
        for name in ("width", "height"):
            side = getattr(self, name)
            if side is not None and (not MIN_SIDE_PX <= side <= MAX_SIDE_PX or side % SIDE_STEP_PX):
                problems[name] = f"must be a multiple of {SIDE_STEP_PX} from {MIN_SIDE_PX} to {MAX_SIDE_PX}"
        if not 1 <= self.steps <= MAX_STEPS:
            problems["steps"] = f"must be from 1 to {MAX_STEPS}"
        if self.seed is not None and not 0 <= self.seed < SEEDS:
            problems["seed"] = "must be from 0 to 2**64 - 1"
        if self.model is not None and self.model not in TEMPLATES:
            problems["model"] = f"expected one of {', '.join(TEMPLATES)}"
        return problems

    def workflow_to_send(self) -> Workflow:
        """The default workflow, filled in."""
        template = TEMPLATES[self.model or settings().model]
        is_own = self.model in {None, settings().model}
        seed = self.seed if self.seed is not None else random.randrange(SEEDS)  # noqa: S311 - no secrets
        asked = Asked(self.prompt, self.negative_prompt, self._picture(), seed)
        return template.build(asked, settings().model_file if is_own else template.model_file)

    def count_workload(self) -> float:
        """By the model that was asked for; the workflow need not be made for that."""
        return workload(self._picture(), TEMPLATES[self.model or settings().model].standard_s)

    def _picture(self) -> Picture:
        side_px = TEMPLATES[self.model or settings().model].side_px
        return Picture(self.width or side_px, self.height or side_px, self.steps)


@dataclasses.dataclass(kw_only=True)
class CustomWorkflowData(_Answered):
    """``/custom-workflow``: a workflow in ComfyUI's API format; ``__RANDOM_INT__`` in it becomes a random number."""

    workflow: dict[str, Any]

    @classmethod
    def for_test(cls) -> Self:
        """The default workflow, as one of the client's own."""
        return cls(workflow=PromptData.for_test().workflow_to_send())

    def problems(self) -> dict[str, Any]:
        """What makes it no workflow."""
        reason = wrong_with(self.workflow)
        return {"workflow": reason} if reason else {}

    def workflow_to_send(self) -> Workflow:
        """With its random numbers."""
        return fill_random(self.workflow, _random_int)


@dataclasses.dataclass
class _Input:
    """What the wrapper's API calls input; ``workflow_json`` or ``modifier``."""

    request_id: str | None = None
    workflow_json: dict[str, Any] | None = None
    modifier: str | None = None
    modifications: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    s3: dict[str, Any] | None = None
    webhook: dict[str, Any] | None = None
    return_outputs_as_base64: bool = False


@dataclasses.dataclass(kw_only=True)
class WrapperData(WorkflowData):
    """``/generate/sync`` and ``/generate/stream``: what the public ComfyUI API wrapper takes."""

    input: dict[str, Any]

    is_stream: ClassVar[bool] = False

    @classmethod
    def for_test(cls) -> Self:
        """The standard picture of something random."""
        given = {"prompt": random_prompt(20), "width": STANDARD.width, "height": STANDARD.height}
        return cls(input={"modifier": DEFAULT_MODIFIER, "modifications": given})

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        """All that is wrong, under ``input``."""
        data = super().from_json_msg(json_msg)
        try:
            asked = data.asked()
            if (asked.workflow_json is None) == (asked.modifier is None):
                raise JsonDataException({"workflow_json": "give either this or modifier"})
            data.inner()
            data.delivery()
        except JsonDataException as error:
            raise JsonDataException({"input": error.message}) from None
        return data

    def asked(self) -> _Input:
        """Its fields. Raises JsonDataException."""
        return _Input(**read_fields(self.input, _Input))

    def inner(self) -> PromptData | CustomWorkflowData:
        """The same in our own form. Raises JsonDataException."""
        asked = self.asked()
        if asked.workflow_json is not None:
            field, make, given = "workflow_json", CustomWorkflowData.from_json_msg, {"workflow": asked.workflow_json}
        else:
            model = settings().model if asked.modifier == DEFAULT_MODIFIER else str(asked.modifier)
            if model not in TEMPLATES:
                known = ", ".join([DEFAULT_MODIFIER, *TEMPLATES])
                raise JsonDataException({"modifier": f"{asked.modifier!r} is not known here: expected one of {known}"})
            field, make, given = "modifications", PromptData.from_json_msg, _own_fields(asked.modifications, model)
        try:
            return make(given)
        except JsonDataException as error:
            raise JsonDataException({field: error.message.get("workflow", error.message)}) from None

    def id_of_request(self) -> str:
        """The client's, or a new one."""
        return self.asked().request_id or super().id_of_request()

    def workflow_to_send(self) -> Workflow:
        """The client's own, or a default one with its modifications."""
        return self.inner().workflow_to_send()

    def count_workload(self) -> float:
        """As of the same in our own form."""
        return self.inner().count_workload()

    def delivery(self) -> Delivery:
        """To S3 where a request or the environment names one, else in base64: nobody could fetch a file from here."""
        asked = self.asked()
        output = "s3" if asked.s3 or settings().s3 else "base64"
        with_data = asked.return_outputs_as_base64
        return read_delivery(output, asked.s3, asked.webhook, stream=self.is_stream, with_data=with_data)


class WrapperStreamData(WrapperData):
    """The same, answered by a stream of events."""

    is_stream = True


def _own_fields(modifications: dict[str, Any], model: str) -> dict[str, Any]:
    names = ("prompt", "negative_prompt", "width", "height", "steps", "seed")
    return {"prompt": "", **{name: modifications[name] for name in names if name in modifications}, "model": model}


def _random_int() -> int:
    return random.randrange(2**32)  # noqa: S311 - no secrets
