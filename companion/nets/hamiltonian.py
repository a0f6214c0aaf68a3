r"""u = (q, p), u' = J grad H(u) with a learned H: a network that keeps areas, and almost an energy.   Section 5.1

    Potential       V(q) = sum_j c_j log cosh(a_j q + b_j), with its gradient in closed form
    SymplecticNet   Verlet's steps for H = T(p) + V(q), T and V learned: each layer is symplectic, whatever the weights
    PlainNet        steps of RK4 (or another scheme) for a learned field F(u): any flow, none kept
    modified_energy the energy that Verlet's scheme keeps better than H
    rollout_loss    how far a net's steps lie from given trajectories

Both nets are a map for one step dt; `run(net.maps(k), u0)` follows it. Training is on short pieces of
trajectories. A symplectic map of one degree of freedom keeps areas, so its orbits neither spiral in nor out: an error
of the learned H changes the shape of an orbit and its period, not the orbit's being closed. A plain net errs by a
little energy in each step, and the errors add up.

Verlet's map is, up to O(dt^4) per unit of time, the flow of a modified energy. So H itself oscillates by O(dt^2) but
does not drift, for times that grow like e^{1/dt} where H is analytic.

Sources: Chen, Zhang, Arjovsky and Bottou, Symplectic recurrent neural networks (2020); Hairer, Lubich and Wanner,
Geometric numerical integration (2006), IX.
Paper: Section 5.1.  Notebook: 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import iterate
from companion.flows.schemes import RK4
from companion.flows.symplectic import Verlet, halves
from companion.nets.dense_field import DenseField


class Potential(nn.Module):
    r"""V(q) = sum_j c_j log cosh(a_j . q + b_j), grad V(q) = sum_j c_j tanh(a_j . q + b_j) a_j.

    dim    d, of q: (*batch, d) -> (*batch)
    width  the number of terms; with enough of them V is near any smooth function on a ball

    The parameters are drawn by torch's generator: torch.manual_seed(0) before makes them repeatable.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        if dim < 1 or width < 1:
            raise ValueError(f"A potential on R^d has dim >= 1 and width >= 1; got dim={dim}, width={width}.")
        self.inner = nn.Linear(dim, width)
        nn.init.uniform_(self.inner.weight, -2, 2)
        nn.init.uniform_(self.inner.bias, -2, 2)
        self.c = nn.Parameter(torch.randn(width) / width)

    def forward(self, q: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        z = self.inner(q)
        return (nn.functional.softplus(2 * z) - z - math.log(2)) @ self.c  # log cosh z

    def gradient(self, q: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """grad V(q), differentiable in q and in the parameters."""
        return (self.c * torch.tanh(self.inner(q))) @ self.inner.weight


class SymplecticNet(nn.Module):
    r"""Verlet's step for H(q, p) = T(p) + V(q), T and V learned: M^T J M = J for any weights.   Section 5.1

    dim    degrees of freedom d: u = (q, p) has 2 d entries
    width  of each of the two potentials
    dt     the step: the time between two samples of the data
    """

    def __init__(self, dim: int = 1, width: int = 32, dt: float = 0.1):
        super().__init__()
        self.T, self.V = Potential(dim, width), Potential(dim, width)
        self.step = Verlet(self.T.gradient, self.V.gradient, dt)

    def maps(self, k: int) -> list[Any]:
        """k layers, which share their weights: from u(0) to u(k dt)."""
        return [self.step] * k

    def forward(self, u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        return self.step(u)

    def energy(self, u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        """H(u) = T(p) + V(q), the learned energy; a constant in it means nothing."""
        q, p = halves(u, -1)
        return self.T(p) + self.V(q)


class PlainNet(nn.Module):
    r"""One step of a scheme for u' = F(u), F a dense network with one hidden layer: the same task, no structure.

    dim, width, dt  as in SymplecticNet, for F: R^{2d} -> R^{2d}
    scheme          Euler: a residual network; RK4: a neural ODE
    """

    def __init__(self, dim: int = 1, width: int = 32, dt: float = 0.1, scheme: Callable[..., Any] = RK4):
        super().__init__()
        self.F = DenseField(2 * dim, width, time=False)
        self.step = scheme(self.F, dt)

    def maps(self, k: int) -> list[Any]:
        """k layers, which share their weights: from u(0) to u(k dt)."""
        return [self.step] * k

    def forward(self, u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        return self.step(u)


def modified_energy(
    T: Callable[[Tensor], Tensor], V: Callable[[Tensor], Tensor], dt: float
) -> Callable[[Tensor], Tensor]:
    r"""T(p) + V(q) + dt^2 (T'.V''T' / 12 - V'.T''V' / 24): constant along Verlet's steps up to O(dt^4).

    T, V   (*batch, d) -> (*batch), made of torch's functions; Verlet's step moves p first: half a step, q, half a step

    >>> H = modified_energy(lambda p: p.square().sum(-1) / 2, lambda q: q.square().sum(-1) / 2, dt=0.5)
    >>> H(torch.tensor([0.0, 1.0])), H(torch.tensor([1.0, 0.0]))     # (1/2)(1 + dt^2/6), (1/2)(1 - dt^2/12)
    (tensor(0.5208), tensor(0.4896))
    """

    def energy(u: Tensor) -> Tensor:
        q, p = halves(u, -1)
        dT, dV = torch.func.grad(lambda x: T(x).sum()), torch.func.grad(lambda x: V(x).sum())
        a, b = dT(p), dV(q)
        aVa = (a * torch.func.jvp(dV, (q,), (a,))[1]).sum(-1)
        bTb = (b * torch.func.jvp(dT, (p,), (b,))[1]).sum(-1)
        return T(p) + V(q) + dt**2 * (aVa / 12 - bTb / 24)

    return energy


def pieces(path: Float[Tensor, "*batch time n"], k: int) -> Float[Tensor, "count k_plus_1 n"]:
    """All pieces of k steps of the trajectories, each with its start: what a net is trained on.

    >>> pieces(torch.arange(5.0)[:, None], 2)[..., 0]
    tensor([[0., 1., 2.],
            [1., 2., 3.],
            [2., 3., 4.]])
    """
    if not 1 <= k < path.shape[-2]:
        raise ValueError(f"A piece of k steps needs 1 <= k < the number of times; got k={k}, {path.shape[-2]} times.")
    return path.unfold(-2, k + 1, 1).transpose(-1, -2).reshape(-1, k + 1, path.shape[-1])


def rollout_loss(net: SymplecticNet | PlainNet, piece: Float[Tensor, "*batch time n"]) -> Float[Tensor, ""]:
    r"""The mean over j = 1, ..., k of |net^j(u_0) - u_j|^2, u_0, ..., u_k a piece of a trajectory."""
    k = piece.shape[-2] - 1
    states = list(iterate(net.maps(k), piece[..., 0, :]))[1:]
    return (torch.stack(states, -2) - piece[..., 1:, :]).square().sum(-1).mean()
