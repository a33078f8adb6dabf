"""Iterated removal of nonlinear dependence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.debias.learned import Draw, Learned
from swinface.files import InputError

REDUCTION = ("reduction_directions", "reduction_phases", "reduction_mean", "reduction_kept")


class Obliviator(Learned):
    """Iterated removal of nonlinear dependence (Obliviator; Akbari, Afshari & Boddeti, NeurIPS 2025).

    In each round, from z (the embedding x at first), an encoder w = SiLU(A z + a), of unit length, minimises the
    dependence of w on the class and keeps that on z and on x,

        c(w, class) - t_z c(w, z) - t_x c(w, x) - t_y c(w, target),

    where c is the root mean square of the cross-covariance of random Fourier features of the two, of classes and
    targets as one-hot vectors (its square is HSIC but for a factor). Then, among the directions of the features of w
    that have no covariance with the class, those are kept that covary most with the features of z, of x and with the
    target: here the D first ones. Their values, of unit length, are the z of the next round. It acts on embeddings of
    which only cosines are computed.

    The authors' code goes through up to 15 rounds of 5 epochs, with 512 numbers of w and 1,000 to 8,000 random
    features: ``rounds=15, steps=5 * N // 1024, hidden=512, basis=4000, kernel_pca=True`` for N faces.

    Parameters
    ----------
    rounds
        How often.
    steps
        Steps of NAdam, on 1,024 faces each, in each round.
    hidden
        Numbers of w.
    basis
        Random features.
    rate
        Learning rate.
    keep_target
        t_y, and how much covariance with the target counts when directions are chosen. At 0 the target is ignored.
    kernel_pca
        Reduce x first: of its own random features, without the directions that have covariance with the class, to the D
        principal components, of unit length.
    """

    keeps_axes = False
    BATCH, FITTED = 1024, 4096  # faces of a step, and those on which directions are chosen
    KEEP_Z, KEEP_X = 0.05, 0.01  # t_z, t_x
    AXES_Z, AXES_X = 1.0, 0.2  # how much covariance with z and x counts when directions are chosen

    def __init__(
        self,
        rounds: PositiveInt = 1,
        steps: PositiveInt = 40,
        hidden: PositiveInt = 256,
        basis: PositiveInt = 768,
        rate: PositiveFloat = 5e-4,
        keep_target: NonNegativeFloat = 0.0,
        kernel_pca: bool = False,
    ) -> None:
        self.rounds, self.steps, self.hidden, self.basis, self.rate = rounds, steps, hidden, basis, rate
        self.keep_target, self.kernel_pca = keep_target, kernel_pca

    @staticmethod
    def move(
        x: Tensor,
        encoder: Tensor,
        encoder_bias: Tensor,
        directions: Tensor,
        phases: Tensor,
        means: Tensor,
        kept: Tensor,
        **reduction: Tensor,
    ) -> Tensor:
        """Each round's encoder (H, D) and (H,), its random features (H, B) and (B,), and what is kept of them.

        Of a reduction, which comes first, the same without an encoder.
        """
        if reduction:
            x = _project(x, *(reduction[name] for name in REDUCTION))
        for step in zip(encoder, encoder_bias, directions, phases, means, kept, strict=True):
            x = _step(x, *step)
        return x

    def _learn(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor, target: Tensor) -> dict[str, Tensor]:
        size, classes = x.shape[1], len(codes.unique())
        if size > self.basis - classes + 1:
            raise InputError(f"Obliviator has {self.basis} random features, too few for embeddings of {size} numbers.")
        if self.keep_target and not (target >= 0).any():
            raise InputError("Obliviator keeps a target (keep_target); pass target to fit.")
        rounds: list[tuple[Tensor, ...]] = []
        wanted = F.one_hot(target + 1)[:, 1:].float()  # (N, T), of unknown ones 0; T is 0 without a target
        reduction = self._reduce(draw, classes) if self.kernel_pca else []

        def take(count: int) -> tuple[Tensor, Tensor, Tensor]:
            faces, own, rows = draw(count)
            return _project(faces, *reduction) if reduction else faces, own, rows

        def go(faces: Tensor) -> Tensor:
            for step in rounds:
                faces = _step(faces, *step)
            return faces

        faces, *_ = take(self.FITTED)
        basis_x = self._draw_basis(faces)
        for _ in range(self.rounds):
            basis_z = self._draw_basis(go(faces))
            encoder = nn.Linear(size, self.hidden)
            optimiser = torch.optim.NAdam(encoder.parameters(), self.rate)
            scale = math.sqrt(size)  # numbers of a unit vector are small
            for _ in range(self.steps):
                drawn, own, rows = take(self.BATCH)
                z = go(drawn)
                w = F.normalize(F.silu(encoder(z * scale)), dim=1)
                features = _fourier(w, *self._draw_basis(w.detach()))
                loss = _covary(features, F.one_hot(own, classes).float())
                loss = loss - self.KEEP_Z * _covary(features, _fourier(z, *basis_z))
                loss = loss - self.KEEP_X * _covary(features, _fourier(drawn, *basis_x))
                if self.keep_target:
                    loss = loss - self.keep_target * _covary(features, wanted[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            encoding = (encoder.weight.detach() * scale, encoder.bias.detach())
            drawn, own, rows = take(self.FITTED)
            z = go(drawn)
            basis_w = self._draw_basis(_encode(z, *encoding))
            features = _fourier(_encode(z, *encoding), *basis_w)
            sides = [(self.AXES_Z, _fourier(z, *basis_z)), (self.AXES_X, _fourier(drawn, *basis_x))]
            if self.keep_target:
                sides.append((self.keep_target, wanted[rows]))
            kept = _choose_directions(features, F.one_hot(own, classes).float(), sides, size)
            rounds.append((*encoding, *basis_w, features.mean(dim=0), kept))
        names = ("encoder", "encoder_bias", "directions", "phases", "means", "kept")
        learned = {name: torch.stack(part) for name, part in zip(names, zip(*rounds, strict=True), strict=True)}
        return learned | dict(zip(REDUCTION, reduction, strict=False))

    def _reduce(self, draw: Draw, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Kernel PCA: random features, their means and the directions that are kept."""
        x, own, _ = draw(self.FITTED)
        basis = self._draw_basis(x)
        features = _fourier(x, *basis)
        free = _find_free(features, F.one_hot(own, classes).float())
        strength = (features - features.mean(dim=0)) @ free
        return *basis, features.mean(dim=0), free @ torch.linalg.eigh(strength.T @ strength)[1][:, -x.shape[1] :]

    def _draw_basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of random Fourier features (Rahimi & Recht, NeurIPS 2007) for a Gaussian as wide as the median distance."""
        distance = torch.pdist(x[torch.linspace(0, len(x) - 1, 256).long()]).median().clamp(min=1e-6)
        return torch.randn(x.shape[1], self.basis) / distance, 2 * math.pi * torch.rand(self.basis)


def _choose_directions(features: Tensor, classes: Tensor, sides: Sequence[tuple[float, Tensor]], size: int) -> Tensor:
    """(B, D) directions without covariance with the (N, K) classes that covary most with the weighted (N, d) sides."""
    free = _find_free(features, classes)
    centred = features - features.mean(dim=0)
    total = torch.zeros(free.shape[1], free.shape[1])
    for share, side in sides:
        covariance = (side - side.mean(dim=0)).T @ centred @ free
        covariance = covariance.T @ covariance
        total += share * covariance / torch.linalg.matrix_norm(covariance, 2)
    return free @ torch.linalg.eigh(total)[1][:, -size:]


def _find_free(features: Tensor, classes: Tensor) -> Tensor:
    """Of (N, B) features the (B, F) orthonormal directions that have no covariance with the (N, K) classes."""
    left, strength, _ = torch.linalg.svd((features - features.mean(dim=0)).T @ classes, full_matrices=True)
    return left[:, int((strength > 1e-5 * strength[0]).sum()) :]


def _step(z: Tensor, encoder: Tensor, bias: Tensor, *features: Tensor) -> Tensor:
    return _project(_encode(z, encoder, bias), *features)


def _project(x: Tensor, directions: Tensor, phases: Tensor, mean: Tensor, kept: Tensor) -> Tensor:
    """What is kept of the random features of x, of unit length."""
    return F.normalize((_fourier(x, directions, phases) - mean) @ kept, dim=1)


def _encode(z: Tensor, encoder: Tensor, bias: Tensor) -> Tensor:
    """w, (B, H)."""
    return F.normalize(F.silu(z @ encoder.T + bias), dim=1)


def _fourier(x: Tensor, directions: Tensor, phases: Tensor) -> Tensor:
    return math.sqrt(2 / len(phases)) * torch.cos(x @ directions + phases)


def _covary(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square of the cross-covariance of (n, d) and (n, k)."""
    return ((a - a.mean(dim=0)).T @ (b - b.mean(dim=0)) / len(a)).square().mean().sqrt()
