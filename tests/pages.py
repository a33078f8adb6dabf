"""What tests read of a page, and a browser to run its scripts in."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PDFTOTEXT = shutil.which("pdftotext")
# Without a screen, and without what a browser does by itself on the network.
QUIET = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what WebDriver calls an element


def leave_pictures_blank(patch: pytest.MonkeyPatch) -> None:
    """Reports then have blank pictures: drawing them takes two thirds of a report's time."""
    blank = BytesIO()
    Image.new("P", (1, 1)).save(blank, "PNG")
    patch.setattr("kinface.report.build._to_png", lambda figure: blank.getvalue())


def without_scripts(page: str) -> str:
    """The page without its scripts, their data and embedded images."""
    return re.sub(r"<script.*?</script>|base64,[^\"]*", "", page, flags=re.DOTALL)


def text_of(page: str) -> str:
    """What a reader sees."""
    body = re.sub(r"<style>.*?</style>|<[^>]*>", " ", without_scripts(page), flags=re.DOTALL)
    return re.sub(r"\s+", " ", body)


def section(page: str, name: str) -> str:
    """What a reader sees of a section."""
    return text_of(page.split(f'<details open id="{name}">')[1].split("</details>")[0])


def run_in_browser(page: str, use: str, folder: Path) -> dict:
    """What a page says, as JSON in <pre>, after a script at its end has used it."""
    shown = _open(f"{page}{use}", folder, "--dump-dom")
    return json.loads(re.search(r"<pre>(.*?)</pre>", shown, flags=re.DOTALL)[1])


def print_pages(page: str, folder: Path) -> tuple[list[tuple[str, float]], float]:
    """The words of a page in print, each with where it ends, and the width of the paper."""
    _open(page, folder, f"--print-to-pdf={folder / 'page.pdf'}")
    told = subprocess.run([PDFTOTEXT, "-bbox", folder / "page.pdf", "-"], capture_output=True, text=True, check=True)
    words = re.findall(r'<word .*?xMax="([\d.]+)".*?>(.*?)</word>', told.stdout)
    return [(word, float(right)) for right, word in words], float(re.search(r'<page width="([\d.]+)"', told.stdout)[1])


def _open(page: str, folder: Path, *options: str) -> str:
    (folder / "page.html").write_text(page, encoding="utf-8")
    still = ["--window-size=800,900", "--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}"]
    command = [BROWSER, *QUIET, *still, *options, (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout


class Window:
    """A window of a browser that is steered as a user does, by the WebDriver protocol (W3C)."""

    def __init__(self, session: str) -> None:
        self._session = session

    def go(self, address: str) -> None:
        _ask(f"{self._session}/url", {"url": address})

    def resize(self, width: int, height: int) -> None:
        _ask(f"{self._session}/window/rect", {"width": width, "height": height})

    def type(self, selector: str, text: str) -> None:
        """Type a text; into a field for files, their paths, a line each."""
        _ask(f"{self._session}/element/{self._find(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        _ask(f"{self._session}/element/{self._find(selector)}/click", {})

    def enter(self, selector: str | None) -> None:
        """Look into a frame of the page; None leaves all frames."""
        frame = None if selector is None else {ELEMENT: self._find(selector)}
        _ask(f"{self._session}/frame", {"id": frame})

    def run(self, script: str) -> Any:
        """What a script returns."""
        return _ask(f"{self._session}/execute/sync", {"script": script, "args": []})

    def wait(self, script: str, frame: str | None = None) -> Any:
        """What a script returns in the page or in a frame of it, once that is there and it is true."""
        for _ in range(600):
            with suppress(LookupError):  # the page or the frame is about to be another one
                self.enter(None)
                if frame is not None:
                    self.enter(frame)
                if found := self.run(script):
                    return found
            time.sleep(0.1)
        raise TimeoutError(script)

    def save(self, path: Path) -> None:
        """Save a picture of the window, PNG."""
        path.write_bytes(base64.b64decode(_ask(f"{self._session}/screenshot")))

    def _find(self, selector: str) -> str:
        return _ask(f"{self._session}/element", {"using": "css selector", "value": selector})[ELEMENT]


@contextmanager
def open_window() -> Iterator[Window]:
    """A window of Chromium."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sessions = f"http://127.0.0.1:{port}/session"
    try:
        for _ in range(100):
            try:
                urlopen(f"http://127.0.0.1:{port}/status").close()
                break
            except URLError:
                time.sleep(0.1)
        options = {"args": QUIET, "binary": BROWSER}
        opened = _ask(sessions, {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        yield Window(f"{sessions}/{opened['sessionId']}")
        _ask(f"{sessions}/{opened['sessionId']}", method="DELETE")
    finally:
        driver.terminate()
        driver.wait()


def _ask(address: str, given: dict | None = None, method: str | None = None) -> Any:
    content = None if given is None else json.dumps(given).encode()
    request = Request(address, content, {"Content-Type": "application/json"}, method=method)
    try:
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except HTTPError as error:
        with error:
            raise LookupError(json.load(error)["value"]["message"]) from None
