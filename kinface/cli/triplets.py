"""``kinface triplets``."""

from __future__ import annotations

from pathlib import Path

from kinface.cli.inputs import HERE, OURS, Computing, Source, embed_all
from kinface.data.fiw import read_families
from swinface.files import replacing_folder


def triplets(
    *,
    root: Path,
    out: Path,
    source: Source = OURS,
    width: int = 64,
    dropout: float = 0.5,
    epochs: int = 30,
    batch: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.1,
    seed: int = 0,
    computing: Computing = HERE,
) -> None:
    """Train a head that says whether a father, a mother and a child are a family, on a model's embeddings.

    Triplets are drawn from the training families, anew for each epoch; the epoch and the threshold are chosen on the
    tune families. ``kinface rfiw --track 2 --head OUT`` uses it.

    Parameters
    ----------
    root
        The folder that ``kinface prepare`` made of FIW, or a FIW folder.
    out
        Folder to write to: ``config.json``, ``model.safetensors``, and ``log.csv`` with the AUC after each epoch.
    width
        Width of the head: how many numbers describe a parent and the child.
    dropout
        Share of these that is dropped in training.
    epochs
        How often triplets are drawn.
    batch
        Triplets per step.
    learning_rate
        Learning rate of AdamW at the start; it falls to 0 along a half cosine.
    weight_decay
        Weight decay of AdamW.
    seed
        Seed of the weights, the triplets and their order.
    """
    from kinface.models.triplets import fit_triplets

    families = read_families(root)
    faces = sorted(families.faces.loc[families.faces["split"].isin(["train", "tune"]), "face"])
    _, embedding, shards = embed_all(faces, root=families.root, out=out, source=source, computing=computing)
    if shards.first:
        of_training = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "weight_decay": weight_decay}
        head, log = fit_triplets(families, faces, embedding, width=width, dropout=dropout, **of_training, seed=seed)
        with replacing_folder(out) as folder:
            head.save_pretrained(folder)
            log.to_csv(folder / "log.csv", index=False)
        best = log.loc[log["tune_auc"].idxmax()]
        print(
            f"AUC on tune triplets: {log['tune_auc'].iloc[0]:.3f} mean of two cosines, {best['tune_auc']:.3f} head "
            f"after epoch {best['epoch']:.0f}, which was chosen by it: {out}"
        )
    shards.finish()
