"""The default workflows: text to image with Flux, SD3 and SD 1.5, in ComfyUI's API format; pure.

They use the nodes that come with ComfyUI, and model files under the names they are published with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from workers.comfyui.workflow import Workflow
from workers.comfyui.workload import Picture

__all__ = ["TEMPLATES", "Asked", "Template"]

FILE_PREFIX: Final = "pyworker"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a client may say of a default workflow."""

    prompt: str
    negative_prompt: str
    picture: Picture
    seed: int


@dataclasses.dataclass(frozen=True)
class Template:
    """A workflow to be filled in.

    ``standard_s``: seconds for 1024 by 1024 pixels at 28 steps on an RTX 4090. ``model_file``: what it loads unless
    told otherwise. ``side_px``: what a side is when the client does not say.
    """

    standard_s: float
    model_file: str
    side_px: int
    build: Callable[[Asked, str], Workflow]


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _sampled(asked: Asked, links: Mapping[str, Any], latent: str, **sampler: Any) -> Workflow:
    """The part that all have: an empty picture, the sampler, the decoder, the file.

    ``links`` says where ``model``, ``positive``, ``negative`` and ``vae`` come from.
    """
    size = {"width": asked.picture.width, "height": asked.picture.height, "batch_size": asked.picture.count}
    conditioning = {name: links[name] for name in ("model", "positive", "negative")}
    steps = {"seed": asked.seed, "steps": asked.picture.steps, "denoise": 1.0}
    return {
        "latent": _node(latent, **size),
        "sampler": _node("KSampler", **conditioning, latent_image=["latent", 0], **steps, **sampler),
        "decoded": _node("VAEDecode", samples=["sampler", 0], vae=links["vae"]),
        "saved": _node("SaveImage", images=["decoded", 0], filename_prefix=FILE_PREFIX),
    }


def _flux(asked: Asked, model_file: str) -> Workflow:
    """Flux: guided by a number beside the prompt instead of a second, negative one."""
    links = {"model": ["unet", 0], "positive": ["guided", 0], "negative": ["nothing", 0], "vae": ["vae", 0]}
    return {
        "unet": _node("UNETLoader", unet_name=model_file, weight_dtype="default"),
        "clip": _node(
            "DualCLIPLoader",
            clip_name1="clip_l.safetensors",
            clip_name2="t5xxl_fp8_e4m3fn.safetensors",
            type="flux",
        ),
        "vae": _node("VAELoader", vae_name="ae.safetensors"),
        "text": _node("CLIPTextEncode", text=asked.prompt, clip=["clip", 0]),
        "guided": _node("FluxGuidance", conditioning=["text", 0], guidance=3.5),
        "nothing": _node("ConditioningZeroOut", conditioning=["text", 0]),
        **_sampled(asked, links, "EmptySD3LatentImage", cfg=1.0, sampler_name="euler", scheduler="simple"),
    }


def _checkpoint(asked: Asked, model_file: str) -> Workflow:
    """What loads from one file with its text encoder, and takes two prompts."""
    return {
        "checkpoint": _node("CheckpointLoaderSimple", ckpt_name=model_file),
        "text": _node("CLIPTextEncode", text=asked.prompt, clip=["checkpoint", 1]),
        "negative": _node("CLIPTextEncode", text=asked.negative_prompt, clip=["checkpoint", 1]),
    }


def _sd3(asked: Asked, model_file: str) -> Workflow:
    links = {"model": ["shifted", 0], "positive": ["text", 0], "negative": ["negative", 0], "vae": ["checkpoint", 2]}
    return {
        **_checkpoint(asked, model_file),
        "shifted": _node("ModelSamplingSD3", model=["checkpoint", 0], shift=3.0),
        **_sampled(asked, links, "EmptySD3LatentImage", cfg=4.5, sampler_name="dpmpp_2m", scheduler="sgm_uniform"),
    }


def _sd15(asked: Asked, model_file: str) -> Workflow:
    links = {"model": ["checkpoint", 0], "positive": ["text", 0], "negative": ["negative", 0], "vae": ["checkpoint", 2]}
    return {
        **_checkpoint(asked, model_file),
        **_sampled(asked, links, "EmptyLatentImage", cfg=7.0, sampler_name="dpmpp_2m", scheduler="karras"),
    }


TEMPLATES: Final[Mapping[str, Template]] = {
    "flux": Template(23.0, "flux1-dev.safetensors", 1024, _flux),
    "sd3": Template(6.0, "sd3_medium_incl_clips_t5xxlfp8.safetensors", 1024, _sd3),
    # an estimate: its network has less than half of SD3's two billion parameters, and no large text encoder
    "sd15": Template(3.0, "v1-5-pruned-emaonly-fp16.safetensors", 512, _sd15),
}
