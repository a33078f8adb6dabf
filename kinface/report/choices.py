"""Forms of tables and figures for papers, as commands offer them."""

from __future__ import annotations

from typing import Literal

TableFormat = Literal["latex", "csv", "markdown"]
FigureFormat = Literal["pdf", "svg"]
