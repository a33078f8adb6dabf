"""``kinface synthesize``."""

from __future__ import annotations

from pathlib import Path

from kinface.synthetic import families as synthetic


def synthesize(
    out: Path,
    *,
    families: int = 120,
    photos: float = 4.0,
    appearance: float = 1.0,
    bias: float = 0.5,
    seed: int = 0,
) -> None:
    """Draw synthetic families with known genes and a known bias, in the layout of FIW.

    Parameters
    ----------
    out
        Folder to write to; new or empty.
    families
        How many, at least 12. Every fourth is for validation.
    photos
        Mean number of photographs of a person.
    appearance
        How plainly race and gender show in a face: 1 plainly, 0 not at all.
    bias
        Share of the inherited traits that noise replaces in faces of the disadvantaged race: 0 nothing, 1 all.
    seed
        The same seed and options write the same bytes.
    """
    options = {"families": families, "photos": photos, "appearance": appearance, "bias": bias, "seed": seed}
    drawn = synthetic.synthesize(out, **options)
    print(
        f"{families} families, {drawn.people} people, {drawn.faces} faces; "
        f"appearance {appearance:g}, bias {bias:g}, seed {seed}"
    )
    print(f"{drawn.pairs} validation pairs: {out / 'lists' / 'val_choose.txt'}, in KFC's form val_choose_kfc.txt")
    print(f"{drawn.traps} traps of real FIW, and the truth about everyone: {out / 'truth'}")
    print(f"next: kinface prepare {out} --out DIR")
