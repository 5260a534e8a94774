"""When the engine hears of what: at once when the state changes, each second of any other news."""

from __future__ import annotations

from pathlib import Path

from pyworker.worker.core.gate import Mode
from tests.support.workers.rig import a_worker


async def test_an_engine_of_others_hears_of_a_session_when_it_opens_and_when_it_ends(tmp_path: Path) -> None:
    """It is told every ten seconds when there is no news, and this is news."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        auth = rig.auth(cost=321.0)
        session_id = (await rig.post("/session/create", {}, auth=auth)).json()["session_id"]
        opened = await rig.engine.reports.where(lambda report: report.cur_load == 321.0, wait_s=5.0)
        assert opened.working_request_idxs == [auth["request_idx"]]
        rig.engine.reports.clear()
        ended = await rig.send("POST", "/session/end", json={"session_id": session_id, "session_auth": auth})
        assert ended.status == 200
        await rig.engine.reports.where(lambda report: report.cur_load == 0.0, wait_s=5.0)
