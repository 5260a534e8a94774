"""Who is there: endpoints, their workergroups, and the workers that may report with the tokens they were given. Pure.

Times in s on the engine's monotonic clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pyworker.engine.core.addresses import ANYWHERE, Network, check_worker_url, is_at
from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.workers import Worker
from pyworker.errors import BadRequest, NotFound, WrongToken
from pyworker.wire import WorkerStatus

__all__ = ["Registry"]

LATELY_S: Final = 60.0


class Registry:
    """``networks`` are where workers may be."""

    def __init__(self, networks: Sequence[Network] = ANYWHERE) -> None:
        self._networks = networks
        self._endpoints: dict[str, Endpoint] = {}
        self._groups: dict[int, Group] = {}
        self._workers: dict[int, Worker] = {}
        self._by_token: dict[bytes, Worker] = {}
        self._retired: dict[bytes, Worker] = {}  # each worker's last token that counts no more
        self._members: dict[Endpoint, dict[int, Worker]] = {}
        self._ready: dict[Endpoint, list[Worker]] = {}
        self._coming: dict[Endpoint, list[Worker]] = {}
        self._newest: dict[tuple[int, int], Worker] = {}  # by endpoint and reported id
        self._shared_ids: set[tuple[int, int]] = set()
        self._stranger_s = -math.inf  # when somebody last reported with an unknown token

    # --- endpoints ---

    def add_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """A new endpoint. Raises BadRequest when the name is empty or taken."""
        if not endpoint.deleted:
            self._require_free(endpoint.name)
            self._endpoints[endpoint.name] = endpoint
        self._members[endpoint] = {}
        return endpoint

    def _require_free(self, name: str) -> None:
        if not name or name in self._endpoints:
            raise BadRequest(f"an endpoint's name is not empty and used once, not {name!r}")

    def rename(self, endpoint: Endpoint, name: str) -> None:
        """Raises BadRequest when the name is empty or taken."""
        if name == endpoint.name:
            return
        self._require_free(name)
        self._endpoints = {name if one is endpoint else one.name: one for one in self._endpoints.values()}
        endpoint.name = name

    def delete_endpoint(self, endpoint: Endpoint) -> None:
        """Nobody finds it any more, nor its groups. It is forgotten once its last worker is removed."""
        endpoint.deleted = True
        self._endpoints.pop(endpoint.name, None)
        for group in self.groups(endpoint):
            self.delete_group(group)
        self._forget_deleted(endpoint)

    @property
    def endpoints(self) -> list[Endpoint]:
        """All of them, oldest first."""
        return list(self._endpoints.values())

    @property
    def all_endpoints(self) -> list[Endpoint]:
        """Those too that were deleted and still have workers."""
        return list(self._members)

    def endpoint(self, name: str) -> Endpoint:
        """By name. Raises BadRequest naming those that exist."""
        if name not in self._endpoints:
            raise BadRequest(f"there is no endpoint {name!r}; there is {', '.join(self._endpoints) or 'none'}")
        return self._endpoints[name]

    def endpoint_by_id(self, endpoint_id: int) -> Endpoint:
        """By number. Raises NotFound."""
        for endpoint in self._endpoints.values():
            if endpoint.id == endpoint_id:
                return endpoint
        raise NotFound(f"there is no endpoint with the id {endpoint_id}")

    # --- workergroups ---

    def add_group(self, group: Group) -> Group:
        """A new workergroup. Raises BadRequest when its endpoint has one of that name."""
        if not group.deleted:
            self.require_free_group_name(group.endpoint, group.parameters.name)
        return self.take_group(group)

    def take_group(self, group: Group) -> Group:
        """One that is stored, whatever its name."""
        self._groups[group.id] = group
        return group

    def require_free_group_name(self, endpoint: Endpoint, name: str) -> None:
        """Raises BadRequest when the endpoint has a workergroup of that name."""
        if any(other.parameters.name == name for other in self.groups(endpoint)):
            raise BadRequest(f"the endpoint {endpoint.name!r} has a workergroup {name!r} already")

    def delete_group(self, group: Group) -> None:
        """Nobody finds it any more. It is forgotten once its last worker is removed."""
        group.deleted = True
        if not self.members(group):
            self._groups.pop(group.id, None)

    def groups(self, endpoint: Endpoint | None = None) -> list[Group]:
        """Those of an endpoint, or all; oldest first."""
        return [
            group
            for group in self._groups.values()
            if not group.deleted and (endpoint is None or group.endpoint is endpoint)
        ]

    @property
    def all_groups(self) -> list[Group]:
        """Those too that were deleted and still have workers."""
        return list(self._groups.values())

    def group(self, group_id: int) -> Group:
        """By number. Raises NotFound."""
        group = self._groups.get(group_id)
        if group is None or group.deleted:
            raise NotFound(f"there is no workergroup with the id {group_id}")
        return group

    def _forget_deleted(self, endpoint: Endpoint) -> None:
        members = self._members.get(endpoint, {})
        groups = {worker.group for worker in members.values()}
        for group in [one for one in self._groups.values() if one.endpoint is endpoint]:
            if group.deleted and group not in groups:
                del self._groups[group.id]
        if endpoint.deleted and not members:
            self._members.pop(endpoint, None)
            self._ready.pop(endpoint, None)
            self._coming.pop(endpoint, None)

    # --- workers ---

    def add_worker(self, worker: Worker, digest: bytes) -> Worker:
        """A worker that may report with the token of this digest. Raises BadRequest when its url is not allowed."""
        self.check_url(worker.url)
        self.give_token(worker, digest)
        self._workers[worker.number] = self._members[worker.endpoint][worker.number] = worker
        worker.endpoint.stirred = True
        return worker

    def give_token(self, worker: Worker, digest: bytes) -> None:
        """From now on it reports with the token of this digest, and with no other."""
        self.retire_token(worker)
        self._by_token[digest] = worker

    def retire_token(self, worker: Worker) -> None:
        """It is to be started anew: what its process before that reports from now on is refused."""
        held = [hashed for hashed, other in self._by_token.items() if other is worker]
        if held:
            self._retired = {hashed: other for hashed, other in self._retired.items() if other is not worker}
        for hashed in held:
            self._retired[hashed] = self._by_token.pop(hashed)

    def check_url(self, url: str) -> None:
        """Raises BadRequest unless a worker may be there; no address at all is fine."""
        if url:
            check_worker_url(url, self._networks)

    def remove_worker(self, worker: Worker) -> None:
        """Its token opens nothing from now on."""
        worker.lose()
        self.retire_token(worker)
        self._retired = {digest: other for digest, other in self._retired.items() if other is not worker}
        self._workers.pop(worker.number, None)
        self._members[worker.endpoint].pop(worker.number, None)
        self._newest = {place: other for place, other in self._newest.items() if other is not worker}
        self._forget_deleted(worker.endpoint)

    @property
    def all_workers(self) -> Iterable[Worker]:
        """Every worker, those included that have not reported yet."""
        return self._workers.values()

    def members(self, where: Endpoint | Group) -> list[Worker]:
        """Every worker of an endpoint or a group."""
        if isinstance(where, Endpoint):
            return list(self._members[where].values())
        return [worker for worker in self._members[where.endpoint].values() if worker.group is where]

    def workers(self, where: Endpoint | Group) -> list[Worker]:
        """Those that there is something to say of: started here, or heard of and not gone."""
        return [worker for worker in self.members(where) if worker.is_listed]

    def ready(self, endpoint: Endpoint) -> Sequence[Worker]:
        """Those that take requests. Looked up anew only after something changed."""
        if endpoint.stirred or endpoint not in self._ready:
            members = self._members[endpoint].values()
            self._ready[endpoint] = [worker for worker in members if worker.is_ready]
            self._coming[endpoint] = [worker for worker in members if worker.is_coming]
            endpoint.stirred = False
        return self._ready[endpoint]

    def ready_in_s(self, endpoint: Endpoint, now_s: float) -> float:
        """When the next worker may be ready, as far as that can be known; inf when none is on its way."""
        self.ready(endpoint)
        coming = self._coming[endpoint]
        return min((worker.group.ready_in_s(worker.begun_s or now_s, now_s) for worker in coming), default=math.inf)

    def worker_by_number(self, number: int) -> Worker | None:
        """By the engine's own number for it."""
        return self._workers.get(number)

    def worker_by_id(self, worker_id: int) -> Worker:
        """By the id that is shown for it, which workers claim themselves. Raises NotFound; BadRequest for several."""
        found = [worker for worker in self._workers.values() if worker.id == worker_id and worker.is_listed]
        if not found:
            raise NotFound(f"there is no worker with the id {worker_id}")
        if len(found) > 1:
            them = ", ".join(f"n{one.number} ({one.url or one.state}, {one.endpoint.name})" for one in found)
            raise BadRequest(f"several workers have the id {worker_id}: say {them}; or give each its own CONTAINER_ID")
        return found[0]

    def worker_numbered(self, number: int) -> Worker:
        """By the engine's own number, which no other has. Raises NotFound."""
        worker = self._workers.get(number)
        if worker is None or not worker.is_listed:
            raise NotFound(f"there is no worker with the number n{number}")
        return worker

    def worker_of(self, mtoken: str, worker_id: int, *, or_before: bool = False) -> Worker:
        """Whose mtoken this is. Raises WrongToken when it is unknown or belongs to another id.

        One of the start before the newest counts ``or_before``: requests that had ended then have ended.
        """
        hashed = digest(mtoken)
        before = self._retired.get(hashed)
        worker = self._by_token.get(hashed) or (before if or_before else None)
        if worker is None and before is not None:
            raise WrongToken(f"this mtoken is of an earlier start of worker {before.id}, which was started anew")
        if worker is None:
            raise WrongToken()
        if worker.reported_id not in {None, worker_id}:
            raise WrongToken(f"this mtoken belongs to the worker with the id {worker.reported_id}, not {worker_id}")
        return worker

    def worker_at(self, worker_id: int, address: str) -> Worker:
        """The worker with this id at this address, as its token or its first report said. Raises WrongToken."""
        for worker in self._workers.values():
            if worker.reported_id == worker_id and worker.url and is_at(worker.url, address):
                return worker
        raise WrongToken("no worker with this id is known at the address of this call: issue its token with its url")

    def identify(self, status: WorkerStatus, now_s: float) -> Worker:
        """Who sends this report; its first one binds the token. Raises WrongToken, or BadRequest for a wrong url."""
        try:
            worker = self.worker_of(status.mtoken, status.id)
        except WrongToken:
            if digest(status.mtoken) not in self._retired:
                self._stranger_s = now_s
            raise
        if status.url and not worker.url:
            self.check_url(status.url)
            worker.url = status.url
        elif status.url and status.url != worker.url:
            raise WrongToken(f"this mtoken belongs to the worker at {worker.url}; issue another with its own")
        if worker.reported_id is None:
            worker.reported_id = status.id
            self._newest[worker.endpoint.id, status.id] = worker
        return worker

    # --- what is said of them ---

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
        if endpoint.stopped:
            return "the endpoint is stopped: its owner has to set endpoint_state to active"
        if now_s - self._stranger_s >= LATELY_S:
            return "no worker has reported yet"
        return (
            "reports were refused for an unknown token: start workers with new tokens, "
            f"from `pyworker worker token -e {endpoint.name}`"
        )
