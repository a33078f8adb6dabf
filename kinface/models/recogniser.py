"""Any face recogniser, as an ONNX file of ArcFace's kind or as a Python function, for its embeddings of faces."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kinface.data.arrays import as_array
from swinface.cores import make_session_options
from swinface.files import InputError, describe_install, one_line, running
from swinface.registry import Registry, check_choice

if TYPE_CHECKING:
    from swinface.inference import Shards

BATCH = 64  # faces that are given to a recogniser at once, unless its file fixes another number
DIFFERS = 0.1  # share of an embedding's length; quantised networks round by what else is in a batch

# What an ONNX file may take: its name for the type, and numpy's. Bytes are given pixels as they are.
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}
RECOGNISERS = Registry("recogniser")
Channels = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class Pixels:
    """How a recogniser sees a face; as insightface's by default.

    Parameters
    ----------
    size
        Side of a face in pixels; by default what the ONNX file fixes, or 112.
    channels
        Order of the colours.
    mean
        What is subtracted from pixels, 0 to 255, before an ONNX file is given them.
    scale
        What they are divided by after that.
    output
        Name of the embedding, for an ONNX file with several outputs.
    """

    size: int | None = None
    channels: Channels = "rgb"
    mean: float = 127.5
    scale: float = 127.5
    output: str | None = None

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, Channels)
        if self.scale == 0 or (self.size is not None and self.size < 1):
            raise InputError(f"size {self.size}, scale {self.scale}: a size is 1 or more, and a scale is not 0.")


INSIGHTFACE = Pixels()


class Recogniser:
    """A face recogniser: its embeddings of faces, and its settings.

    ``name`` is an ONNX file, or a custom ``package.module.function``, which takes faces (B, size, size, 3) uint8 and
    returns embeddings (B, D). ``pixels`` say how it sees a face; ``mean``, ``scale`` and ``output`` are for ONNX
    files alone. Raises ``InputError`` if there is no such file or function, the file is no ONNX model of one image and
    one embedding, or the options do not fit it.
    """

    def __init__(self, name: str, pixels: Pixels = INSIGHTFACE) -> None:
        from swinface.data.faces import IMAGE_SIZE  # importing torch takes seconds, and the options need none

        self.name, self.pixels = name, pixels
        path = Path(name)
        if path.suffix == ".onnx" or path.is_file():
            embed, size, self.batch = _open_onnx(path, pixels)
            made_of = path.read_bytes()
        else:
            embed, size, self.batch = RECOGNISERS.find(name), None, BATCH
            if (pixels.mean, pixels.scale, pixels.output) != (INSIGHTFACE.mean, INSIGHTFACE.scale, None):
                raise InputError(f"mean, scale and output are for ONNX files; {name} is given pixels from 0 to 255.")
            made_of = Path(sys.modules[name.rpartition(".")[0] or embed.__module__].__file__).read_bytes()
        self.size = size or pixels.size or IMAGE_SIZE
        self._embed: Callable[[np.ndarray], Any] = embed
        #: What tells it from others.
        self.about = [name, hashlib.sha256(made_of).hexdigest(), json.dumps(asdict(pixels))]

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Embeddings (B, D), float32, of faces (B, size, size, 3), uint8, RGB.

        Raises ``InputError`` if the recogniser fails, or returns something else.
        """
        given = np.ascontiguousarray(faces if self.pixels.channels == "rgb" else faces[..., ::-1])
        with running(f"{self.name}, on {given.shape} faces"):
            embedding = as_array(self._embed(given)).astype(np.float32)
        if embedding.ndim > 2 and embedding[:1].size == embedding.shape[1]:  # (B, D, 1, 1), as a last convolution gives
            embedding = embedding.reshape(len(embedding), -1)
        if embedding.ndim != 2 or len(embedding) != len(faces):
            raise InputError(f"{self.name}: gives {embedding.shape} of {len(faces)} faces; embeddings are (faces, D).")
        return embedding

    def embed(self, faces: Sequence[str], root: Path = Path(), shards: Shards | None = None) -> np.ndarray:
        """Embed image files of aligned faces below a folder, each once: (N, D), float32, as the recogniser gives them.

        ``shards`` are the processes that compute, and where they keep what they have. Raises ``InputError`` as a call
        does, or if a face is missing, unreadable or not square, or its embedding is not finite.
        """
        from kinface.models.faces import read_faces, warn_of_unaligned
        from swinface.data.cache import digest_files
        from swinface.inference import Shards

        if not len(faces):
            raise InputError("there are no faces to embed.")
        shards = shards or Shards()
        if shards.first:
            warn_of_unaligned(root, faces)
            self._check_repeats(read_faces(root, faces[:1], self.size).permute(0, 2, 3, 1).numpy())

        def compute(rows: range) -> dict[str, np.ndarray]:
            named = faces[rows.start : rows.stop]
            embedding = self(read_faces(root, named, self.size).permute(0, 2, 3, 1).numpy())
            finite = np.isfinite(embedding).all(axis=1)
            if not finite.all():
                raise InputError(f"{self.name}: the embedding of {named[finite.argmin()]} is not finite.")
            return {"embedding": embedding}

        about = [*self.about, str(root), digest_files(Path(root, face) for face in faces), *faces]
        return shards.compute("embed", about, len(faces), compute, self.batch)["embedding"]

    def _check_repeats(self, face: np.ndarray) -> None:
        """Refuse a recogniser whose embedding of a face, (1, size, size, 3), depends on chance or on other faces."""
        beside_itself, beside_another = (self(np.concatenate([face, other]))[0] for other in (face, 255 - face))
        with np.errstate(invalid="ignore"):  # of embeddings that are not finite, which are refused by face
            difference = np.linalg.norm(beside_itself - beside_another)
        if difference > DIFFERS * np.linalg.norm(beside_itself):
            raise InputError(
                f"{self.name}: a face's embedding changes with what else is embedded, as in training mode; set "
                "evaluation mode where the network is made."
            )


