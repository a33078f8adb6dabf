"""Models as folders: ``config.json`` with the constructor's arguments, ``model.safetensors`` with the weights.

The hub's mixin writes them. Our own ``from_pretrained`` reads them and never guesses: a missing folder is looked up on
the network only if its name can be nothing but a name on the hub, and weights that do not fit the model exactly are
refused. Each package comes with weights of its own, which are called ``shipped``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from swinface.choices import SHIPPED
from swinface.files import InputError, name_reason, one_line, replacing_folder

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LEARNED = (".weight", ".relative_position_bias_table")  # endings of the names of layers' matrices and kernels

# The README of a folder that `save_pretrained` wrote.
CARD = """---
{{ card_data }}
---

`config.json` has the arguments of the model's class, `model.safetensors` its weights. What a run was trained on is in
its `config.yaml`, how its epochs went in `metrics.csv`.

The model is for research. It makes more errors for some groups than for others: audit it before you use it.
"""


class Pretrained(PyTorchModelHubMixin, model_card_template=CARD):
    """Mixin of a ``torch.nn.Module`` whose constructor's arguments fit into JSON."""

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike, **hub_options: Any) -> Self:
        """Read a model that ``save_pretrained`` or ``swinface convert`` wrote, in evaluation mode.

        Parameters
        ----------
        source
            A folder with ``config.json`` and ``model.safetensors``; ``SHIPPED`` for the weights that come with the
            package, or ``shipped-NAME`` for others of its weights; or, as a str, the name of a model on the Hugging
            Face hub (``"owner/name"``). A ``Path``, or a str whose parent folder exists, is never sought there.
        hub_options
            Passed to ``huggingface_hub.snapshot_download``: ``revision``, ``token``, ``cache_dir``, ...

        Raises
        ------
        InputError
            There is no such model, a file is missing or unreadable, or the weights are not exactly this model's.
        """
        folder = _find_folder(cls, source, **hub_options)
        config, weights = folder / CONFIG, folder / WEIGHTS
        try:
            model = cls(**json.loads(config.read_text(encoding="utf-8")))
        except OSError as error:
            raise InputError(
                f"{folder}: not the folder of a {cls.__name__} ({CONFIG}: {name_reason(error)})."
            ) from error
        except Exception as error:  # a constructor may fail in any way on arguments that it does not expect
            raise InputError(f"{config}: not the configuration of a {cls.__name__} ({one_line(error)}).") from error
        tensors = read_weights(weights)
        model.make_room(tensors)
        check_entries(tensors, model.state_dict(), weights)
        model.load_state_dict(tensors)
        return model.eval()

    def make_room(self, tensors: Mapping[str, Tensor]) -> None:
        """Called before weights are checked and loaded, for a model whose arguments do not tell the shapes of all."""


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pack(model: Path, out: Path) -> dict[str, Tensor]:
    """Halve the size of a trained model: the weights of its layers are stored in bfloat16. It loads like any other.

    Everything else is unchanged. For example, the rounded map of an eraser would leave a little of what it removes.
    Rounding the layers changes the distance of two classes by a few thousandths. ``model`` is the folder of a SwinFace
    or of a kinship model, such as a run, and ``out`` another folder to write to. Gives the packed weights by name.
    Raises ``InputError`` if ``model`` holds no model, or ``out`` is the same folder.
    """
    tensors = read_weights(model / WEIGHTS)
    if out.resolve() == model.resolve():
        raise InputError(f"{out}: holds the model itself, whose full weights would be lost; name another folder.")
    # Vectors and numbers (batch norms, biases, a threshold) are few, and each matters more than a weight.
    packed = {
        name: it.to(torch.bfloat16) if it.ndim > 1 and name.endswith(LEARNED) else it for name, it in tensors.items()
    }
    with replacing_folder(out) as partial:
        save_file(packed, partial / WEIGHTS)
        try:
            shutil.copyfile(model / CONFIG, partial / CONFIG)
        except OSError as error:
            raise InputError(f"{model}: not the folder of a model ({CONFIG}: {name_reason(error)}).") from error
    return packed


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights, .safetensors or of ``torch.save``: name to tensor, without the prefixes of wrappers.

    Raises ``InputError`` if the file is missing or damaged, or holds something else.
    """
    if path.suffix in (".pt", ".pth", ".bin"):
        weights = unpickle_weights(path)
        if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
            raise InputError(f"{path}: not a state_dict (tensors by name); save the network's state_dict alone.")
        return _unwrap(weights)
    try:
        return _unwrap(load_file(path))
    except (OSError, SafetensorError) as error:
        reason = name_reason(error)
        raise InputError(f"{path}: not readable as safetensors ({reason}); convert or copy it again.") from error


def _unwrap(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of the network itself, where it was saved within DataParallel or compiled."""
    for wrapper in ("module.", "_orig_mod."):
        if all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): tensor for name, tensor in weights.items()}
    return weights


