"""What the pages promise: generated pages are current, links lead somewhere, the map is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        target
        for target, _ in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_find_it(page: Path) -> None:
    wanted = [
        (page.parent / target if target else page, heading.removeprefix("#"))
        for target, heading in re.findall(
            r"\]\((?!https?:)([^)#]*)(#[^)]+)\)", page.read_text("utf-8")
        )
    ]
    assert not [heading for target, heading in wanted if heading not in headings(target)]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as the sites that show such pages make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


def test_the_index_has_every_page() -> None:
    docs = ROOT / "docs"
    text = (docs / "README.md").read_text("utf-8")
    pages = [one.relative_to(docs) for one in docs.glob("*/*.md") if one.parent.name != "decisions"]
    assert not [page for page in pages if f"({page})" not in text]


def test_every_path_in_the_map_exists() -> None:
    named = re.findall(
        r"`((?:src|tests|docs|tools)/[^`]+)`", (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert len(named) > 10
    assert not [one for one in named if not (ROOT / one).exists()]


def test_every_room_is_in_the_architecture() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    rooms = [
        one.name
        for one in (ROOT / "src" / "heliograph").iterdir()
        if (one / "__init__.py").exists()
    ]
    assert rooms
    assert not [room for room in rooms if f"`{room}/" not in text]


def test_decisions_are_numbered_and_say_what_was_decided() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    assert all("**Decided.**" in page.read_text("utf-8") for page in pages)


def test_nothing_names_a_registry_or_a_path_of_a_machine() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb.debian" + ".org")
    found = [
        name
        for name in filter(None, files)
        if (ROOT / name).is_file()
        and any(host.encode() in (ROOT / name).read_bytes() for host in hosts)
    ]
    assert not found
