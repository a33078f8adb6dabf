"""KinFace: two faces -> kin? A trunk or a table of embeddings, one neck, and heads given as data::

    images --Trunk--> levels --MLCA--> erasures --> features --projection--> erasures --> embedding --cosine--> kin?
                                                       |                                    \\--pair--> kinship type
                                                       \\--> attributes

Verification is the cosine of two embeddings. Adversaries (``kinface.debias.adversaries``) belong to training and are
not part of the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.data.vocabulary import PREDICTED_TYPES, TYPES
from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.mlca import MultiLevelChannelAttention
from swinface.pretrained import Pretrained, best_device
from swinface.trunk import create_trunk

if TYPE_CHECKING:
    import pandas as pd

    from kinface.models.verify import Photos


class Named(nn.ModuleDict):
    """Modules by names that users choose: ``half`` or ``keys``, too, which are methods of modules."""

    def __setitem__(self, name: str, module: nn.Module) -> None:
        self._modules[name] = module


class TypeHead(nn.Module):
    """Kinship type of an unordered pair, in one distribution with its verification.

    With the cosine c of two unit embeddings and s, t learned,

        P(unrelated) = 1 - sigmoid(s (c - t)),   P(type k) = sigmoid(s (c - t)) softmax_k g(a, b),

    where g sees only what does not change when a and b are swapped: ``a * b``, ``|a - b|`` and ``a + b``. Training type
    identification alone therefore trains the cosine, and inference verifies by the same cosine. ``size`` is D, that of
    an embedding.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.kind = nn.Sequential(nn.Linear(3 * size, size), nn.ReLU(), nn.Linear(size, len(TYPES)))
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(0.3))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, 12) log probabilities, the types in the order of ``TYPES`` and unrelated last, of two (B, D)."""
        kin = self.scale * ((a * b).sum(dim=1, keepdim=True) - self.offset)
        kind = self.kind(torch.cat([a * b, (a - b).abs(), a + b], dim=1))
        return torch.cat([F.logsigmoid(kin) + F.log_softmax(kind, dim=1), F.logsigmoid(-kin)], dim=1)


class KinFace(nn.Module, Pretrained, library_name="kinface", pipeline_tag="image-feature-extraction"):
    """Kinship model over face images, over their levels, or over another model's embeddings.

    Parameters
    ----------
    trunk
        Arguments of :func:`swinface.trunk.create_trunk`, for a model that sees images; None for one that
        reads embeddings.
    embedding_size
        Numbers in an embedding that is read, where there is no trunk.
    width
        W, the size of the neck's features.
    size
        D, the size of the embedding that is scored.
    heads
        Attribute name to its class names; each head is an MLP on the features.
    types
        Whether there is a head for the kinship type of a pair.
    domains
        K, projections that were trained each on one group of people, of size D / K. Scoring does not ask for a group:
        the cosine of two embeddings is the mean over the projections' (domain-independent training, Wang et al., CVPR
        2020, section 5.3, for cosines in the place of class scores).
    erase
        The steps of erasure, in the order in which they act, each the arguments of
        :class:`kinface.debias.erasure.Erasure`; they are fitted in training.

    Attributes
    ----------
    threshold
        Cosine from which a pair is called kin: Youden's J on the validation pairs of its training, NaN before.
    """

    def __init__(
        self,
        trunk: dict | None = None,
        embedding_size: int | None = None,
        width: int = 512,
        size: int = 256,
        heads: dict[str, list[str]] | None = None,
        types: bool = False,
        domains: int = 1,
        erase: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        if size % domains:
            raise InputError(f"size {size} does not divide into {domains} domains.")
        if (trunk is None) == (embedding_size is None):
            raise InputError("a kinship model needs either a trunk or the size of the embeddings it reads, not both.")
        self.embedding_size = embedding_size
        self.trunk = None if trunk is None else create_trunk(**trunk)
        if self.trunk is not None:
            self.neck = MultiLevelChannelAttention(self.trunk.channels, width)
        else:
            self.neck = nn.Sequential(nn.Linear(embedding_size, width), nn.BatchNorm1d(width), nn.ReLU())
        self.projection = nn.Linear(width, size)
        self.domains = domains
        self.feature_erasures = _build_erasures(width, "features", erase)
        self.erasures = _build_erasures(size, "embedding", erase)
        self.types = TypeHead(size) if types else None
        self.heads = _build_heads(width, heads or {})
        self.register_buffer("threshold", torch.tensor(float("nan")))

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Outputs by name, of (B, 3, 112, 112) uint8 RGB images, or the levels that ``trunk`` makes of them; for a
        model without trunk of (B, embedding_size) embeddings.

        They are ``inputs``, the levels or embeddings that the neck reads, ``neck`` (B, W), what it makes of them,
        ``features`` (B, W), the same after their erasures, ``embedding`` (B, D) of unit length, and for each head its
        (B, classes) logits.
        """
        if faces.dtype == torch.uint8:
            faces, _ = self.trunk(scale_pixels(faces))
        inputs = faces.float()
        neck = self.neck(inputs)
        features, embedding = self.embed_features(neck)
        outputs = {"inputs": inputs, "neck": neck, "features": features, "embedding": embedding}
        return outputs | {name: head(features) for name, head in self.heads.items()}

    def embed_features(self, neck: Tensor) -> tuple[Tensor, Tensor]:
        """The features (B, W) and the embedding (B, D), after all erasures, of what the neck makes of faces, (B, W)."""
        features = neck
        for erasure in self.feature_erasures:
            features = erasure(features)
        embedding = self.project(features)
        for erasure in self.erasures:
            embedding = self.to_unit_length(erasure(embedding))
        return features, embedding

    def project(self, features: Tensor) -> Tensor:
        """The embedding (B, D) of unit length, before its erasures, of features (B, W)."""
        return self.to_unit_length(self.projection(features).float())

    def to_unit_length(self, embedding: Tensor) -> Tensor:
        """(B, D) brought to unit length, each of its domains' parts to the same."""
        unit = F.normalize(embedding.unflatten(1, (self.domains, -1)), dim=2) / math.sqrt(self.domains)
        return unit.flatten(1)

    def embed(self, faces: Sequence[str | Path] | np.ndarray | Tensor, **options: Any) -> np.ndarray:
        """Embed faces, each once: (N, D), float32, of unit length.

        Parameters
        ----------
        faces
            What the model reads of N faces: paths of aligned images; aligned images, (N, 112, 112, 3) uint8, RGB; or,
            for a model without trunk, another model's embeddings (N, E).
        options
            ``root``, the folder that paths start from, and others of :func:`kinface.models.inference.describe_faces`.

        Raises
        ------
        InputError
            The model cannot read such faces, or an image is missing, unreadable or not square.

        Examples
        --------
        >>> import kinface, numpy as np
        >>> model = kinface.KinFace.from_pretrained("shipped")
        >>> model.embed(np.zeros((2, 112, 112, 3), dtype=np.uint8)).shape
        (2, 128)
        """
        return self.describe(faces, **options)["embedding"]

    def describe(self, faces: Sequence[str | Path] | np.ndarray | Tensor, **options: Any) -> dict[str, np.ndarray]:
        """:meth:`embed`, and return also what the embedding is computed from, see
        :func:`kinface.models.inference.describe_faces`.
        """
        from kinface.models.inference import describe_faces

        return describe_faces(self, faces, **options)

    def name_types(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> np.ndarray:
        """(pairs,) the most likely type of each pair, or ``unrelated``, by the type head (``predict_types``).

        ``embedding``, (N, D), is this model's of the (N,) ``faces``, among which is every face of the pairs.
        """
        from kinface.models.inference import predict_types

        predicted = predict_types(self, pairs, faces, torch.from_numpy(embedding))
        return np.array(PREDICTED_TYPES)[predicted]

    def verify(self, a: Photos, b: Photos, child: Photos | None = None, **options: Any) -> dict[str, Any]:
        """Compare the largest faces in the photos of two people, or of a father, a mother and a child.

        Parameters
        ----------
        a, b
            Photos of two people: of each an image file, several, or a folder of them.
        child
            Photos of a child whose father and mother are in ``a`` and ``b``.
        options
            ``threshold``, the score from which they are called kin, by default the model's; ``aligned``, whether the
            images are faces already, square and aligned to ArcFace's five points; and ``runtime``, what the trunk runs
            on, see :class:`swinface.runtimes.Runner`.

        Returns
        -------
        dict
            ``photos`` and ``faces``, for each person a list of files and of how many faces each has; ``kin``,
            ``score``, ``threshold`` and what else :func:`kinface.models.verify.compare` returns; and ``caution``, some
            sentences.

        Raises
        ------
        InputError
            The model has no trunk or no threshold, a photo cannot be read or has no face, or a folder has no photos.

        Examples
        --------
        >>> import tempfile, kinface
        >>> from PIL import Image
        >>> folder, (_, images) = tempfile.mkdtemp(), kinface.make_families(12, photos=1)
        >>> photos = [f"{folder}/mother.png", f"{folder}/daughter.png"]
        >>> for photo, image in zip(photos, images):
        ...     Image.fromarray(image).save(photo)
        >>> answer = kinface.KinFace.from_pretrained("shipped").verify(*photos, aligned=True)
        >>> answer["kin"] == (answer["score"] >= answer["threshold"])
        True
        """
        from kinface.models.verify import verify

        return verify(self, a, b, child, **options)

    def export(self, path: str | Path, *, int8: Tensor | None = None) -> None:
        """Write the model as ONNX, for any number of faces at once.

        Its output is ``embedding``, (faces, D) of unit length. Two faces are called kin when the dot product of their
        embeddings is at least ``threshold`` in the metadata, which is null for a model that was not trained. Its input
        is ``images``, (faces, 3, 112, 112) uint8, or for a model without trunk ``inputs``, the embeddings it reads.

        Parameters
        ----------
        path
            File to write, .onnx.
        int8
            Faces, (N, 3, 112, 112) uint8, of people that the model was trained on: the trunk is quantised, with ranges
            from these. All behind it stays in float32: a rounded erasure would let through a little of what it removes.

        Raises
        ------
        InputError
            The file does not end in .onnx, the packages for export are not installed, or a model without a trunk is to
            be quantised.
        """
        from swinface.export import FACES, describe_images, write_onnx

        threshold = float(self.threshold)
        metadata = {"threshold": json.dumps(threshold if math.isfinite(threshold) else None)}
        if self.trunk is None:
            if int8 is not None:
                raise InputError("this model reads embeddings; only a trunk is quantised.")
            write_onnx(self, torch.zeros(2, self.embedding_size), ["embedding"], metadata, Path(path), "inputs")
        else:
            quantised = None if int8 is None else (int8, ["trunk"])
            write_onnx(self, FACES, ["embedding"], metadata | describe_images("uint8"), Path(path), int8=quantised)

    def make_room(self, tensors: Mapping[str, Tensor]) -> None:
        """See ``swinface.pretrained.Pretrained``: what an erasure keeps depends on its eraser."""
        for prefix, erasure in self.named_modules():
            if prefix.partition(".")[0] in ("erasures", "feature_erasures") and hasattr(erasure, "make_room"):
                own = {name: it for name, it in tensors.items() if name.startswith(f"{prefix}.")}
                erasure.make_room({name.removeprefix(f"{prefix}."): it for name, it in own.items()})


# Most models have neither heads nor erasures, and what these import takes as long to import as all else.


def _build_heads(width: int, heads: dict[str, list[str]]) -> Named:
    if not heads:
        return Named()
    from kinface.debias.heads import build_mlp

    return Named({name: build_mlp(width, len(classes)) for name, classes in heads.items()})


def _build_erasures(size: int, at: str, steps: Sequence[Mapping[str, Any]]) -> nn.ModuleList:
    if not steps:
        return nn.ModuleList()
    from kinface.debias.erasure import Erasure

    erasures = [Erasure(size, **step) for step in steps]
    return nn.ModuleList(erasure for erasure in erasures if erasure.step.at == at)


def load_model(folder: Path, device: torch.device | None = None) -> KinFace:
    """Read a trained kinship model onto a device, by default a GPU if there is one.

    Raises ``InputError`` if there is no such model, or its run is not complete.
    """
    if (folder / "last.ckpt").exists() and not (folder / "model.safetensors").exists():
        raise InputError(f"{folder}: this run is not complete; the same `kinface fit` command continues it.")
    return KinFace.from_pretrained(folder).to(device or best_device())
