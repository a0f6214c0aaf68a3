r"""Lesson 14, learned restoration. The checks: a number in bounds, a tight bank, when to stop, a scale, a new line.

Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import bspline
from companion.lab.check import exercise
from companion.lab.diagnose import described, same
from companion.lab.exercises.lesson_09 import judge
from companion.lab.leaderboard import entry, rows

f64 = torch.float64
ROWS = "orthonormal rows or columns are not asked for; sums along the diagonals of Q^T Q are, with and without signs"


@exercise(
    title="14.1 a number between two bounds",
    expects=Callable,
    hints=[
        "(2): the denominator is v_0/beta + (1 - v_0/beta) e^{-theta}.",
        "At theta = 0 the denominator is 1. For theta -> infinity it is v_0/beta, and v = beta.",
    ],
    praise="a step length learned so never crosses 2/|A|^2, and starts where the solver has it",
)
def between(answer: Callable[..., Any]) -> str | None:
    """v_0 / (v_0/beta + (1 - v_0/beta) e^{-theta})."""
    theta = torch.tensor([-3.0, -0.4, 0.0, 0.7, 5.0], dtype=f64)
    for v0, b in ((0.3, 2.0), (1.8, 2.0), (0.0, 1.0)):
        part = v0 / b
        right = v0 / (part + (1 - part) * torch.exp(-theta))
        slips = {
            "the sign of theta is reversed: v must grow with theta": v0 / (part + (1 - part) * torch.exp(theta)),
            "this is v_0 e^theta, which knows no bound": v0 * theta.exp(),
            "cut off at beta it has the derivative 0 beyond, and can never come back": (v0 * theta.exp()).clamp(max=b),
            "this lies between 0 and beta, but at theta = 0 it is beta/2, not v_0": b * theta.sigmoid(),
            "at theta = 0 this is not v_0: 1 - v_0/beta, not 1, stands before the exponential": v0
            / (part + torch.exp(-theta)),
            "this lies between 0 and 1: v_0/beta is the share of the bound": right / b,
        }
        words = named_slip(answer(theta, v0, b), right, slips, f"v_0 = {v0:g}, beta = {b:g}")
        if words:
            return words
    return None


def named_slip(answer: Any, right: Tensor, slips: dict[str, Tensor], where: str) -> str | None:
    """None for the right tensor, else the slip that gives this one, or how it differs."""
    try:
        found = torch.as_tensor(answer).detach().to(f64)
    except (TypeError, ValueError, RuntimeError):
        return f"for {where}: the answer is {described(answer)}; it must be {described(right)}"
    if found.shape == right.shape and torch.allclose(found, right, rtol=1e-6, atol=1e-9):
        return None
    for slip, wrong in slips.items():
        if found.shape == wrong.shape and torch.allclose(found, wrong, rtol=1e-6, atol=1e-9):
            return f"for {where}: {slip}"
    words = same(found, right, name="the answer")
    return f"for {where}: {words}" if words else None


def rotated(Q: Tensor, seed: int) -> Tensor:
    """C Q, C a random orthogonal matrix."""
    C = torch.linalg.qr(torch.randn(len(Q), len(Q), generator=torch.Generator().manual_seed(seed), dtype=f64)).Q
    return C @ Q


def banks() -> dict[str, Tensor]:
    """Filters with three taps as rows: a tight bank, the same mixed, one that meets the first condition only, none."""
    linear = torch.tensor(np.array([q.taps for q in bspline(2)]), dtype=f64)
    even = torch.eye(3, dtype=f64) / 3**0.5
    return {
        "the linear splines": linear,
        "the linear splines, mixed by an orthogonal matrix": rotated(linear, 0),
        "(1/3, 1/3, 1/3) on the diagonal of the Gram matrix": rotated(even, 1),
        "the splines with a tap 0.1 too large": linear + 0.1 * torch.eye(3, dtype=f64),
        "the splines with their first tap 0.1 too small": linear - 0.1 * torch.eye(9, dtype=f64)[0].view(3, 3),
        "the splines times 0.9": 0.9 * linear,
    }


def gaps(Q: Tensor) -> tuple[float, float]:
    """The largest violations of the two conditions, by plain sums."""
    first, second = misses(Q)
    return max(map(abs, first)), max(map(abs, second))


def misses(Q: Tensor, wrapped: bool = False) -> tuple[list[float], list[float]]:
    """Left side less right side of both conditions, for each n; wrapped: with k + n modulo the length, a slip."""
    r, N = Q.shape
    found = []
    for sign in (1, -1):
        sums = {
            n: sum(
                sign**k * float(Q[i, (k + n) % N] * Q[i, k])
                for i in range(r)
                for k in range(N)
                if wrapped or 0 <= k + n < N
            )
            for n in range(1 - N, N)
        }
        found.append([s - (n == 0 and sign > 0) for n, s in sums.items()])
    return found[0], found[1]


@exercise(
    title="14.2 how far from tight",
    expects=Callable,
    hints=[
        "G = Q.T @ Q. The first sum over k of G[k + n, k] is the n-th diagonal: torch.diagonal(G, -n).",
        "In the second sum the k-th entry of that diagonal has the sign (-1)^k, and delta_n is missing on the right.",
        "Both conditions, all n from -2 to 2; max of the absolute values.",
    ],
    praise="it does not move under C, and any tap for itself moves it: so learn C, not taps",
)
def defect(answer: Callable[..., Any]) -> str | None:
    """The largest violation of (3) by the rows of Q."""
    for name, Q in banks().items():
        (first, second), around = gaps(Q), misses(Q, wrapped=True)
        words = judge(answer(Q.clone()), max(first, second), "the largest violation", {
            first: "this is the first condition alone",
            second: "this is the second condition alone",
            max(first, second + 1): "delta_n stands in the first condition only",
            first + second: "the larger of the two, not their sum",
            max(max(part) for part in misses(Q)): "the absolute value is missing",
            max(abs(miss) for part in around for miss in part): "the indices wrap around: leave out k + n < 0 and > 2",
            float((Q @ Q.T - torch.eye(len(Q), dtype=f64)).abs().max()): ROWS,
            float((Q.T @ Q - torch.eye(Q.shape[1], dtype=f64)).abs().max()): ROWS,
        }, "it is 0 for a tight bank" if first + second < 1e-9 else "")  # fmt: skip
        if words:
            return f"for {name}: {words}"
    return None


@exercise(
    title="14.3 what going on is worth",
    expects=Callable,
    hints=[
        "Start at the end: from K - 1 there is one step left, and Q_{K-1} = r_K = l_{K-1} - l_K - c.",
        "From k one goes on to k + 1 for r_{k+1}, and there one goes on or stops, for 0: max(0, Q_{k+1}).",
    ],
    praise="the rewards telescope, so Q_k is l_k less the least of all later l_m + c (m - k)",
)
def values(answer: Callable[..., Any]) -> str | None:
    """[Q_0, ..., Q_{K-1}] of (6)."""
    for losses, c in (([9.0, 4.0, 2.0, 3.0, 2.5], 0.0), ([5.0, 5.5, 3.0, 3.2, 2.9, 2.8], 0.15)):
        l = torch.tensor(losses, dtype=f64)
        K = len(l) - 1

        def worth(c: float, l: Tensor = l, K: int = K, floor: bool = True, total: bool = True) -> Tensor:
            Q = [float(l[K - 1] - l[K]) - c]
            for k in range(K - 2, -1, -1):
                later = max(0.0, Q[0]) if floor else Q[0]
                Q.insert(0, float(l[k] - l[k + 1]) - c + (later if total else 0.0))
            return torch.tensor(Q, dtype=f64)

        right = worth(c)
        slips = {
            "the sign: a loss that falls is a reward": -right,
            "the later values are missing: this is the reward of one step": worth(c, total=False),
            "one may stop later on: max(0, Q_{k+1}), not Q_{k+1}": worth(c, floor=False),
            "in the reverse order: Q_0 comes first": right.flip(0),
        }
        if c:
            slips |= {"the cost c of a step is missing": worth(0.0), "the cost is taken from the reward": worth(-c)}
        words = named_slip(answer(list(losses), c), right, slips, f"losses {losses} and c = {c:g}")
        if words:
            return words
    return None


def soft(f: Tensor) -> Tensor:
    """Soft thresholding by 0.3, which stands for a net that was trained at sigma = 0.1."""
    return f.sign() * (f.abs() - 0.3).clamp(min=0)


@exercise(
    title="14.4 another level of noise",
    expects=Callable,
    hints=[
        "Bring the data to the noise that the net knows: what is f sigma_0 / sigma_1?",
        "Then bring the picture back. For thresholds this is the net with c lambda, c = sigma_1 / sigma_0.",
    ],
    praise="no weight was touched; whether it is a good idea is measured in section 4",
)
def rescaled(answer: Callable[..., Any]) -> str | None:
    """c net(f / c), c = sigma_1 / sigma_0."""
    f = torch.linspace(-2, 2, 24, dtype=f64).reshape(4, 6)
    for s0, s1 in ((0.1, 0.25), (0.1, 0.05)):
        c = s1 / s0
        slips = {
            "this is the net as it is": soft(f),
            "the factor is upside down: more noise asks for larger thresholds": soft(c * f) / c,
            "the picture has to be scaled back": soft(f / c),
            "the factor is upside down, and the picture has to be scaled back": soft(c * f),
            "the data were not scaled, the picture was": c * soft(f),
            "scaled twice the same way: forth by 1/c, back by c": soft(f / c) / c,
            "variances are not asked: thresholds scale like sigma": c**2 * soft(f / c**2),
        }
        words = named_slip(answer(soft, f, s0, s1), c * soft(f / c), slips, f"sigma_0 = {s0:g}, sigma_1 = {s1:g}")
        if words:
            return words
    return None


LEAST = 27.8  # dB: what this asks for on "denoise .1", above total variation


@exercise(
    title="14.5 your line",
    expects=Callable,
    hints=[
        "The data are (*batch, 128, 128). A frame of companion takes batches; so does `dct(5)` for it.",
        "d = V(f); keep the average band, and of the others what exceeds weight * sigma * V.gains; V.T(d).",
        "A hard threshold is near 3 times the noise in the band.",
    ],
    praise="the weight was chosen on the four training photographs, and the line is yours",
)
def line(answer: Callable[..., Any]) -> str | None:
    """A method of at least 27.8 dB on "denoise .1", by the leaderboard's procedure."""
    try:
        row = entry("yours", answer, "denoise .1", span=(0.2, 8.0))
    except ValueError as error:
        return str(error)
    if row.psnr >= LEAST:
        return None
    below = sum(other.psnr < row.psnr for other in rows("denoise .1"))
    near = ", at an end of the span" if row.weight is not None and not 0.25 < row.weight < 6.5 else ""
    return (
        f"{row.psnr:.2f} dB with the weight {row.weight:g}{near}; asked for are {LEAST:g}. It beats {below} of "
        f"{len(rows('denoise .1'))} stored lines"
    )
