"""Links between the pages, and from them into the code, lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, pages

IDS = [str(page.relative_to(ROOT)) for page in pages()]


@pytest.mark.parametrize("page", pages(), ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in links(page) if not _leads_somewhere(page, link)]
    assert not broken


def test_every_page_of_docs_is_reached_from_its_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached, to_read = {index}, [index]
    while to_read:
        page = to_read.pop()
        found = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link}
        new = {path for path in found if path.suffix == ".md"} - reached
        reached |= new
        to_read += new
    assert set((ROOT / "docs").rglob("*.md")) <= reached


def _leads_somewhere(page: Path, link: str) -> bool:
    if "://" in link:
        return True  # the network's business, not the tests'
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and target.is_relative_to(ROOT) and (not anchor or anchor in anchors(target))
