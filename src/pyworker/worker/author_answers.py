"""The answer that an author makes from the model server's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

from pyworker.errors import HandlerFailed, ModelFailed
from pyworker.worker.author_faults import AUTHOR_ERRORS, Faults
from pyworker.worker.inbound.incoming import AiohttpIncoming

__all__ = ["MakeAnswer", "answered_by"]

MakeAnswer = Callable[[web.Request, aiohttp.ClientResponse], Awaitable[web.StreamResponse]]


async def answered_by(
    make: MakeAnswer, request: AiohttpIncoming, model_response: aiohttp.ClientResponse, name: str, faults: Faults
) -> bool:
    """Let the author answer the client. True when model and author both say that all is well.

    Raises ModelFailed when the model broke off, HandlerFailed for what else the author's code raises; what it raises
    to answer with goes through. ``name`` is for the log.
    """
    try:
        response = await make(request.request, model_response)
        is_success = model_response.status < 400 and response.status < 400
    except (ConnectionError, web.HTTPException):  # the client has gone; the author answers by an exception
        raise
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ModelFailed(f"the model server broke off its answer: {type(error).__name__}") from None
    except AUTHOR_ERRORS as error:
        faults.tell(name, error, "the request is answered with a 500")
        raise HandlerFailed() from None
    request.response = response
    return is_success
