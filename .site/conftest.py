"""A built site, served on this machine, and a browser to look at it.

$ python -m pytest .site --site _site
"""

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, sync_playwright

ROOT = Path(__file__).parent.parent

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--site", type=Path, default=ROOT / "_site", help="the folder with the site")
    parser.addoption("--all", action="store_true", help="all notebooks, not only some")
    parser.addoption("--pictures", type=Path, help="a folder for screenshots")


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.config.getoption("--site")
    if not (folder / "index.html").exists():
        pytest.exit(f"there is no site at {folder}: build it with python .site/build.py {folder}")
    return folder


class Handler(SimpleHTTPRequestHandler):
    """Serves files as GitHub's Pages do."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
    }

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Handler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture
def chromium(playwright: Playwright) -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.exit("no Chromium here: expected `apt install chromium`, or Chrome")
    browser = playwright.chromium.launch(executable_path=program, args=QUIET)
    yield browser
    browser.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def new_page(chromium: Browser, address: str) -> Iterator[OpenPage]:
    """Opens a page in a new browser, with the settings of a context; it may ask nobody but us."""
    elsewhere: list[str] = []

    def note(asked: Request) -> None:
        if not asked.url.startswith((address, "data:", "blob:")):
            elsewhere.append(asked.url)

    def new_page(**settings: Any) -> Page:
        context = chromium.new_context(**settings)
        context.on("request", note)
        return context.new_page()

    yield new_page
    chromium.close()
    assert elsewhere == []
