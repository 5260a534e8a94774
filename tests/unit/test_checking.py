"""The rules of a dry run: pure."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.api import LogAction
from pyworker.checking.configuration import check_log_actions
from pyworker.checking.findings import LONGEST, fault, one_line, redacted
from pyworker.checking.values import as_json, enlarged, json_problem, same_payloads, steady_workload, workload_problem
from pyworker.checking.variables import stand_in
from pyworker.checking.verdicts import Seen, Subject, judge, judge_count, left_open
from pyworker.scaffold.naming import require_name, suggestion

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
SUBJECT = Subject("Generate", "/generate", "server.py:3")
STREAM = Subject("Stream", "/stream", "server.py:9", streams=True)


# --- values -------------------------------------------------------------------------------------------


@given(VALUES)
def test_what_is_no_json_is_just_what_json_refuses(value: Any) -> None:
    try:
        as_json(value)
    except (TypeError, ValueError):
        assert json_problem(value)
    else:
        assert json_problem(value) is None


def test_the_part_that_is_no_json_is_named() -> None:
    assert "messages[1].image" in (json_problem({"messages": [{}, {"image": b""}]}) or "")
    assert "seed is nan" in (json_problem({"seed": math.nan}) or "")


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_a_payload_made_larger_is_still_json_and_another_payload(payload: dict[str, Any]) -> None:
    for larger in enlarged(payload):
        assert larger.keys() == payload.keys()
        assert json.dumps(larger) != json.dumps(payload)


@given(st.floats() | st.integers() | st.none() | st.booleans() | st.text())
def test_a_workload_is_a_finite_number_above_0(workload: Any) -> None:
    is_good = isinstance(workload, int | float) and not isinstance(workload, bool) and 0 < workload < math.inf
    assert (workload_problem(workload, "here", "count") is None) is is_good


def test_payloads_that_are_all_alike_are_a_fault_of_a_benchmark_and_a_warning_elsewhere() -> None:
    assert same_payloads(["a", "a", "b"], "here", "it", is_benchmark=True) is None
    levels = [same_payloads(["a", "a"], "here", "it", is_benchmark=benchmark) for benchmark in (True, False)]
    assert [finding and finding.level for finding in levels] == ["fault", "warning"]


def test_a_count_of_few_payloads_says_nothing_of_its_steadiness() -> None:
    assert steady_workload([1.0, 1.0], "here", "count") is None
    assert steady_workload([1.0, 1.0, 2.0], "here", "count") is None
    assert steady_workload([1.0, 1.0, 1.0], "here", "count")


# --- log actions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loaded", "error", "is_fault"),
    [("started", "not started", True), ("ready: error", "error", True), ("a", "a", True), ("started", "failed", False)],
)
def test_a_line_means_one_thing(loaded: str, error: str, is_fault: bool) -> None:
    actions = [(LogAction.ModelLoaded, loaded), (LogAction.ModelError, error), (LogAction.Info, loaded)]
    assert bool(list(check_log_actions(actions, has_log=True))) is is_fault


# --- verdicts -----------------------------------------------------------------------------------------


def rules(seen: Seen, subject: Subject = SUBJECT, *, made_up: bool = True) -> list[tuple[str, str]]:
    return [(finding.rule, finding.level) for finding in judge(subject, seen, made_up=made_up)]


@pytest.mark.parametrize("act", ["status 422", "status 500"])
def test_an_error_of_the_model_must_not_become_a_success(act: str) -> None:
    assert rules(Seen(act, 200)) == [("model-error", "fault")]
    assert rules(Seen(act, 422)) == []


def test_a_422_that_becomes_a_500_is_a_warning() -> None:
    assert rules(Seen("status 422", 502)) == [("model-error", "warning")]
    assert rules(Seen("status 500", 502)) == []


def test_an_answer_that_broke_off_must_be_seen_to_have_broken_off() -> None:
    assert rules(Seen("broken off", 200, complete=True)) == [("model-drops", "fault")]
    assert rules(Seen("broken off", 200, complete=False)) == []
    assert rules(Seen("no answer", 502)) == []


def test_only_what_says_that_it_streams_must_stream() -> None:
    held_back = Seen("stream", 200, held_back=True)
    assert rules(held_back, STREAM) == [("held-back", "fault")]
    assert rules(held_back, SUBJECT) == []


@pytest.mark.parametrize(
    "error", [KeyError("choices"), IndexError(), AttributeError("'str' object has no attribute 'x'")]
)
def test_what_a_made_up_answer_lacks_is_no_fault_but_is_said(error: Exception) -> None:
    seen = Seen("json", 500, error=error, error_at="server.py:4")
    assert rules(seen) == []
    assert "--answer" in (left_open(SUBJECT, seen, made_up=True) or "")
    assert rules(seen, made_up=False) == [("raises", "fault")]
    assert left_open(SUBJECT, seen, made_up=False) is None


@pytest.mark.parametrize("error", [NameError("jsn"), TypeError("f() got an unexpected keyword argument 'a'")])
def test_a_mistake_of_the_author_is_a_fault_whatever_the_answer_was(error: Exception) -> None:
    assert rules(Seen("json", 500, error=error, error_at="server.py:4")) == [("raises", "fault")]


def test_a_workload_that_cannot_be_counted_is_a_fault_of_a_handler_whose_payload_is_known() -> None:
    seen = Seen("json", 200, miscount=KeyError("prompt"))
    guessed = Subject("Embed", "/embed", "server.py:3", has_payload=False)
    assert [finding.rule for finding in judge_count(SUBJECT, seen)] == ["workload"]
    assert list(judge_count(guessed, seen)) == []
    assert "'prompt'" in (left_open(guessed, seen, made_up=True) or "")
    assert list(judge_count(guessed, Seen("json", 200, miscount=NameError("jsn"))))


def test_a_compressed_answer_is_labelled_as_what_it_is() -> None:
    labelled = {"content-encoding": "gzip"}
    assert rules(Seen("gzip", 200, headers=labelled, body=b"{}")) == [("encoding", "fault")]
    assert rules(Seen("gzip", 200, headers=labelled, body=b"\x1f\x8b")) == []
    assert rules(Seen("gzip", 200, body=b"{}")) == []


# --- words --------------------------------------------------------------------------------------------


@given(st.text())
def test_a_finding_is_a_line_and_not_for_ever(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert len(one_line(text)) <= LONGEST + 3


def test_values_of_secrets_are_in_no_part_of_a_finding() -> None:
    env = {"HF_TOKEN": "abcdefgh", "MODEL": "qwen-qwen", "API_KEY": "short"}
    clean = redacted(fault("r", "at abcdefgh", "abcdefgh and qwen-qwen", "use abcdefgh"), env)
    assert "abcdefgh" not in f"{clean.where} {clean.what} {clean.remedy}"
    assert "qwen-qwen" in clean.what


@pytest.mark.parametrize(
    ("name", "value"),
    [("MODEL_URL", "http://127.0.0.1:9"), ("DB_HOST", "127.0.0.1"), ("WORKERS", "1"), ("PORT", "1")],
)
def test_what_stands_in_for_a_variable_goes_by_its_name(name: str, value: str) -> None:
    assert stand_in(name) == value


@given(st.text(max_size=20))
def test_what_a_worker_could_be_called_instead_can_be_imported(name: str) -> None:
    require_name(suggestion(name))
