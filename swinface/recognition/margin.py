"""Margin softmax over millions of identities: the classes are divided among the processes of a plain DDP run, and a
step may use a sample of them.

CosFace: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018. ArcFace: Deng et al.,
"ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019. Shared and sampled classes: An et al.,
"Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial FC", CVPR 2022.

A module that trains a ``MarginSoftmax`` makes it after the process group (in the engine's ``setup``), excludes it from
DDP (``ignored_by_ddp``), and saves and loads it with ``gather_shares`` and ``take_shares``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from swinface.files import InputError

START_DEVIATION = 0.01  # of the numbers of a centre at the start, as in Partial FC

# Classes whose centres are drawn from one seed: the start is the same for any number of processes.
START_BLOCK = 1024
PLACES = "shared_parameters"  # in a checkpoint: where the optimisers keep the moments of the centres


def _all_reduce(value: Tensor, operation: Any) -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(value, operation)


class _Gather(torch.autograd.Function):
    """The rows of all processes, in the order of ranks, on every process.

    Backwards, the gradients of all processes for a row are summed. DDP later divides gradients by the number of
    processes, so the sum is multiplied by it here.
    """

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        start = distributed.get_rank() * ctx.count
        return gradient[start : start + ctx.count] * distributed.get_world_size()


class _CrossEntropy(torch.autograd.Function):
    """Mean cross entropy of N rows over classes of which each process holds K_r: only 3N numbers are exchanged."""

    # cosine (N, K_r), with the classes of this process; true (N,), the cosine with the true class minus its margin. It
    # replaces that in `column` (N,) where `here` (N,): the class is on this process. known (N,): there is a true class.
    @staticmethod
    def forward(ctx, cosine: Tensor, true: Tensor, column: Tensor, here: Tensor, known: Tensor, scale: float) -> Tensor:
        column = column[:, None]
        logits = cosine.scatter(1, column, torch.where(here, true, cosine.gather(1, column)[:, 0])[:, None]) * scale
        top = logits.amax(dim=1)
        _all_reduce(top, distributed.ReduceOp.MAX)
        logits -= top[:, None]
        own = torch.where(here, logits.gather(1, column)[:, 0], 0.0)
        probability = logits.exp_()
        sums = torch.stack([probability.sum(dim=1), own])
        _all_reduce(sums, distributed.ReduceOp.SUM)
        total, own = sums
        probability /= total[:, None]
        share = known / known.sum().clamp(min=1)
        ctx.save_for_backward(probability, column, here, share)
        ctx.scale = scale
        return ((total.log() - own) * share).sum()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        probability, column, here, share = ctx.saved_tensors
        factor = upstream * ctx.scale * share
        cosine = probability * factor[:, None]
        there = cosine.gather(1, column)[:, 0]
        cosine.scatter_(1, column, torch.where(here, 0.0, there)[:, None])
        return cosine, torch.where(here, there - factor, 0.0), None, None, None, None


class MarginSoftmax(nn.Module):
    """Identity classification by cosine with a learned centre per class; a margin makes the true class harder to reach.

    Every process of the default group has a contiguous share of the classes as ``centres``; without a group, the only
    process has all. Each compares the whole group's faces with its share. This needs 4 (B W) K bytes for B faces on
    each of W processes and K classes of a share (for a moment twice that), and 12 bytes for each number of the share
    (the centres and AdamW's moments). Raises ``InputError`` if the rate is outside (0, 1], the kind is unknown, or
    there are fewer classes than processes.

    Parameters
    ----------
    size
        Length D of the embedding.
    classes
        Number of identities, over all processes.
    margin
        m, subtracted from the cosine (CosFace) or added to the angle in radians (ArcFace).
    scale
        s, which multiplies cosines to make them logits.
    kind
        ``cosface``: s (cos θ - m), equation 4 of its paper. ``arcface``: s cos(θ + m), equation 3 of its paper;
        beyond θ = π - m, where that would rise again, s (cos θ - m sin m), as in its authors' code.
    rate
        Share of its classes that each process uses at each step, always with the classes of the batch. At 1 it uses
        all. Below 1 the gradient of ``centres`` is sparse: it needs
        :class:`swinface.recognition.optimiser.SampledAdamW`.
    seed
        Seed of the first centres, which are the same for any number of processes, and of the samples.
    half
        Whether cosines are computed in the half precision of autocast, as in the authors' code. The rest of the loss is
        always in single precision.

    Attributes
    ----------
    centres : nn.Parameter
        (K, D), of any length, of the classes from ``start`` on.
    """

    def __init__(
        self,
        size: int,
        classes: int,
        margin: float = 0.4,
        scale: float = 64.0,
        kind: Literal["cosface", "arcface"] = "cosface",
        rate: float = 1.0,
        seed: int = 0,
        half: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < rate <= 1:
            raise InputError(f"rate {rate}: the share of classes that a step draws is above 0 and at most 1.")
        if kind not in ("cosface", "arcface"):
            raise InputError(f"kind {kind}: a margin softmax is cosface or arcface.")
        self.grouped = distributed.is_available() and distributed.is_initialized()
        self.rank, self.processes = (distributed.get_rank(), distributed.get_world_size()) if self.grouped else (0, 1)
        if classes < self.processes:
            raise InputError(f"{classes} classes cannot be divided among {self.processes} processes; use fewer.")
        self.size, self.classes, self.margin, self.scale = size, classes, margin, scale
        self.kind, self.rate, self.seed, self.half = kind, rate, seed, half
        self.start, self.stop = self.share(self.rank)
        self.centres = nn.Parameter(self._first_centres())

    def share(self, rank: int) -> tuple[int, int]:
        """The first class of a process and the one after its last."""
        return self.classes * rank // self.processes, self.classes * (rank + 1) // self.processes

    def _first_centres(self) -> Tensor:
        """(K, D) normal numbers."""
        centres = torch.empty(self.stop - self.start, self.size)
        for block in range(self.start // START_BLOCK * START_BLOCK, self.stop, START_BLOCK):
            drawn = torch.randn(START_BLOCK, self.size, generator=_generator(self.seed, block)) * START_DEVIATION
            first, end = max(block, self.start), min(block + START_BLOCK, self.stop)
            centres[first - self.start : end - self.start] = drawn[first - block : end - block]
        return centres

    def forward(self, embedding: Tensor, label: Tensor, step: int) -> Tensor:
        """The mean loss over the faces of all processes that have an identity, 0 without any, in single precision for
        any model.

        Embeddings, (B, D), are of any length; labels, (B,) int64, are below 0 where a face has no identity. The sample
        depends on ``step``, the number of the batch. Every process must call it at every step, with the same B. After
        DDP's averaging, the gradient is that of one process with all the faces. Raises ``RuntimeError`` if a label is
        not below ``classes``; on a GPU it is raised later, so that the CPU need not wait.
        """
        torch._assert_async((label < self.classes).all(), f"a label is not below the {self.classes} classes.")
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = F.normalize(embedding.float())
            if self.grouped:
                embedding, label = _Gather.apply(embedding), _Gather.apply(label)
            here = (label >= self.start) & (label < self.stop)
            column = torch.where(here, label - self.start, 0)
            centres = self.centres
            if self.rate < 1:
                drawn = self.draw(column, here, step)
                column = torch.searchsorted(drawn, column)
                centres = F.embedding(drawn, centres, sparse=True)
            with torch.autocast(embedding.device.type, enabled=self.half):
                cosine = F.linear(embedding, F.normalize(centres.float())).float()
            true = self._handicap(cosine.gather(1, column[:, None])[:, 0])
            return _CrossEntropy.apply(cosine, true, column, here, label >= 0, self.scale)

    def draw(self, column: Tensor, here: Tensor, step: int) -> Tensor:
        """The classes of the share that a step uses: those of the batch, and others at random up to ``rate``.

        They are int64, ascending and each once, counted within the share. Their number does not depend on the labels:
        it is more than ``rate`` of the share only if the batch has more faces than that. The same seed, step and rank
        draw the same on the same kind of device. ``column``, (N,) int64, are the classes of the batch, counted within
        the share, and ``here``, (N,) bool, says which of them belong to it.
        """
        count, device = self.stop - self.start, column.device
        generator = _generator(self.seed, step, self.rank, device=device)
        order = torch.rand(count, dtype=torch.float64, device=device, generator=generator)
        first = torch.where(here, -1.0, 2.0).to(order.dtype)  # before and behind all others
        order.scatter_reduce_(0, column, first, "amin")
        drawn = min(count, max(1, round(self.rate * count), len(column)))
        return order.topk(drawn, largest=False).indices.sort().values

    def _handicap(self, cosine: Tensor) -> Tensor:
        """The cosine with the true class, minus its margin; any shape."""
        if self.kind == "cosface":
            return cosine - self.margin
        sine = (1.0 - cosine**2).clamp(min=1e-12).sqrt()
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        rising = cosine < -math.cos(self.margin)  # θ > π - m
        return torch.where(rising, cosine - self.margin * math.sin(self.margin), turned)

    def gather(self, own: Tensor) -> Tensor:
        """All shares of ``own``, (K, D) on each process, as (classes, D) on the first one's CPU.

        The others, which must call it too, get their own back. One share at a time is sent.
        """
        if not self.grouped:
            return own.detach().cpu()
        parts = []
        for rank in range(self.processes):
            start, stop = self.share(rank)
            part = own.detach().contiguous() if rank == self.rank else own.new_empty(stop - start, self.size)
            distributed.broadcast(part, src=rank)
            if self.rank == 0:
                parts.append(part.cpu())
        return torch.cat(parts) if parts else own

    def take(self, everything: Tensor) -> Tensor:
        """This process's share of (classes, D), as (K, D)."""
        if everything.shape != (self.classes, self.size):
            raise InputError(
                f"the checkpoint holds {everything.shape[0]} identities of {everything.shape[1]} numbers, the training "
                f"data give {self.classes} of {self.size}; resume with the data and the model it was trained with."
            )
        return everything[self.start : self.stop].clone()


def _generator(*entropy: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


def _softmaxes(module: nn.Module) -> Iterator[tuple[str, MarginSoftmax]]:
    """Every MarginSoftmax within ``module``, with the name that its centres have in its state dict."""
    for name, child in module.named_modules():
        if isinstance(child, MarginSoftmax):
            yield f"{name}.centres".lstrip("."), child


def ignored_by_ddp(module: nn.Module) -> list[str]:
    """Names of the parameters that differ between processes: DDP must neither average nor overwrite them.

    DDP reads them from the attribute ``_ddp_params_and_buffers_to_ignore`` of the module that it wraps, here the
    LightningModule.
    """
    return [name for name, _ in _softmaxes(module)]


def gather_shares(module: nn.Module, checkpoint: dict[str, Any], optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Put all processes' centres, and the optimisers' moments of them, into a checkpoint, which the first process
    writes.

    The LightningModule's ``on_save_checkpoint`` calls this on every process, with the trainer's optimisers. It changes
    ``state_dict`` and, unless the checkpoint holds weights only, ``optimizer_states``.
    """
    checkpoint[PLACES] = {}
    for name, softmax in _softmaxes(module):
        checkpoint["state_dict"][name] = softmax.gather(softmax.centres)
        places = checkpoint[PLACES][name] = []
        for number, saved in enumerate(checkpoint.get("optimizer_states", [])):
            parameters = [parameter for group in optimizers[number].param_groups for parameter in group["params"]]
            for place, parameter in enumerate(parameters):
                if parameter is softmax.centres and place in saved["state"]:
                    places.append([number, place])
                    saved["state"][place] = _each_moment(saved["state"][place], softmax.gather)


def take_shares(module: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Reduce a checkpoint of ``gather_shares`` to this process's share, for any number of processes that wrote it.

    The LightningModule's ``on_load_checkpoint`` calls this. Raises ``InputError`` if it was trained on another number
    of identities.
    """
    for name, softmax in _softmaxes(module):
        checkpoint["state_dict"][name] = softmax.take(checkpoint["state_dict"][name])
        for number, place in checkpoint[PLACES][name]:
            state = checkpoint["optimizer_states"][number]["state"]
            state[place] = _each_moment(state[place], softmax.take)


def _each_moment(state: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """``change`` every matrix of an optimiser's state of one parameter; the rest is its number of steps."""
    return {name: change(value) if value.ndim == 2 else value for name, value in state.items()}
