"""Fakes on real sockets, to test workers with: yours, and ours.

Nothing is patched: a worker under test talks HTTP to them, on free ports of 127.0.0.1::

    async with FakeModel() as model, FakeEngine() as engine:
        model.on("/generate", stream(["one", "two"]))       # what the model does from now on
        ...                                                 # start the worker with model.url and engine.url
        auth_data = engine.sign(worker_url, cost=30.0)      # what a client would have got from the engine
        ...                                                 # POST engine.envelope(auth_data, payload) to the worker
        request = await model.requests.next()               # what reached the model
        report = await engine.reports.where(lambda report: report.cur_load == 0)

Whatever a fake has seen is a list that can be waited for (``Seen``); a wait that takes too long says what was seen
instead.
"""

from __future__ import annotations

from pyworker.testing.behaviours import after, answer, by_hand, drop, drop_if_reused, echo, echo_messages, stream
from pyworker.testing.clock import ManualClock
from pyworker.testing.engine import FakeEngine
from pyworker.testing.model import FakeModel
from pyworker.testing.process import WorkerProcess
from pyworker.testing.request import Behaviour, FakeRequest
from pyworker.testing.seen import Seen
from pyworker.testing.server import FakeServer, free_port

__all__ = [
    "Behaviour",
    "FakeEngine",
    "FakeModel",
    "FakeRequest",
    "FakeServer",
    "ManualClock",
    "Seen",
    "WorkerProcess",
    "after",
    "answer",
    "by_hand",
    "drop",
    "drop_if_reused",
    "echo",
    "echo_messages",
    "free_port",
    "stream",
]
