"""Running trained models over many faces: precision, devices, and partial results that are saved."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from torch import distributed, nn
from tqdm import tqdm

from swinface.choices import Precision
from swinface.files import InputError, one_line, replacing, working_alone
from swinface.pretrained import best_device
from swinface.registry import check_choice

CPU = torch.device("cpu")
SHARD = 8192  # faces of a part that is written to a file
ABOUT = "about.json"
Given = TypeVar("Given")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bfloat16 natively, which is then faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public name for this
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)


def choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """The type in which a trained model multiplies matrices on a device."""
    check_choice("precision", precision, Precision)
    return torch.bfloat16 if precision == "fast" and multiplies_bfloat16(device) else torch.float32


@contextmanager
def inference(device: torch.device, precision: Precision = "fast") -> Iterator[None]:
    """Run a trained model on a device without gradients.

    The precision ``fast`` is bfloat16 where the device multiplies in it natively, two to three times as fast on a CPU.
    It changes cosines by less than .01, ages by less than half a year and probabilities by less than .03 (tested on the
    SwinFace that ships; the published size changes less). ``full`` is float32. A model that sends faces to the map of a
    class, such as the debiased kinship model, changes more for a face between two classes: see its card.
    """
    half = choose_dtype(device, precision) == torch.bfloat16
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
        yield


def check_ready(model: nn.Module, kind: type[nn.Module] = nn.Module) -> None:
    """Raise ``InputError`` unless this is a model of the kind, in evaluation mode and in float32."""
    if not isinstance(model, kind):
        wanted = "model" if kind is nn.Module else kind.__name__
        given = f"model: a {type(model).__name__}"
        raise InputError(f"{given}; give the {wanted} itself, as from_pretrained returns it.")
    if model.training:
        raise InputError("the model is in training mode, where predictions depend on other faces; call model.eval().")
    dtypes = {it.dtype for it in model.parameters()} - {torch.float32}
    if dtypes:
        raise InputError(f"the model's weights are {dtypes.pop()}; call model.float(): an option sets the precision.")


def digest_weights(model: nn.Module) -> str:
    """A text that differs for models with other weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def work_together(work: Callable[[], Given], processes: int) -> list[Given]:
    """Run ``work`` in each process, wait for all, and return the results of all.

    If it fails in one, none waits for ever: that process raises its own error, the others ``InputError`` with the
    number of the process and the reason.
    """
    given, failure, reason = None, None, None
    try:
        given = work()
    except Exception as error:
        failure = error
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {one_line(error)}"
    parts: list[tuple[Given | None, str | None]] = [(given, reason)] * processes
    if processes > 1:
        distributed.all_gather_object(parts, (given, reason))
    if failure is not None:
        raise failure
    for rank, (_, reason) in enumerate(parts):
        if reason is not None:
            raise InputError(f"process {rank} failed: {reason}")
    return [given for given, _ in parts]


