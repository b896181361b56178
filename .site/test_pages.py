"""The pages to read: complete, with the network cable out, on every screen."""

import re
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from conftest import OpenPage

SCREENS = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1280, 900)}
PAGES = (
    "index",
    "notebooks/01_basic",
    "notebooks/07_slow_consumers",
    "claims",
    "gallery",
    "code/stages.basic",
)


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {
        path: path.read_text("utf-8")
        for path in site.glob("**/*.html")
        if not {"live", "_static"} & {*path.relative_to(site).parts}
    }
    assert len(pages) > 80
    dead = {
        (str(path.relative_to(site)), link)
        for path, text in pages.items()
        for link in re.findall(r'(?:href|src)="([^"?][^"]*)"', text)
        if not leads_somewhere(path, link)
    }
    assert dead == set()


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link has a target in the site; those to elsewhere are not followed."""
    path, anchor = urldefrag(unquote(link.partition("?")[0]))
    target = (page.parent / path).resolve() if path else page
    if re.match(r"\w+:|//", path):
        return True
    return target.exists() and (not anchor or f'id="{anchor}"' in target.read_text("utf-8"))


def test_each_lesson_has_a_button_that_opens_it_live(site: Path) -> None:
    lessons = list(site.glob("notebooks/*.html"))
    assert len(lessons) == 14
    for page in lessons:
        path = re.search(
            r'class="live" href="\.\./live/lab/index\.html\?path=([\w.]+)"', page.read_text("utf-8")
        )
        assert path, page
        assert path[1] == f"{page.stem}.ipynb"
        assert (site / "live" / "files" / path[1]).exists()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_page_fits_the_screen_and_has_no_errors(
    screen: str, colours: str, new_page: OpenPage, address: str, request: pytest.FixtureRequest
) -> None:
    width, height = SCREENS[screen]
    page = new_page(viewport={"width": width, "height": height}, color_scheme=colours)
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    for name in PAGES:
        page.goto(f"{address}/{name}.html")
        page.wait_for_load_state("networkidle")
        assert problems == [], name
        too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert too_wide <= 0, f"{name} is {too_wide} pixels too wide"
        if pictures := request.config.getoption("--pictures"):
            page.screenshot(path=pictures / f"{name.rpartition('/')[2]}_{screen}_{colours}.png")


def test_the_search_finds_a_word_of_a_lesson(new_page: OpenPage, address: str) -> None:
    page = new_page()
    page.goto(f"{address}/search.html?q=backpressure")
    page.wait_for_selector("#search-results li a")
    assert "Slow consumers" in page.inner_text("#search-results")
