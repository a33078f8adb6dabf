"""Erasure by maps that are learned, each of a paper: ``Leopard``, ``Igbp``, ``Kram``, ``Mute`` and ``Obliviator``.

They are what the closed forms (``kinface.debias.closed_form``, ``kinface.debias.transport``) are compared with. Each
is fitted on embeddings and the classes of one attribute, and can then transform other embeddings, for which no classes
are needed::

    erasure = Igbp(size=256, classes=2).fit(embedding, codes)
    erased = erasure(other)

All draw the classes equally often, whatever the paper does, because races are very unequal; ``weight`` says how much a
face counts within its class. What a paper leaves open, or fits to sets of another size, was chosen on nested folds of
FIW's training families (``kinface nest``). Fitting is on the CPU, from a seed of its own, and gives the same map each
time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.debias.closed_form import project_leace
from kinface.debias.maps import Draw, LearnedMap
from kinface.debias.transport import fit_gate
from swinface.files import InputError

SMALLEST = 1e-12  # below it a squared length is 0


class Leopard(LearnedMap):
    """Orthogonal projection that makes the densities of the classes alike (LEOPARD; Saillenfest & Lemberger, 2025).

    In the D - K + 1 directions that LEACE leaves, U (D - K + 1, r) minimises the mean over pairs of classes of the
    squared maximum mean discrepancy of U U^T x, for the sum of five Gaussian kernels around the mean squared distance,
    plus g / r^2 ``|U^T U - I|^2`` (arXiv 2507.12341, the cascaded form). The map is the orthogonal projection onto its
    span.
    """

    RANK = 0.9  # r, as a share of D
    PENALTY = 100.0  # g
    STEPS, BATCH, RATE = 400, 768, 1e-3

    def __init__(self, size: int, classes: int, inside: bool = False) -> None:
        super().__init__(size, classes, inside)
        self.register_buffer("projection", torch.eye(size))

    def _erase(self, embedding: Tensor) -> Tensor:
        return embedding @ self.projection

    def _fit(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor) -> None:
        centred = x.double().numpy()
        centred = centred - weight.numpy() @ centred
        leace = np.eye(self.size) - project_leace(centred, [codes.numpy()], weight.numpy())
        _, strength, rows = np.linalg.svd(leace)
        left = torch.from_numpy(rows[strength > 1e-6 * strength[0]]).float().T
        rank = min(max(1, round(self.RANK * self.size)), left.shape[1])
        basis = torch.eye(left.shape[1], rank).requires_grad_()
        optimiser = torch.optim.Adam([basis], self.RATE)
        for _ in range(self.STEPS):
            drawn, own = draw(self.BATCH)
            projected = drawn @ left @ basis @ basis.T
            sides = [projected[own == code] for code in own.unique()]
            apart = torch.stack([measure_discrepancy(a, b) for a, b in combinations(sides, 2)]).mean()
            crooked = (basis.T @ basis - torch.eye(rank)).square().sum()
            optimiser.zero_grad()
            (apart + self.PENALTY / rank**2 * crooked).backward()
            optimiser.step()
        kept = left @ torch.linalg.svd(basis.detach(), full_matrices=False)[0]
        self.projection.copy_(kept @ kept.T)


def measure_discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012, eq. 3) of (n, D) and (m, D) samples.

    The kernel is the sum of exp(-d^2 / (f s)) with s the mean squared distance and f one of 1/4, 1/2, 1, 2 and 4.
    """
    both = torch.cat([a, b])
    squared = torch.cdist(both, both).square()
    count, first = len(both), len(a)
    scale = (squared.detach().sum() / (count**2 - count)).clamp(min=SMALLEST)
    alike = sum(torch.exp(-squared / (factor * scale)) for factor in (0.25, 0.5, 1.0, 2.0, 4.0))
    alike = alike - torch.diag(alike.diagonal())
    same_a = alike[:first, :first].sum() / (first * (first - 1))
    same_b = alike[first:, first:].sum() / ((count - first) * (count - first - 1))
    return same_a + same_b - 2 * alike[:first, first:].mean()