@dataclass(frozen=True)
class Shards:
    """A long computation in parts: by one process or several, each part kept in a file until all is done.

    An interrupted computation resumes with the missing parts. Processes may be on several machines that share
    the folder. ``start`` keeps other commands out of it until ``finish``. Without a folder there is one process.
    """

    folder: Path | None = None  #: where parts are kept, in a folder for each computation; None keeps none
    device: torch.device = CPU  #: of this process
    rank: int = 0  #: the number of this process
    processes: int = 1
    _lock: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    @classmethod
    def start(cls, folder: Path | None, devices: int = 1, num_nodes: int = 1) -> Self:
        """Start a process for each device of each machine, as ``fit`` does; on one device nothing is started.

        Devices are GPUs, or processes on a CPU, of each of ``num_nodes`` machines: start the same command on each, with
        the variables of torchrun or under SLURM. Raises ``InputError`` if there are several processes and no folder,
        fewer devices than named, or another command is at work there.
        """
        if devices == num_nodes == 1:
            return cls(folder, best_device())._alone()
        if folder is None:
            raise InputError("several devices need a folder for their parts, which they share; name one.")
        from lightning.fabric import Fabric
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        try:
            fabric = Fabric(devices=devices, num_nodes=num_nodes, strategy="ddp", accelerator=best_device().type)
        except (MisconfigurationException, ValueError) as error:
            raise InputError(f"devices {devices}, num_nodes {num_nodes}: {one_line(error)}") from error
        fabric.launch()
        return cls(folder, fabric.device, fabric.global_rank, fabric.world_size)._alone()

    def _alone(self) -> Self:
        def claim() -> None:
            if self.first and self.folder is not None:
                self._lock.enter_context(working_alone(self.folder))

        self._together(claim)
        return self

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints and writes results."""
        return self.rank == 0

    def compute(
        self,
        name: str,
        about: object,
        count: int,
        compute: Callable[[range], dict[str, np.ndarray]],
        batch: int = 256,
        size: int = SHARD,
    ) -> dict[str, np.ndarray]:
        """Arrays with a row for each of ``count`` faces; every process gets all rows.

        ``name`` is that of the computation and of its folder; ``about`` is all that the result depends on, fit for
        JSON: parts of another computation are not used. ``compute`` gives the values of the rows of a batch; a file has
        ``size`` rows. Raises what ``compute`` raised here, and ``InputError`` if it failed in another process, or if
        the folder cannot be written to or holds parts of another computation.
        """
        parts = [range(start, min(start + size, count)) for start in range(0, count, size)]

        def compute_part(part: range) -> dict[str, np.ndarray]:
            return join_parts([compute(rows) for rows in walk_batches(part, batch, name)])

        if self.folder is None:
            return join_parts([*map(compute_part, parts)])
        folder = self.folder / name
        files = [folder / f"{number:05}.npz" for number in range(len(parts))]
        self._together(lambda: self._claim(folder, [about, count, size]) if self.first else None)
        own = list(zip(files, parts, strict=True))[self.rank :: self.processes]

        def work() -> None:
            for file, part in tqdm(own, desc=name, unit="part", leave=False, disable=None if self.first else True):
                if not file.exists():
                    with replacing(file) as partial:
                        np.savez(partial, **compute_part(part))

        self._together(work)
        return join_parts([_read_part(file) for file in files])

    def finish(self) -> None:
        """Delete the parts, when the results are written; other files in the folder stay."""
        self._together(lambda: self._delete_parts() if self.first and self.folder is not None else None)
        self._lock.close()

    def _delete_parts(self) -> None:
        for about in list(self.folder.glob(f"*/{ABOUT}")):
            for file in (*about.parent.glob("[0-9]*.npz"), about):
                file.unlink()
        for folder in (*self.folder.glob("*/"), self.folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _claim(self, folder: Path, about: object) -> None:
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        place = folder / ABOUT
        if not place.exists() or not any(folder.glob("[0-9]*.npz")):
            with replacing(place) as partial:
                partial.write_text(json.dumps(digest), encoding="utf-8")
        elif place.read_text(encoding="utf-8") != json.dumps(digest):
            raise InputError(f"{folder}: holds parts of a computation on other faces or of another model; delete it.")

    def _together(self, work: Callable[[], None]) -> None:
        try:
            work_together(work, self.processes)
        except BaseException:  # also when interrupted
            self._lock.close()
            raise


def _read_part(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as table:
            return {name: table[name] for name in table.files}
    except Exception as error:  # damaged bytes make numpy fail in any way
        raise InputError(f"{file}: a damaged part of a computation; delete it.") from error


def walk_batches(rows: range, batch: int, what: str) -> Iterator[range]:
    """The rows of each batch, with a bar on a terminal, and in a log with a line each minute."""
    line = "{desc}: {n_fmt} of {total_fmt} batches after {elapsed}, {remaining} left\n"
    # ``miniters``: tqdm's own choice of it has its monitor print lines between.
    log = {} if sys.stderr.isatty() else {"delay": 60, "mininterval": 60, "miniters": 1, "bar_format": line}
    for start in tqdm(rows[::batch], what, unit="batch", leave=False, **log):
        yield range(start, min(start + batch, rows.stop))


def join_parts(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays by name from those of their parts, which follow one another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
