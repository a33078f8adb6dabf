"""What tests read of a report's page."""

from __future__ import annotations

import re


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