class Igbp(LearnedMap):
    """Iterative gradient-based projection (IGBP; Iskander, Radinsky & Belinkov, Findings of ACL 2023).

    In each round an MLP of one hidden layer learns to predict the class of x. With f the difference of the two largest
    logits, x then goes to where f would be 0 if it were linear, x - f(x) / ``|f'(x)|^2`` f'(x). For two classes this is
    the paper's, which stops when a probe fails; for more, faces go to the boundary with the second class.
    """

    ROUNDS, STEPS, BATCH, RATE = 20, 100, 256, 1e-3

    def __init__(self, size: int, classes: int, inside: bool = False) -> None:
        super().__init__(size, classes, inside)
        self.register_buffer("inner", torch.zeros(self.ROUNDS, size, size))
        self.register_buffer("inner_bias", torch.zeros(self.ROUNDS, size))
        self.register_buffer("outer", torch.zeros(self.ROUNDS, classes, size))
        self.register_buffer("outer_bias", torch.zeros(self.ROUNDS, classes))

    def _erase(self, embedding: Tensor) -> Tensor:
        for number in range(self.ROUNDS):
            embedding = self._step(embedding, number)
        return embedding

    def _step(self, embedding: Tensor, number: int) -> Tensor:
        inner, outer = self.inner[number], self.outer[number]
        hidden = embedding @ inner.T + self.inner_bias[number]
        top = (hidden.relu() @ outer.T + self.outer_bias[number]).topk(2, dim=1)
        gradient = ((outer[top.indices[:, 0]] - outer[top.indices[:, 1]]) * (hidden > 0)) @ inner
        apart = top.values[:, :1] - top.values[:, 1:]
        return embedding - apart * gradient / gradient.square().sum(dim=1, keepdim=True).clamp(min=SMALLEST)

    def _fit(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor) -> None:
        scale = 1 / x.std().item()  # numbers of a unit vector are small
        for number in range(self.ROUNDS):
            probe = nn.Sequential(nn.Linear(self.size, self.size), nn.ReLU(), nn.Linear(self.size, self.classes))
            optimiser = torch.optim.AdamW(probe.parameters(), self.RATE)
            for _ in range(self.STEPS):
                drawn, own = draw(self.BATCH)
                for earlier in range(number):
                    drawn = self._step(drawn, earlier)
                optimiser.zero_grad()
                F.cross_entropy(probe(drawn * scale), own).backward()
                optimiser.step()
            first, _, last = probe
            self.inner[number] = first.weight.detach() * scale
            self.inner_bias[number] = first.bias.detach()
            self.outer[number], self.outer_bias[number] = last.weight.detach(), last.bias.detach()


