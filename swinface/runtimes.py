"""Trained networks on the runtime that is fastest on a CPU: torch, OpenVINO or ONNX Runtime.

A network is converted once and kept in the user's cache, by the digest of its weights. Whenever it is opened, its
outputs for some faces are compared with torch's.
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from huggingface_hub import cached_assets_path
from torch import Tensor, nn

from swinface.choices import Precision, Runtime
from swinface.cores import make_session_options
from swinface.data.align import IMAGE_SIZE
from swinface.files import InputError, describe_install, one_line, replacing
from swinface.inference import check_ready, choose_dtype, digest_weights, inference
from swinface.registry import check_choice

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

Engine = Callable[[np.ndarray], Sequence[np.ndarray]]
FEW = 256  # faces below which opening another runtime takes longer than it saves
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}  # |outputs - torch's in float32| / |torch's in float32|
KEPT = 8  # converted networks in the cache, each as large as its weights
OPSET = 18  # the one that torch's exporter writes without translating, and the runtimes of 2023 on read


class Runner:
    """A trained network that is opened on a runtime and called on batches of faces.

    Raises ``InputError`` if the runtime that was named is not installed, fails, or is not within the tolerance, or the
    network is not on a CPU, in training mode or not in float32.

    Parameters
    ----------
    network
        In evaluation mode. It maps images (B, 3, 112, 112), as ``scale_pixels`` gives them, to a tuple of tensors with
        a row per face.
    precision
        See ``swinface.inference.inference``. ONNX Runtime computes in float32 whatever it is.
    runtime
        ``auto``: OpenVINO where it is installed, the network is on a CPU, and there are at least ``FEW`` faces; else
        torch. If OpenVINO fails, or its outputs are not within ``TOLERANCE``, a warning says so and torch computes.
    method
        The method of the network that is called.
    faces
        Number of faces, if it is known; None for many.

    Attributes
    ----------
    runtime : str
        The one that computes.
    dtype : torch.dtype
        The type that matrices are multiplied in.
    """

    def __init__(
        self,
        network: nn.Module,
        precision: Precision = "fast",
        runtime: Runtime = "auto",
        method: str = "forward",
        faces: int | None = None,
    ) -> None:
        check_ready(network)
        check_choice("runtime", runtime, Runtime)
        self.device = next(network.parameters()).device
        self._graph, self._precision = Graph(network, method), precision
        self._engine: Engine | None = None
        self.runtime, self.dtype = "torch", choose_dtype(self.device, precision)
        chosen = runtime
        if runtime == "auto":
            fits = self.device.type == "cpu" and (faces is None or faces >= FEW) and find_spec("openvino")
            chosen = "openvino" if fits else "torch"
        if chosen == "torch":
            return
        if self.device.type != "cpu":
            raise InputError(f"{chosen} computes on the CPU, and the model is on {self.device}; leave runtime out.")
        packages, extra = RUNTIMES[chosen][2:]
        absent = [package for package in packages if find_spec(package) is None]
        if absent:
            raise InputError(f"{chosen} needs {' and '.join(absent)}: {describe_install(extra)} installs all of it.")
        try:
            self._engine = self._open(chosen)
        except Exception as error:  # converters fail in any way on what they do not know
            if runtime != "auto":
                raise InputError(f"{chosen} cannot run this model ({one_line(error)}); use torch.") from error
            warnings.warn(f"{chosen} cannot run this model ({one_line(error)}); torch is used.", stacklevel=2)
        else:
            self.runtime = chosen

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs for images, (B, 3, 112, 112) float32 on the network's device; they are on it too."""
        if self._engine is None:
            with inference(self.device, self._precision):
                return self._graph(images)
        return tuple(torch.from_numpy(output) for output in self._engine(np.ascontiguousarray(images)))

    @property
    def about(self) -> str:
        """What computes, and in which type: ``openvino bfloat16``."""
        return f"{self.runtime} {str(self.dtype).removeprefix('torch.')}"

    def _open(self, name: str) -> Engine:
        """The network on another runtime: from the cache, or converted and kept there."""
        convert, load, packages, _ = RUNTIMES[name]
        if name == "onnxruntime":
            self.dtype = torch.float32
        network = self._graph.model
        versions = [metadata.version(package) for package in (*packages, "torch")]
        about = [name, *versions, self._graph.method, str(self.dtype), repr(network), digest_weights(network)]
        key = hashlib.sha256("\n".join(about).encode()).hexdigest()[:32]
        place = _find_cache(f"{key}.{name}")
        if place is not None and place.exists():
            with suppress(Exception):  # damaged, or made on another processor: it is converted again
                engine = load(place.read_bytes(), self.dtype)
                self._check(engine)
                place.touch()
                return engine
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # converters warn of their own parts
            converted = convert(self._graph, _draw_faces(2), self.dtype)
        engine = load(converted, self.dtype)
        self._check(engine)
        if place is not None:
            _keep(place, converted)
        return engine

    def _check(self, engine: Engine) -> None:
        """Compare an engine's outputs with torch's, for another number of faces than it was converted with."""
        faces = _draw_faces(3)
        with inference(self.device, "full"):
            expected = [output.numpy() for output in self._graph(faces)]
        for number, (found, wanted) in enumerate(zip(engine(faces.numpy()), expected, strict=True)):
            error = np.linalg.norm(found - wanted)
            if not error <= TOLERANCE[self.dtype] * np.linalg.norm(wanted):
                share = error / np.linalg.norm(wanted)
                raise ValueError(f"output {number} differs from torch's by {share:.2g} of its norm")


