r"""gamma = 1 - C tau: momentum is friction.   (4.7), (4.8)

The accelerated iteration (4.7) adds gamma (u^{k-1} - u^{k-2}) to u^{k-1}, the damped wave (4.8) slows down by C u_t.
With a time step tau, gamma = 1 - C tau: gamma = 1 is no friction, gamma = 0 so much of it that nothing is left of a
velocity after one step. Nesterov's gamma^k = (k-1)/(k+2) is a friction that falls with time, C(t) = 3/t.

Stability of (4.7), for constant levels and gamma. A mode that (I - mu A^T A) W~^T S W multiplies by a real a <= 1 obeys

    z^2 - a (1 + gamma) z + a gamma = 0,

and for 0 <= gamma <= 1 both roots lie in |z| <= 1 exactly if a >= -1 / (1 + 2 gamma): their product a gamma is at most
1 in modulus, the left side is 1 - a >= 0 at z = 1, and it must be >= 0 at z = -1. Without data a = 1 - level |q^|^2, so

    level |q^|^2 <= (2 + 2 gamma) / (1 + 2 gamma) = cfl(gamma),   from 2 (gamma = 0) down to 4/3 (gamma = 1).

For Haar with g = 1 the level is 4 tau^2/h^2: tau <= h/sqrt 3 as C -> 0. A data term with mu |A|^2 <= 1 asks for nothing
more: for a symmetric B the eigenvalues of (I - mu A^T A) B are real and not below min(0, least eigenvalue of B).

The heavy ball takes F at u^{k-1}, not at the extrapolated picture: z^2 - (1 + gamma - tau^2 w^2) z + gamma = 0, stable
for tau^2 w^2 <= 2 + 2 gamma, for Haar up to tau = h.

Paper: (4.7), (4.8).  Notebook: 09.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def nesterov(k: Any) -> Any:
    """gamma^k = (k - 1) / (k + 2), k = 0, 1, ...; (1 - gamma^k) / tau = 3 / ((k + 2) tau), C(t) = 3/t.   (4.7)

    gamma^0 = -1/2 acts on u^0 - u^{-1} = 0.
    """
    return (k - 1) / (k + 2)


def momentum(C: float, tau: float) -> float:
    """gamma = 1 - C tau, for a friction C >= 0 with C tau <= 1.   (4.7), (4.8)

    >>> momentum(C=2.0, tau=0.25)
    0.5
    """
    if not (tau > 0 and 0 <= C * tau <= 1):
        raise ValueError(
            f"The momentum gamma = 1 - C tau lies in [0, 1], so tau > 0 and 0 <= C tau <= 1; got C={C:g}, tau={tau:g}. "
            "Within one time step the friction must not turn the velocity round: take a smaller one."
        )
    return 1 - C * tau


def friction(gamma: float, tau: float) -> float:
    """C = (1 - gamma) / tau: the inverse of `momentum`.   (4.7), (4.8)"""
    if not tau > 0:
        raise ValueError(f"The friction C = (1 - gamma) / tau needs a time step tau > 0; got tau={tau:g}.")
    return (1 - gamma) / tau


def cfl(gamma: float) -> float:
    r"""(2 + 2 gamma) / (1 + 2 gamma): the largest stable level |q^|^2 of (4.7), for 0 <= gamma <= 1.

    >>> cfl(0.0), cfl(1.0)
    (2.0, 1.3333333333333333)
    """
    gamma = float(check_gamma(gamma))
    return (2 + 2 * gamma) / (1 + 2 * gamma)


def max_tau(bound: float, C: float | None = None) -> float:
    r"""The largest tau with tau^2 bound <= cfl(1 - C tau): the CFL condition of (4.7) as a scheme for (4.8).

    bound  max g sup |grad|^2, with FrameGradient.bound for the second factor: 4/h^2 for Haar, 1/h^2 for linear splines
    C      the friction; None is 3/t, whose gamma^k -> 1 asks for tau^2 bound <= 4/3

    With x = C tau it says bound/C^2 <= (1 + 1/(3 - 2 x)) / x^2. The right side falls for 0 < x <= 1, to 2: so for bound
    <= 2 C^2 every tau <= 1/C is stable, and otherwise the largest is the one x with equality.

    Raises ValueError unless bound > 0 and C >= 0.

    >>> round(max_tau(4.0), 4), round(max_tau(4.0, C=1.0), 4), max_tau(4.0, C=2.0)
    (0.5774, 0.6271, 0.5)
    """
    if not (0 < bound < math.inf and (C is None or C >= 0)):
        raise ValueError(
            "A largest tau exists for a finite bound max g |grad|^2 > 0 and a friction C >= 0; got "
            f"bound={bound:g}, C={C}."
        )
    if not C:
        return math.sqrt(cfl(1.0) / bound)
    low, high = 0.0, 1 / C
    if high**2 * bound <= cfl(0.0):
        return high
    for _ in range(60):
        tau = (low + high) / 2
        low, high = (tau, high) if tau**2 * bound <= cfl(1 - C * tau) else (low, tau)
    return low


def check_gamma(gamma: float) -> Tensor:
    """A number in [0, 1], in float64."""
    if not 0 <= gamma <= 1:
        raise ValueError(
            f"A constant momentum gamma lies in [0, 1]; got {gamma}. A mode that is neither shrunk nor measured has "
            "the roots 1 and gamma: it grows for gamma > 1, and gamma < 0 turns the velocity round at every step."
        )
    return torch.as_tensor(gamma, dtype=torch.float64)