def _open_onnx(path: Path, pixels: Pixels) -> tuple[Callable[[np.ndarray], np.ndarray], int | None, int]:
    """From faces (B, size, size, 3) uint8 to what a file makes of them; the size if fixed, and how many at once."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"an ONNX file needs onnxruntime: {describe_install('onnx')} installs it.") from None
    if not path.is_file():
        raise InputError(f"{path}: no such file; name an ONNX model, or package.module.function.")
    wanted = [name for name in ("CUDA", "CPU") if f"{name}ExecutionProvider" in onnxruntime.get_available_providers()]
    options = make_session_options()
    try:
        session = onnxruntime.InferenceSession(path, options, [f"{name}ExecutionProvider" for name in wanted])
    except Exception as error:  # damaged bytes make onnxruntime fail in any way
        raise InputError(f"{path}: not an ONNX model that can be run ({one_line(error)}).") from error
    inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
    if len(inputs) != 1:
        named = ", ".join(each.name for each in inputs) or "none"
        raise InputError(f"{path}: has {len(inputs)} inputs ({named}); a recogniser has one, the faces.")
    if pixels.output not in (outputs if len(outputs) > 1 else [*outputs, None]):
        raise InputError(f"{path}: its outputs are {', '.join(outputs)}; name the embedding by output.")
    (given,), output = inputs, pixels.output or outputs[0]
    shape = given.shape if len(given.shape) == 4 else [None] * 4
    fixed = [side if isinstance(side, int) and side > 0 else None for side in shape]
    last = fixed[3] == 3 and fixed[1] != 3  # colours come last, as TensorFlow has them
    colours, sides = (fixed[3], fixed[1:3]) if last else (fixed[1], fixed[2:])
    if len(given.shape) != 4 or colours not in (3, None) or sides[0] != sides[1] or given.type not in TYPES:
        raise InputError(
            f"{path}: its input is {given.type} {given.shape}; it must be (faces, 3, size, size) or "
            "(faces, size, size, 3), of floating-point numbers or bytes."
        )
    if None not in (sides[0], pixels.size) and sides[0] != pixels.size:
        raise InputError(f"{path}: takes faces of {sides[0]}x{sides[0]}, not of size {pixels.size}.")
    dtype = np.dtype(TYPES[given.type])
    if dtype == np.uint8 and (pixels.mean, pixels.scale) != (INSIGHTFACE.mean, INSIGHTFACE.scale):
        raise InputError(f"{path}: takes bytes, which are given as they are; leave out mean and scale.")

    def embed(faces: np.ndarray) -> np.ndarray:
        values = faces if dtype == np.uint8 else ((faces.astype(np.float32) - pixels.mean) / pixels.scale).astype(dtype)
        values, count, at_once = values if last else values.transpose(0, 3, 1, 2), len(values), fixed[0] or len(values)
        rows = np.minimum(np.arange(-(-count // at_once) * at_once), count - 1)  # filled up with the last face
        parts = [session.run([output], {given.name: values[it]})[0] for it in rows.reshape(-1, at_once)]
        return np.concatenate(parts)[:count]

    return embed, sides[0], fixed[0] or BATCH
