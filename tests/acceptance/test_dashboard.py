"""The dashboard in a real Chromium, before a real engine and workers that answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from pyworker.testing import answer
from tests.support.browser import NEEDS_CHROMIUM, Tab, a_browser, a_tab
from tests.support.engines import API_KEY
from tests.support.no_processes import Instances, a_world
from tests.support.site import KEY, Site, a_site

pytestmark = NEEDS_CHROMIUM

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\u0627\u0644\u0639\u0631\u0628",
    "w" * 100,
)


@asynccontextmanager
async def a_dashboard(folder: Path, key: str = API_KEY, **options: object) -> AsyncGenerator[tuple[Site, Browser, Tab]]:
    """A site, and a tab that has logged in there; it must have had nothing to complain of at the end."""
    async with a_site(folder) as site, a_browser() as browser:
        tab = await a_tab(browser, **options)
        await logged_in(tab, site, key)
        yield site, browser, tab
        assert tab.complaints == []


async def logged_in(tab: Tab, site: Site, key: str = API_KEY) -> None:
    await log_in(tab, site.base, key)


async def log_in(tab: Tab, url: str, key: str) -> None:
    await tab.page.goto(url + "/")
    await tab.page.get_by_label("Account key").fill(key)
    await tab.page.get_by_role("button", name="Log in").click()
    await expect(tab.page.get_by_role("heading", name="Endpoints")).to_be_visible()


async def opened(tab: Tab, name: str = "default") -> None:
    await tab.page.get_by_role("link", name=name, exact=True).click()
    await expect(tab.page.get_by_role("heading", level=1, name=name)).to_be_visible()


async def new_key(site: Site) -> tuple[int, str]:
    _, made = await site.engine.post("/api/v0/keys/", {"name": "of somebody"}, headers=KEY)
    return made["id"], made["api_key"]


async def test_only_an_account_key_logs_in_and_the_page_keeps_none(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site, a_browser() as browser:
        tab = await a_tab(browser)
        await tab.page.goto(site.base + "/")
        await tab.page.get_by_label("Account key").fill("wrong")
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.get_by_role("alert")).to_contain_text("not an account key")

        await logged_in(tab, site)

        (cookie,) = await tab.page.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert API_KEY not in cookie["value"]
        assert await tab.page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]

        await tab.page.reload()
        await expect(tab.page.get_by_role("heading", name="Endpoints")).to_be_visible()
        await tab.page.get_by_role("button", name="Log out").click()
        await expect(tab.page.get_by_label("Account key")).to_be_focused()
        await tab.page.reload()
        await expect(tab.page.get_by_label("Account key")).to_be_visible()
        assert tab.complaints == []


async def test_a_worker_that_joins_is_seen_without_a_reload(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        card = tab.page.get_by_role("article")
        await expect(card).to_contain_text("no workers")
        await site.start_worker()
        await expect(card).to_contain_text("Ready1 of 1")
        await opened(tab)
        row = tab.page.get_by_role("row").filter(has_text="ready")
        await expect(row).to_have_count(1)
        await expect(tab.page.get_by_role("listitem").filter(has_text="Worker 1 is ready").first).to_be_visible()
        await expect(tab.page.get_by_text("What the engine decides now")).to_be_visible()


async def test_why_a_worker_is_not_ready_stands_at_the_top_and_in_its_row(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        token = await site.engine.token()
        words = "CUDA out of memory <b>now</b>"
        report = {"id": 5, "mtoken": token.mtoken, "url": "http://127.0.0.1:9", "state": "error", "error_msg": words}
        assert (await site.engine.post("/worker_status/", report))[0] == 200
        trouble = tab.page.get_by_role("region", name="Needs attention").get_by_role("listitem")
        await expect(trouble).to_contain_text(words)
        await trouble.get_by_role("link").click()
        await expect(tab.page.get_by_role("row").filter(has_text=words)).to_contain_text("failed")


async def test_why_the_engine_started_a_worker_and_what_failed_stand_on_the_time_line(tmp_path: Path) -> None:
    instances = Instances()
    async with a_world(tmp_path, instances) as world, a_browser() as browser:
        tab = await a_tab(browser)
        await log_in(tab, world.running.url, API_KEY)
        await opened(tab)
        lines = tab.page.get_by_label("Newest first").get_by_role("listitem")
        await expect(lines.filter(has_text="Create a worker")).to_contain_text("min_load 1/s at target_util 0.9")
        words = "the model server ended with status 1\u202e <b>"
        report = {"id": world.worker.number, "mtoken": world.mtoken, "state": "error", "error_msg": words}
        async with world.http.post(world.running.url + "/worker_status/", json=report) as answered:
            assert answered.status == 200
        await tab.page.get_by_role("button", name="Failures").click()
        await expect(lines).to_have_count(1)
        await expect(lines).to_contain_text("status 1")
        instances.may_end.set()
        assert tab.complaints == []


async def test_hostile_names_are_text_and_nothing_runs(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        for name in HOSTILE:
            body = {"endpoint_name": name}
            assert (await site.engine.post("/api/v0/endptjobs/", body, headers=KEY))[0] == 200
        for name in HOSTILE:
            await expect(tab.page.get_by_role("link", name=name, exact=True)).to_be_visible()
        await opened(tab, HOSTILE[0])
        assert await tab.page.title() == f"{HOSTILE[0]} · pyworker"
        await tab.page.set_viewport_size({"width": 390, "height": 844})
        await tab.page.get_by_role("link", name="All endpoints").click()
        await expect(tab.page.get_by_role("link", name=HOSTILE[3], exact=True)).to_be_visible()
        assert await tab.page.evaluate("document.documentElement.scrollWidth") == 390


async def test_a_parameter_is_changed_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        await opened(tab)
        await tab.page.get_by_text("Parameters").click()
        field = tab.page.get_by_label("Most workers")
        await field.fill("7")
        await tab.page.get_by_role("button", name="Save changes").click()
        await expect(tab.page.get_by_text("Saved: max_workers.")).to_be_visible()
        _, shown = await site.engine.get("/api/v0/endptjobs/", headers=KEY)
        assert shown["results"][0]["max_workers"] == 7
        await field.fill("-1")
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.get_by_text("Nothing is saved.")).to_be_visible()
        await expect(field).to_be_focused()


async def test_a_test_request_shows_its_way_and_what_came_back(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        model = await site.start_worker()
        model.on("/generate", answer({"text": "an answer <b>"}))
        await opened(tab)
        await tab.page.get_by_text("Send a test request").click()
        await tab.page.get_by_label("Route", exact=True).fill("/generate")
        await tab.page.get_by_label("Body").fill('{"prompt": "secret words"}')
        await tab.page.get_by_role("button", name="Send", exact=True).click()
        picture = tab.page.get_by_role("img", name="Route")
        await expect(picture).to_be_visible()
        label = await picture.get_attribute("aria-label")
        assert label is not None
        assert all(word in label for word in ("Route", "Wait", "First byte", "Answer"))
        await expect(tab.page.locator("pre.answer")).to_contain_text("an answer <b>")
        assert model.requests[-1].json() == {"prompt": "secret words"}
        assert "cookie" not in {name.lower() for name in model.requests[-1].headers}
        assert site.balanced()
        await tab.page.reload()
        assert "secret words" not in await tab.page.content()


async def test_logs_of_a_worker_open_and_close_by_keyboard(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        await site.start_worker()
        await opened(tab)
        logs = tab.page.get_by_role("button", name="Logs of worker 1")
        await logs.focus()
        await tab.page.keyboard.press("Enter")
        dialog = tab.page.get_by_role("dialog", name="Logs of worker 1")
        await expect(dialog).to_be_visible()
        await tab.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(logs).to_be_focused()


async def test_everything_is_reached_with_the_keyboard_alone(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site, a_browser() as browser:
        await site.start_worker()
        tab = await a_tab(browser)
        page = tab.page
        await page.goto(site.base + "/")
        await expect(page.get_by_label("Account key")).to_be_focused()
        await page.keyboard.type(API_KEY)
        await page.keyboard.press("Enter")
        await tab_to(tab, page.get_by_role("link", name="default", exact=True))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1, name="default")).to_be_focused()
        for reached in (
            page.get_by_role("button", name="Logs of worker 1"),
            page.get_by_role("button", name="Failures"),
            page.get_by_role("button", name="Start a rolling update"),
            page.locator("summary").first,
            page.locator("summary").last,
        ):
            await tab_to(tab, reached)
        assert tab.complaints == []


async def tab_to(tab: Tab, what: object) -> None:
    await expect(what).to_be_visible()  # type: ignore[call-overload]
    for _ in range(40):
        if await what.evaluate("node => node === document.activeElement"):  # type: ignore[attr-defined]
            return
        await tab.page.keyboard.press("Tab")
    pytest.fail(f"{what} is not reached with Tab")


async def test_on_a_phone_nothing_is_wider_than_the_screen(tmp_path: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    async with a_dashboard(tmp_path, **phone) as (site, _, tab):
        await site.start_worker()
        await expect(tab.page.get_by_role("article")).to_contain_text("Ready1 of 1")
        assert await tab.page.evaluate("document.documentElement.scrollWidth") == 390
        await opened(tab)
        for summary in await tab.page.locator("summary").all():
            await summary.click()
        await expect(tab.page.get_by_role("button", name="Logs of worker 1")).to_be_visible()
        assert await tab.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
async def test_light_or_dark_as_the_system_is(tmp_path: Path, scheme: str, is_dark: bool) -> None:
    async with a_dashboard(tmp_path, color_scheme=scheme) as (_, _, tab):
        shown = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (sum(shown[:3]) < 3 * 64) is is_dark


async def test_who_loses_the_key_is_logged_out_at_once(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site, a_browser() as browser:
        number, key = await new_key(site)
        tab = await a_tab(browser)
        await logged_in(tab, site, key)
        await site.http.delete(f"{site.base}/api/v0/keys/{number}/", headers=KEY)
        await expect(tab.page.get_by_label("Account key")).to_be_visible()
        await expect(tab.page.get_by_role("alert")).to_contain_text("login has ended")
        assert tab.complaints == []


async def test_an_update_is_begun_only_when_said_twice(tmp_path: Path) -> None:
    async with a_dashboard(tmp_path) as (site, _, tab):
        await site.start_worker()
        await opened(tab)
        await tab.page.get_by_role("button", name="Start a rolling update").click()
        await tab.page.get_by_role("button", name="Yes, update its workers").click()
        await expect(tab.page.get_by_text("The update to version 2 has begun.")).to_be_visible()
        await tab.page.get_by_role("button", name="Call the update off").click()
        await expect(tab.page.get_by_text("Called off")).to_be_visible()
