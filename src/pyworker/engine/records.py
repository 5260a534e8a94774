"""Endpoints, workergroups and workers, in the store and in the registry: what changes here survives a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from pyworker.engine.changes import Changes, whole
from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.workers import Life, Worker
from pyworker.engine.identity import Identity
from pyworker.engine.remembered import LIFE, coarse, endpoint_of, group_of, scheme_of, take_launches
from pyworker.engine.store.rows import (
    EndpointRow,
    EndpointState,
    GroupRow,
    Wanted,
    WorkerRow,
    changed,
    gone_back,
    renewed,
    settled,
)
from pyworker.engine.store.store import Store
from pyworker.engine.store.thread import StoreThread
from pyworker.errors import BadRequest, NotFound, StoreError
from pyworker.tickets import Scheme, TicketKey

__all__ = ["Records"]

log = logging.getLogger("pyworker.engine")


class Records:
    """Every change is stored first and made afterwards: what raises StoreError has changed nothing. Each is whole.

    ``now_s`` and ``epoch_s`` are the clocks.
    """

    def __init__(
        self,
        store: Store,
        thread: StoreThread,
        registry: Registry,
        identity: Identity,
        changes: Changes,
        *,
        now_s: Callable[[], float],
        epoch_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._thread = thread
        self._registry = registry
        self._identity = identity
        self.changes = changes
        self._now_s = now_s
        self._epoch_s = epoch_s
        self._first_reqnum = 0
        self._changing = asyncio.Lock()  # from reading a row to having stored and made the change
        self._endpoints: dict[int, EndpointRow] = {}
        self._groups: dict[int, GroupRow] = {}
        self._workers: dict[int, WorkerRow] = {}
        self._noted: set[int] = set()  # numbers of workers whose rows are not stored yet
        self._is_behind = False  # the last time they could not be

    def load(self, first_reqnum: int) -> None:
        """Everything that is stored, into the registry; all workers' numbers go on from ``first_reqnum``."""
        self._first_reqnum = first_reqnum
        for row in self._store.endpoints():
            self._endpoints[row.id] = row
            self._registry.add_endpoint(endpoint_of(row, self._now_s()))
        endpoints = {endpoint.id: endpoint for endpoint in self._registry.all_endpoints}
        for row in self._store.workergroups():
            self._groups[row.id] = row
            self._registry.take_group(group_of(row, endpoints[row.endpoint_id]))
        groups = {group.id: group for group in self._registry.all_groups}
        for row in self._store.workers():
            self._workers[row.id] = row
            self._registry.add_worker(self._worker(row, groups[row.workergroup_id]), row.token_digest)

    # --- endpoints ---

    @whole
    async def add_endpoint(
        self,
        name: str,
        parameters: EndpointParameters,
        auto_delete_in_s: float | None = None,
        state: EndpointState = "active",
    ) -> Endpoint:
        """A new endpoint. Raises BadRequest when its name is empty or taken, StoreError."""
        row = EndpointRow(
            id=0,
            name=name,
            parameters=parameters,
            state=state,
            created_epoch_s=self._epoch_s(),
            auto_delete_in_seconds=auto_delete_in_s,
        )
        async with self._changing:
            row = await self._thread.run(self._store.add_endpoint, row)
            self._endpoints[row.id] = row
            return self._registry.add_endpoint(endpoint_of(row, self._now_s()))

    @whole
    async def change_endpoint(self, endpoint: Endpoint, **changes: Any) -> None:
        """Change fields of its row: name, parameters, state, key_generation. Raises BadRequest, StoreError.

        A change is a value, or a function that makes it of the value before: two changes at once are both made.
        """
        async with self._changing:
            before = self._endpoints[endpoint.id]
            values = {name: c(getattr(before, name)) if callable(c) else c for name, c in changes.items()}
            row = replace(before, **values)
            await self._thread.run(self._store.save_endpoint, row)
            self._endpoints[row.id] = row
            self._registry.rename(endpoint, row.name)
            endpoint.parameters, endpoint.generation = row.parameters, row.key_generation
            endpoint.stopped, endpoint.auto_delete_in_s = row.state == "stopped", row.auto_delete_in_seconds

    @whole
    async def remove_endpoint(self, endpoint: Endpoint) -> None:
        """Nobody is routed there any more; its workers, which are to be destroyed, are removed one by one."""
        async with self._changing:
            await self._thread.run(self._store.delete_endpoint, endpoint.id, self._epoch_s())
            self._registry.delete_endpoint(endpoint)

    # --- workergroups ---

    @whole
    async def add_group(self, endpoint: Endpoint, parameters: GroupParameters, extra: Mapping[str, Any]) -> Group:
        """A new workergroup. Raises BadRequest when its endpoint has one of that name, StoreError."""
        async with self._changing:
            return await self._add_group(endpoint, parameters, extra)

    async def _add_group(self, endpoint: Endpoint, parameters: GroupParameters, extra: Mapping[str, Any]) -> Group:
        self._registry.require_free_group_name(endpoint, parameters.name)
        row = GroupRow(
            id=0,
            endpoint_id=endpoint.id,
            parameters=parameters,
            extra=dict(extra),
            created_epoch_s=self._epoch_s(),
        )
        row = await self._thread.run(self._store.add_workergroup, row)
        self._groups[row.id] = row
        return self._registry.add_group(group_of(row, endpoint))

    @whole
    async def external_group(self, endpoint: Endpoint, name: str | None = None) -> Group:
        """The group of that name; without one the endpoint's external group, made when there is none."""
        async with self._changing:
            return await self._external_group(endpoint, name)

    async def _external_group(self, endpoint: Endpoint, name: str | None) -> Group:
        for group in self._registry.groups(endpoint):
            if (group.parameters.name == name) if name else group.parameters.launch is None:
                return group
        if name:
            names = ", ".join(group.parameters.name for group in self._registry.groups(endpoint)) or "none"
            raise BadRequest(f"the endpoint {endpoint.name!r} has no workergroup {name!r}; there is {names}")
        return await self._add_group(endpoint, GroupParameters(name="external"), {})

    @whole
    async def change_group(
        self,
        group: Group,
        parameters: GroupParameters | Callable[[GroupParameters], GroupParameters],
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Other parameters, or a function that makes them of those before; another launch is rolled out."""
        async with self._changing:
            before = self._groups[group.id]
            wanted = parameters(before.parameters) if callable(parameters) else parameters
            if wanted.name != before.parameters.name:
                self._registry.require_free_group_name(group.endpoint, wanted.name)
            row = changed(before, wanted)
            await self._save_group(group, replace(row, extra={**row.extra, **(extra or {})}))

    @whole
    async def renew_group(self, group: Group) -> None:
        """The same launch as a new version: every worker is started anew with it."""
        async with self._changing:
            row = self._groups[group.id]
            await self._save_group(group, renewed(row, row.parameters))

    @whole
    async def go_back(self, group: Group) -> None:
        """To the launch before the newest."""
        async with self._changing:
            await self._save_group(group, gone_back(self._groups[group.id]))

    @whole
    async def settle(self, group: Group) -> None:
        """All its workers have the newest version: there is nothing to go back to any more."""
        async with self._changing:
            await self._save_group(group, settled(self._groups[group.id]))

    async def _save_group(self, group: Group, row: GroupRow) -> None:
        await self._thread.run(self._store.save_workergroup, row)
        self._groups[row.id] = row
        take_launches(group, row)

    @whole
    async def remove_group(self, group: Group) -> None:
        """Like ``remove_endpoint``."""
        async with self._changing:
            await self._thread.run(self._store.delete_workergroup, group.id, self._epoch_s())
            self._registry.delete_group(group)

    # --- workers ---

    @whole
    async def add_worker(
        self,
        group: Group,
        *,
        life: Life = Life.RUNNING,
        version: int | None = None,
        scheme: Scheme | None = None,
        url: str = "",
        reported_id: int | None = None,
    ) -> tuple[Worker, str]:
        """A new worker, and the mtoken that it reports with. Raises BadRequest for a url that is not allowed."""
        self._registry.check_url(url)
        key_id = self._identity.new_key_id()
        mtoken = self._identity.mtoken(key_id) or ""
        row = WorkerRow(
            id=0,
            workergroup_id=group.id,
            token_digest=digest(mtoken),
            ticket_key_id=key_id,
            signature_scheme=scheme,
            url=url or None,
            reported_id=reported_id,
            version=version or group.version,
            created_epoch_s=self._epoch_s(),
        )
        async with self._changing:
            row = await self._thread.run(self._store.add_worker, row)
            self._workers[row.id] = row
            worker = self._worker(row, group)
            worker.life, worker.since_s = life, self._now_s()
            return self._registry.add_worker(worker, row.token_digest), mtoken

    def mtoken_of(self, worker: Worker) -> str:
        """What it reports with, and what opens its own pages. Raises NotFound when the secret was dropped."""
        return self._mtoken(self._workers[worker.number])

    @whole
    async def renew_token(self, worker: Worker) -> str:
        """Another mtoken, for a worker that is to be started anew: what it said before it ended counts no more.

        Once the ticket secret was rotated its ticket key is another one, too. Raises StoreError.
        """
        row = self._with_another_token(self._workers[worker.number])
        mtoken = self._mtoken(row)
        row = self._workers[row.id] = replace(row, token_digest=digest(mtoken))  # a note meanwhile goes on from here
        await self._thread.run(self._store.save_worker, row)
        self._registry.give_token(worker, row.token_digest)
        worker.ticket_key = self._ticket_key(row)
        return mtoken

    def _with_another_token(self, row: WorkerRow) -> WorkerRow:
        """Tickets on their way stay good for as long as the key does."""
        if row.ticket_key_id and self._identity.is_newest(row.ticket_key_id):
            return replace(row, token_number=row.token_number + 1)
        return replace(row, ticket_key_id=self._identity.new_key_id(), token_number=0)

    def _mtoken(self, row: WorkerRow) -> str:
        mtoken = self._identity.mtoken(row.ticket_key_id, row.token_number) if row.ticket_key_id else None
        if mtoken is None:
            raise NotFound("the secret of this worker's token was dropped: give it a new token")
        return mtoken

    async def count_certificate(self, worker: Worker) -> int:
        """How many certificates it was given without its mtoken, with this one. Raises StoreError."""
        return (await self._thread.run(self._store.reserve, f"certificates of worker {worker.number}", 1)).start

    def note(self, worker: Worker, wanted: Wanted | None = None) -> None:
        """Store, soon, what has become of a worker; does nothing when that is stored already.

        What cannot be stored is tried again: see ``store_noted``.
        """
        before = self._workers.get(worker.number)
        if before is None:
            return
        row = replace(
            before,
            rsa_generation=worker.rsa_generation or None,
            url=worker.url or None,
            reported_id=worker.reported_id,
            version=worker.version,
            wanted=wanted or before.wanted,
            was_ready=worker.was_ready,
            capacity_per_s=coarse(before.capacity_per_s, worker.capacity_per_s),
        )
        if row != before:
            self._workers[row.id] = row
            self._noted.add(row.id)
            self.changes.begin(self.store_noted())

    @whole
    async def store_noted(self) -> None:
        """Store what was noted and is not stored yet, as it is by now; when that fails, the log says so once."""
        rows = [self._workers[number] for number in self._noted if number in self._workers]
        self._noted.clear()
        if not rows:
            return
        try:
            await self._store_workers(rows)
        except StoreError as error:
            self._noted.update(row.id for row in rows)
            if not self._is_behind:
                log.error("what became of workers cannot be stored, and is tried again: %s", error)
            self._is_behind = True
        else:
            self._is_behind = False

    async def _store_workers(self, rows: Sequence[WorkerRow]) -> None:
        """All at once; one by one when one of them is in the way of the others."""
        try:
            await self._thread.run(self._store.save_workers, rows)
        except (NotFound, BadRequest):
            for row in rows:
                try:
                    await self._thread.run(self._store.save_worker, row)
                except NotFound:
                    continue  # it was removed meanwhile
                except BadRequest as error:
                    log.error("what became of worker %d cannot be stored: %s", row.id, error)

    @whole
    async def want_gone(self, worker: Worker) -> None:
        """It is to be destroyed, whatever becomes of this engine. Raises StoreError: then it is not."""
        row = replace(self._workers[worker.number], wanted="gone")
        await self._thread.run(self._store.save_worker, row)
        self.note(worker, "gone")

    @whole
    async def remove_worker(self, worker: Worker) -> None:
        """Its token opens nothing any more."""
        await self._thread.run(self._store.remove_worker, worker.number)
        self._workers.pop(worker.number, None)
        self._registry.remove_worker(worker)

    def _ticket_key(self, row: WorkerRow) -> TicketKey | None:
        is_ticketed = row.signature_scheme is None and row.ticket_key_id is not None
        return self._identity.ticket_key(row.ticket_key_id) if is_ticketed and row.ticket_key_id else None

    def _worker(self, row: WorkerRow, group: Group) -> Worker:
        now_s = self._now_s()
        return Worker(
            row.id,
            group,
            ticket_key=self._ticket_key(row),
            signature_scheme=scheme_of(row.signature_scheme),
            rsa_generation=row.rsa_generation or 0,
            reported_id=row.reported_id,
            url=row.url or "",
            version=row.version,
            created_epoch_s=row.created_epoch_s,
            life=LIFE[row.wanted],
            since_s=now_s,
            was_ready=row.was_ready,
            reqnum=self._first_reqnum,
            capacity_per_s=row.capacity_per_s,
        )