class Graph(nn.Module):
    """A method of a model as a network, whose outputs are a tuple: a graph has no names for those that have some."""

    def __init__(self, model: nn.Module, method: str = "forward", outputs: Sequence[str] | None = None) -> None:
        super().__init__()
        self.model, self.method, self.outputs = model, method, outputs
        self.train(model.training)

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        given = getattr(self.model, self.method)(faces)
        return tuple(given if self.outputs is None else (given[name] for name in self.outputs))


def _draw_faces(count: int) -> Tensor:
    """Made-up images, (count, 3, 112, 112), scaled."""
    return torch.rand(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(count)) * 2 - 1


def _find_cache(name: str) -> Path | None:
    """Where a converted network is kept, in the cache of the hub's files; None where there can be none."""
    try:
        return cached_assets_path("swinface", namespace="runtimes") / name
    except (OSError, ValueError):  # no home, or one that cannot be written to
        return None


def _keep(place: Path, converted: bytes) -> None:
    with suppress(OSError, InputError):  # a disk that is full or cannot be written to: it is converted again next time
        with replacing(place) as partial:
            partial.write_bytes(converted)
        for old in sorted(place.parent.glob("*.*"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)


def _import_openvino() -> Any:
    """OpenVINO, without the package by which it reports each use to its makers; it works without."""
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None  # imports of it fail
    try:
        import openvino
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]
    return openvino


@cache
def _open_core() -> Any:
    """The one core of OpenVINO in this process, for as long as it lives.

    Each core sets a stack for signals, and when it ends it restores the one from before it. With two cores that may be
    the stack of one that has ended, and the next signal, such as that of a loader's worker that ends, or Ctrl-C, kills
    the process.
    """
    return _import_openvino().Core()


def _set_openvino(dtype: torch.dtype) -> dict[str, Any]:
    # Pinned threads of two processes would share cores that others leave free.
    return {
        "INFERENCE_PRECISION_HINT": {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }


def _convert_openvino(graph: nn.Module, faces: Tensor, dtype: torch.dtype) -> bytes:
    model = _import_openvino().convert_model(graph, example_input=faces, input=[-1, *faces.shape[1:]])
    return _open_core().compile_model(model, "CPU", _set_openvino(dtype)).export_model().getvalue()


def _load_openvino(converted: bytes, dtype: torch.dtype) -> Engine:
    compiled = _open_core().import_model(io.BytesIO(converted), "CPU", _set_openvino(dtype))
    request = compiled.create_infer_request()

    def run(images: np.ndarray) -> list[np.ndarray]:
        request.infer([images], share_inputs=True)
        return [request.get_output_tensor(number).data.copy() for number in range(len(compiled.outputs))]

    return run


def convert_onnx(graph: nn.Module, example: Tensor, input: str, outputs: Sequence[str] | None = None) -> ONNXProgram:
    """A network as ONNX, for any number of faces at once.

    ``graph`` maps one tensor to a tuple of tensors, in evaluation mode; ``example`` are two faces as it takes them: one
    alone would be taken for a constant. ``input`` and ``outputs`` are names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own parts
        return torch.onnx.export(
            graph,
            (example,),
            input_names=[input],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("faces")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )


def _load_onnx(converted: bytes, dtype: torch.dtype) -> Engine:
    import onnxruntime

    options = make_session_options()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(converted, options, ["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


# By name: from a graph to bytes, from these to an engine, the packages it needs, and the extra that brings them.
RUNTIMES = {
    "openvino": (_convert_openvino, _load_openvino, ("openvino",), "fast"),
    "onnxruntime": (
        lambda graph, faces, dtype: convert_onnx(graph, faces, "images").model_proto.SerializeToString(),
        _load_onnx,
        ("onnx", "onnxruntime", "onnxscript"),
        "onnx",
    ),
}
