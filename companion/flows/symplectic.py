r"""a' = a + dt F(b), b' = b + dt G(a'): steps that can be taken back, and steps that keep areas.   Section 5.1

    Reversible         RevNet's block: exactly invertible, whatever F and G
    SymplecticEuler    q' = q + dt T'(p), p' = p - dt V'(q')                                   order 1
    Verlet             p half a step, q a step, p half a step                                  order 2
    hamiltonian_field  u -> J grad H(u) = (H_p, -H_q), for u = (q, p)

The halves of u along an axis are a and b, or q and p. `Reversible` is the partitioned Euler scheme of order 1 for
a' = F(b), b' = G(a), and its inverse needs no root finder: b = b' - dt G(a'), a = a' - dt F(b). With F = T' and
G = -V' the equation is Hamilton's with H = T(p) + V(q), and the map is symplectic: M^T J M = J for its derivative M.
Verlet's map is symplectic too, and its inverse is its step with -dt.

On the oscillator q' = omega p, p' = -omega q both have determinant 1 and the trace 2 - (dt omega)^2: they are stable
for dt omega < 2, where the eigenvalues lie on the unit circle. The energy then errs by O(dt), O(dt^2) for all time;
Euler's scheme multiplies it by 1 + (dt omega)^2 at each step.

Paper: Section 5.1.  Notebook: 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.schemes import check_dt


class Reversible(nn.Module):
    r"""(a, b) -> (a + dt F(b), b + dt G(a + dt F(b))): order 1 for a' = F(b), b' = G(a); exactly invertible.

    F, G   functions from one half to the other
    axis   the axis that is halved: a is its first half; -3 for the channels of a batch of pictures

    Raises ValueError for an axis of odd length, or dt not finite and > 0.

    >>> step = Reversible(torch.sin, torch.cos)
    >>> u = torch.tensor([0.5, -2.0])
    >>> torch.allclose(step.inverse(step(u)), u)
    True
    """

    F: Any
    G: Any

    def __init__(self, F: Callable[[Tensor], Tensor], G: Callable[[Tensor], Tensor], dt: float = 1.0, axis: int = -1):
        super().__init__()
        self.F, self.G, self.dt, self.axis = F, G, check_dt(dt), axis

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        a, b = halves(u, self.axis)
        a = a + self.dt * self.F(b)
        b = b + self.dt * self.G(a)
        return torch.cat([a, b], self.axis)

    def inverse(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        r"""(a', b') -> (a' - dt F(b), b) with b = b' - dt G(a'): up to rounding the u that was mapped to u'."""
        a, b = halves(u, self.axis)
        b = b - self.dt * self.G(a)
        a = a - self.dt * self.F(b)
        return torch.cat([a, b], self.axis)


class SymplecticEuler(Reversible):
    r"""q' = q + dt T'(p), p' = p - dt V'(q'): order 1 for q' = T'(p), p' = -V'(q), u = (q, p); symplectic.

    dT, dV   the gradients of T and V. A network's gradient of a scalar is one: see hamiltonian_field

    >>> SymplecticEuler(lambda p: p, lambda q: q, 0.5)(torch.tensor([1.0, 0.0]))
    tensor([ 1.0000, -0.5000])
    """

    def __init__(self, dT: Callable[[Tensor], Tensor], dV: Callable[[Tensor], Tensor], dt: float, axis: int = -1):
        super().__init__(dT, _Minus(dV), dt, axis)


class _Minus(nn.Module):
    """-F, a module so that the parameters of F are seen."""

    F: Any

    def __init__(self, F: Callable[[Tensor], Tensor]):
        super().__init__()
        self.F = F

    def forward(self, u: Tensor) -> Tensor:
        return -self.F(u)


class Verlet(nn.Module):
    r"""p_half = p - dt/2 V'(q), q' = q + dt T'(p_half), p' = p_half - dt/2 V'(q'): Stoermer and Verlet's, order 2.

    Symplectic, and reversible in time: the step with -dt is `inverse`, and also the step itself between two changes of
    the sign of p. Arguments as in SymplecticEuler; ValueError for an odd axis, or dt not finite and > 0.
    """

    dT: Any
    dV: Any

    def __init__(self, dT: Callable[[Tensor], Tensor], dV: Callable[[Tensor], Tensor], dt: float, axis: int = -1):
        super().__init__()
        self.dT, self.dV, self.dt, self.axis = dT, dV, check_dt(dt), axis

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._step(u, self.dt)

    def inverse(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The step with -dt: up to rounding the state that was mapped to u."""
        return self._step(u, -self.dt)

    def _step(self, u: Tensor, dt: float) -> Tensor:
        q, p = halves(u, self.axis)
        p = p - dt / 2 * self.dV(q)
        q = q + dt * self.dT(p)
        p = p - dt / 2 * self.dV(q)
        return torch.cat([q, p], self.axis)


def hamiltonian_field(H: Callable[[Tensor], Tensor], axis: int = -1) -> nn.Module:
    r"""F(u) = J grad H(u) = (H_p, -H_q), for u = (q, p): H is constant along u' = F(u).

    H   (*batch, 2 d) -> (*batch): the energy of each state, made of torch's functions; it may be a network, whose
        parameters the field then has. Differentiable again, in u and in the parameters

    >>> hamiltonian_field(lambda u: (u**2).sum(-1) / 2)(torch.tensor([1.0, 3.0]))
    tensor([ 3., -1.])
    """
    return _Hamiltonian(H, axis)


class _Hamiltonian(nn.Module):
    H: Any

    def __init__(self, H: Callable[[Tensor], Tensor], axis: int):
        super().__init__()
        self.H, self.axis = H, axis

    def forward(self, u: Tensor) -> Tensor:
        dq, dp = halves(torch.func.grad(lambda v: self.H(v).sum())(u), self.axis)
        return torch.cat([dp, -dq], self.axis)


def halves(u: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The two halves of u along an axis."""
    if u.shape[axis] % 2:
        raise ValueError(
            f"A reversible step has two halves of equal length; got {u.shape[axis]} entries along axis {axis}, an odd "
            "number. Add one, or choose another axis."
        )
    a, b = u.chunk(2, axis)
    return a, b
