"""Whether a worker may be sent requests: one state, and the table of what moves it.

    STARTING ──loaded──> LOADED ──answers──> BENCHMARKING ──scored──> READY
                            ^                                           │
                            └──recovered, loaded── ERRORED <──error─────┴── (from anywhere but DRAINING)
    anywhere ──drain──> DRAINING

- STARTING ends with a line of the model's log, or with its health URL.
- LOADED waits until the model accepts connections: that its port is closed right after "loaded" is no error.
- A second "loaded" line changes nothing, unless the worker is ERRORED: then the model was started again.
- ERRORED ends when the model is well again; what counts as well depends on where the error came from.
- With a lifecycle nothing is LOADED before that was entered, whatever the log says; once it has failed, only DRAIN
  is left: it is entered once, when the worker starts.

Pure: events come in, the state changes; ``worker.warm_up`` does what each state calls for.
"""

from __future__ import annotations

from enum import Enum

from pyworker.errors import NotReady

__all__ = ["ErrorSource", "Event", "Readiness", "State"]


class State(Enum):
    """The value is the word shown to people and to the engine."""

    STARTING = "starting"
    LOADED = "loaded"
    BENCHMARKING = "benchmarking"
    READY = "ready"
    ERRORED = "error"
    DRAINING = "draining"


class Event(Enum):
    """What can happen to a worker."""

    MODEL_LOADED = "model loaded"
    ENTERED = "lifecycle entered"
    MODEL_ANSWERS = "model answers"
    SCORED = "scored"
    ERROR = "error"
    RECOVERED = "recovered"
    DRAIN = "drain"


class ErrorSource(Enum):
    """Where an error came from, which decides how it ends."""

    MODEL = "model"  # its log, or the author's code
    HEALTH = "health"  # it stopped answering
    BENCHMARK = "benchmark"  # no request of the benchmark succeeded
    LIFECYCLE = "lifecycle"  # the author's failed: only a restart ends that


_TABLE: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.MODEL_LOADED): State.LOADED,
    (State.STARTING, Event.ENTERED): State.LOADED,
    (State.LOADED, Event.MODEL_ANSWERS): State.BENCHMARKING,
    (State.BENCHMARKING, Event.SCORED): State.READY,
    (State.ERRORED, Event.MODEL_LOADED): State.LOADED,
    (State.ERRORED, Event.ENTERED): State.LOADED,
    (State.ERRORED, Event.RECOVERED): State.LOADED,
    **{(state, Event.ERROR): State.ERRORED for state in State if state is not State.DRAINING},
    **{(state, Event.DRAIN): State.DRAINING for state in State},
}

_RETRY_AFTER_S: dict[State, float] = {
    State.STARTING: 10.0,
    State.LOADED: 2.0,
    State.BENCHMARKING: 5.0,
    State.ERRORED: 10.0,
    State.DRAINING: 1.0,
}


class Readiness:
    """The state, since when, and why. ``now_s`` is the worker's monotonic clock.

    With ``has_lifecycle`` it waits for ENTERED.
    """

    def __init__(self, now_s: float, *, has_lifecycle: bool = False) -> None:
        self.is_entered = not has_lifecycle
        self.state = State.STARTING
        self.started_s = now_s
        self.since_s = now_s
        self.first_ready_s: float | None = None
        self.error = ""
        self.errors = 0
        self.error_source: ErrorSource | None = None
        self.waiting_for = ""

    def on(self, event: Event, now_s: float, *, error: str = "", source: ErrorSource = ErrorSource.MODEL) -> bool:
        """Take an event in. True when it changed the state, or the error."""
        if self._is_void(event):
            return False
        self.is_entered = self.is_entered or event is Event.ENTERED
        state = _TABLE.get((self.state, event))
        if state is None or (state is self.state and error == self.error):
            return False
        self.state, self.since_s, self.waiting_for = state, now_s, ""
        self.error = error if state is State.ERRORED else ""
        self.errors += state is State.ERRORED
        self.error_source = source if state is State.ERRORED else None
        if state is State.READY and self.first_ready_s is None:
            self.first_ready_s = now_s
        return True

    def _is_void(self, event: Event) -> bool:
        if self.error_source is ErrorSource.LIFECYCLE:
            return event is not Event.DRAIN
        return not self.is_entered and event in {Event.MODEL_LOADED, Event.RECOVERED}

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken."""
        return self.state is State.READY

    @property
    def load_time_s(self) -> float:
        """From start to the first time ready; 0.0 until then."""
        return 0.0 if self.first_ready_s is None else self.first_ready_s - self.started_s

    def require_ready(self, *, in_session: bool = False) -> None:
        """Raises NotReady when requests are not taken; those in a session that is open are taken while draining."""
        if self.state is not State.READY and not (in_session and self.state is State.DRAINING):
            raise NotReady(f"the worker is not ready: {self.state.value}", retry_after_s=_RETRY_AFTER_S[self.state])
