"""Who is there: endpoints, the tokens that were issued, and the workers that reported with them. Pure.

Times in s on the engine's monotonic clock; ``epoch_us`` where a number starts that must not go back at a restart.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

from pyworker.engine.core.addresses import ANYWHERE, Network, check_worker_url
from pyworker.engine.core.workers import Endpoint, Token, Worker
from pyworker.errors import BadRequest, NotFound, WrongToken
from pyworker.wire import WorkerStatus

__all__ = ["Probe", "Registry"]

SILENT_S: Final = 3.0  # ours report every second: after three missing reports they are probed
LOST_S: Final = 25.0  # any worker that said nothing for so long is gone
PROBE_EVERY_S: Final = 1.0
LATELY_S: Final = 60.0


class Probe(Enum):
    """What came of calling a worker."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


class Registry:
    """``networks`` are where workers may be."""

    def __init__(self, networks: Sequence[Network] = ANYWHERE) -> None:
        self._networks = networks
        self._endpoints: dict[str, Endpoint] = {}
        self._tokens: dict[bytes, Token] = {}
        self._workers: dict[Token, Worker] = {}
        self._newest: dict[tuple[int, int], Worker] = {}  # by endpoint and id
        self._shared_ids: set[tuple[int, int]] = set()
        self._stranger_s = -math.inf  # when somebody last reported with an unknown token

    # --- endpoints ---

    def add_endpoint(self, name: str, *, max_queue_time_s: float = 30.0) -> Endpoint:
        """A new endpoint. Raises BadRequest when the name is empty or taken."""
        if not name or name in self._endpoints:
            raise BadRequest(f"an endpoint's name is not empty and used once, not {name!r}")
        endpoint = Endpoint(len(self._endpoints) + 1, name, max_queue_time_s)
        self._endpoints[name] = endpoint
        return endpoint

    @property
    def endpoints(self) -> Iterator[Endpoint]:
        """All of them, oldest first."""
        return iter(self._endpoints.values())

    def endpoint(self, name: str) -> Endpoint:
        """By name. Raises BadRequest naming those that exist."""
        if name not in self._endpoints:
            raise BadRequest(f"there is no endpoint {name!r}; there is {', '.join(self._endpoints) or 'none'}")
        return self._endpoints[name]

    def endpoint_by_id(self, endpoint_id: int) -> Endpoint:
        """By number. Raises NotFound."""
        for endpoint in self.endpoints:
            if endpoint.id == endpoint_id:
                return endpoint
        raise NotFound(f"there is no endpoint with the id {endpoint_id}")

    # --- tokens ---

    def add_token(self, mtoken: str, token: Token) -> None:
        """Know an mtoken from now on; only its digest is kept. Raises BadRequest when its url is not allowed."""
        if token.url is not None:
            check_worker_url(token.url, self._networks)
        self._tokens[_digest(mtoken)] = token

    def token(self, mtoken: str, worker_id: int) -> Token:
        """What this mtoken stands for. Raises WrongToken when it is unknown or belongs to another id."""
        token = self._tokens.get(_digest(mtoken))
        if token is None:
            raise WrongToken()
        if token.id not in {None, worker_id}:
            raise WrongToken(f"this mtoken belongs to the worker with the id {token.id}, not {worker_id}")
        return token

    # --- workers ---

    def workers(self, endpoint: Endpoint) -> list[Worker]:
        """Those of an endpoint that are not gone."""
        return [worker for worker in self._workers.values() if worker.endpoint is endpoint and not worker.gone]

    def worker(self, mtoken: str, worker_id: int) -> Worker:
        """Who reported with this token. Raises WrongToken when nobody did."""
        worker = self._workers.get(self.token(mtoken, worker_id))
        if worker is None:
            raise WrongToken("no worker has reported with this mtoken yet")
        return worker

    def identify(self, status: WorkerStatus, now_s: float, epoch_us: int) -> Worker:
        """Who sends this report; its first one binds the token. Raises WrongToken, or BadRequest for a wrong url."""
        if _digest(status.mtoken) not in self._tokens:
            self._stranger_s = now_s
        token = self.token(status.mtoken, status.id)
        if status.url and token.url is None:
            check_worker_url(status.url, self._networks)
            token.url = status.url
        elif status.url and status.url != token.url:
            raise WrongToken(f"this mtoken belongs to the worker at {token.url}; issue another with its own")
        token.id = status.id
        worker = self._workers.get(token)
        if worker is None:
            worker = self._workers[token] = Worker(token, status.id, epoch_us, now_s, now_s)
            self._newest[token.endpoint.id, status.id] = worker
        worker.url = token.url or ""
        return worker

    def state_counts(self, endpoint: Endpoint) -> Mapping[str, int]:
        """How many workers are in which state."""
        return Counter(worker.state for worker in self.workers(endpoint))

    def namesake(self, worker: Worker) -> Worker | None:
        """Another worker of the endpoint that has come with this one's id, though this one still reports.

        Told once for each id. A worker that was started anew, with a new token, is none: the old one reports no more.
        """
        place = (worker.endpoint.id, worker.id)
        newest = self._newest.get(place, worker)
        if newest is worker or newest.gone or newest.url == worker.url or place in self._shared_ids:
            return None
        self._shared_ids.add(place)
        return newest

    def why_no_worker(self, endpoint: Endpoint, now_s: float) -> str:
        """For those who wait at an endpoint without workers. A refused report does not say where it belonged."""
        if now_s - self._stranger_s >= LATELY_S:
            return "no worker has reported yet"
        return (
            "reports were refused for an unknown token (was the engine restarted?): start workers with new tokens, "
            f"from `pyworker worker token -e {endpoint.name}`"
        )

    # --- silence ---

    def to_probe(self, now_s: float) -> list[Worker]:
        """Workers of ours that missed three reports, each at most once a second: call them."""
        return [
            worker
            for worker in self._workers.values()
            if worker.ours and now_s - worker.heard_s >= SILENT_S and self.may_probe(worker, now_s)
        ]

    def may_probe(self, worker: Worker, now_s: float) -> bool:
        """Whether it is time to call a worker. When it is, the call is taken as made."""
        if worker.gone or not worker.url or now_s - worker.probed_s < PROBE_EVERY_S:
            return False
        worker.probed_s = now_s
        return True

    def probed(self, worker: Worker, probe: Probe, now_s: float) -> bool:
        """Take in what came of a call. True when the worker is gone now: it refused, or is ours and silent."""
        silent = worker.ours and now_s - worker.heard_s >= SILENT_S
        if worker.gone or not (probe is Probe.REFUSED or (silent and probe is Probe.SILENT)):
            return False
        worker.lose()
        return True

    def lose_silent(self, now_s: float) -> list[Worker]:
        """Workers not heard of for LOST_S; they are gone now, until they report again."""
        lost = [worker for worker in self._workers.values() if not worker.gone and now_s - worker.heard_s >= LOST_S]
        for worker in lost:
            worker.lose()
        return lost

    def forget_the_air(self, now_s: float) -> None:
        """Count no longer what was sent long ago and never reported."""
        for worker in self._workers.values():
            worker.forget_the_air(now_s)


def _digest(mtoken: str) -> bytes:
    return hashlib.sha256(mtoken.encode(errors="surrogatepass")).digest()
