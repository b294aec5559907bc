"""The page in headless Chromium: pointing, clicking and keys do what they should, and nothing is complained about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, copy_of
from tiny_run import IDENTITIES

from dgaug.report.page import report_run
from dgaug.runs import Run

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install 'dgaug[test]')")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
DESKTOP, PHONE = (1280, 900), (390, 844)


class Opened:
    """A page that is open, and what it complained about or asked for."""

    def __init__(self, browser: Any, path: Path, *, size: tuple[int, int] = DESKTOP, colours: str = "light") -> None:
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        width, height = size
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked_for.append(request.url))
        self.page.goto(path.as_uri())

    def cell(self, row: int, column: int) -> Any:
        """The button of a cell."""
        return self.page.locator(f".cell[data-row='{row}'][data-column='{column}']")

    def shown(self, home: str) -> list[str]:
        """The images of a trio: appearance donor, generated, structure donor."""
        result: list[str] = self.page.locator(f"{home} .trio img[data-of]").evaluate_all("all => all.map(i => i.src)")
        return result

    def pair(self, row: int, column: int) -> list[str]:
        """What a trio of this pair must show."""
        places = (
            f".grid tbody tr:nth-child({row + 1}) th img",
            f".cell[data-row='{row}'][data-column='{column}'] img",
            f".grid thead th:nth-of-type({column + 1}) img",
        )
        return [str(self.page.locator(place).get_attribute("src")) for place in places]

    def background(self) -> str:
        """The colour of the paper."""
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = copy_of(tiny_run, tmp_path_factory.mktemp("report") / "run", without=("store",))
    figure = {"mean": 0.5, "spread": 0.1, "seeds": 2}
    run.scores.mkdir()
    (run.scores / "scores.json").write_text(json.dumps({"scores": {"frechet_teacher": 1.5}, "protocol": {"name": "a"}}))
    shutil.copy(max(run.samples.glob("0*.png")), run.scores / "pairs.png")
    run.reid.mkdir()
    (run.reid / "results.json").write_text(json.dumps({"summary": {"augmented": {"rank-1": figure}}}))
    return report_run(run.folder)


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    opened = Opened(browser, report)
    yield opened
    assert opened.complaints == []
    assert [url for url in opened.asked_for if not url.startswith(("file:", "data:"))] == []
    opened.page.close()


def test_pointing_at_a_cell_shows_its_donors(opened: Opened) -> None:
    for row, column in ((1, 3), (2, 0)):
        opened.cell(row, column).hover()
        assert opened.shown("#panel") == opened.pair(row, column)
    assert opened.page.locator(".of-current").count() == 2


def test_a_click_enlarges_arrow_keys_move_and_escape_closes(opened: Opened) -> None:
    opened.cell(1, 2).click()
    assert opened.page.locator("#large").is_visible()
    assert opened.shown("#large") == opened.pair(1, 2)
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowDown")
    assert opened.shown("#large") == opened.pair(2, 3)
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#large").is_visible()
    opened.page.wait_for_function("document.activeElement.dataset.row === '2'")
    assert opened.page.evaluate("document.activeElement.dataset.column") == "3"


def test_the_grid_is_one_stop_of_the_tab_key_and_enter_enlarges(opened: Opened) -> None:
    assert opened.page.locator(".cell[tabindex='0']").count() == 1
    opened.cell(0, 0).focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowDown", "End", "ArrowRight"):
        opened.page.keyboard.press(key)
    assert opened.shown("#panel") == opened.pair(1, IDENTITIES - 1)
    opened.page.keyboard.press("Enter")
    assert opened.shown("#large") == opened.pair(1, IDENTITIES - 1)
    opened.page.locator(".close").click()
    assert not opened.page.locator("#large").is_visible()
    opened.page.keyboard.press("Tab")
    assert not opened.page.evaluate("document.activeElement.classList.contains('cell')")


def test_a_slider_shows_its_frame_by_mouse_or_key(opened: Opened) -> None:
    slider = opened.page.locator("#between .slider").first
    field = slider.locator("input")
    for key, number in (("Home", 0), ("ArrowRight", 1), ("End", 10)):
        field.press(key)
        for row in range(2):
            frames = slider.locator(".frames").nth(row).locator("img")
            assert [k for k in range(11) if frames.nth(k).is_visible()] == [number]
    assert "100 %" in str(field.get_attribute("aria-valuetext"))


def test_previews_are_gone_through_by_iteration(opened: Opened) -> None:
    field, output = opened.page.locator("#previews input"), opened.page.locator("#previews output")
    assert output.inner_text() == "iteration 8"
    field.press("Home")
    assert output.inner_text() == "iteration 4"
    assert opened.page.locator("#previews img:visible").get_attribute("alt") == "N x N preview at iteration 4"


def test_pointing_at_a_curve_reads_it(opened: Opened) -> None:
    chart = opened.page.locator(".chart").first
    chart.scroll_into_view_if_needed()
    chart.locator("svg").hover(position={"x": 2, "y": 20})
    first = json.loads(str(chart.locator(".line").first.get_attribute("data-points")))[0]
    assert chart.locator("output").inner_text() == f"{first[0]}: {first[1]}"


def test_a_sheet_enlarges_and_the_grid_stays_where_it_was(opened: Opened) -> None:
    opened.page.locator("#scores .zoom").click()
    assert opened.page.locator("#large img").get_attribute("alt") == "scores: pairs"
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.locator("#large img").count() == 1
    opened.page.keyboard.press("Escape")
    opened.page.wait_for_function("document.activeElement.className === 'zoom'")


def test_colours_follow_the_system_until_the_button_says_otherwise(browser: Any, report: Path) -> None:
    light, dark = (Opened(browser, report, colours=colours) for colours in ("light", "dark"))
    papers = light.background(), dark.background()
    assert papers[0] != papers[1]
    for expected in ("light", "dark", "system"):
        light.page.locator("#theme").click()
        assert light.page.locator("#theme").inner_text().endswith(expected)
        assert light.background() == papers[expected == "dark"]
    assert light.complaints == dark.complaints == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_page_is_never_wider_than_its_window(browser: Any, report: Path, size: tuple[int, int]) -> None:
    opened = Opened(browser, report, size=size)
    for details in opened.page.locator("details").all():
        details.locator("summary").click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == size[0]
    opened.cell(0, 1).click()
    box = opened.page.locator("#large").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size[0]
    assert opened.complaints == []


def test_hostile_names_run_nothing(browser: Any, tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / HOSTILE, without=("store",))
    for file in (run.folder / "data" / "bounding_box_train").iterdir():
        file.rename(file.with_name(f"{file.stem}{HOSTILE}{file.suffix}"))
    (run.folder / "environment.json").write_text(json.dumps({"data": {"root": "data"}}))  # not those of the records
    with run.log.open("a") as log:
        log.write(json.dumps({"phase": HOSTILE, "iteration": 1, "terms": {HOSTILE: 1.0}, "weights": {}}) + "\n")
    opened = Opened(browser, report_run(run.folder, count=2))
    opened.cell(0, 1).click()
    opened.page.keyboard.press("Escape")
    opened.page.locator(".chart svg").last.hover()
    assert opened.page.title().startswith("<img src=x onerror=")
    assert opened.page.locator("img[onerror]").count() == 0
    assert opened.complaints == []
