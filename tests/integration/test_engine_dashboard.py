"""The dashboard's calls without a browser: its files, what its cookie opens, and who may send a call."""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hatchling.builders.wheel import WheelBuilder

from pyworker.engine.calls.dashboard import read_assets
from pyworker.testing import answer
from tests.docs.pages import ROOT
from tests.support.engines import API_KEY, EngineUnderTest, an_engine
from tests.support.site import KEY, a_site

PAGE = {"X-Pyworker-Dashboard": "1"}


@asynccontextmanager
async def logged_in(engine: EngineUnderTest, key: str = API_KEY) -> AsyncGenerator[EngineUnderTest]:
    """The engine, called with the cookie of a login and without any key."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        there = EngineUnderTest(engine.url, http)
        assert await there.post("/login", {"api_key": key}, headers=PAGE) == (200, {"success": True, "logged_in": True})
        yield there


async def test_the_page_may_load_nothing_from_elsewhere_and_be_framed_by_nobody() -> None:
    async with an_engine() as engine, engine.http.get(engine.url + "/") as response:
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Frame-Options"] == "DENY"
        page = await response.text()
    assert "://" not in page
    assert "<style" not in page
    assert "style=" not in page


async def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    async with an_engine() as engine:
        async with engine.http.get(f"{engine.url}/dashboard/main.js") as first:
            assert first.content_type == "text/javascript"
            tag = first.headers["ETag"]
        async with engine.http.get(f"{engine.url}/dashboard/main.js", headers={"If-None-Match": tag}) as again:
            assert again.status == 304
        assert (await engine.get("/dashboard/..%2Fengine.py"))[0] == 404


async def test_a_login_opens_what_the_page_needs_and_nothing_else() -> None:
    async with an_engine() as engine, logged_in(engine) as page:
        assert (await page.get("/state"))[0] == 200
        assert (await page.post("/get_endpoint_logs/", {"endpoint": "default"}, headers=PAGE))[0] == 200
        for path in ("/api/v0/keys/", "/api/v0/endptjobs/", "/metrics"):
            assert (await page.get(path))[0] == 401
        for path in ("/api/v0/keys/", "/api/v0/worker_tokens/", "/api/v0/backup/"):
            assert (await page.post(path, {"name": "new", "endpoint": "default"}, headers=PAGE))[0] == 401
        assert (await page.get("/endpoints/default/generate"))[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**PAGE, "Origin": "https://elsewhere.example"},
        {**PAGE, "Sec-Fetch-Site": "cross-site"},
        {**PAGE, "Sec-Fetch-Site": "same-site"},
    ],
    ids=["without the page's header", "another origin", "cross-site", "another host of the site"],
)
async def test_what_another_site_sends_is_refused(headers: dict[str, str]) -> None:
    async with an_engine() as engine, logged_in(engine) as page:
        status, refused = await page.post("/update_workers/", {"workergroup_id": 1}, headers=headers)
        assert (status, refused["error"]) == (403, "cross_site")
        assert (await page.get("/dashboard/try/default/generate", headers=headers))[0] == 403
        assert (await page.post("/logout", {}, headers=headers))[0] == 403
        assert (await page.post("/login", {"api_key": API_KEY}, headers=headers))[0] == 403
        assert (await page.get("/state"))[0] == 200


async def test_another_site_cannot_have_the_state_read_for_it() -> None:
    async with an_engine() as engine, logged_in(engine) as page:
        assert (await page.get("/state", headers={"Sec-Fetch-Site": "cross-site"}))[0] == 403


async def test_logged_out_or_with_a_revoked_key_the_cookie_is_worth_nothing() -> None:
    async with an_engine() as engine:
        _, made = await engine.post("/api/v0/keys/", {"name": "other"}, headers=KEY)
        async with logged_in(engine, made["api_key"]) as page, logged_in(engine) as other:
            cookies = {cookie.key: cookie.value for cookie in other.http.cookie_jar}
            assert (await page.get("/state"))[0] == 200
            async with engine.http.delete(f"{engine.url}/api/v0/keys/{made['id']}/", headers=KEY) as revoked:
                assert revoked.status == 200
            assert (await page.get("/state"))[0] == 401
            assert (await page.get("/login"))[1]["logged_in"] is False
            await other.post("/logout", {}, headers=PAGE)
            assert (await engine.get("/state", cookies=cookies))[0] == 401


async def test_who_listens_hears_the_figures_and_no_more_once_the_key_is_revoked() -> None:
    async with an_engine() as engine:
        _, made = await engine.post("/api/v0/keys/", {"name": "other"}, headers=KEY)
        async with logged_in(engine, made["api_key"]) as page, page.http.get(page.url + "/events?figures=1") as told:
            heard = b""
            while b"event: figures" not in heard:
                heard += await told.content.readany()
            await engine.http.delete(f"{engine.url}/api/v0/keys/{made['id']}/", headers=KEY)
            async for _ in told.content:
                pass  # it ends


async def test_a_workers_answer_to_a_test_request_can_do_nothing_on_the_page(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        model = await site.start_worker()
        model.on("/generate", answer({}, headers={"Set-Cookie": "pyworker_login=mine"}))
        async with (
            logged_in(site.engine) as page,
            page.http.post(page.url + "/dashboard/try/default/generate", json={"prompt": "x"}, headers=PAGE) as got,
        ):
            assert got.status == 200
            assert "Set-Cookie" not in got.headers
            assert "sandbox" in got.headers["Content-Security-Policy"]
            assert {"route", "wait", "worker"} <= {
                part.strip().partition(";")[0] for part in got.headers["Server-Timing"].split(",")
            }


def test_the_wheel_has_every_file_of_the_page(tmp_path: Path) -> None:
    builder = WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as packed:
        names = {name.rpartition("/")[2] for name in packed.namelist() if "/engine/dashboard/" in name}
    assert names == set(read_assets())
    assert {"index.html", "style.css", "icon.svg", "main.js"} <= names


def test_a_module_of_the_page_imports_only_what_is_there() -> None:
    assets = read_assets()
    imported = {name for asset in assets.values() for name in re.findall(rb'from "\./([^"]+)"', asset.body)}
    assert imported
    assert {name.decode() for name in imported} <= set(assets)
    forbidden = re.compile(rb"(?i)(inner|outer|adjacent)HTML|document\.write|\beval\(|(local|session)Storage")
    assert [name for name, asset in assets.items() if forbidden.search(asset.body)] == []
    assert [name for name, asset in assets.items() if len(asset.body.splitlines()) > 400] == []


async def test_a_request_that_was_held_says_how_long_it_waited(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site, logged_in(site.engine) as page:
        url = page.url + "/dashboard/try/default/generate"
        asking = asyncio.create_task(page.http.post(url, json={"prompt": "x"}, headers=PAGE))
        waiting = 0
        while not waiting:
            await asyncio.sleep(0.05)  # calls are counted
            waiting = (await page.get("/state"))[1]["endpoints"][0]["load"]["waiting_requests"]
        model = await site.start_worker()
        model.on("/generate", answer({}))
        async with await asking as got:
            legs = dict(re.findall(r"(\w+);dur=([\d.]+)", got.headers["Server-Timing"]))
        assert float(legs["wait"]) > float(legs["route"])
