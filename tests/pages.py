"""What tests read of a page, and a browser to run its scripts in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PDFTOTEXT = shutil.which("pdftotext")


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
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=800,900", "--virtual-time-budget=20000"]
    command = [BROWSER, *quiet, f"--user-data-dir={folder / 'profile'}", *options, (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
