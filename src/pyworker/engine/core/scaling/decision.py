"""How many workers an endpoint has, and which: from what is seen and remembered, actions and their reasons. Pure.

The steps, in this order; each sees what those before it decided:

    limits      what is above max_workers goes
    failed      workers that failed too often are replaced, groups given up       crashes.py
    grow        start and make what is wanted and not there                       growth.py
    update      the next steps of a rolling update                                updating.py
    shrink      stop and destroy what was not needed for a whole window           shrinking.py

How much is wanted says demand.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pyworker.engine.core.scaling.crashes import blocked_s, is_given_up, notice_health, replace_failed
from pyworker.engine.core.scaling.demand import Demand, demand
from pyworker.engine.core.scaling.fleet import Fleet, Group
from pyworker.engine.core.scaling.growth import grow
from pyworker.engine.core.scaling.memory import Memory, Tempo
from pyworker.engine.core.scaling.plan import Plan
from pyworker.engine.core.scaling.shrinking import keep_limits, rest_all, shrink
from pyworker.engine.core.scaling.updating import judge, outdated, update
from pyworker.engine.core.scaling.view import Action, Phase, View
from pyworker.engine.core.scaling.words import counted, per_s, seconds

__all__ = ["Decision", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and ``memory`` for the next decision.

    ``why`` is a line for the endpoint's log, also when nothing is to be done; ``groups`` says how each group is.
    """

    actions: tuple[Action, ...]
    memory: Memory
    why: str
    groups: Mapping[int, str] = field(default_factory=dict[int, str])
    rolled_back: Mapping[int, str] = field(
        default_factory=dict[int, str]
    )  # group and reason: its newest version is bad
    waits: Mapping[int, str] = field(default_factory=dict[int, str])  # group, and what its update waits for
    updated: frozenset[int] = frozenset()  # groups in which every worker has the version that is to stay
    active_target_per_s: float = 0.0
    total_target_per_s: float = 0.0


def decide(view: View, memory: Memory, tempo: Tempo | None = None) -> Decision:
    """The decision for one view. The same arguments give the same decision."""
    tempo = tempo or Tempo()
    begun_s = _begun_s(view, memory, tempo)
    fleet = Fleet(view, memory)
    notice_health(fleet, tempo)
    judge(fleet, tempo)
    wanted, memory = demand(fleet, memory, tempo)
    plan = Plan(fleet, memory.turn)
    keep_limits(plan)
    if view.paused:
        rest_all(plan)
    else:
        replace_failed(plan, tempo)
        grow(plan, wanted, tempo)
        update(plan, wanted, tempo)
        shrink(plan, wanted, begun_s, tempo)
    groups = fleet.groups.values()
    return Decision(
        actions=tuple(plan.actions),
        memory=replace(
            memory,
            since_s=begun_s,
            last_s=view.now_s,
            turn=plan.turn,
            groups=tuple(group.memory for group in groups),
        ),
        why=_why(plan, wanted),
        groups={group.view.id: _state(plan, group, tempo) for group in groups},
        rolled_back={group.view.id: group.memory.bad_reason for group in groups if _is_rolled_back(group)},
        waits=plan.waits,
        updated=frozenset(group.view.id for group in groups if _is_updated(group)),
        active_target_per_s=wanted.active_per_s,
        total_target_per_s=wanted.total_per_s,
    )


def _begun_s(view: View, memory: Memory, tempo: Tempo) -> float:
    """Since when the load was watched without a gap: nothing is stopped for what nobody saw."""
    watched = memory.since_s is not None and 0 <= view.now_s - memory.last_s <= tempo.stable_s
    return memory.since_s if watched and memory.since_s is not None else view.now_s


def _is_rolled_back(group: Group) -> bool:
    return group.target_version != group.view.version


def _is_updated(group: Group) -> bool:
    return group.is_proven and not _is_rolled_back(group) and not outdated(group)


# --- in words ---


def _why(plan: Plan, wanted: Demand) -> str:
    fleet = plan.fleet
    active = fleet.by_phase[Phase.ACTIVE]
    parts = [f"active {per_s(fleet.sum_per_s(active))} of {counted(len(active), 'worker')}"]
    parts += [
        f"{len(fleet.by_phase[phase])} {phase.value}"
        for phase in Phase
        if phase is not Phase.ACTIVE and fleet.by_phase[phase]
    ]
    verbs = [type(action).__name__.lower() for action in plan.actions]
    done = ", ".join(f"{verb} {verbs.count(verb)}" for verb in dict.fromkeys(verbs)) or "nothing to do"
    notes = "".join(f"; {note}" for note in plan.notes)
    return f"{wanted.words}; {', '.join(parts)}: {done}{notes}"


def _state(plan: Plan, group: Group, tempo: Tempo) -> str:
    states = [_trouble(group, plan.fleet.view.now_s, tempo), _update_state(plan, group), _measured(plan, group)]
    return "; ".join(state for state in states if state)


def _trouble(group: Group, now_s: float, tempo: Tempo) -> str:
    memory = group.memory
    if not memory.failed:
        return ""
    wait_s = max(blocked_s(group, now_s, tempo), 0.0)
    failed = f"{counted(memory.failed, 'worker')} in a row failed, last: {memory.failure}"
    if is_given_up(group, now_s, tempo):
        return f"given up: {failed}; tried again in {seconds(wait_s)}"
    return f"{failed}; another one after {seconds(wait_s)}"


def _update_state(plan: Plan, group: Group) -> str:
    if _is_rolled_back(group):
        return f"version {group.view.version} rolled back: {group.memory.bad_reason}"
    old = len(outdated(group))
    if not old:
        return ""
    waits = plan.waits.get(group.view.id, "")
    done = f"{len(group.workers) - old} of {len(group.workers)} have it"
    return f"updating to version {group.target_version}: {done}{waits and '; '}{waits}"


def _measured(plan: Plan, group: Group) -> str:
    if group.is_measured:
        return f"one worker does {per_s(group.capacity_per_s)}"
    if plan.is_testing(group):
        return f"not measured yet: {counted(group.view.test_workers, 'test worker')} run"
    return "not measured yet"
