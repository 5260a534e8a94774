"""Whatever is stored is read back as it was, and no number is given twice, however often the engine dies."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import asdict, replace

from pyworker.engine.core.derived import endpoint_key, generation_of, mtoken, ticket_key, ticket_key_id
from pyworker.engine.core.key_limits import KeyLimits
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch, Resources
from pyworker.engine.store.rows import AccountKeyRow, EndpointRow, GroupRow, LogLine, WorkerRow
from pyworker.engine.store.store import LONGEST_LINE, Store
from tests.support.stores import endpoint_row, everything, group_row

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
INTEGER = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGER | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)

COMMAND = st.lists(TEXT, max_size=4).map(tuple)
OF_ENDPOINTS = {
    "min_load": NUMBER,
    "target_util": NUMBER,
    "cold_mult": NUMBER,
    "min_cold_load": NUMBER,
    "cold_workers": INTEGER,
    "max_workers": INTEGER,
    "max_queue_time": NUMBER,
    "target_queue_time": NUMBER,
    "inactivity_timeout": st.none() | NUMBER,
    "key_requests_per_minute": NUMBER,
    "key_workload_per_minute": NUMBER,
    "key_concurrent": INTEGER,
}
OF_RESOURCES = {
    "cpus": NUMBER,
    "gpus": NUMBER,
    "memory_gb": NUMBER,
    "custom": st.dictionaries(TEXT, NUMBER, max_size=3),
}
OF_LAUNCHES = {
    "worker": COMMAND,
    "model": st.none() | COMMAND,
    "environment": st.dictionaries(TEXT, TEXT, max_size=3),
    "working_directory": TEXT,
    "resources": st.builds(Resources, **OF_RESOURCES),
}
LAUNCHES = st.builds(Launch, **OF_LAUNCHES)
OF_GROUPS = {
    "name": TEXT,
    "provider": TEXT,
    "launch": st.none() | LAUNCHES,
    "max_workers": st.none() | INTEGER,
    "test_workers": INTEGER,
    "signature_scheme": st.none() | INTEGER,
    "drain_s": NUMBER,
}
ENDPOINT_PARAMETERS = st.builds(EndpointParameters, **OF_ENDPOINTS)
GROUP_PARAMETERS = st.builds(GroupParameters, **OF_GROUPS)


def test_every_parameter_is_drawn() -> None:
    drawn = {EndpointParameters: OF_ENDPOINTS, GroupParameters: OF_GROUPS, Launch: OF_LAUNCHES, Resources: OF_RESOURCES}
    for cls, names in drawn.items():
        assert set(cls.__struct_fields__) == names.keys(), cls


@given(TEXT.filter(bool), ENDPOINT_PARAMETERS, NUMBER, st.none() | NUMBER, st.sampled_from(["active", "stopped"]))
def test_an_endpoint_is_read_back_as_it_was_stored(
    name: str, parameters: EndpointParameters, created_s: float, auto_delete_s: float | None, state: Any
) -> None:
    store = Store.open(":memory:")
    row = EndpointRow(
        name=name, parameters=parameters, created_epoch_s=created_s, auto_delete_in_seconds=auto_delete_s, state=state
    )
    assert [store.add_endpoint(row)] == store.endpoints() == [replace(row, id=1)]
    store.close()


@given(GROUP_PARAMETERS, st.none() | LAUNCHES, st.dictionaries(TEXT, JSON, max_size=4), st.none() | INTEGER)
def test_a_group_is_read_back_as_it_was_stored(
    parameters: GroupParameters, previous: Launch | None, extra: dict[str, Any], version: int | None
) -> None:
    store = Store.open(":memory:")
    row = GroupRow(
        endpoint_id=store.add_endpoint(endpoint_row()).id,
        parameters=parameters,
        extra=extra,
        previous_version=version,
        previous_launch=previous,
        created_epoch_s=1.0,
    )
    assert [store.add_workergroup(row)] == store.workergroups() == [replace(row, id=1)]
    other = store.add_workergroup(replace(row, extra={}, previous_launch=None))
    store.save_workergroup(replace(row, id=other.id))
    assert store.workergroups() == [replace(row, id=1), replace(row, id=2)]
    store.close()


WORKERS = st.builds(
    WorkerRow,
    id=st.just(0),
    workergroup_id=st.just(1),
    token_digest=st.binary(),
    ticket_key_id=st.none() | TEXT,
    signature_scheme=st.none() | INTEGER,
    rsa_generation=st.none() | INTEGER,
    url=st.none() | TEXT,
    reported_id=st.none() | INTEGER,
    version=INTEGER,
    wanted=st.sampled_from(["active", "cold", "gone"]),
    was_ready=st.booleans(),
    capacity_per_s=NUMBER,
    created_epoch_s=NUMBER,
)


LIMITS = st.builds(KeyLimits, requests_per_minute=NUMBER, workload_per_minute=NUMBER, concurrent=INTEGER)


@given(WORKERS, WORKERS, TEXT, st.binary(), LIMITS, LIMITS)
def test_workers_keys_and_lines_are_read_back_as_they_were_stored(
    row: WorkerRow, changed: WorkerRow, text: str, digest: bytes, limits: KeyLimits, others: KeyLimits
) -> None:
    store = Store.open(":memory:")
    endpoint = store.add_endpoint(endpoint_row())
    store.add_workergroup(group_row(endpoint))
    worker = store.add_worker(row)
    assert store.workers() == [worker] == [replace(row, id=1)]
    store.save_worker(replace(changed, id=worker.id))
    assert store.workers() == [replace(changed, id=worker.id, created_epoch_s=row.created_epoch_s)]
    key = AccountKeyRow(name=text, digest=digest, created_epoch_s=1.0, **asdict(limits))
    assert [store.add_account_key(key)] == store.account_keys() == [replace(key, id=1)]
    assert [store.limit_account_key(1, lambda _: others)] == store.account_keys()
    assert store.account_keys()[0].limits == others
    line = LogLine(endpoint_id=endpoint.id, epoch_s=1.0, level="trace", text=text[:LONGEST_LINE])
    store.add_log_lines([line])
    assert store.log_lines(endpoint.id, "trace") == [line]
    store.close()


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**40), st.integers(1, 2**40), st.binary(min_size=8))
def test_no_derived_key_stands_for_another(secret: bytes, number: int, generation: int, random: bytes) -> None:
    name = ticket_key_id(generation, random)
    keys = {
        endpoint_key(secret, number, generation).split("-", 2)[2],
        endpoint_key(secret, number, generation + 1).split("-", 2)[2],
        endpoint_key(secret, number + 1, generation).split("-", 2)[2],
        mtoken(secret, name),
        ticket_key(secret, name).secret,
        ticket_key(secret, ticket_key_id(generation + 1, random)).secret,
    }
    assert len(keys) == 6
    assert generation_of(name) == generation
    assert ticket_key(secret, name) == ticket_key(secret, name)


class NumbersMachine(RuleBasedStateMachine):
    """Reserve, end or die, and come back: with another clock, or from a backup."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()  # the only one that removes anything
        self.starts = 0
        self.path = self.new_path()
        self.store = Store.open(self.path)
        self.highest = {"request_idx": 0, "reqnum": 0}

    def new_path(self) -> Path:
        self.starts += 1
        folder = Path(self.place.name) / str(self.starts)
        folder.mkdir()
        return folder / "engine.db"

    def start_from(self, path: Path) -> None:
        self.store.close()
        self.path = path
        self.store = Store.open(path)

    @rule(
        name=st.sampled_from(["request_idx", "reqnum"]),
        count=st.integers(1, 10**6),
        clock_us=st.integers(0, 2 * 10**15) | st.integers(0, 2**62),
    )
    def reserve(self, name: str, count: int, clock_us: int) -> None:
        block = self.store.reserve(name, count, at_least=clock_us)
        assert len(block) == count
        assert block.start > self.highest[name]
        assert block.start >= clock_us or clock_us > 2**52
        self.highest[name] = block[-1]

    @rule()
    def end(self) -> None:
        before = everything(self.store)
        self.start_from(self.path)
        assert everything(self.store) == before

    @rule()
    def die(self) -> None:
        """The files go on as they lie there when a process is killed: the journal is not taken in."""
        path = self.new_path()
        for left in self.path.parent.glob("engine.db*"):
            shutil.copy(left, path.parent)
        self.start_from(path)

    @rule(count=st.integers(1, 1000))
    def lose_the_disk(self, count: int) -> None:
        """A backup knows nothing of what was reserved after it, but the clock has gone on meanwhile."""
        path = self.new_path()
        self.store.backup(path)
        for name in self.highest:
            self.reserve(name, count, 0)
        self.start_from(path)
        for name, highest in self.highest.items():
            if highest < 2**52:
                self.reserve(name, count, highest + 1)

    @invariant()
    def numbers_fit_into_json(self) -> None:
        assert max(self.highest.values()) < 2**53

    def teardown(self) -> None:
        self.store.close()
        self.place.cleanup()


TestNumbers = NumbersMachine.TestCase
TestNumbers.settings = settings(max_examples=15, stateful_step_count=20)
