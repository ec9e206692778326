"""The page in a real Chromium: search, filters, one hit at large, questions about an image."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import chromium
from served import http, scene_uri

from likewise.model.model import Model
from likewise.search import Index
from likewise.serving.limits import Limits

WAIT_SECONDS = 20
SHOWN = ".filter((one) => one.getClientRects().length > 0)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


class Page:
    """Finds and waits."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def all(self, selector: str) -> list[Any]:
        """Elements that are shown; the page may replace them at any time."""
        return list(
            self.browser.execute_script(f"return [...document.querySelectorAll({selector!r})]{SHOWN}")
        )

    def one(self, selector: str) -> Any:
        return self.until(lambda: self.all(selector))[0]

    def until(self, condition: Callable[[], Any]) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = [StaleElementReferenceException]
        return WebDriverWait(self.browser, WAIT_SECONDS, ignored_exceptions=ignored).until(
            lambda _: condition()
        )

    def click(self, selector: str) -> None:
        self.until(lambda: [one.click() or True for one in self.all(selector)[:1]])

    def texts(self, selector: str) -> list[str]:
        words = f"[...document.querySelectorAll({selector!r})]{SHOWN}.map((one) => one.innerText)"
        return list(self.browser.execute_script(f"return {words}"))

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def focused(self) -> str:
        return str(self.browser.execute_script("return document.activeElement.id"))

    def check(self, width: int) -> None:
        """Nothing sticks out, and the browser has nothing to complain of."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        root = "document.documentElement"
        assert self.browser.execute_script(f"return {root}.scrollWidth - {root}.clientWidth") == 0
        assert self.browser.get_log("browser") == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(base64.b64decode(scene_uri(7).partition(",")[2]))
    return path


def test_search_by_keyboard_image_and_filter(browser: Any, tcl: Model, index: Index, photo: Path) -> None:
    page = Page(browser)
    with http(tcl, Limits(), index=index) as (address, _):
        browser.get(address)
        page.until(lambda: page.focused() == "words")  # ready to type
        page.press("a red star - a heart", "\ue007")
        cards = page.until(lambda: page.all("#hits .card"))
        assert len(cards) == 24
        assert page.all("#hits img")
        scores = [float(text.split()[0].replace("−", "-")) for text in page.texts("#hits .score")]
        assert scores == sorted(scores, reverse=True)
        expected = browser.execute_script("return state.hits.map((hit) => hit.id)")

        # an image adds a term, whose sign turns and which goes away
        browser.find_element("id", "file").send_keys(str(photo))
        page.click(".chip .sign")
        page.until(lambda: page.all(".chip.minus"))
        ids = "return state.hits.map((hit) => hit.id)"
        page.until(lambda: browser.execute_script(ids) != expected)
        page.click(".chip [aria-label^=remove]")
        page.until(lambda: browser.execute_script(ids) == expected)

        # so does one that is pasted or dropped
        for event, data in (
            ("ClipboardEvent('paste'", "clipboardData"),
            ("DragEvent('drop'", "dataTransfer"),
        ):
            browser.execute_script(
                "const bytes = Uint8Array.from(atob(arguments[0]), (sign) => sign.charCodeAt(0));"
                "const data = new DataTransfer();"
                "data.items.add(new File([bytes], 'photo.png', { type: 'image/png' }));"
                f"document.dispatchEvent(new {event}, {{ {data}: data, bubbles: true }}));",
                base64.b64encode(photo.read_bytes()).decode(),
            )
            page.click(".chip [aria-label^=remove]")
            page.until(lambda: not page.all(".chip"))
            page.until(lambda: browser.execute_script(ids) == expected)

        # a filter is applied before
        options = browser.find_elements("css selector", "#filters select[name=label] option")
        label = options[1].text
        options[1].click()
        page.until(lambda: set(browser.execute_script("return state.hits.map((h) => h.label)")) == {label})
        options[0].click()
        page.until(lambda: browser.execute_script(ids) == expected)
        page.check(400)
        page.check(1280)

        # one hit at large, by the keyboard, with its neighbours
        browser.execute_script("document.querySelector('#hits .card').focus()")
        page.press("\ue007")
        page.until(lambda: page.all("#neighbours .card"))
        assert page.texts("#captions p")
        assert page.one("#large").get_property("naturalWidth") > 10
        page.press("\ue014")  # right
        page.until(lambda: page.texts("#place") == ["2 of 24"])
        assert page.texts("#facts dd")[0] == expected[1]
        page.until(lambda: len(page.all("#neighbours .card")) == 8)

        # where the model looked
        page.one("#detail .ask input").send_keys("a red star", "\ue007")
        canvas = page.one("#detail canvas")
        drawn = "return arguments[0].getContext('2d').getImageData(0, 0, 480, 480).data.some((v) => v > 0)"
        assert browser.execute_script(drawn, canvas)
        page.check(400)
        page.check(1280)
        page.press("\ue00c")  # escape
        page.until(lambda: not page.all("#detail"))

        # more like this, from a neighbour
        page.click("#hits .card")
        page.until(lambda: page.all("#neighbours .card"))
        page.click("#plus")
        page.until(lambda: page.all(".chip"))
        page.one("#words").clear()
        page.one("#words").send_keys("\ue007")
        page.until(lambda: "".join(page.texts("#hits .score")[:1]).startswith("1.000"))  # itself
        assert browser.execute_script(ids)[0] == expected[0]


def test_a_token_is_asked_for_and_errors_are_told(
    browser: Any, tcl: Model, index: Index, tmp_path: Path
) -> None:
    page = Page(browser)
    with http(tcl, Limits(), index=index, token="sesame-7") as (address, _):
        browser.get(address)
        page.one("#token").send_keys("sesame-7", "\ue007")
        page.one("#words").send_keys("red " * 40, "\ue007")
        page.until(lambda: "this model reads 32" in page.texts("#status")[0])
        colour = "return getComputedStyle(document.getElementById('status')).color"
        assert browser.execute_script(colour) == "rgb(179, 38, 30)"  # --bad
        browser.get_log("browser")  # the refusals that were meant

        # what holds no words, no image, or nothing that a browser can show
        page.one("#words").clear()
        page.one("#words").send_keys("+ -", "\ue007")
        page.until(lambda: page.texts("#status") == ["There are no words between the signs."])
        (tmp_path / "notes.txt").write_text("no image")
        browser.find_element("id", "file").send_keys(str(tmp_path / "notes.txt"))
        page.until(lambda: page.texts("#status") == ["notes.txt is not an image."])
        (tmp_path / "scan.tiff").write_bytes(b"damaged")
        browser.find_element("id", "file").send_keys(str(tmp_path / "scan.tiff"))
        page.until(lambda: page.texts(".chip .name") == ["scan.tiff"])
        page.until(lambda: "not an image" in page.texts("#status")[0])
        browser.get_log("browser")  # these too


def test_a_captioner_describes_an_image_and_shows_where_it_looked(
    browser: Any, model_of: Callable[[str], Model], photo: Path
) -> None:
    page, model = Page(browser), model_of("captioning")
    assert model.tokenizer is not None
    network: Any = model.network
    # An untrained decoder writes bytes that are no text, too long to be explained. This one writes "a a a".
    network.decoder.max_tokens = 5
    with torch.no_grad():
        network.decoder.output_bias[model.tokenizer.encode(["a"])[0][1]] = 99.0
    with http(model, Limits()) as (address, _):
        browser.get(address)
        page.one(".slot")
        browser.find_element("id", "file").send_keys(str(photo))
        page.until(lambda: page.all(".slot.filled img"))
        page.click("#look .ask button.main")
        page.one("#look canvas")
        assert page.all("#look .found .big")
        page.check(400)
