"""Tells whoever looks at an engine its figures, once a second; costs nothing while nobody does."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from pyworker.engine.core.figures import endpoint_figures
from pyworker.engine.engine import Engine
from pyworker.engine.scaler import Scaler
from pyworker.wire_dashboard import Figures

__all__ = ["figures_of", "keep_telling"]

log = logging.getLogger("pyworker.engine")

TELL_EVERY_S: Final = 1.0


def figures_of(engine: Engine, scaler: Scaler) -> Figures:
    """All endpoints as they are now."""
    now_s = time.monotonic()
    return Figures(
        at=time.time(),
        endpoints=[
            endpoint_figures(endpoint, engine.registry, engine.dispatcher, scaler.decisions.get(endpoint), now_s)
            for endpoint in engine.registry.endpoints
        ],
    )


async def keep_telling(engine: Engine, scaler: Scaler) -> None:
    """Until cancelled. However many look, the figures are made once."""
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        if engine.feed.wants_figures:
            try:
                engine.feed.tell_figures(figures_of(engine, scaler))
            except Exception:
                log.exception("the figures of this second could not be told")
