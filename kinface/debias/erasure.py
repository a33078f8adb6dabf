"""Erasure as part of the model: a fitted eraser that acts on the features or on the embedding.

Erasers (``kinface.debias.erasers``) are fitted on training people only. They are part of the model from then on, so
everything that scores, embeds or exports the model erases too. An eraser of the embedding acts on unit length, and its
result is brought to unit length again. This restores a little of what was removed; ``kinface probe`` measures how much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.data.arrays import as_array
from kinface.debias.erasers import erasers, fit_eraser, says
from swinface.files import InputError, running

Site = Literal["embedding", "features"]
COMPARED = 64  # embeddings that an eraser and its state move
ROUNDING = 0.01  # share of a moved embedding's length


@dataclass
class Erase:
    """Options of one step of erasure: attributes that an eraser removes.

    Parameters
    ----------
    attributes
        Names in ``model.attributes``. ``leace``, ``splince``, ``inlp`` and ``components`` take several at once, the
        others one.
    method
        A name of ``kinface.debias.erasers.erasers``, or a custom ``package.module.Class``: in closed form ``leace``,
        ``splince``, which keeps the directions that tell families apart best, ``inlp``, ``transport`` and
        ``components``, which keeps the strongest directions whatever they tell; learned ``leopard``, ``igbp``,
        ``kram``, ``mute`` and ``obliviator``. ``components`` and the last three act on embeddings that only cosines
        are computed from.
    options
        Options of the method.
    inside
        Whether it is applied in training too, so that adversaries see what it leaves. The eraser is then the one from
        the end of the previous epoch. It is always fitted on training families only.
    at
        What it acts on: the ``embedding``, or the ``features`` of the neck, from which the embedding is computed.
    """

    attributes: list[str]
    method: str = "leace"
    options: dict[str, Any] = field(default_factory=dict)
    inside: bool = False
    at: Site = "embedding"

    def make(self) -> Any:
        """The eraser, not yet fitted.

        Raises ``InputError`` if there is no such eraser, it does not take these options, or it cannot be a step of a
        model.
        """
        eraser = erasers.create(self.method, **self.options)
        if says(eraser, "oracle") or not hasattr(eraser, "state"):
            raise InputError(f"no model can keep {self.method}, which has no state(); use it on embeddings only.")
        if not self.attributes or (len(self.attributes) > 1 and not says(eraser, "several")):
            number = len(self.attributes)
            raise InputError(f"{self.method} takes one attribute, not {number}; give each a step of its own.")
        if self.at == "features" and not says(eraser, "keeps_axes"):
            raise InputError(
                f"{self.method} changes the meaning of dimensions, so later layers cannot use the features; "
                "erase the embedding by it, or the features by another method."
            )
        return eraser


class Erasure(nn.Module):
    """A step of erasure inside a model, the identity until it is fitted. Training does not update it.

    It keeps the ``state()`` of a fitted eraser: arrays by name. They are

    - ``maps`` (K, D, D) and ``shifts`` (K, D), x -> A_k x + b_k, where k is the largest entry of G x + g with the
      ``gate`` G (K, D) and the ``gate_bias`` g (K,), which are left out where K is 1; or
    - any others, which the class of the eraser moves embeddings by: its static method ``move(x, **state)`` takes
      (B, D) and the arrays as tensors, and returns (B, D).

    Parameters
    ----------
    size
        D, numbers per embedding.
    attributes
        Name to the classes of each attribute that is erased.
    method, options, inside, at
        As of :class:`Erase`.
    """

    def __init__(
        self,
        size: int,
        attributes: Mapping[str, Sequence[str]],
        method: str = "leace",
        options: Mapping[str, Any] | None = None,
        inside: bool = False,
        at: Site = "embedding",
    ) -> None:
        super().__init__()
        if at not in get_args(Site):
            raise InputError(f"an erasure is at {' or '.join(get_args(Site))}, not {at!r}.")
        self.size, self.classes = size, {name: [*classes] for name, classes in attributes.items()}
        self.step = Erase([*self.classes], method, dict(options or {}), inside, at)
        self.register_buffer("maps", torch.eye(size)[None])
        self.register_buffer("shifts", torch.zeros(1, size))
        self._by: Callable[..., Tensor] = _move_affinely

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        if self.training and not self.step.inside:
            return x
        if torch.is_autocast_enabled(x.device.type):  # in half precision it erases less
            with torch.autocast(x.device.type, enabled=False):
                return self._by(x.float(), **self._buffers)
        return self._by(x, **self._buffers)

    def fit(
        self,
        x: Tensor,
        labels: Mapping[str, Tensor],
        weight: Tensor,
        families: Tensor,
        others: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Fit on N faces of training people, and on M others whose attributes are known.

        ``x`` is (N + M, D), in the form that it will be applied to. ``labels`` and ``others`` are from attribute to
        (N,) and (M,) class indices, below 0 where unknown; others may lack some. ``weight`` is (N + M,), how much a
        face counts; one of weight 0, such as of a person without relatives, is ignored. ``families`` are (N + M,)
        numbers, below 0 where a face has none.

        An eraser of several attributes takes the classes of others for an attribute of its own, because faces of
        another set may differ by race in other ways; an eraser of one attribute takes them for the same. Raises
        ``InputError`` if an attribute has fewer than two classes, or the eraser fails.
        """
        eraser = self.step.make()
        columns = []
        for name, classes in self.classes.items():
            nobody = torch.full((len(x) - len(labels[name]),), -1)
            own, more = torch.cat([labels[name], nobody]), (others or {}).get(name)
            if more is not None:
                theirs = torch.cat([torch.full_like(labels[name], -1), more])
                own = [own, theirs] if says(eraser, "several") else torch.where(own < 0, theirs, own)
            for codes in own if isinstance(own, list) else [own]:
                if len(codes[(codes >= 0) & (weight > 0)].unique()) < 2:
                    raise InputError(
                        f"model.erase: {name}: fewer than two of its classes occur among the training people."
                    )
                columns.append(np.array([*classes, None], object)[codes.numpy()])
        y = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
        counts = weight.cpu().double().numpy()
        given = {"sample_weight": counts, "target": families.numpy(), "groups": families.numpy()}
        fit_eraser(eraser, x.cpu().double().numpy(), y, self.step.method, **given)
        with running(f"eraser {self.step.method!r}, its state()"):
            state = dict(eraser.state())
        self.take(state)
        self._compare(eraser, x[:COMPARED])

    def _compare(self, eraser: Any, x: Tensor) -> None:
        """Refuse an eraser whose ``state()`` moves most of some embeddings otherwise than its ``transform`` does, as
        where a map is transposed; rounding may send a few to another map of several."""
        with running(f"eraser {self.step.method!r}"), torch.no_grad():
            expected = as_array(eraser.transform(x.cpu().double().numpy()))
            moved = self._by(x.float(), **self._buffers).cpu().numpy()
            apart = np.linalg.norm(moved - expected, axis=1) > ROUNDING * np.linalg.norm(expected, axis=1)
        if not apart.mean() < 0.5:
            raise InputError(
                f"eraser {self.step.method!r}: its state() moves embeddings otherwise than its transform; maps are A "
                "of x -> A x + b."
            )

    def take(self, state: Mapping[str, np.ndarray | Tensor]) -> None:
        """Erase by this state of a fitted eraser from now on.

        Raises ``InputError`` if it is no state of this eraser for embeddings of this size.
        """
        named = f"eraser {self.step.method!r}"
        by = _move_affinely if "maps" in state else getattr(erasers.find(self.step.method), "move", None)
        if by is None:
            raise InputError(f"{named}: its state() has no maps, so its class needs move(x, **state).")
        device = next(self.buffers()).device
        with torch.inference_mode(False), torch.no_grad():
            tensors = {name: torch.as_tensor(array, device=device).clone() for name, array in state.items()}
            tensors = {name: it.float() if it.is_floating_point() else it for name, it in tensors.items()}
            tried = torch.zeros(2, self.size, device=device)
            with running(f"{named}, with its state"):
                moved = by(tried, **tensors)
        if moved.shape != tried.shape or not moved.isfinite().all():
            made = f"it makes {tuple(moved.shape[1:])} of {self.size} numbers"
            raise InputError(f"{named}: {made}; a model needs as many, and finite ones.")
        for name in [*self._buffers]:
            delattr(self, name)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self._by = by

    def make_room(self, tensors: Mapping[str, Tensor]) -> None:
        """Take tensors of a file, whose shapes no option tells; what does not fit is refused when they are loaded."""
        with suppress(InputError):
            self.take(tensors)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        self.make_room({name.removeprefix(prefix): it for name, it in state_dict.items() if name.startswith(prefix)})
        super()._load_from_state_dict(state_dict, prefix, *others)


def _move_affinely(
    x: Tensor, maps: Tensor, shifts: Tensor, gate: Tensor | None = None, gate_bias: Tensor | None = None
) -> Tensor:
    moved = torch.stack([x @ each.T + shift for each, shift in zip(maps, shifts, strict=True)], dim=1)
    if len(maps) == 1:
        return moved[:, 0]
    chosen = F.one_hot((x @ gate.T + gate_bias).argmax(dim=1), len(maps)).to(x)
    return (moved * chosen[:, :, None]).sum(dim=1)
