r"""psi_alpha = d^alpha phi_alpha: the functions behind the filters, as exact piecewise polynomials.   Prop 4.2, Ex 2.1

    refinable(m)        phi = B_m, with phi(x) = 2 sum_k p[k] phi(2x - k) and int phi = 1
    framelet(q, phi)    psi(x) = 2 sum_k q[k] phi(2x - k): a high-pass filter makes a framelet
    psi.antiderivative  phi_alpha, the one function of compact support with psi = d^alpha phi_alpha

A `Spline` is a constant of mathematics, as a `Filter` is: immutable, its coefficients in float64 NumPy, its knots
start + i step; those of `refinable` and `framelet` are dyadic numbers. In d dimensions functions are tensor products,
given by their factors, x_1 first.

**Signs and normalisation.** With phi_{n,k} = 2^{nd/2} phi(2^n x - k) and

    psi_{n-1,k} = 2^{d(n/2-1)} psi(2^{n-1} x - k/2)              (in the plane the paper's 2^{n-2} psi(2^{n-1}. - k/2))

the framelet coefficients are a *correlation* with q, nothing flipped, in every dimension:

    <u, psi_{n-1,k}> = sum_j q[j] <u, phi_{n,k+j}>, that is  2^{nd/2} <u, psi_{n-1,k}> = (W_q T_n u)[k],

T_n u[k] = 2^{nd/2} <u, phi_{n,k}> being the weighted means of u that a picture of step h = 2^{-n} consists of. For a
bounded psi with vanishing moments of order alpha, an open rectangle Omega whose closure holds the support of
psi_{n-1,k}, and u in W_1^s(Omega), s >= |alpha|, integration by parts gives Prop 4.2 (the paper says neither bounded
nor what Omega is; both matter),

    <u, psi_{n-1,k}> = (-1)^{|alpha|} 2^{|alpha|(1-n)} <d^alpha u, phi_{alpha,n-1,k}>,
    c_alpha = int phi_alpha = (-1)^{|alpha|} C_alpha / 2^{|alpha|},      C_alpha = q.constant(alpha) of Prop 4.1.

The paper asks that phi_alpha be "differentiable up to order alpha a.e."; it must be the weak derivative, or phi_alpha
is not unique: the box B_1 has the derivative 0 almost everywhere.

Paper: Prop 4.2, Ex 2.1.  Notebooks: 02, 03.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from companion.operators.filters import Filter

ROUNDING = 1e-12  # an integral or a jump counts as zero below this times its size


class Spline:
    r"""f(x) = sum_j c[i, j] t^j for x = x_i + step t, 0 <= t < 1, x_i = start + i step; 0 outside its support.

    coefficients   (pieces, degree + 1): one polynomial for each interval, in its own variable t
    start, step    the first knot and the distance of the knots, in units of x

    >>> box = Spline([[1.0]])
    >>> box(torch.tensor([-0.5, 0.5, 1.0]))
    tensor([0., 1., 0.])
    """

    def __init__(self, coefficients: ArrayLike, start: float | int = 0.0, step: float | int = 1.0):
        c = np.asarray(coefficients, dtype=np.float64).copy()
        if c.ndim != 2 or c.size == 0 or not np.isfinite(c).all():
            raise ValueError(
                "A spline has finite coefficients of shape (pieces, degree + 1), a polynomial for each interval; got "
                f"shape {c.shape}{'' if np.isfinite(c).all() else ' with NaN or infinity'}."
            )
        if not (step > 0 and isfinite(step) and isfinite(start)):
            raise ValueError(f"The knots are start + i step with a step > 0; got start={start}, step={step}.")
        c.setflags(write=False)
        self.coefficients, self.start, self.step = c, float(start), float(step)

    @property
    def degree(self) -> int:
        """The degree of the polynomials."""
        return self.coefficients.shape[1] - 1

    @property
    def support(self) -> tuple[float, float]:
        """[a, b], the first and the last knot."""
        return self.start, self.start + len(self.coefficients) * self.step

    def __repr__(self) -> str:
        a, b = self.support
        return f"Spline(degree {self.degree} on [{a:g}, {b:g}], knots {self.step:g} apart)"

    def __call__(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """f(x), of the shape and type of x and differentiable; at a knot the value from the right."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            came = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"A spline is evaluated at a torch tensor of real numbers; got {came}. Use x.double().")
        c, s = torch.tensor(self.coefficients).to(x), (x - self.start) / self.step
        i = s.detach().floor().nan_to_num().clamp(0, len(c) - 1).long()
        t = (s - i).clamp(0, 1)
        value = torch.zeros_like(x)
        for column in c.T.flip(0):
            value = value * t + column[i]
        return torch.where((s < 0) | (s >= len(c)), 0, value)

    # ---- integrals ----------------------------------------------------------------------------------------------

    def moment(self, j: int) -> float:
        r"""int x^j f(x) dx.

        >>> refinable(2).moment(0), framelet(Filter([0.5, -0.5]), refinable(1)).moment(0)
        (1.0, 0.0)
        """
        if j < 0:
            raise ValueError(f"A moment int x^j f has an exponent j >= 0; got {j}.")
        x, w = self.quadrature(1 + (j + self.degree) // 2)
        return float((x**j * w).sum())

    def quadrature(self, points: int = 8) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        r"""(x, w) with int u f = sum_i u(x_i) w_i: Gauss's rule on each piece, w holding the values of f.

        Exact where u is on each piece a polynomial with deg u + deg f < 2 points.
        """
        if points < 1:
            raise ValueError(f"A rule of quadrature has at least 1 point on each piece; got {points}.")
        node, weight = np.polynomial.legendre.leggauss(points)
        t = (node + 1) / 2
        values = np.polynomial.polynomial.polyval(t, self.coefficients.T)  # (pieces, points)
        x = self.start + self.step * (np.arange(len(values))[:, None] + t)
        return torch.from_numpy(x.ravel()), torch.from_numpy((values * weight * self.step / 2).ravel())

    def antiderivative(self, order: int = 1) -> Spline:
        r"""phi_alpha: F with F^(order) = f and compact support, F(x) = int_{-inf}^x f, again and again.   Prop 4.2

        It exists where the moments 0, ..., order - 1 vanish, and its support is that of f.
        Raises ValueError where one of them does not.
        """
        if not order:
            return self
        if order < 0:
            raise ValueError(f"An antiderivative is taken order >= 0 times, alpha times for phi_alpha; got {order}.")
        c = np.pad(self.coefficients / np.arange(1, self.degree + 2) * self.step, ((0, 0), (1, 0)))
        mass = c.sum(axis=1)
        if abs(mass.sum()) > ROUNDING * max(np.abs(mass).sum(), np.abs(c).max()):
            raise ValueError(
                f"The antiderivative of a function with integral {mass.sum():.4g} is this constant right of its "
                f"support, so it has no compact support. A framelet has a phi_alpha for alpha up to its number of "
                "vanishing moments: take a lower order, or another filter."
            )
        c[1:, 0] = np.cumsum(mass)[:-1]
        return Spline(c, self.start, self.step).antiderivative(order - 1)

    def derivative(self, order: int = 1) -> Spline:
        r"""The weak derivative f^(order), for a continuous f (whose derivatives below `order` are continuous too).

        Raises ValueError at a jump: the derivative of a jump is no function.
        """
        if order < 0:
            raise ValueError(f"A derivative is taken order >= 0 times; got {order}.")
        f = self
        for _ in range(order):
            c = f.coefficients
            jump = np.append(c[:, 0], 0) - np.insert(c.sum(axis=1), 0, 0)  # the value right of a knot less the left one
            worst = int(np.abs(jump).argmax())
            if abs(jump[worst]) > ROUNDING * np.abs(c).max():
                raise ValueError(
                    f"A function that jumps has no weak derivative among the functions; this one jumps by "
                    f"{jump[worst]:.4g} at x = {f.start + worst * f.step:g}. Take a spline of higher order."
                )
            slope = c[:, 1:] * np.arange(1, c.shape[1]) / f.step
            f = Spline(slope if slope.size else np.zeros((len(c), 1)), f.start, f.step)
        return f

    # ---- dilates and shifts -------------------------------------------------------------------------------------

    def scaled(self, a: float | int, b: float | int = 0.0, c: float | int = 1.0) -> Spline:
        r"""x -> c f(a x - b), a > 0: phi_{n,k} = 2^{n/2} phi(2^n x - k) is phi.scaled(2**n, k, 2**(n / 2))."""
        if not a > 0:
            raise ValueError(f"A spline is scaled by a factor a > 0, x -> c f(a x - b); got a={a}.")
        return Spline(c * self.coefficients, (self.start + b) / a, self.step / a)

    def at(self, n: int, k: int) -> Spline:
        r"""psi_{n-1,k} = 2^{n/2-1} psi(2^{n-1} x - k/2), one factor of the paper's tensor product.   Prop 4.2"""
        return self.scaled(2.0 ** (n - 1), k / 2, 2.0 ** (n / 2 - 1))


def refinable(order: int) -> Spline:
    r"""phi = B_m: the box convolved m - 1 times with itself, centred at 0 (even m) or at 1/2 (odd m).   Ex 2.1

    B_m(x) = (1/(m-1)!) sum_k (-1)^k binom(m, k) (x + floor(m/2) - k)_+^{m-1}, and p = bspline(m)[0] refines it.

    >>> refinable(4)
    Spline(degree 3 on [-2, 2], knots 1 apart)
    """
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"The order m of a B-spline function is an integer >= 1 (1 box, 2 hat); got {order!r}.")
    phi = Spline([[1.0]])
    for _ in range(order - 1):  # B_m' = B_{m-1} - B_{m-1}(. - 1), all supported from 0 on
        c = np.pad(phi.coefficients, ((0, 1), (0, 0)))
        phi = Spline(c - np.roll(c, 1, axis=0)).antiderivative()
    return Spline(phi.coefficients, -(order // 2))


def framelet(q: Filter, phi: Spline) -> Spline:
    r"""psi(x) = 2 sum_k q[k] phi(2x - k); for q = p, the low-pass filter of phi, it is phi itself.   Ex 2.1, Prop 4.2

    q     a one-dimensional filter: a framelet in the plane is a product of two of these
    phi   a spline with knots at multiples of its step, and a step that divides 1, such as `refinable(m)`

    >>> framelet(Filter([0.5, -0.5]), refinable(1))(torch.tensor([0.25, 0.75]))     # Haar
    tensor([ 1., -1.])
    """
    per_tap = 1 / phi.step
    if q.ndim != 1:
        raise ValueError(
            f"A framelet is made of a one-dimensional filter, in the plane it is a product; got dimension {q.ndim}."
        )
    if per_tap != round(per_tap):
        raise ValueError(f"The knots of phi must repeat after 1, so 1 / step is whole; got step={phi.step:g}.")
    shift, pieces = round(per_tap), len(phi.coefficients)
    c = np.zeros(((len(q.taps) - 1) * shift + pieces, phi.degree + 1))
    for i, tap in enumerate(q.taps):
        c[i * shift : i * shift + pieces] += 2 * tap * phi.coefficients
    return Spline(c, (phi.start + q.origin[0]) / 2, phi.step / 2)


def inner(u: Callable[..., Tensor], *factors: Spline, points: int = 8) -> Float[Tensor, ""]:
    r"""<u, f_1 x ... x f_d> = int u(x_1, ..., x_d) f_1(x_1) ... f_d(x_d) dx, by Gauss's rule on the pieces' products.

    u        a function of d float64 tensors that broadcast, vectorised and smooth between the knots
    points   of the rule, along each axis of each piece

    >>> inner(lambda x: x, refinable(1))                                            # the mean of x over [0, 1]
    tensor(0.5000, dtype=torch.float64)
    """
    if not factors:
        raise ValueError("An inner product needs one spline for each variable of u; got 0 splines. Add a factor.")
    rules = [f.quadrature(points) for f in factors]
    value = u(*torch.meshgrid(*[x for x, _ in rules], indexing="ij"))
    for _, w in reversed(rules):
        value = value @ w
    return value
