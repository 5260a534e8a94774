"""The calls of docs/how-to/gateway.md, as they stand there, to an engine that runs hello_world with its real model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.support.commands import run
from tests.support.hello_site import API_KEY, hello_site

pytestmark = pytest.mark.limit_s(150)

PAGE = ROOT / "docs" / "how-to" / "gateway.md"
PLACE = "http://127.0.0.1:8080"


async def test_what_the_page_shows_works_from_zero_on(tmp_path: Path) -> None:
    text = {block.language: block.text for block in blocks(PAGE) if block.check == "gateway"}
    assert set(text) == {"python", "shell"}
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    async with hello_site(tmp_path) as site:
        await site.scale_to_zero()
        python, shell = (text[language].replace(PLACE, site.url) for language in ("python", "shell"))
        env = {"PYWORKER_API_KEY": API_KEY}
        ended = await run(sys.executable, "-c", python, env=env)
        assert (ended.status, ended.err) == (0, "")
        assert len(ended.out.split()) > 1, "the model has said something"
        ended = await run("bash", "-ec", f"{shell.rstrip()} --silent --show-error --fail", env=env)
        assert (ended.status, ended.err) == (0, "")
        assert json.loads(ended.out)["response"].strip()
