r"""min_u nu TV(u) + 1/2 int |u - chi_S|^2 = a on S, b outside: a disc and a square, with the proof.   (3.1), (4.3)

On the torus of area 1 let S have area A and perimeter P. If a field v exists with

    |v| <= 1,    v = n on the edge of S, n its outer normal,    div v = P/A inside,  -P/(1 - A) outside,     (*)

then for nu <= A (1 - A) / P the minimiser is a = 1 - nu P/A on S and b = nu P/(1 - A) outside, and

    E* = nu P (a - b) + A (1 - a)^2 / 2 + (1 - A) b^2 / 2.

Proof. With f = chi_S, f - u = nu div v, and int u div v = (a - b) P = TV(u). By (3.1), v mollified, every w has
TV(w) >= int w div v, so that nu TV(w) + 1/2 int |w - f|^2 >= nu int w div v + 1/2 int |w - f|^2. The right side is
least at w = f - nu div v = u, where both sides agree. For nu = A (1 - A) / P, u is the constant A, and so it stays
beyond.

`certificate` is such a v, in closed form. |.| is the length dual to that of the total variation: Euclidean for the
disc, the larger component for the square, whose total variation is int |d_1 u| + |d_2 u|.

Paper: (3.1), (3.2), (4.3), Thm 4.1.  Notebook: 07.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gamma, pi
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LEMNISCATE = gamma(0.25) ** 2 / (2 * (2 * pi) ** 0.5)  # 2.6220575...
G4 = LEMNISCATE**4 / 15  # sum of w^{-4} over the lattice Z + iZ without 0


class TwoLevel(NamedTuple):
    """A picture with two values: `inside` the shape and `outside`, and the energy E*."""

    inside: float
    outside: float
    energy: float

    def sampled(self, shape: Shape, N: int) -> Float[Tensor, "n n"]:
        """Its exact means over N x N cells."""
        return self.outside + (self.inside - self.outside) * shape.averages(N)

    def distance(self, u: Float[Tensor, "n n"], shape: Shape, p: int = 2) -> Float[Tensor, ""]:
        r"""(int |u_n - u|^p dx)^{1/p}, exactly, u_n the function that is u[k] on cell k: the box representative of u.

        No such function is nearer to u in L_2 than its means over the cells, and they are so to O(h^{1/2}).
        """
        a = shape.averages(u.shape[-1]).to(u)
        parts = a * (u - self.inside).abs() ** p + (1 - a) * (u - self.outside).abs() ** p
        return parts.mean() ** (1 / p)


class Shape:
    """A set S about the centre (1/2, 1/2) of the periodic unit square; called, its indicator function chi_S."""

    area: float
    perimeter: float

    def depth(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """How far inside S a point lies, negative outside; a subclass says in which length."""
        raise TypeError(f"{type(self).__name__} is no shape yet: it does not define depth(x1, x2).")

    def averages(self, N: int) -> Float[Tensor, "n n"]:
        """T_n chi_S: the exact means over N x N cells."""
        raise TypeError(f"{type(self).__name__} is no shape yet: it does not define averages(N).")

    def certificate(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "2 ..."]:
        """The field v of (*)."""
        raise TypeError(f"{type(self).__name__} is no shape yet: it does not define certificate(x1, x2).")

    def __call__(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return (self.depth(x1, x2) > 0).to(x1.dtype)

    def ramp(self, width: float) -> Callable[[Tensor, Tensor], Tensor]:
        """clamp(depth/width + 1/2, 0, 1): Lipschitz functions that tend to chi_S in L_1 as width -> 0, with TV = P."""
        if not width > 0:
            raise ValueError(f"A ramp has a width > 0, in units of the unit square; got {width}. chi_S is the shape.")
        return lambda x1, x2: (self.depth(x1, x2) / width + 0.5).clamp(0, 1)

    def minimiser(self, nu: float) -> TwoLevel:
        """The minimiser of nu TV(u) + 1/2 int |u - chi_S|^2, proved above: what Thm 4.1 is measured with.   (4.3)

        Raises ValueError unless 0 < nu <= A (1 - A)/P.
        """
        A, P = self.area, self.perimeter
        if not 0 < nu <= A * (1 - A) / P:
            raise ValueError(
                f"The two levels meet at nu = A (1 - A) / P = {A * (1 - A) / P:.4g}, beyond which the minimiser is the "
                f"constant A = {A:.4g}; got nu={nu}. Take 0 < nu <= {A * (1 - A) / P:.4g}."
            )
        a, b = 1 - nu * P / A, nu * P / (1 - A)
        return TwoLevel(a, b, nu * P * (a - b) + A * (1 - a) ** 2 / 2 + (1 - A) * b**2 / 2)


class Disc(Shape):
    r"""|x - c| < R: u = 1 - 2 nu/R inside, 2 pi R nu / (1 - pi R^2) outside, for the total variation of (3.1).

    R  0 < R <= 0.35: so far the field below has |v| <= 1

    >>> Disc(0.25).minimiser(0.05)                                          # doctest: +ELLIPSIS
    TwoLevel(inside=0.6, outside=0.0977..., energy=0.05899...)
    """

    def __init__(self, R: float = 0.25):
        if not 0 < R <= 0.35:
            raise ValueError(f"The disc has a radius 0 < R <= 0.35, for which its minimiser is certified; got R={R}.")
        self.R, self.area, self.perimeter = float(R), pi * R**2, 2 * pi * R

    def depth(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """R - |x - c|, the distance to the edge with a sign."""
        return self.R - torch.hypot(*torch.broadcast_tensors(_centred(x1), _centred(x2)))

    def averages(self, N: int) -> Float[Tensor, "n n"]:
        r"""The area of each cell within the circle, in closed form, over h^2.

        With s(x) = (R^2 - x^2)^{1/2} and S its integral from 0, the disc within [0, a] x [0, b] has the area
        H(a, b) = b min(a, s(b)) + S(max(a, s(b))) - S(s(b)), odd in a and in b; a cell is a second difference of H.
        """
        t = torch.arange(N + 1, dtype=torch.float64) / N - 0.5
        a, sign = t.abs().clamp(max=self.R), t.sign()
        s = (self.R**2 - a**2).sqrt()
        x, y, c = a[:, None], a[None, :], s[None, :]  # H is asked at (x, y); c = s(y)
        H = y * torch.minimum(x, c) + self._segment(torch.maximum(x, c)) - self._segment(c)
        return (sign[:, None] * sign * H).diff(dim=0).diff(dim=1) * N**2

    def _segment(self, x: Tensor) -> Tensor:
        """int_0^x (R^2 - t^2)^{1/2} dt."""
        return (x * (self.R**2 - x**2).clamp_min(0).sqrt() + self.R**2 * (x / self.R).clamp(max=1).asin()) / 2

    def certificate(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "2 ..."]:
        r"""(x - c)/R inside; outside M grad G, bent to the normal near the edge: the v of (*).

        G is the potential of one charge per cell, Delta G = delta - 1; M = P/(1 - A). With z = (x - c)_1 + i (x - c)_2
        and Weierstrass's zeta function, d_1 G - i d_2 G = (zeta(z) - pi conj z)/(2 pi), and zeta(z) = 1/z + r(z), r
        analytic for |z| < 1. So M grad G = g(|z|) (x - c)/|x - c| + (r's part), g(t) = M (1/(2 pi t) - t/2), g(R) = 1.
        r is also the gradient of a harmonic function, hence without divergence when it is written as the rotated
        gradient of the conjugate function s; the field is M grad G - rot grad(chi s), chi = 1 at |z| = R, 0 from
        |z| = 1/2 on. Its divergence is that of M grad G.

        |v| <= 1: with B and S the sums of |G_{4k}| |z|^{4k-1} and |G_{4k}| |z|^{4k}/(4k) times M/(2 pi), for |z| < 1/2
        |v|^2 <= (g + (1 - chi) B)^2 + ((1 - chi) B + S |chi'|)^2, a function of |z| that falls from 1 (evaluated on
        fine grids, R <= 0.35). Beyond, |grad G|^2 is subharmonic, hence largest on the circle |z| = 1/2.
        """
        y1, y2 = torch.broadcast_tensors(_centred(x1), _centred(x2))
        r, z = torch.hypot(y1, y2), torch.complex(y1, y2)
        M = self.perimeter / (1 - self.area)
        t = ((r - self.R) / (0.5 - self.R)).clamp(0, 1)
        chi, slope = 1 - t**2 * (3 - 2 * t), -6 * t * (1 - t) / (0.5 - self.R)
        potential, rest = _regular(z)  # Phi, and Phi' = zeta(z) - 1/z
        radial = M * (1 / (2 * pi * r.clamp_min(self.R)) - r / 2)
        # grad Re Phi = conj(Phi'); rot grad(chi s) = chi conj(Phi') + s chi' (turned radius), s = Im Phi
        unit = z / r.clamp_min(1e-300)
        v = radial * unit + M / (2 * pi) * ((1 - chi) * rest.conj() + potential.imag * slope * 1j * unit)
        v = torch.where(r <= self.R, z / self.R, v)
        return torch.stack([v.real, v.imag])


class Square(Shape):
    r"""max |x - c| < a: u = 1 - 2 nu/a inside, 8 a nu / (1 - 4 a^2) outside, for int |d_1 u| + |d_2 u|.

    a  0 < a < 1/2: half the side

    >>> Square(0.25).minimiser(0.05)                                        # doctest: +ELLIPSIS
    TwoLevel(inside=0.6, outside=0.1333..., energy=0.07333...)
    """

    def __init__(self, a: float = 0.25):
        if not 0 < a < 0.5:
            raise ValueError(f"Half the side of the square is 0 < a < 1/2; got a={a}. The cell has the side 1.")
        self.a, self.area, self.perimeter = float(a), 4 * a**2, 8 * a

    def depth(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """a - max |x - c|."""
        return self.a - torch.maximum(*torch.broadcast_tensors(_centred(x1).abs(), _centred(x2).abs()))

    def averages(self, N: int) -> Float[Tensor, "n n"]:
        """The share of each cell within the square."""
        t = (torch.arange(N + 1, dtype=torch.float64) / N - 0.5).clamp(-self.a, self.a).diff() * N
        return t[:, None] * t

    def certificate(self, x1: Float[Tensor, "..."], x2: Float[Tensor, "..."]) -> Float[Tensor, "2 ..."]:
        r"""v_i = p(y_i) where |y_j| < a, and q p(y_i) elsewhere, j being the other index: the v of (*).

        y = x - c, p(t) = t/a to a, then falling to 0 at 1/2, q = 2a/(1 + 2a) <= 1/2. The divergence is 2/a = P/A in
        the square, -1/(1/2 - a) + q/a beside it, -2 q/(1/2 - a) in the corners: the last two are -8a/(1 - 4a^2) =
        -P/(1 - A).
        """
        y = torch.stack(torch.broadcast_tensors(_centred(x1), _centred(x2)))
        size, other = y.abs(), y.flip(0).abs()
        ramp = torch.minimum(size / self.a, (0.5 - size) / (0.5 - self.a))
        q = 2 * self.a / (1 + 2 * self.a)
        return y.sign() * ramp * torch.where(other < self.a, torch.ones_like(y), q)


def _centred(x: Tensor) -> Tensor:
    """x - 1/2 in [-1/2, 1/2), of period 1."""
    return torch.remainder(x, 1.0) - 0.5


def _regular(z: Tensor, terms: int = 28) -> tuple[Tensor, Tensor]:
    r"""(log(sigma(z)/z), zeta(z) - 1/z) of the lattice Z + iZ, for |z| < 1: -sum_k G_{4k} (z^{4k}/(4k), z^{4k-1}).

    From wp'' = 6 wp^2 - g2/2: with wp = z^{-2} + sum_j c_j z^{2j-2}, c_2 = 3 G_4 and
    c_j = 3/((2j + 1)(j - 3)) sum_{m=2}^{j-2} c_m c_{j-m}; G_{2j} = c_j/(2j - 1).
    """
    c = {2: 3 * G4, 3: 0.0}
    for j in range(4, 2 * terms + 1):
        c[j] = 3 / ((2 * j + 1) * (j - 3)) * sum(c[m] * c[j - m] for m in range(2, j - 1))
    potential, rest = torch.zeros_like(z), torch.zeros_like(z)
    for k in reversed(range(1, terms + 1)):  # Horner in z^4
        G = c[2 * k] / (4 * k - 1)
        potential, rest = (potential * z**4) - G / (4 * k), (rest * z**4) - G
    return potential * z**4, rest * z**3
