"""What the store holds, as it is given out: one frozen object a row. Times are epoch s.

A new row has the id 0 and gets its number, which is never used again, from the store. A change is a new object
(``msgspec.structs.replace``) that is saved.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from pyworker.engine.core.key_limits import KeyLimits
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch

__all__ = [
    "LEVELS",
    "AccountKeyRow",
    "EndpointRow",
    "EndpointState",
    "GroupRow",
    "Level",
    "LogLine",
    "Wanted",
    "WorkerRow",
    "changed",
    "gone_back",
    "renewed",
    "settled",
]

EndpointState = Literal["active", "stopped"]
Wanted = Literal["active", "cold", "gone"]
Level = Literal["info0", "info1", "trace", "debug"]
LEVELS: Final[tuple[Level, ...]] = ("info0", "info1", "trace", "debug")


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. One that was deleted stays until its last worker is removed; its name is free at once."""

    id: int = 0
    name: str
    parameters: EndpointParameters
    state: EndpointState = "active"
    key_generation: int = 1  # of its own key: raised to revoke it, never lowered
    created_epoch_s: float
    auto_delete_in_seconds: float | None = None
    deleted_epoch_s: float | None = None


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """A workergroup. ``version`` is that of its launch; ``versions_made`` the highest there ever was."""

    id: int = 0
    endpoint_id: int
    parameters: GroupParameters
    version: int = 1
    versions_made: int = 1
    previous_version: int | None = None  # to go back to, with its launch, while an update is rolled out
    previous_launch: Launch | None = None
    extra: dict[str, Any] = {}  # fields of the wire that are kept and given back as they came
    created_epoch_s: float
    deleted_epoch_s: float | None = None


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, from its token on. Of the mtoken only the digest is here, of the ticket key only the name."""

    id: int = 0
    workergroup_id: int
    token_digest: bytes
    token_number: int = 0  # how often it was given another mtoken: at each start after its first
    ticket_key_id: str | None = None  # names what its keys are derived from (engine.core.derived)
    signature_scheme: int | None = None  # None: tickets
    rsa_generation: int | None = None  # of the public key that it knows
    url: str | None = None  # bound by the first report, like the id
    reported_id: int | None = None
    version: int = 1  # of its group's launch
    wanted: Wanted = "active"
    was_ready: bool = False  # its model has been loaded once
    capacity_per_s: float = 0.0  # as measured; 0.0: not yet
    created_epoch_s: float


class AccountKeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key that opens everything, within its limits. Only its digest is known."""

    id: int = 0
    name: str
    digest: bytes
    created_epoch_s: float
    revoked_epoch_s: float | None = None
    last_used_epoch_s: float | None = None  # to the hour
    requests_per_minute: float = 0.0  # 0: no limit, here and below
    workload_per_minute: float = 0.0
    concurrent: int = 0

    @property
    def limits(self) -> KeyLimits:
        """What may be asked with it."""
        return KeyLimits(
            requests_per_minute=self.requests_per_minute,
            workload_per_minute=self.workload_per_minute,
            concurrent=self.concurrent,
        )


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an endpoint's log."""

    endpoint_id: int
    epoch_s: float
    level: Level
    text: str
    workergroup_id: int | None = None  # when it is about one of them


def changed(group: GroupRow, parameters: GroupParameters) -> GroupRow:
    """The group with these parameters. Another launch makes a new version, and what there was is kept to go back to."""
    if parameters.launch == group.parameters.launch:
        return replace(group, parameters=parameters)
    return renewed(group, parameters)


def renewed(group: GroupRow, parameters: GroupParameters) -> GroupRow:
    """The group with a new version. While an update is under way the version before it is what is gone back to."""
    version = group.versions_made + 1
    is_updating = group.previous_version is not None
    return replace(
        group,
        parameters=parameters,
        version=version,
        versions_made=version,
        previous_version=group.previous_version if is_updating else group.version,
        previous_launch=group.previous_launch if is_updating else group.parameters.launch,
    )


def gone_back(group: GroupRow) -> GroupRow:
    """The group with its previous launch and that one's number; the number that failed is not used again."""
    if group.previous_version is None:
        return group
    parameters = replace(group.parameters, launch=group.previous_launch)
    return settled(replace(group, parameters=parameters, version=group.previous_version))


def settled(group: GroupRow) -> GroupRow:
    """The group once all its workers run its version: there is nothing to go back to any more."""
    return replace(group, previous_version=None, previous_launch=None)
