"""What tests read of a page, and a browser to run its scripts in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
    (folder / "page.html").write_text(f"{page}{use}", encoding="utf-8")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=800,900",
        "--virtual-time-budget=20000",
    ]
    command = [
        BROWSER,
        *options,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        (folder / "page.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return json.loads(re.search(r"<pre>(.*?)</pre>", done.stdout, flags=re.DOTALL)[1])
