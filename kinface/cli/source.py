"""Whose embeddings a command uses; without torch, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from swinface.files import InputError


@Parameter(name="*")
@dataclass(frozen=True)
class Source:
    """Whose embeddings.

    Parameters
    ----------
    model
        Folder of a trained model; by default the one that comes with the package.
    inputs
        Table of the embeddings that a model without trunk reads.
    embeddings
        Table of embeddings, of any other model, to use in place of a model.
    whiten
        A folder of ``kinface prepare``: the embeddings of --embeddings are first whitened by how photos of one person
        differ, of its people of the split train. A fairer baseline than the plain cosine, which knows nobody.
    """

    model: Path | None = None
    inputs: Path | None = None
    embeddings: Path | None = None
    whiten: Path | None = None

    def check(self) -> None:
        """Raise ``InputError`` if the options contradict each other."""
        if self.model is not None and self.embeddings is not None:
            raise InputError("give one of --model and --embeddings.")
        if self.embeddings is not None and self.inputs is not None:
            raise InputError("--inputs are for a --model; leave them out with --embeddings.")
        if self.whiten is not None and self.embeddings is None:
            raise InputError("--whiten is for --embeddings; leave it out with a model.")


OURS = Source()  # the model that comes with the package
