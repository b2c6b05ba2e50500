"""What a newcomer sees: the front page and the reference, in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from heliograph.edge.http.examples import EXAMPLES
from support.server import Server

playwright = pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
_LOADING = {"code": "model_unavailable", "status": 503, "retry_after": 0.05}
BUSY = EXAMPLES["Problem"] | _LOADING


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; `apt-get install chromium` brings it")
    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def visit(browser: Browser, server: Server, path: str = "/") -> Generator[Page]:
    """A fresh page; afterwards: no error on its console, no request to another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    wrong: list[str] = []
    hosts: set[str] = set()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
    page.goto(server.address + path)
    yield page
    context.close()
    # A refusal is a line on the console by the browser's own doing.
    assert [one for one in wrong if not one.startswith("Failed to load resource")] == []
    assert hosts <= {urlsplit(server.address).netloc, ""}


def answer(page: Page, reply: object, status: int = 200) -> None:
    """Make every question about objects be answered like this."""

    def fulfil(route: Route) -> None:
        kind = "application/json" if status == 200 else "application/problem+json"
        route.fulfill(status=status, content_type=kind, body=json.dumps(reply))

    page.route("**/api/v1/detect*", fulfil)


def choose(page: Page, name: str = "photo.jpg", data: bytes = b"nothing") -> None:
    expect(page.locator("#question")).to_be_visible()
    page.set_input_files("#file", {"name": name, "mimeType": "image/jpeg", "buffer": data})


def test_a_photo_in_two_dogs_out(browser: Browser, server: Server, photos: Path) -> None:
    with visit(browser, server) as page:
        choose(page, "pets.jpg", (photos / "pets.jpg").read_bytes())
        rows = page.locator("#predictions li")
        expect(rows).to_have_count(2)
        for row in rows.all():
            expect(row).to_contain_text("dog")
        expect(page.locator("#about")).to_have_text("pets.jpg · 512 \u00d7 430, 171 kB")
        expect(page.locator("#timings")).to_contain_text("on the server")
        expect(page.locator("#status")).to_have_text("Found: dog, dog.")
        assert "/api/v1/detect" in page.inner_text("#curl")
        # Something is drawn over the photo, and pointing at a dog lights its row.
        assert page.evaluate(
            "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
            ".data.some((value) => value > 0)"
        )
        page.locator("#canvas").hover(position={"x": 200, "y": 200})
        expect(page.locator("#predictions li.lit")).to_have_count(1)


def test_every_task_answers(browser: Browser, server: Server, photos: Path) -> None:
    with visit(browser, server) as page:
        choose(page, "pets.jpg", (photos / "pets.jpg").read_bytes())
        page.get_by_label("Classify").check(force=True)
        expect(page.locator("#predictions li").first).to_contain_text("terrier")
        page.get_by_label("Keypoints").check(force=True)
        expect(page.locator("#predictions")).to_contain_text("Nobody found")
        page.get_by_label("Edges").check(force=True)
        expect(page.locator("#predictions")).to_contain_text("PNG, 512 \u00d7 430")
        page.get_by_label("Process").check(force=True)
        page.get_by_label("ops", exact=True).fill("resize:100,webp")
        expect(page.locator("#predictions")).to_contain_text("WEBP, 100 \u00d7 84")
        assert "client.process(" in page.inner_text("#python")
        page.get_by_role("button", name="Show original").click()
        expect(page.locator("#compare")).to_have_text("Show result")


def test_options_ask_again(browser: Browser, server: Server, photos: Path) -> None:
    with visit(browser, server) as page:
        choose(page, "pets.jpg", (photos / "pets.jpg").read_bytes())
        expect(page.locator("#predictions li")).to_have_count(2)
        page.get_by_label("top k").fill("1")
        expect(page.locator("#predictions li")).to_have_count(1)
        assert page.inner_text("#curl").endswith("/api/v1/detect?top_k=1'")
        assert 'client.detect("photo.jpg", top_k=1)' in page.inner_text("#python")


def test_hostile_names_and_labels_stay_text(browser: Browser, server: Server) -> None:
    with visit(browser, server) as page:
        dog = {**EXAMPLES["Detections"]["predictions"][0], "label": HOSTILE}
        answer(page, {**EXAMPLES["Detections"], "predictions": [dog]})
        choose(page, f"{HOSTILE}.jpg")
        expect(page.locator("#predictions li")).to_contain_text(HOSTILE)
        expect(page.locator("#about")).to_contain_text(HOSTILE)
        assert page.locator("main img").count() == 1
        assert page.locator("main script").count() == 0
        assert page.title() == "Heliograph"
        assert "pwned" not in page.inner_text("#curl") + page.inner_text("#python")


