"""``kinface synthesize``."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

from kinface.synthetic import families as synthetic


@wraps(synthetic.synthesize)  # whose options and help the command has
def synthesize(out: Path, **options: Any) -> None:
    drawn = synthetic.synthesize(out, **options)
    print(f"{drawn.families} families, {drawn.people} people, {drawn.faces} faces")
    print(f"{drawn.pairs} validation pairs: {out / 'lists' / 'val_choose.txt'}, in KFC's form val_choose_kfc.txt")
    print(f"{drawn.traps} irregularities as in real FIW; the true attributes and genes of all people: {out / 'truth'}")
    print(f"next: kinface prepare {out} --out DIR")