def unpickle_weights(path: Path) -> Any:
    """What a file of ``torch.save`` holds, read by torch's weights-only loader, which runs no code from it.

    Raises ``InputError`` if the file cannot be read as weights, or holds more than weights.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a file of weights.") from None
    except Exception as error:  # damaged bytes make an unpickler fail in any way
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it would run {forbidden[1]}, which weights do not need" if forbidden else "damaged, or no torch file"
        raise InputError(f"{path}: not a file of weights ({reason}); copy or download it again.") from error


def _find_folder(cls: type, source: str | os.PathLike, **hub_options: Any) -> Path:
    """The folder that ``source`` names, downloaded first when it can only be a name on the hub."""
    path, name = Path(source), os.fspath(source)
    if path.is_dir():
        return path
    weights = Path(str(files(cls.__module__.partition(".")[0]) / "weights"))  # that come with the package of the class
    folders = [weights, *(folder for folder in sorted(weights.glob("*/")) if (folder / CONFIG).exists())]
    shipped = {"-".join([str(SHIPPED), *folder.relative_to(weights).parts]): folder for folder in folders}
    if name.partition("-")[0] == str(SHIPPED) and os.sep not in name and not path.exists():
        if not weights.is_dir():
            raise InputError("this copy of the package has no weights; name the folder of a model.")
        if name not in shipped:
            raise InputError(f"{name}: no released weights have this name; choose from {', '.join(shipped)}.")
        return shipped[name]
    if not isinstance(source, str) or path.parent.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        there = " or ".join(shipped)
        raise InputError(f"{source}: no such folder; name the folder of a model, or {there} for released weights.")
    try:
        return Path(snapshot_download(source, allow_patterns=[CONFIG, WEIGHTS], **hub_options))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{source}: neither a folder nor a model on the Hugging Face hub ({reason}).") from error


def check_entries(found: Mapping[str, Any], expected: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """Refuse weights found in the file ``source`` that do not fit a model exactly: none may be missing, surplus, of
    another shape, or without finite real numbers where the model's own have them.

    Raises ``InputError`` that names these entries, the first three of each kind.
    """
    problems = {
        "missing": [name for name in expected if name not in found],
        "surplus": [name for name in found if name not in expected],
        "of another shape": [
            f"{name} {_shape(found[name])} instead of {_shape(tensor)}"
            for name, tensor in expected.items()
            if name in found and _shape(found[name]) != _shape(tensor)
        ],
        "without finite real numbers": [
            name
            for name, tensor in expected.items()
            if isinstance(found.get(name), Tensor) and _is_real(tensor) and not _is_real(found[name])
        ],
    }
    listing = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in problems.items()
        if names
    ]
    if listing:
        raise InputError(f"{source}: not the weights of this model; entries {'; '.join(listing)}.")


def _is_real(entry: Tensor) -> bool:
    return entry.is_floating_point() and bool(entry.isfinite().all())


def _shape(entry: Any) -> list[int] | str:
    return list(entry.shape) if isinstance(entry, Tensor) else f"a {type(entry).__name__}"