class Kram(LearnedMap):
    """Kernelised rate-distortion maximisation (KRaM; Basu Roy Chowdhury et al., NeurIPS 2023, eq. 4).

    An MLP f, here of one layer, maximises R(f(X) | K) - l ``|R(f(X)) - R(X)|`` with the rate

        R(Z | K) = 1/2 log det(I + D / (n e^2) (Z Z^T) * K),   R(Z) = R(Z | 1),

    of n rows of unit length, K_ij being 1 if i and j are of one class and 0 otherwise: faces of a class are spread as
    wide as all faces are.
    """

    LAYERS, BALANCE, DISTORTION = 1, 0.7, 0.5  # of f, l, e^2; three layers lost all kinship on nested folds
    STEPS, BATCH, RATE, DECAY = 600, 512, 1e-3, 1e-5

    def __init__(self, size: int, classes: int, inside: bool = False) -> None:
        super().__init__(size, classes, inside)
        self.net = self._build().requires_grad_(False)

    def _build(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(self.LAYERS):
            layers += [nn.Linear(self.size, self.size), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def _erase(self, embedding: Tensor) -> Tensor:
        return self.net(embedding * math.sqrt(self.size))

    def rate(self, z: Tensor, codes: Tensor | None = None) -> Tensor:
        """R(Z), or R(Z | K), of (n, D) rows of unit length; K has a block per class, the determinant a factor."""
        blocks = [z] if codes is None else [z[codes == code] for code in codes.unique()]
        scale = z.shape[1] / (len(z) * self.DISTORTION)
        unit = torch.eye(z.shape[1])
        return sum(torch.logdet(unit + scale * block.T @ block) for block in blocks) / 2

    def _fit(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor) -> None:
        net = self._build()
        optimiser = torch.optim.Adam(net.parameters(), self.RATE, weight_decay=self.DECAY)
        for _ in range(self.STEPS):
            drawn, own = draw(self.BATCH)
            given = F.normalize(drawn, dim=1)
            made = F.normalize(net(drawn * math.sqrt(self.size)), dim=1)
            change = (self.rate(made) - self.rate(given)).abs()
            optimiser.zero_grad()
            (self.BALANCE * change - self.rate(made, own)).backward()
            optimiser.step()
        self.net.load_state_dict(net.state_dict())


class Mute(LearnedMap):
    """Gaussianisation of each class, routed by a predicted class (MUtE; Saillenfest, arXiv 2609.11253).

    In each step all faces are turned to the principal axes of one class, the classes in turn, and each number is
    brought to a standard normal by the distribution function of the face's class. Distribution functions are
    histograms of faces of known class; the class whose function a face gets is predicted once, from x, in the paper by
    an MLP, here by the linear gate of ``Transport``, which balances the classes.
    """

    ROUNDS, BINS, DRAWN = 1, 100, 8000
    MARGIN, SMALLEST_SHARE = 0.1, 1e-5  # of a histogram beyond its data; the distribution function stays off 0 and 1

    def __init__(self, size: int, classes: int, inside: bool = False) -> None:
        super().__init__(size, classes, inside)
        self.register_buffer("gate", torch.zeros(classes, size))
        self.register_buffer("gate_bias", torch.zeros(classes))
        self.register_buffer("means", torch.zeros(self.ROUNDS, size))
        self.register_buffer("axes", torch.eye(size).repeat(self.ROUNDS, 1, 1))
        self.register_buffer("low", torch.zeros(self.ROUNDS, classes, size))
        self.register_buffer("high", torch.ones(self.ROUNDS, classes, size))
        self.register_buffer("below", torch.zeros(self.ROUNDS, classes, size, self.BINS + 1))

    def _erase(self, embedding: Tensor) -> Tensor:
        chosen, moved = self._choose(embedding), embedding
        for number in range(self.ROUNDS):
            moved = self._step(moved, chosen, number)
        return moved

    def _choose(self, embedding: Tensor) -> Tensor:
        return (embedding @ self.gate.T + self.gate_bias).argmax(dim=1)

    def _step(self, x: Tensor, chosen: Tensor, number: int) -> Tensor:
        turned = (x - self.means[number]) @ self.axes[number]
        low, high = self.low[number, chosen], self.high[number, chosen]
        place = ((turned - low) / (high - low) * self.BINS).clamp(0, self.BINS - 1e-3)
        left = place.nan_to_num().floor().long()
        numbers = torch.arange(self.size, device=x.device)
        lower, upper = (self.below[number, chosen[:, None], numbers, left + step] for step in (0, 1))
        share = torch.lerp(lower, upper, place - left)
        return torch.special.ndtri(share.clamp(self.SMALLEST_SHARE, 1 - self.SMALLEST_SHARE))

    def _fit(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor) -> None:
        gate, bias = fit_gate(x.double().numpy(), codes.numpy(), weight.numpy(), self.classes)
        self.gate.copy_(torch.from_numpy(gate))
        self.gate_bias.copy_(torch.from_numpy(bias))
        drawn, own = draw(self.DRAWN)
        chosen, present = self._choose(drawn), own.unique()
        for number in range(self.ROUNDS):
            faces = drawn[own == present[number % len(present)]]
            self.means[number] = faces.mean(dim=0)
            self.axes[number] = torch.linalg.eigh((faces - faces.mean(dim=0)).T @ (faces - faces.mean(dim=0)))[1]
            turned = (drawn - self.means[number]) @ self.axes[number]
            for code in range(self.classes):
                rows = turned[own == code] if code in present else turned
                least, most = rows.amin(dim=0), rows.amax(dim=0)
                margin = torch.maximum(self.MARGIN * (most - least), 1e-6 * (1 + least.abs()))
                self.low[number, code], self.high[number, code] = least - margin, most + margin
                place = (rows - self.low[number, code]) / (most - least + 2 * margin) * self.BINS
                counts = F.one_hot(place.long().clamp(0, self.BINS - 1), self.BINS).sum(dim=0)
                self.below[number, code, :, 1:] = (counts.cumsum(dim=1) / len(rows)).float()
            drawn = self._step(drawn, chosen, number)


class Obliviator(LearnedMap):
    """Iterated removal of nonlinear dependence (Obliviator; Akbari, Afshari & Boddeti, NeurIPS 2025), without a target.

    In each round, from z (the embedding x at first), an encoder w = SiLU(A z + a), of unit length, minimises the
    dependence of w on the class and keeps that on z and on x,

        c(w, class) - t_z c(w, z) - t_x c(w, x),

    where c is the root mean square of the cross-covariance of random Fourier features of the two, of the classes as
    one-hot vectors (its square is HSIC but for a factor). Then, among the directions of the features of w that have no
    covariance with the class, those are kept that covary most with the features of z and of x: here the D first ones.
    Their values, of unit length, are the z of the next round.
    """

    ROUNDS, STEPS, BATCH, RATE = 1, 40, 1024, 5e-4
    HIDDEN, BASIS = 256, 768  # numbers of w, random features
    KEEP_Z, KEEP_X = 0.05, 0.01  # t_z, t_x
    AXES_Z, AXES_X = 1.0, 0.2  # how much covariance with z and x counts when directions are chosen
    FITTED = 4096  # faces on which directions are chosen

    def __init__(self, size: int, classes: int, inside: bool = False) -> None:
        super().__init__(size, classes, inside)
        if size > self.BASIS - classes + 1:
            raise InputError(f"Obliviator has {self.BASIS} random features, too few for embeddings of {size} numbers.")
        self.register_buffer("encoder", torch.zeros(self.ROUNDS, self.HIDDEN, size))
        self.register_buffer("encoder_bias", torch.zeros(self.ROUNDS, self.HIDDEN))
        self.register_buffer("directions", torch.zeros(self.ROUNDS, self.HIDDEN, self.BASIS))
        self.register_buffer("phases", torch.zeros(self.ROUNDS, self.BASIS))
        self.register_buffer("means", torch.zeros(self.ROUNDS, self.BASIS))
        self.register_buffer("kept", torch.zeros(self.ROUNDS, self.BASIS, size))

    def _erase(self, embedding: Tensor) -> Tensor:
        moved = embedding
        for number in range(self.ROUNDS):
            moved = self._step(moved, number)
        return moved

    def _step(self, z: Tensor, number: int) -> Tensor:
        features = self._describe(z, number) - self.means[number]
        return F.normalize(features @ self.kept[number], dim=1)

    def _encode(self, z: Tensor, number: int) -> Tensor:
        """w, (B, HIDDEN)."""
        return F.normalize(F.silu(z @ self.encoder[number].T + self.encoder_bias[number]), dim=1)

    def _describe(self, z: Tensor, number: int) -> Tensor:
        """(B, BASIS) random features of w."""
        return _fourier(self._encode(z, number), self.directions[number], self.phases[number])

    def _fit(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor) -> None:
        def go(faces: Tensor, number: int) -> Tensor:
            for earlier in range(number):
                faces = self._step(faces, earlier)
            return faces

        faces, _ = draw(self.FITTED)
        basis_x = self._draw_basis(faces)
        for number in range(self.ROUNDS):
            basis_z = self._draw_basis(go(faces, number))
            encoder = nn.Linear(self.size, self.HIDDEN)
            optimiser = torch.optim.NAdam(encoder.parameters(), self.RATE)
            scale = math.sqrt(self.size)  # numbers of a unit vector are small
            for _ in range(self.STEPS):
                drawn, own = draw(self.BATCH)
                z = go(drawn, number)
                w = F.normalize(F.silu(encoder(z * scale)), dim=1)
                features = _fourier(w, *self._draw_basis(w.detach()))
                loss = _covary(features, F.one_hot(own, self.classes).float())
                loss = loss - self.KEEP_Z * _covary(features, _fourier(z, *basis_z))
                loss = loss - self.KEEP_X * _covary(features, _fourier(drawn, *basis_x))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            self.encoder[number], self.encoder_bias[number] = encoder.weight.detach() * scale, encoder.bias.detach()
            self._choose_directions(*draw(self.FITTED), go, basis_x, basis_z, number)

    def _choose_directions(
        self,
        drawn: Tensor,
        own: Tensor,
        go: Callable[[Tensor, int], Tensor],
        basis_x: tuple[Tensor, Tensor],
        basis_z: tuple[Tensor, Tensor],
        number: int,
    ) -> None:
        z = go(drawn, number)
        self.directions[number], self.phases[number] = self._draw_basis(self._encode(z, number))
        features = self._describe(z, number)
        self.means[number] = features.mean(dim=0)
        centred = features - self.means[number]
        told = centred.T @ F.one_hot(own, self.classes).float()
        left, strength, _ = torch.linalg.svd(told, full_matrices=True)
        free = left[:, int((strength > 1e-5 * strength[0]).sum()) :]
        total = torch.zeros(free.shape[1], free.shape[1])
        for share, side in (
            (self.AXES_Z, _fourier(z, *basis_z)),
            (self.AXES_X, _fourier(drawn, *basis_x)),
        ):
            covariance = (side - side.mean(dim=0)).T @ centred @ free
            covariance = covariance.T @ covariance
            total += share * covariance / torch.linalg.matrix_norm(covariance, 2)
        self.kept[number] = free @ torch.linalg.eigh(total)[1][:, -self.size :]

    def _draw_basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of random Fourier features (Rahimi & Recht, NeurIPS 2007) for a Gaussian as wide as the median distance."""
        distance = torch.pdist(x[torch.linspace(0, len(x) - 1, 256).long()]).median().clamp(min=1e-6)
        return torch.randn(x.shape[1], self.BASIS) / distance, 2 * math.pi * torch.rand(self.BASIS)


def _fourier(x: Tensor, directions: Tensor, phases: Tensor) -> Tensor:
    return math.sqrt(2 / len(phases)) * torch.cos(x @ directions + phases)


def _covary(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square of the cross-covariance of (n, d) and (n, k)."""
    return ((a - a.mean(dim=0)).T @ (b - b.mean(dim=0)) / len(a)).square().mean().sqrt()
