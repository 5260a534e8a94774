"""What is stored, changed and forgotten; in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from pyworker.engine.core.key_limits import KeyLimits
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.store.rows import GroupRow, LogLine, changed, gone_back, settled
from pyworker.engine.store.store import LINES_KEPT, LONGEST_LINE, Store
from pyworker.errors import BadRequest, NotFound, StoreError
from tests.support.stores import a_worker, endpoint_row, group_row, key_row, lines, worker_row


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store.open(":memory:")
    yield store
    store.close()


# --- endpoints ------------------------------------------------------------------------------------


def test_a_row_that_is_added_gets_an_id_and_is_given_back_as_it_was(store: Store) -> None:
    endpoint = store.add_endpoint(replace(endpoint_row(), auto_delete_in_seconds=60.0))
    assert endpoint == replace(endpoint_row(), id=1, auto_delete_in_seconds=60.0)
    assert store.endpoints() == [endpoint]


def test_a_change_is_given_back(store: Store) -> None:
    endpoint = store.add_endpoint(endpoint_row())
    changed_endpoint = replace(
        endpoint, name="other", parameters=EndpointParameters(min_load=0), state="stopped", key_generation=2
    )
    store.save_endpoint(changed_endpoint)
    assert store.endpoints() == [changed_endpoint]


@pytest.mark.parametrize("name", ["", "chat"])
def test_an_endpoint_needs_a_name_of_its_own(store: Store, name: str) -> None:
    store.add_endpoint(endpoint_row("chat"))
    other = store.add_endpoint(endpoint_row("other"))
    with pytest.raises(BadRequest, match="used once"):
        store.add_endpoint(endpoint_row(name))
    with pytest.raises(BadRequest, match="used once"):
        store.save_endpoint(replace(other, name=name))
    assert [endpoint.name for endpoint in store.endpoints()] == ["chat", "other"]


def test_a_key_that_was_revoked_stays_so_whatever_is_saved_later(store: Store) -> None:
    endpoint = store.add_endpoint(endpoint_row())
    store.save_endpoint(replace(endpoint, key_generation=3))
    store.save_endpoint(replace(endpoint, key_generation=2))
    assert store.endpoints()[0].key_generation == 3


def test_the_name_of_a_deleted_endpoint_is_free_and_its_id_is_not(store: Store) -> None:
    first = store.add_endpoint(endpoint_row())
    store.delete_endpoint(first.id, 5.0)
    assert store.endpoints() == []
    assert store.add_endpoint(endpoint_row()).id > first.id


def test_a_deleted_endpoint_stays_until_its_last_worker_is_removed(store: Store) -> None:
    worker = a_worker(store)
    group = store.workergroups()[0]
    other = store.add_worker(worker_row(group, "another"))
    store.delete_endpoint(group.endpoint_id, 5.0)
    assert [row.deleted_epoch_s for row in (*store.endpoints(), *store.workergroups())] == [5.0, 5.0]
    assert [row.wanted for row in store.workers()] == ["gone", "gone"]
    store.remove_worker(worker.id)
    assert len(store.endpoints()) == len(store.workergroups()) == 1
    store.remove_worker(other.id)
    assert store.endpoints() == store.workergroups() == []


def test_deleting_a_group_leaves_its_endpoint_and_the_other_groups(store: Store) -> None:
    endpoint = store.add_endpoint(endpoint_row())
    groups = [store.add_workergroup(group_row(endpoint)) for _ in range(2)]
    workers = [store.add_worker(worker_row(group, str(group.id))) for group in groups]
    store.delete_workergroup(groups[0].id, 5.0)
    assert [row.wanted for row in store.workers()] == ["gone", "active"]
    store.remove_worker(workers[0].id)
    assert (store.endpoints(), store.workergroups()) == ([endpoint], [groups[1]])


def test_what_is_deleted_takes_nothing_new_and_no_change(store: Store) -> None:
    a_worker(store)
    endpoint, group = store.endpoints()[0], store.workergroups()[0]
    store.delete_endpoint(endpoint.id, 5.0)
    for late in (
        lambda: store.add_workergroup(group_row(endpoint)),
        lambda: store.add_worker(worker_row(group, "another")),
        lambda: store.save_endpoint(endpoint),
        lambda: store.save_workergroup(group),
        lambda: store.delete_endpoint(endpoint.id, 6.0),
        lambda: store.delete_workergroup(group.id, 6.0),
    ):
        with pytest.raises(NotFound, match="never was"):
            late()


# --- workergroups and workers ---------------------------------------------------------------------


def test_fields_that_mean_nothing_to_us_are_given_back_as_they_came(store: Store) -> None:
    extra: dict[str, Any] = {"launch_args": None, "gpu_ram": 24.0, "search_params": {"num_gpus": [1, 2]}, "o": "é\0"}
    group = store.add_workergroup(replace(group_row(store.add_endpoint(endpoint_row())), extra=extra))
    assert store.workergroups()[0].extra == extra
    store.save_workergroup(replace(group, extra={}))
    assert store.workergroups()[0].extra == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, (1, 2), {1: 2}, "\ud800", b"bytes"], ids=ascii)
def test_what_json_cannot_say_is_refused_and_not_stored_as_something_else(store: Store, value: Any) -> None:
    endpoint = store.add_endpoint(endpoint_row())
    with pytest.raises(BadRequest, match="extra"):
        store.add_workergroup(replace(group_row(endpoint), extra={"field": value}))
    assert store.workergroups() == []


def test_parameters_that_could_not_be_read_back_are_refused(store: Store) -> None:
    with pytest.raises(BadRequest, match="parameters"):
        store.add_endpoint(endpoint_row(parameters=EndpointParameters(min_load=math.inf)))


def test_several_workers_are_changed_together_or_not_at_all(store: Store) -> None:
    worker = a_worker(store)
    ready = replace(worker, was_ready=True, capacity_per_s=12.5, url="http://10.0.0.1:80", reported_id=7)
    with pytest.raises(NotFound):
        store.save_workers([ready, replace(ready, id=99)])
    assert store.workers() == [worker]
    store.save_workers([ready])
    assert store.workers() == [ready]


def test_a_workers_id_is_not_used_again(store: Store) -> None:
    worker = a_worker(store)
    store.remove_worker(worker.id)
    assert store.add_worker(worker_row(store.workergroups()[0])).id > worker.id


@pytest.mark.parametrize(
    "changes",
    [{"reported_id": 2**63}, {"url": "\ud800"}, {"wanted": "lost"}, {"created_epoch_s": math.nan}],
    ids=ascii,
)
def test_a_value_that_no_column_takes_is_a_bad_request(store: Store, changes: dict[str, Any]) -> None:
    worker = a_worker(store)
    with pytest.raises(BadRequest):
        store.add_worker(replace(worker, token_digest=b"another", **changes))
    assert store.workers() == [worker]


def test_two_workers_cannot_have_the_same_token(store: Store) -> None:
    a_worker(store)
    with pytest.raises(BadRequest, match="token_digest"):
        store.add_worker(worker_row(store.workergroups()[0]))


# --- versions of a launch -------------------------------------------------------------------------


def launched(command: str) -> GroupParameters:
    return GroupParameters(launch=Launch(worker=(command,)))


GROUP = GroupRow(id=1, endpoint_id=1, parameters=launched("one"), created_epoch_s=0.0)


def test_another_launch_is_a_new_version_and_the_one_before_is_kept() -> None:
    group = changed(GROUP, launched("two"))
    assert (group.version, group.previous_version, group.previous_launch) == (2, 1, Launch(worker=("one",)))


def test_other_parameters_with_the_same_launch_are_the_same_version() -> None:
    parameters = replace(GROUP.parameters, test_workers=7)
    assert changed(GROUP, parameters) == replace(GROUP, parameters=parameters)


def test_going_back_brings_the_launch_with_its_number_and_the_failed_number_is_not_used_again() -> None:
    group = gone_back(changed(GROUP, launched("two")))
    assert (group.version, group.parameters, group.previous_version) == (1, launched("one"), None)
    assert changed(group, launched("three")).version == 3


def test_without_a_version_before_there_is_no_going_back() -> None:
    assert gone_back(GROUP) == GROUP
    group = settled(changed(GROUP, launched("two")))
    assert gone_back(group) == group
    assert (group.version, group.previous_launch) == (2, None)


def test_versions_are_stored(store: Store) -> None:
    group = store.add_workergroup(group_row(store.add_endpoint(endpoint_row())))
    group = changed(group, launched("two"))
    store.save_workergroup(group)
    assert store.workergroups() == [group]


# --- account keys ---------------------------------------------------------------------------------


def test_a_key_is_revoked_once(store: Store) -> None:
    key = store.add_account_key(key_row())
    store.revoke_account_key(key.id, 5.0)
    assert store.account_keys() == [replace(key, revoked_epoch_s=5.0)]
    for key_id in (key.id, 99):
        with pytest.raises(NotFound):
            store.revoke_account_key(key_id, 6.0)
    assert store.account_keys()[0].revoked_epoch_s == 5.0


def test_a_key_is_given_other_limits_until_it_is_revoked(store: Store) -> None:
    key = store.add_account_key(key_row())
    store.limit_account_key(key.id, lambda before: replace(before, concurrent=4))
    store.limit_account_key(key.id, lambda before: replace(before, requests_per_minute=60.0))
    limits = KeyLimits(requests_per_minute=60.0, concurrent=4)
    assert store.account_keys()[0].limits == limits
    store.revoke_account_key(key.id, 5.0)
    for key_id in (key.id, 99):
        with pytest.raises(NotFound):
            store.limit_account_key(key_id, lambda _: KeyLimits())
    assert store.account_keys()[0].limits == limits


def test_when_a_key_was_used_is_kept_to_the_hour_and_does_not_go_back(store: Store) -> None:
    key = store.add_account_key(key_row())
    for used_s, kept_s in [(7250.0, 7200.0), (100.0, 7200.0), (10_900.0, 10_800.0)]:
        store.note_keys_used({key.id: used_s, 99: used_s})
        assert store.account_keys()[0].last_used_epoch_s == kept_s


# --- numbers --------------------------------------------------------------------------------------


def test_blocks_follow_each_other_and_kinds_of_numbers_know_nothing_of_each_other(store: Store) -> None:
    blocks = [store.reserve("a", 10), store.reserve("a", 5), store.reserve("b", 1)]
    assert blocks == [range(1, 11), range(11, 16), range(1, 2)]


def test_numbers_begin_where_the_clock_is_and_go_on_when_it_goes_back(store: Store) -> None:
    assert store.reserve("a", 10, at_least=1000) == range(1000, 1010)
    assert store.reserve("a", 10, at_least=3) == range(1010, 1020)
    assert store.reserve("a", 10, at_least=5000).start == 5000


def test_a_clock_that_is_far_in_the_future_is_not_believed(store: Store) -> None:
    store.reserve("a", 10)
    assert store.reserve("a", 10, at_least=10**18) == range(11, 21)


# --- logs -----------------------------------------------------------------------------------------


def test_of_each_level_the_newest_lines_stay(store: Store) -> None:
    endpoint = store.add_endpoint(endpoint_row())
    other = LogLine(endpoint_id=endpoint.id, epoch_s=1.0, level="debug", text="x" * 9999, workergroup_id=3)
    store.add_log_lines([other, *lines(endpoint, *map(str, range(LINES_KEPT)))])
    store.add_log_lines(lines(endpoint, "last but one", "last"))
    kept = [line.text for line in store.log_lines(endpoint.id, "info0")]
    assert (len(kept), kept[0], kept[-1]) == (LINES_KEPT, "2", "last")
    assert [line.text for line in store.log_lines(endpoint.id, "info0", 2)] == ["last but one", "last"]
    assert store.log_lines(endpoint.id, "debug") == [replace(other, text="x" * LONGEST_LINE)]
    assert store.log_lines(endpoint.id, "info0", -1) == store.log_lines(endpoint.id, "trace") == []


def test_lines_of_an_endpoint_that_is_gone_do_not_keep_others_from_being_stored(store: Store) -> None:
    gone, endpoint = store.add_endpoint(endpoint_row("gone")), store.add_endpoint(endpoint_row())
    store.add_log_lines(lines(gone, "before"))
    store.delete_endpoint(gone.id, 5.0)
    store.add_log_lines([*lines(gone, "after"), *lines(endpoint, "kept")])
    assert store.log_lines(gone.id, "info0") == []
    assert [line.text for line in store.log_lines(endpoint.id, "info0")] == ["kept"]


def test_a_line_that_is_not_valid_unicode_keeps_no_other_from_the_log(store: Store) -> None:
    endpoint = store.add_endpoint(endpoint_row())
    store.add_log_lines(lines(endpoint, "broken \udcff\0!", "whole"))
    assert [line.text for line in store.log_lines(endpoint.id, "info0")] == ["broken ?\0!", "whole"]


# --- the end --------------------------------------------------------------------------------------


def test_a_closed_store_says_so_and_may_be_closed_again() -> None:
    store = Store.open(":memory:")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.endpoints()
