r"""F(u, t) = tanh(A(t) u + b(t)): the depth limit asks how the weights depend on the layer.   (5.1)

A residual network of N layers, u^{k+1} = u^k + (1/N) F(u^k, k/N), has a limit as N -> infinity if its weights are a
path t -> (A(t), b(t)). How fast the features of layer t N reach it is decided by the path:

    SmoothPath          a trigonometric polynomial: Euler, Heun and RK4 reach their orders 1, 2, 4
    RoughPath           Weierstrass' function, |A(t) - A(s)| <= C |t - s|^h: every scheme is of order h
    BrownianPath        |A(t) - A(s)| of size |t - s|^{1/2}, but Euler's errors, of size dt^{3/2} in each step, have
                        independent signs and sum to dt: order 1, and no more for Heun and RK4
    IndependentWeights  drawn anew for each layer: no path. With the factor 1/N the layers average, and the features
                        tend to those of u' = E F(u), like N^{-1/2}. With N^{-1/2} in place of 1/N, and E F = 0, they
                        tend in law, not path by path, to dX = S(X)^{1/2} dB, S(u) = E F(u) F(u)^T.

Weights that start independent need not come to follow a path by training.

Sources: Cohen, Cont, Rossier and Xu, Scaling properties of deep residual networks (2021); Marion, Fermanian, Biau and
Vert, Scaling ResNets in the large-depth regime (2022).
Paper: Section 5.1 (the depth limit).  Notebook: 10.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.nets.neural_ode import check_steps

Matrix = Float[Tensor, "d d_plus_1"]


class TimeDependent(nn.Module):
    r"""F(u, t) = tanh(A(t) u + b(t)), with the path t -> (A(t) b(t)), a d x (d + 1) matrix.   (5.1)

    path  t -> Float[Tensor, "d d+1"], 0 <= t <= 1: one of the four, or another module

    >>> F = TimeDependent(SmoothPath(2))
    >>> F(torch.zeros(5, 2, dtype=torch.float64), 0.5).shape
    torch.Size([5, 2])
    """

    def __init__(self, path: nn.Module):
        super().__init__()
        self.path = path

    def forward(self, u: Float[Tensor, "*batch d"], t: float | Tensor) -> Float[Tensor, "*batch d"]:
        weights = self.path(t).to(u)
        return torch.tanh(nn.functional.linear(u, weights[:, :-1], weights[:, -1]))


class SmoothPath(nn.Module):
    r"""M_0 + sum_{m=1}^{modes} (C_m cos(pi m t) + S_m sin(pi m t)) / m^2: analytic in t.

    dim, modes   d >= 1, and the number of frequencies >= 0 (0: weights shared by all layers)
    scale, seed  the entries of M_0, C_m, S_m are scale N(0, 1) / d^{1/2}, drawn with this seed
    """

    mean: Tensor
    waves: Tensor

    def __init__(self, dim: int, modes: int = 2, scale: float = 1.0, seed: int = 0):
        super().__init__()
        draw = _normal(2 * modes + 1, dim, scale, seed)
        self.register_buffer("mean", draw[0])
        self.register_buffer("waves", draw[1:])
        self.modes = modes

    def forward(self, t: float | Tensor) -> Matrix:
        m = torch.arange(1, self.modes + 1, dtype=self.mean.dtype, device=self.mean.device)
        phase = torch.pi * m * t
        factors = torch.cat([phase.cos() / m**2, phase.sin() / m**2])
        return self.mean + torch.tensordot(factors, self.waves, 1)


class RoughPath(nn.Module):
    r"""M_0 + w(t) C with Weierstrass' w(t) = sum_{m=0}^{levels-1} 2^{-h m} cos(2 pi 2^m t): of Hoelder exponent h
    everywhere, and nowhere better.

    On a grid of 2^j cells the waves m >= j equal 1 at all nodes, though their mean is 0. So the rectangle rule errs by
    sum_{m>=j} 2^{-hm} = 2^{-hj} / (1 - 2^{-h}), and a scheme that takes the nodes and midpoints fares no better.

    exponent  h in (0, 1)
    levels    below the scale 2^{-levels} the path is smooth: refine up to some N < 2^levels

    Raises ValueError unless 0 < h < 1.
    """

    mean: Tensor
    direction: Tensor

    def __init__(self, dim: int, exponent: float = 0.5, levels: int = 20, scale: float = 1.0, seed: int = 0):
        super().__init__()
        if not 0 < exponent < 1:
            raise ValueError(
                f"A rough path has a Hoelder exponent h, 0 < h < 1; got h={exponent}. SmoothPath is smooth."
            )
        draw = _normal(2, dim, scale, seed)
        self.register_buffer("mean", draw[0])
        self.register_buffer("direction", draw[1])
        self.exponent, self.levels = exponent, levels

    def forward(self, t: float | Tensor) -> Matrix:
        m = torch.arange(self.levels, dtype=self.mean.dtype, device=self.mean.device)
        w = 2.0 ** (-self.exponent * m) @ torch.cos(2 * torch.pi * ((2.0**m * t) % 1))
        return self.mean + w * self.direction


class BrownianPath(nn.Module):
    r"""M_0 + B(t): each entry a Brownian motion, known at the multiples of 2^{-levels} and linear between them.

    B(k 2^{-levels}) is a sum of k independent increments of variance scale^2 2^{-levels} / d: at the nodes of every
    coarser dyadic grid the path is exact in law.
    """

    mean: Tensor
    nodes: Tensor

    def __init__(self, dim: int, levels: int = 12, scale: float = 2.0, seed: int = 0):
        super().__init__()
        draw = _normal(2**levels + 1, dim, scale, seed)
        self.register_buffer("mean", draw[0] / 2)
        self.register_buffer("nodes", torch.cat([torch.zeros_like(draw[:1]), draw[1:].cumsum(0) * 2 ** (-levels / 2)]))

    def forward(self, t: float | Tensor) -> Matrix:
        n = len(self.nodes) - 1
        k = min(int(t * n), n - 1)
        return self.mean + self.nodes[k] + (float(t) * n - k) * (self.nodes[k + 1] - self.nodes[k])


class IndependentWeights(nn.Module):
    r"""M_0 + N_k for k/n <= t < (k + 1)/n: each of the n layers has weights of its own, independent of the others'.

    mean  the size of M_0, the same for all n; 0 gives a symmetric law: E F(u) = 0
    """

    layers: Tensor

    def __init__(self, dim: int, n: int, mean: float = 1.0, scale: float = 1.0, seed: int = 0):
        super().__init__()
        shared = _normal(1, dim, mean, seed)
        self.register_buffer("layers", shared + _normal(check_steps(n), dim, scale, seed + 1_000_003))

    def forward(self, t: float | Tensor) -> Matrix:
        n = len(self.layers)
        return self.layers[min(math.floor(t * n * (1 + 1e-12)), n - 1)]


def _normal(count: int, dim: int, scale: float, seed: int) -> Tensor:
    """count matrices d x (d + 1) of independent scale N(0, 1) / d^{1/2}, in float64."""
    if dim < 1:
        raise ValueError(f"A path of weights has a dimension dim >= 1; got dim={dim}.")
    generator = torch.Generator().manual_seed(seed)
    return scale / dim**0.5 * torch.randn(count, dim, dim + 1, dtype=torch.float64, generator=generator)
