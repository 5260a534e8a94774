"""What is done to an engine on purpose: endpoints, workergroups, workers and keys are made, changed and removed."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict, replace

from pyworker.engine.changes import whole
from pyworker.engine.core.addresses import is_loopback
from pyworker.engine.core.asked import by_their_names, kept_as_given, known_scheme, seconds_left, wanted_state
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.derived import account_key, digest
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.key_limits import NO_LIMITS, KeyLimits
from pyworker.engine.core.keys import owner
from pyworker.engine.core.launches import require_launch_fits
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, checked, checked_name
from pyworker.engine.core.workers import Worker
from pyworker.engine.data_directory import back_up
from pyworker.engine.engine import Engine
from pyworker.engine.identity import Kind
from pyworker.engine.instances import Instances
from pyworker.engine.scaler import Scaler
from pyworker.engine.store.rows import AccountKeyRow, EndpointState
from pyworker.errors import BadRequest, JsonDataException, LaunchForbidden, NotFound, PyWorkerError
from pyworker.settings import misspelt_variable
from pyworker.wire import TokenAnswer, TokenRequest, convert
from pyworker.wire_management import EndpointRequest, GroupRequest

__all__ = ["Management"]

log = logging.getLogger("pyworker.engine")

MOST_TAIL: Final = 2_000
LOOK_EVERY_S: Final = 1.0  # for endpoints that delete themselves


class Management:
    """``folder`` is the engine's; ``templates`` are workergroups that can be asked for by name (``template_hash``)."""

    def __init__(self, engine: Engine, instances: Instances, scaler: Scaler, folder: Path) -> None:
        self.changes = engine.changes
        self.templates: dict[tuple[int, str], GroupParameters] = {}  # by the endpoint's id, and name
        self._engine = engine
        self._instances = instances
        self._scaler = scaler
        self._folder = folder

    # --- endpoints ---

    @whole
    async def create_endpoint(self, fields: Mapping[str, Any]) -> Endpoint:
        """A new endpoint from the fields of the wire. Raises JsonDataException, BadRequest, StoreError."""
        asked = convert(fields, EndpointRequest)
        name = checked_name(asked.endpoint_name, "endpoint_name")
        parameters = checked(EndpointParameters(), by_their_names(fields))
        left_s = seconds_left(asked)
        state: EndpointState = "stopped" if wanted_state(asked) == "stopped" else "active"
        auto_delete_in_s = left_s if left_s is not None and left_s > 0 else None
        endpoint = await self._engine.records.add_endpoint(name, parameters, auto_delete_in_s, state)
        self._changed(endpoint, "made")
        return endpoint

    @whole
    async def change_endpoint(self, endpoint: Endpoint, fields: Mapping[str, Any]) -> None:
        """Change what is given. Raises JsonDataException, BadRequest, StoreError."""
        asked = convert(fields, EndpointRequest)

        def merged(before: EndpointParameters) -> EndpointParameters:
            return checked(before, by_their_names(fields))

        changes: dict[str, Any] = {"parameters": merged}
        state = wanted_state(asked)
        if state is not None:
            changes["state"] = state
        if asked.endpoint_name is not None:
            changes["name"] = checked_name(asked.endpoint_name, "endpoint_name")
        left_s = seconds_left(asked)
        if left_s is not None:  # from now on; or never, after all
            since_made_s = time.time() - endpoint.created_epoch_s
            changes["auto_delete_in_seconds"] = None if left_s < 0 else since_made_s + left_s
        await self._engine.records.change_endpoint(endpoint, **changes)
        self._changed(endpoint, "changed")

    @whole
    async def revoke_endpoint_key(self, endpoint: Endpoint) -> str:
        """Another key of its own from now on. Raises StoreError."""
        before = self._engine.keys.endpoint_key(endpoint)
        await self._engine.records.change_endpoint(endpoint, key_generation=_next)
        self._engine.waiting.wake_all_of(owner(before))
        self._changed(endpoint, "given another key")
        return self._engine.keys.endpoint_key(endpoint)

    @whole
    async def delete_endpoint(self, endpoint: Endpoint) -> None:
        """With its groups and workers. Raises StoreError."""
        workers = self._engine.registry.members(endpoint)
        await self._engine.records.remove_endpoint(endpoint)
        self._engine.waiting.wake(self._engine.dispatcher.forget_endpoint(endpoint))
        await self._end(workers)
        self._changed(endpoint, "deleted")

    async def delete_due(self, epoch_s: float) -> None:
        """Delete the endpoints that were to delete themselves by now; what cannot be stored is tried again."""
        for endpoint in self._engine.registry.endpoints:
            if endpoint.left_s(epoch_s) == 0.0:
                try:
                    await self.delete_endpoint(endpoint)
                except PyWorkerError as error:
                    log.error("an endpoint cannot delete itself: %s", error, extra={"endpoint": endpoint.name})
                    continue
                log.info("an endpoint has deleted itself", extra={"endpoint": endpoint.name})

    async def keep_deleting(self) -> None:
        """Until cancelled."""
        while True:
            await self.delete_due(time.time())
            await asyncio.sleep(LOOK_EVERY_S)

    # --- workergroups ---

    @whole
    async def create_group(self, fields: Mapping[str, Any]) -> Group:
        """A new workergroup from the fields of the wire.

        Raises JsonDataException, BadRequest, StoreError; LaunchForbidden for commands from another machine.
        """
        self._require_launch_allowed(fields)
        asked = convert(fields, GroupRequest)
        endpoint = self._endpoint_of(asked)
        base = self._template(asked, endpoint, may_lack=fields.get("launch") is not None)
        parameters = checked(base or GroupParameters(name=asked.template_hash or "default"), fields)
        if base is None and parameters.launch is not None and asked.provider is None:
            words = "is missing: with a launch it is local or ray; without one, external workers join with a token"
            raise JsonDataException({"provider": words})
        require_launch_fits(parameters, misspelt_variable)
        group = await self._engine.records.add_group(endpoint, parameters, kept_as_given(fields))
        self._changed(endpoint, f"given the workergroup {parameters.name}")
        return group

    def _template(self, asked: GroupRequest, endpoint: Endpoint, *, may_lack: bool) -> GroupParameters | None:
        """The workergroup that is asked for by name: one of this endpoint, or else of any.

        None when none is asked for, or there is none and there need not be. Raises BadRequest.
        """
        named = asked.template_hash
        found = {whose: one for (whose, name), one in self.templates.items() if name == named}
        if found:
            return found.get(endpoint.id) or next(iter(found.values()))
        known = ", ".join(dict.fromkeys(name for _, name in self.templates)) or "none"
        if named is not None and not may_lack:
            raise BadRequest(f"template_hash names no workergroup template: {named!r}; there is {known}")
        if asked.template_id is not None and not may_lack:
            raise BadRequest(f"template_id names nothing here: give a template_hash instead; there is {known}")
        return None

    @whole
    async def change_group(self, group: Group, fields: Mapping[str, Any]) -> None:
        """Change what is given; another launch is rolled out. Raises what ``create_group`` does."""
        self._require_launch_allowed(fields)
        asked = convert(fields, GroupRequest)
        is_own = asked.template_hash == group.parameters.name  # it is listed with that
        base = self._template(asked, group.endpoint, may_lack=is_own or fields.get("launch") is not None)

        def merged(before: GroupParameters) -> GroupParameters:
            wanted = checked(replace(base, name=before.name) if base else before, fields)
            self._require_change_fits(group, before, wanted)
            return wanted

        await self._engine.records.change_group(group, merged, kept_as_given(fields))
        self._changed(group.endpoint, f"changed: its workergroup {group.parameters.name} has version {group.version}")

    def _require_change_fits(self, group: Group, before: GroupParameters, wanted: GroupParameters) -> None:
        if (wanted.provider, wanted.launch) != (before.provider, before.launch):
            require_launch_fits(wanted, misspelt_variable)
        self._require_provider_fits(group, wanted)

    def _require_provider_fits(self, group: Group, wanted: GroupParameters) -> None:
        """Raises BadRequest when workers would be left with the provider before."""
        before = group.parameters
        if wanted.provider != before.provider and self._engine.registry.members(group):
            raise BadRequest(
                f"provider: the workergroup {before.name!r} has workers of the provider {before.provider}; "
                "make another workergroup, or remove its workers first"
            )

    @whole
    async def update_group(self, group: Group) -> int:
        """Start all its workers anew, one after the other, with the newest launch. Gives its version."""
        launch = group.parameters.launch
        template = self.templates.get((group.endpoint.id, group.parameters.name))
        newest = template.launch if template is not None and launch is not None else None
        if newest is not None and newest != launch:
            await self._engine.records.change_group(group, replace(group.parameters, launch=newest))
        else:
            await self._engine.records.renew_group(group)
        self._changed(group.endpoint, f"updating its workergroup {group.parameters.name} to version {group.version}")
        return group.version

    @whole
    async def cancel_update(self, group: Group) -> int:
        """Back to the version before. Gives the version. Raises BadRequest when no update is under way."""
        if group.before is None:
            raise BadRequest(f"no update of the workergroup {group.parameters.name!r} is under way")
        await self._engine.records.go_back(group)
        self._changed(group.endpoint, f"going back: its workergroup {group.parameters.name} to version {group.version}")
        return group.version

    @whole
    async def delete_group(self, group: Group) -> None:
        """With its workers. Raises StoreError."""
        workers = self._engine.registry.members(group)
        await self._engine.records.remove_group(group)
        await self._end(workers)
        self._changed(group.endpoint, f"rid of its workergroup {group.parameters.name}")

    # --- a deployment ---

    async def deploy(self, deployment: Deployment) -> Endpoint:
        """Make the endpoint as it is described; what has changed is changed, and another launch rolled out.

        Groups whose workers are started here and that are described no more are removed. Raises StoreError; BadRequest
        for a group with workers that is to have another provider: then nothing is changed.
        """
        endpoint = next((one for one in self._engine.registry.endpoints if one.name == deployment.name), None)
        if endpoint is not None:
            self._require_providers_fit(endpoint, deployment.groups)
        if endpoint is None:
            endpoint = await self._engine.records.add_endpoint(deployment.name, deployment.parameters)
        elif endpoint.parameters != deployment.parameters:
            await self._engine.records.change_endpoint(endpoint, parameters=deployment.parameters)
        await self._deploy_groups(endpoint, deployment.groups)
        self._changed(endpoint, "as its deployment describes it")
        return endpoint

    def _require_providers_fit(self, endpoint: Endpoint, described: Sequence[GroupParameters]) -> None:
        wanted = {parameters.name: parameters for parameters in described}
        for group in self._engine.registry.groups(endpoint):
            self._require_provider_fits(group, wanted.get(group.parameters.name, group.parameters))

    async def _deploy_groups(self, endpoint: Endpoint, described: Sequence[GroupParameters]) -> None:
        groups = {group.parameters.name: group for group in self._engine.registry.groups(endpoint)}
        for parameters in described:
            self.templates[endpoint.id, parameters.name] = parameters
            group = groups.pop(parameters.name, None)
            if group is None:
                await self._engine.records.add_group(endpoint, parameters, {})
            elif group.parameters != parameters:
                await self._engine.records.change_group(group, parameters)
        for group in groups.values():
            if group.parameters.launch is not None:
                await self.delete_group(group)

    # --- workers ---

    @whole
    async def issue_token(self, query: TokenRequest) -> TokenAnswer:
        """A new external worker's secrets. Raises BadRequest, StoreError."""
        endpoint = self._engine.registry.endpoint(query.endpoint)
        group = await self._engine.records.external_group(endpoint, query.workergroup)
        if group.parameters.launch is not None:
            raise BadRequest(
                f"workergroup: the workers of {group.parameters.name!r} are started by the engine, which gives them "
                "their tokens: name an external one, or leave it out"
            )
        asked = query.signature_scheme or group.parameters.signature_scheme
        worker, mtoken = await self._engine.records.add_worker(
            group, scheme=known_scheme(asked), url=query.url or "", reported_id=query.id
        )
        self._engine.journal.note(endpoint, f"a token for a worker is issued (number {worker.number})", group=group)
        key = worker.ticket_key
        return TokenAnswer(
            endpoint=endpoint.name,
            mtoken=mtoken,
            ticket_key=key.text if key else None,
            ticket_key_id=key.id if key else None,
        )

    @whole
    async def remove_worker(self, worker: Worker) -> None:
        """Destroy it; an external one is known no more. Raises StoreError: then nothing has been done."""
        await self._engine.records.want_gone(worker)
        await self._end([worker])
        self._scaler.nudge()

    @whole
    async def stop_worker(self, worker: Worker) -> None:
        """Let it be cold; an external one drains, ends, and is started anew on its machine.

        Raises BadRequest for one that is being dealt with; ``ExternalWorkers.drain`` says what else.
        """
        if worker.is_external:
            await self._instances.external.drain(worker)
            return
        self._require_idle(worker)
        self._instances.stop(worker)

    def start_worker(self, worker: Worker) -> None:
        """Start it again. Raises BadRequest for one that is not started here, or is being dealt with."""
        self._require_idle(worker)
        self._instances.start(worker)

    def _require_idle(self, worker: Worker) -> None:
        if worker.is_external:
            raise BadRequest(f"worker {worker.id} is not started here: start it on its own machine")
        if self._instances.is_busy(worker):
            raise BadRequest(f"worker {worker.id} is {worker.state}: wait until that is done")

    async def worker_logs(self, worker: Worker, tail: int) -> dict[str, list[str]]:
        """The last lines of its logs, by log. Raises what ``Instances.logs`` does."""
        return await self._instances.logs(worker, max(1, min(tail, MOST_TAIL)))

    async def _end(self, workers: list[Worker]) -> None:
        for worker in workers:
            if not worker.is_external and not self._instances.is_busy(worker):
                self._instances.destroy(worker)
        await self._instances.external.dismiss([worker for worker in workers if worker.is_external])

    # --- keys ---

    @whole
    async def create_key(self, name: str, limits: KeyLimits = NO_LIMITS) -> tuple[AccountKeyRow, str]:
        """A new account key, which is shown this once. Raises StoreError."""
        key = account_key(secrets.token_bytes(32))
        row = AccountKeyRow(name=name, digest=digest(key), created_epoch_s=time.time(), **asdict(limits))
        row = await self._engine.thread.run(self._engine.store.add_account_key, row)
        self._engine.keys.allow(row.digest, row.limits)
        return row, key

    async def list_keys(self) -> list[AccountKeyRow]:
        """All of them, without the keys themselves. Raises StoreError."""
        return await self._engine.thread.run(self._engine.store.account_keys)

    @whole
    async def limit_key(self, key_id: int, fields: Mapping[str, Any]) -> None:
        """Other limits; what is not given stays. Raises JsonDataException, NotFound, StoreError."""

        def merged(before: KeyLimits) -> KeyLimits:
            return checked(before, fields)

        row = await self._engine.thread.run(self._engine.store.limit_account_key, key_id, merged)
        self._engine.keys.limit(row.digest, row.limits)

    @whole
    async def revoke_key(self, key_id: int) -> None:
        """It opens nothing any more. Raises NotFound, StoreError."""
        row = next((row for row in await self.list_keys() if row.id == key_id), None)
        if row is None:
            raise NotFound(f"there is no account key with the id {key_id}")
        await self._engine.thread.run(self._engine.store.revoke_account_key, key_id, time.time())
        self._engine.keys.revoke(row.digest)
        self._engine.waiting.wake_all_of(row.digest.hex())

    @whole
    async def rotate(self, kind: Kind) -> int:
        """A new generation of the secret; the ones before stay good. Raises StoreError."""
        generation = await self._engine.thread.run(self._engine.identity.rotate, kind)
        self._engine.signer.use(self._engine.identity.rsa_keys)
        return generation

    async def back_up(self, path: Path) -> None:
        """A copy of all that the engine keeps, on its machine. Raises BadRequest, StoreError."""
        await asyncio.to_thread(back_up, self._folder, path)

    # --- helpers ---

    def _require_launch_allowed(self, fields: Mapping[str, Any]) -> None:
        """A launch is commands for this machine: who has an account key is not by that somebody who may log in here."""
        config = self._engine.config
        if fields.get("launch") is not None and not (config.allow_launch or is_loopback(config.host)):
            raise LaunchForbidden()

    def _endpoint_of(self, asked: GroupRequest) -> Endpoint:
        if asked.endpoint_id is not None:
            return self._engine.registry.endpoint_by_id(asked.endpoint_id)
        if asked.endpoint_name is not None:
            return self._engine.registry.endpoint(asked.endpoint_name)
        raise JsonDataException({"endpoint_id": "missing parameter; or give endpoint_name"})

    def _changed(self, endpoint: Endpoint, how: str) -> None:
        if not endpoint.deleted:
            self._engine.journal.note(endpoint, f"the endpoint is {how}")
        self._engine.feed.publish("endpoint", {"endpoint": endpoint.name, "id": endpoint.id, "how": how})
        self._scaler.nudge()


def _next(generation: int) -> int:
    return generation + 1
