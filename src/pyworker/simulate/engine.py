"""An engine in virtual time: the same registry, dispatcher, views and decisions as the real one, without its I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from random import Random

from pyworker.engine.core.dispatch import Dispatcher, Moment
from pyworker.engine.core.endpoints import Arrivals, Earlier, Endpoint, Group
from pyworker.engine.core.numbers import Numbers
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.scaling.decision import Decision, decide
from pyworker.engine.core.scaling.memory import Memory, Tempo
from pyworker.engine.core.scaling.snapshot import view_of
from pyworker.engine.core.scaling.view import View
from pyworker.engine.core.signing import Signer
from pyworker.engine.core.silence import Probe, lose_silent, may_probe, probed, to_probe
from pyworker.engine.core.workers import Worker
from pyworker.errors import WrongToken
from pyworker.simulate.machine import Behaviour, Machine
from pyworker.simulate.machines import Machines
from pyworker.simulate.network import Network
from pyworker.simulate.restart import rebuilt
from pyworker.simulate.timeline import Timeline
from pyworker.wire import AuthData, FinishedRequest, RouteAnswer, RouteRequest, WaitingAnswer

__all__ = ["SimulatedEngine"]

DECIDE_EVERY_S = 1.0
REPORT_EVERY_S = 1.0
_MOST_REQUESTS = 10_000_000
_LAUNCH = Launch(worker=("simulated",))
_EPOCH_S = 1_700_000_000.0


class _NoSigner(Signer):
    """Nobody checks: signatures would be most of the time that a simulation takes."""

    def __init__(self) -> None:
        self.generation = 1
        self.public_key_pem = b""

    def sign(self, worker: Worker, claims: AuthData, epoch_s: float) -> AuthData:  # noqa: ARG002
        return dataclasses.replace(claims, signature=str(epoch_s - _EPOCH_S))  # when, for who checks

    def request_uuid(self) -> str:
        return ""


class SimulatedEngine:
    """One endpoint. ``groups`` are the parameters of its workergroups, and how the machines of each behave."""

    def __init__(
        self,
        parameters: EndpointParameters,
        groups: Sequence[tuple[GroupParameters, Behaviour]],
        random: Random,
        timeline: Timeline,
        network: Network,
        tempo: Tempo,
    ) -> None:
        self.registry = Registry()
        self.endpoint = self.registry.add_endpoint(Endpoint(1, "simulated", parameters, Arrivals(timeline.now_s)))
        self._numbers = Numbers()
        self._numbers.give(1, _MOST_REQUESTS)
        self.dispatcher = Dispatcher(self.registry, _NoSigner(), self._numbers, below=random.randrange)
        self.decision = Decision((), Memory(), "")
        self.decided: Callable[[View, Decision], None] = lambda _view, _decision: None
        self.cut_off: Callable[[int], None] = lambda _request_idx: None  # whoever was held when the engine ended
        self.refused = 0  # reports
        self.longest_wait_s = 0.0  # expected when a request was given to a worker, that request included
        self._timeline, self._network, self._random, self._tempo = timeline, network, random, tempo
        self._given: set[tuple[str, int]] = set()  # a ticket is given again to whoever asks again
        self._held: dict[int, Callable[[RouteAnswer], None]] = {}
        behaviours = {number: behaviour for number, (_, behaviour) in enumerate(groups, 1)}
        for number, (group, _) in enumerate(groups, 1):
            self.registry.add_group(Group(number, self.endpoint, _with_launch(group)))
        self.machines = Machines(self.registry, behaviours, random, timeline, self._joined)
        timeline.every(DECIDE_EVERY_S, self._decide)

    def restart(self) -> None:
        """It is killed and starts again: it knows what its store kept, and its workers go on meanwhile."""
        now_s, machines = self._timeline.now_s, self.machines
        mtokens = {number: machine.mtoken for number, machine in machines.by_number.items()}
        self.registry = rebuilt(self.registry, mtokens, now_s)
        (self.endpoint,) = self.registry.endpoints
        self.dispatcher = Dispatcher(self.registry, _NoSigner(), self._numbers, below=self._random.randrange)
        self.decision = Decision((), Memory(), "")
        machines.adopt(self.registry)
        held, self._held = self._held, {}
        for request_idx in held:
            self.cut_off(request_idx)

    # --- asked by clients ---

    def route(self, cost: float, request_idx: int, answered: Callable[[RouteAnswer], None]) -> int:
        """Ask for a worker and be held until there is one. Returns the request's number."""
        query = RouteRequest(self.endpoint.name, cost=cost, request_idx=request_idx or None)
        answer = self.dispatcher.route("client", self.endpoint, query, self._moment())
        for suspect in self.dispatcher.take_suspects():
            if may_probe(suspect, self._timeline.now_s):
                self._probe(suspect)
        self._answer(answer, answered)
        self._serve_held()
        return answer.request_idx

    def _answer(self, answer: RouteAnswer | WaitingAnswer, answered: Callable[[RouteAnswer], None]) -> None:
        if isinstance(answer, RouteAnswer):
            self._note_wait(answer)
            self._network.call(lambda: answered(answer))
        else:
            self._held[answer.request_idx] = answered
            self.dispatcher.hold(answer.request_idx, self._timeline.now_s, held=True)

    def _serve_held(self) -> None:
        for request_idx in self.dispatcher.take_placed():
            answered = self._held.pop(request_idx, None)
            answer = self.dispatcher.poll(request_idx, self._moment())
            if answered is not None and answer is not None:
                self._answer(answer, answered)

    def _note_wait(self, answer: RouteAnswer) -> None:
        machine = self.machines.at(answer.url)
        worker = self.registry.worker_by_number(machine.number) if machine else None
        given = (answer.url, answer.reqnum)
        if worker is not None and worker.capacity_per_s > 0 and given not in self._given:
            self.longest_wait_s = max(self.longest_wait_s, worker.load / worker.capacity_per_s)
        self._given.add(given)

    # --- told by workers ---

    def _joined(self, machine: Machine) -> None:
        """A machine begins to report, once a second, for as long as it is there."""
        run_out = self.machines.by_number

        def report() -> None:
            if machine.number not in run_out:
                return
            if machine.listens:
                self._take_report(machine)
            self._timeline.after(REPORT_EVERY_S, report)

        self._timeline.after(self._random.random() * REPORT_EVERY_S, report)

    def _take_report(self, machine: Machine) -> None:
        status, finished = machine.status(), list(machine.outbox)

        def take() -> None:
            try:
                worker = self.registry.identify(status, self._timeline.now_s)
            except WrongToken:
                self.refused += 1  # it was destroyed or started anew while this was on its way, or lies
                return
            self.dispatcher.report(worker, status, self._timeline.now_s)
            self._serve_line()

        self._network.send(take)
        if finished:
            mtoken = machine.mtoken
            self._network.send(lambda: self._take_finished(machine, mtoken, finished))

    def _take_finished(self, machine: Machine, mtoken: str, finished: Sequence[FinishedRequest]) -> None:
        try:
            worker = self.registry.worker_of(mtoken, machine.number, or_before=True)
        except WrongToken:
            return
        self.dispatcher.finished(worker, finished, self._timeline.now_s)
        machine.outbox = [request for request in machine.outbox if request not in finished]
        self._serve_line()

    # --- as time passes ---

    def _decide(self) -> None:
        now_s = self._timeline.now_s
        self._look(now_s)
        view = view_of(self.endpoint, self.registry, self.dispatcher, now_s)
        self.decision = decide(view, self.decision.memory, self._tempo)
        self.decided(view, self.decision)
        for action in self.decision.actions:
            self.machines.carry_out(action)
        for group in self.registry.groups(self.endpoint):
            self._finish_update(group)
        self._serve_line()

    def _look(self, now_s: float) -> None:
        self.machines.look()
        workers = self.registry.all_workers
        for worker in to_probe(workers, now_s):
            self._probe(worker)
        lose_silent(workers, now_s)
        for worker in workers:
            worker.forget_the_air(now_s)
        self.dispatcher.forget(now_s)

    def _serve_line(self) -> None:
        self.dispatcher.place(self.endpoint, self._moment())
        self._serve_held()

    def _probe(self, worker: Worker) -> None:
        machine = self.machines.by_number.get(worker.number)
        answer = Probe.ANSWERED if machine is not None and machine.listens else Probe.REFUSED
        probed(worker, answer, self._timeline.now_s)

    # --- rolling update ---

    def update(self, group_id: int = 1) -> None:
        """Its owner changes what the workers of a group are made of."""
        group = self.registry.group(group_id)
        group.before = Earlier(group.version, group.parameters.launch)
        group.version += 1

    def _finish_update(self, group: Group) -> None:
        if group.before is None:
            return
        if group.id in self.decision.rolled_back:
            group.version, group.before = group.before.version, None
        elif group.id in self.decision.updated:
            group.before = None

    def _moment(self) -> Moment:
        return Moment(self._timeline.now_s, _EPOCH_S + self._timeline.now_s)


def _with_launch(group: GroupParameters) -> GroupParameters:
    return GroupParameters(
        name=group.name,
        provider="simulated",
        launch=_LAUNCH,
        max_workers=group.max_workers,
        test_workers=group.test_workers,
    )
