"""`kinface web` as a user meets it: a command that prints an address, and its pages in a browser."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from kinface.fairness.audit import audit_fairness
from kinface.report.build import build_report
from kinface.report.html import render
from kinface.web.app import open_server
from tests.kinface.web.conftest import EVIL, to_png
from tests.pages import BROWSER, DRIVER, open_window

in_browser = pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="no Chromium with its driver at hand")


def test_the_command_prints_its_address_and_ends_when_interrupted():
    started = subprocess.Popen([Path(sys.executable).parent / "kinface", "web"], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", started.stdout.readline())[0]
        with urlopen(address) as page:
            assert b"Do two faces look like kin" in page.read()
        with pytest.raises(HTTPError, match="404"):
            urlopen(re.match(r"http://[^/]+/", address)[0])
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=30) == 0
    finally:
        started.kill()
        started.stdout.close()


HOSTILE = """<title></title><img src="http://127.0.0.1:TRAP/image">
<form action="http://127.0.0.1:TRAP/form"></form>
<script>
fetch("http://127.0.0.1:TRAP/fetched").catch(() => {});
try { document.title = document.cookie; } catch { document.title = `${origin} is kept out`; }
setTimeout(() => { try { top.location = "http://127.0.0.1:TRAP/top"; } catch {} document.forms[0].submit(); }, 500);
setTimeout(() => { window.done = true; }, 1000);
</script>"""  # a page of a report that tries to send what it sees


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A server that nothing may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        yield server


@pytest.mark.slow
@in_browser
def test_in_a_browser(examiner, faces, found_beside, draw_scored, trap, tmp_path):
    names = ["father.png", f"{EVIL.replace('/', '')}", "child.png"]
    for name, face in zip(names, [*faces[:2], np.concatenate(list(faces[2:]), axis=1)], strict=True):
        (tmp_path / name).write_bytes(to_png(face))
    page = render(build_report(audit_fairness(draw_scored(1500), 0.5, resamples=100)))
    (tmp_path / "report.html").write_text(page, "utf-8")
    (tmp_path / "errors.html").write_text(HOSTILE.replace("TRAP", str(trap.getsockname()[1])))
    server, address = open_server(examiner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with open_window() as window:
            window.resize(1280, 1000)
            window.go(address)
            for field, name in zip(("a", "b", "child"), names, strict=True):
                window.type(f"input[name={field}]", str(tmp_path / name))
            window.click("button")
            assert window.run("return document.querySelector('button').disabled")
            window.wait("return !document.querySelector('button').disabled")
            text = window.wait("return document.body.innerText", "iframe")
            assert "The model shipped-debiased says" in text and "mother and child" in text and "Asian" not in text
            assert (
                window.run("return [...document.images].map(it => it.naturalWidth > 300)") == [False] * 2 + [True] * 5
            )
            window.click("button[value='child 0 1']")
            taken = "[value='child 0 1'][aria-pressed=true]"
            window.wait(f'return document.querySelector("{taken}")', "iframe")
            window.enter(None)
            window.type("select", "race: Asian")
            window.click("button")
            window.wait("return document.body.innerText.includes('Asian')", "iframe")
            assert window.run(f'return !!document.querySelector("{taken}")'), "another group keeps the face"
            window.enter(None)
            kept = window.run("return [...document.querySelectorAll('input[type=file]')].map(it => it.files.length)")
            assert kept == [1, 1, 1]  # another group can be chosen without dropping photos again
            widths = "return [...document.querySelectorAll('picture img')].map(it => it.naturalWidth)"
            wide = window.wait(widths, "iframe")
            window.enter(None)
            window.resize(400, 800)
            assert window.run("return document.documentElement.scrollWidth <= innerWidth")
            window.wait(
                f"const now = (() => {{ {widths} }})(); return now.every(it => it && it < {min(wide)} / 2)", "iframe"
            )
            window.enter(None)

            window.resize(1280, 1000)
            window.click("a[href=report]")
            window.wait("return document.querySelector('input[name=folder]')")
            window.type("input[name=folder]", str(tmp_path))
            window.click("button")
            window.wait("return document.querySelector('#explore canvas, #explore svg')", "iframe")  # its script draws
            window.enter(None)
            window.click("a[href$='errors.html']")
            assert window.wait("return window.done && document.title", "iframe") == "null is kept out"
        with pytest.raises(TimeoutError):
            trap.accept()
    finally:
        server.shutdown()
        server.server_close()
