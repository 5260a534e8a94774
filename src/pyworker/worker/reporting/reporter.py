"""Tells the engine: a status report each second, finished requests until accepted, ready or an error at once."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Coroutine

import msgspec

from pyworker.wire import DeleteRequests, StatusReport, dump
from pyworker.worker.books import Books
from pyworker.worker.core.readiness import Readiness
from pyworker.worker.core.sessions import Sessions
from pyworker.worker.core.status import Tally, TallyBook, on_wire
from pyworker.worker.reporting.engine_link import EngineLink

__all__ = ["Disk", "Identity", "Reporter"]

log = logging.getLogger("pyworker.reporter")

AT_LEAST_EVERY_S = 10.0
DISK_EVERY_S = 30.0
GB = 1e9


class Identity:
    """Who reports: the instance's number and secret, its url, the worker's version."""

    def __init__(self, worker_id: int, mtoken: str, url: str, version: str) -> None:
        self.worker_id = worker_id
        self.mtoken = mtoken
        self.url = url
        self.version = version


class Disk:
    """Disk usage in GB, looked at now and then and not in the event loop."""

    def __init__(self) -> None:
        self.used_gb = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            usage = await asyncio.to_thread(shutil.disk_usage, "/")
            self.used_gb = usage.used / GB
            await asyncio.sleep(DISK_EVERY_S)


class Reporter:
    """``every_second`` for an engine of ours; another one hears of changes, and of nothing new every 10 s."""

    def __init__(
        self,
        identity: Identity,
        books: Books,
        sessions: Sessions,
        readiness: Readiness,
        engine: EngineLink,
        disk: Disk,
        *,
        interval_s: float,
        every_second: bool,
    ) -> None:
        self._identity = identity
        self._books = books
        self._sessions = sessions
        self._readiness = readiness
        self._engine = engine
        self._disk = disk
        self._interval_s = interval_s
        self._every_s = interval_s if every_second else AT_LEAST_EVERY_S
        self.tallies = TallyBook(books.ledger)
        self._urgent = asyncio.Event()
        self._told_version = -1
        self._told_s = float("-inf")
        self._last: StatusReport | None = None

    def urgent(self) -> None:
        """The state has changed: report at once."""
        self._urgent.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report_forever())
            tasks.create_task(self._send_finished_forever())

    async def _report_forever(self) -> None:
        while True:
            due = time.monotonic() - self._told_s >= self._every_s
            if self._urgent.is_set() or due or self._books.version != self._told_version:
                self._urgent.clear()
                await _in_full(self.send_report())
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._urgent.wait()
            except TimeoutError:
                continue

    async def _send_finished_forever(self) -> None:
        while True:
            await _in_full(self.send_finished())
            await asyncio.sleep(self._interval_s)

    async def send_report(self) -> bool:
        """Post a report. One that does not arrive is given back: the next one says the same and more."""
        version = self._books.version
        tally = self.tally()
        self._last = self.report(tally)
        if not await self._engine.post("/worker_status/", dump(self._last)):
            return False
        self.tallies.delivered(tally)
        self._told_version, self._told_s = version, time.monotonic()
        return True

    async def send_finished(self) -> bool:
        """Post requests that have ended, as long as there are any. They stay until the engine has them."""
        outbox = self._books.outbox
        offset_s = time.time() - time.monotonic()
        while batch := outbox.batch():
            requests = [on_wire(request, epoch_offset_s=offset_s) for request in batch]
            body = dump(DeleteRequests(self._identity.worker_id, self._identity.mtoken, requests))
            if not await self._engine.post("/delete_requests/", body):
                return False
            outbox.accepted(batch)
        return True

    def tally(self) -> Tally:
        """What the next report will say has happened since the last delivered one."""
        return self.tallies.take_tally(self._disk.used_gb)

    def repeat(self) -> bytes:
        """For the watchdog: the last report with nothing new in it, b"" when there was none."""
        if self._last is None:
            return b""
        return dump(
            msgspec.structs.replace(self._last, new_load=0.0, rej_load=0.0, cur_perf=0.0, additional_disk_usage=0.0)
        )

    def report(self, tally: Tally) -> StatusReport:
        """The report of this moment, counted from the last delivered one."""
        ledger, sessions = self._books.ledger, self._sessions
        working = [entry.request_idx for entry in ledger.in_flight if entry.request_idx and not entry.in_session]
        working += [one.auth_data.request_idx for one in sessions.open if one.auth_data.request_idx]
        return StatusReport(
            id=self._identity.worker_id,
            mtoken=self._identity.mtoken,
            version=self._identity.version,
            loadtime=self._readiness.load_time_s,
            new_load=tally.new_load,
            cur_load=ledger.in_flight_workload + sessions.reserved_load,
            rej_load=tally.rejected_load,
            max_perf=ledger.capacity_per_s,
            cur_perf=tally.served_load,
            error_msg=self._readiness.error,
            num_requests_working=len(working),
            num_requests_recieved=ledger.distinct_requests,
            working_request_idxs=working,
            additional_disk_usage=tally.additional_disk_gb,
            disk_usage=self._disk.used_gb,
            url=self._identity.url,
            state=self._readiness.state.value,
        )


async def _in_full(sending: Coroutine[None, None, bool]) -> None:
    """Send to the end even when cancelled: the next message is made knowing whether this one arrived."""
    task = asyncio.create_task(sending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
