"""The authors' published checkpoint as a ``SwinFace``.

The published file is a pickle of training state, in which four dicts hold the weights: ``state_dict_backbone``
(trunk), ``state_dict_fam`` (MLCA), ``state_dict_tss`` (subnets) and ``state_dict_om`` (heads). torch's weights-only
loader reads it and runs no code from it.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from swinface.files import InputError
from swinface.model import SwinFace
from swinface.pretrained import check_entries, unpickle_weights
from swinface.tasks import PAPER_TASKS, SUBNETS

PARTS = ("state_dict_backbone", "state_dict_fam", "state_dict_tss", "state_dict_om")

# No output depends on these: buffers that the architecture itself determines, and the classifier that comes with
# every Swin Transformer (its 0.4 M parameters are counted in the paper's 67.8 M).
UNUSED = re.compile(r"state_dict_backbone\.(head\.(weight|bias)|.*\.(attn_mask|relative_position_index))")

# The start of an entry's name here -> in the published file, where subnets and heads have numbers in place of names.
RENAMES = {
    r"embedding": "state_dict_backbone.feature",
    r"trunk\.swin": "state_dict_backbone",
    r"subnets\.(\w+)\.attention\.convolutions": r"state_dict_fam.nets.\1.conv.convs",
    r"subnets\.(\w+)\.attention\.gate\.mlp\.0": r"state_dict_fam.nets.\1.channel_attention.mlp.1",
    r"subnets\.(\w+)\.attention\.gate\.mlp\.2": r"state_dict_fam.nets.\1.channel_attention.mlp.3",
    r"subnets\.(\w+)\.attention\.norm": r"state_dict_fam.nets.\1.norm",
    r"subnets\.(\w+)\.features": r"state_dict_tss.nets.\1.feature",
    r"heads\.(\w+)": r"state_dict_om.output_fcs.\1",
}


def official_name(name: str) -> str:
    """The name in the published file, ``part.entry``, of an entry of ``SwinFace().state_dict()``.

    >>> official_name("heads.age.bias"), official_name("trunk.swin.layers.1.downsample.norm.bias")
    ('state_dict_om.output_fcs.1.bias', 'state_dict_backbone.layers.0.downsample.norm.bias')
    """
    for ours, theirs in RENAMES.items():
        name = re.sub(f"^{ours}(?=\\.)", theirs, name)
    part, *entry = name.split(".")
    if part == "state_dict_backbone":  # timm merges patches at the start of a stage, the authors at the end of the last
        if "downsample" in entry:
            entry[1] = str(int(entry[1]) - 1)
    else:
        entry[1] = str((list(PAPER_TASKS) if part == "state_dict_om" else SUBNETS).index(entry[1]))
    return ".".join([part, *entry])


def load_published(path: Path) -> SwinFace:
    """The published model, in evaluation mode, from the authors' file, such as ``checkpoint_step_79999_gpu_0.pt``.

    Raises ``InputError`` if the file is missing, unreadable, holds more than weights, or is not the published model's.
    """
    found, model = read_checkpoint(path), SwinFace()
    state = model.state_dict()
    check_entries(found, {official_name(name): tensor for name, tensor in state.items()}, path)
    model.load_state_dict({name: found[official_name(name)] for name in state})
    return model.eval()


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a file in the published format, less the entries that no output depends on.

    They are named ``part.entry``, such as ``"state_dict_om.output_fcs.1.bias"``. Raises ``InputError`` if the file
    cannot be read as weights or lacks one of the four parts.
    """
    content = unpickle_weights(path)
    lacking = [part for part in PARTS if not isinstance(content, dict) or not isinstance(content.get(part), dict)]
    if lacking:
        raise InputError(f"{path}: not the published SwinFace checkpoint; it has no {', '.join(lacking)}.")
    entries = {f"{part}.{name}": tensor for part in PARTS for name, tensor in content[part].items()}
    return {name: tensor for name, tensor in entries.items() if not UNUSED.fullmatch(name)}