def test_a_refusal_is_told_in_the_servers_words(browser: Browser, server: Server) -> None:
    with visit(browser, server) as page:
        choose(page, "letter.txt", b"Dear server")
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text("The body is not a picture we accept")
        link = problem.get_by_role("link", name="unsupported_media")
        expect(link).to_have_attribute("href", "/docs/errors#unsupported_media")


def test_a_hostile_refusal_stays_text(browser: Browser, server: Server) -> None:
    with visit(browser, server) as page:
        answer(page, {**EXAMPLES["Problem"], "title": HOSTILE, "code": "x' onclick='y"}, 400)
        choose(page)
        expect(page.get_by_role("alert")).to_contain_text(HOSTILE)
        assert page.get_by_role("alert").locator("a, img, script").count() == 0


def test_a_loading_model_is_waited_for(browser: Browser, server: Server) -> None:
    asked: list[str] = []

    def first_busy(route: Route) -> None:
        asked.append(route.request.url)
        status, reply = (503, BUSY) if len(asked) == 1 else (200, EXAMPLES["Detections"])
        route.fulfill(status=status, content_type="application/json", body=json.dumps(reply))

    with visit(browser, server) as page:
        page.route("**/api/v1/detect*", first_busy)
        choose(page)
        expect(page.locator("#predictions li")).to_have_count(2)
    assert len(asked) == 2


def test_the_key_is_asked_for_and_stays_in_the_tab(
    browser: Browser, keyed_server: Server, photos: Path
) -> None:
    with visit(browser, keyed_server) as page:
        expect(page.locator("#question")).to_be_hidden()
        page.get_by_label("This server wants a key").fill("wrong")
        page.get_by_role("button", name="Use").click()
        expect(page.get_by_role("alert")).to_contain_text("A valid key is needed")
        page.get_by_label("This server wants a key").fill(keyed_server.key)
        page.get_by_role("button", name="Use").click()
        choose(page, "pets.jpg", (photos / "pets.jpg").read_bytes())
        expect(page.locator("#predictions")).to_contain_text("PNG")
        assert "$HELIOGRAPH_KEY" in page.inner_text("#curl")
        assert keyed_server.key not in page.content()
        assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_a_phone_scrolls_one_way_only(browser: Browser, server: Server) -> None:
    with visit(browser, server) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        answer(page, EXAMPLES["Detections"])
        choose(page, "a-very-long-file-name-without-any-blank-" * 4 + ".jpg")
        expect(page.locator("#predictions li")).to_have_count(2)
        for path in ("", "/docs", "/docs/errors"):
            if path:
                page.goto(server.address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_reference_reads_well_without_scripts(browser: Browser, server: Server) -> None:
    with visit(browser, server, "/docs") as page:
        expect(page.get_by_role("heading", name="The API")).to_be_visible()
        detect = page.locator("#detect")
        expect(detect).to_contain_text("min_score")
        assert detect.get_by_role("button", name="Copy").count() == 2
        page.get_by_role("link", name="/api/v1/detect", exact=True).first.click()
        assert page.url.endswith("#detect")
        detect.get_by_text("How it refuses").click()
        detect.get_by_role("link", name="image_corrupt").click()
        assert page.url.endswith("/docs/errors#image_corrupt")
        expect(page.locator("tr:target")).to_contain_text("damaged")


def test_pages_need_no_key_and_allow_no_inline_code(keyed_server: Server) -> None:
    for path in ("/", "/docs", "/docs/errors", "/openapi.json", "/assets/home.js"):
        page = {"accept": "text/html"}
        reply = httpx.get(keyed_server.address + path, headers=page)
        assert reply.status_code == httpx.codes.OK
        policy = reply.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        again = httpx.get(
            keyed_server.address + path, headers=page | {"if-none-match": reply.headers["etag"]}
        )
        assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")
    for name in ("nothing.js", "home.html", "..%2fpages.py", "%2e%2e"):
        reply = httpx.get(f"{keyed_server.address}/assets/{name}")
        assert reply.json()["code"] == "not_found"
