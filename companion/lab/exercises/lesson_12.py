r"""Lesson 12, filters that learn derivatives. The checks: a moment matrix, a filter, stars, a step, a sign.

Notebook: 12.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import central, moment_matrix
from companion.lab.check import exercise
from companion.lab.diagnose import same
from companion.lab.exercises.lesson_09 import judge, several

SHARR = torch.tensor([[3.0, 10.0, 3.0], [0.0, 0.0, 0.0], [-3.0, -10.0, -3.0]], dtype=torch.float64) / 32


def as_table(answer: Any, shape: tuple[int, ...], name: str) -> tuple[Tensor | None, str | None]:
    """A list, array or tensor of real numbers in float64, or what is wrong with it."""
    try:
        found = torch.as_tensor(np.asarray(answer, dtype=np.float64))
    except (TypeError, ValueError):
        return None, f"{name} must be numbers in the shape {shape}"
    if found.shape != shape:
        return None, f"{name} has shape {tuple(found.shape)}; it must have shape {shape}"
    return found, None


@exercise(
    title="12.1 a moment matrix",
    expects=(list, tuple, np.ndarray, Tensor),
    hints=[
        "The filter is a product, q[k_1] p[k_2], with q = (1, 0, -1)/2 and p = (3, 10, 3)/16. So m_ij = m_i(q) m_j(p).",
        "m_i(q) = 0, -1, 0: the upper tap, at k_1 = -1, is positive. And m_j(p) = 1, 0, (3 + 3)/16/2.",
    ],
    praise="minus d/dx by (1), to second order; plus by a true convolution, for which Scharr's filter is meant",
)
def matrix(answer: Any) -> str | None:
    """M of SHARR: -1 at (1, 0), -3/16 at (1, 2)."""
    found, words = as_table(answer, (3, 3), "M")
    if found is None:
        return words
    right = moment_matrix(SHARR)
    if torch.allclose(found, right, atol=1e-9):
        return None
    factorials = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64)
    slips: dict[str, Callable[[Tensor], Tensor]] = {
        "k runs over 0, 1, 2 here; 0 belongs in the middle": lambda M: moment_about(SHARR, 1),
        "the factor 1/(i! j!) is missing": lambda M: M * torch.outer(factorials, factorials),
        "the sign is reversed: the upper row, k_1 = -1, is the positive one": lambda M: -M,
        "rows and columns are exchanged: the first index of m_ij belongs to k_1, the row": lambda M: M.mT,
    }
    for several_slips in (*itertools.combinations(slips, 1), *itertools.combinations(slips, 2)):
        wrong = right
        for slip in several_slips:
            wrong = slips[slip](wrong)
        if torch.allclose(found, wrong, atol=1e-9):
            return "; and ".join(several_slips)
    i, j = divmod(int((found - right).abs().argmax()), 3)
    off = float(found[i, j] - right[i, j])
    return f"m_{i}{j} is {found[i, j]:.4g}; that is not it" + ("; give it exactly" if abs(off) < 0.006 else "")


def moment_about(q: Tensor, shift: int) -> Tensor:
    """The moments with k - shift counted from the first tap on: k = 0, 1, ... for shift = N // 2."""
    k = torch.arange(len(q), dtype=torch.float64) - len(q) // 2 + shift
    A = torch.stack([k**i / math.factorial(i) for i in range(len(q))])
    return A @ q @ A.mT


@exercise(
    title="12.2 a filter by its moments",
    expects=(list, tuple),
    hints=[
        "By (2), q = B_1 + m_2 B_2 with B_1 = (-1, 0, 1)/2 and B_2 = (1, -2, 1).",
        "The left tap is -1/2 + m_2.",
    ],
    praise="one star, and the central difference becomes the one-sided one, of first order with m_2 = 1/2",
)
def one_sided(answer: Any) -> str | None:
    """(m_2, taps) = (1/2, (0, -1, 1))."""
    answer, words = several(answer, "m_2, taps", 2)
    if words:
        return words
    m_2, taps = answer
    found, words = as_table(taps, (3,), "the filter")
    if found is None:
        return words
    words = judge(m_2, 0.5, "m_2", {
        1.0: "this is sum k^2 q[k]; (5.6) divides by 2!",
        -0.5: "this makes the right tap 0: the difference looks back",
        0.0: "this is the central difference, whose left tap is -1/2",
        0.25: "1/2! is already in B_2, whose m_2 is 1",
    }, "with it the left tap -1/2 + m_2 is not 0")  # fmt: skip
    return words or same(found, torch.tensor([0.0, -1.0, 1.0], dtype=torch.float64), name="the filter")


@exercise(
    title="12.3 counting stars",
    expects=(list, tuple, np.ndarray, Tensor),
    hints=[
        "Fixed are the entries with i + j < s + r: 1 + 2 + ... + (s + r) of them.",
        "For the fourth: k^3 = k and k^4 = k^2 on three taps. Which moments of (1, -2, 1) beyond the matrix are not 0?",
        "m_30 = m_10/6 = 0 and m_40 = sum k^4 q/24 = 2 m_20/24 = 1/12: (3) fails at |beta| = 4.",
    ],
    praise="the last one has s + r = 4 > 3: symmetry gives an order that (4) does not count",
)
def stars(answer: Any) -> str | None:
    """(15, 8, 39, 2)."""
    answer, words = several(answer, "(a), (b), (c), (d)", 4)
    if words:
        return words
    cases = (
        (15, {10: "this many are fixed", 19: "order 1 and accuracy 2; here the order is |(1, 1)| = 2"}),
        (8, {1: "this many are fixed: only m_00", 9: "one entry is fixed: m_00 = 1", 6: "s + r = 1 here, not 2"}),
        (39, {10: "this many are fixed", 15: "this is for 5 x 5 taps", 34: "s + r = 4 here, not 5"}),
        (2, {
            1: "m_30 = m_10/6 is 0 of itself, since k^3 = k",
            3: "m_40 = 2 m_20/24 = 1/12 is not 0",
            4: "m_40 = 2 m_20/24 = 1/12 is not 0",
        }),
    )  # fmt: skip
    for value, (right, slips), name in zip(answer, cases, "abcd", strict=True):
        words = judge(value, float(right), f"({name})", {float(k): slip for k, slip in slips.items()})
        if words:
            return words
    return None


@exercise(
    title="12.4 what the step stands for",
    expects=Callable,
    hints=[
        "The filter gives h^-1 Q u = u_x + m_2 h u_xx + ...: so F = a d_x + a m_2 h d_xx + ...",
        "One step is 1 + dt F, and e^(dt L) = 1 + dt L + dt^2/2 L^2 + ...: L = F - dt/2 F^2 + ...",
        "F^2 begins with a^2 d_xx.",
    ],
    praise="numerical diffusion of the filter, less what Euler takes away: with m_2 = 1/2 it is >= 0 for "
    "0 <= a dt <= h, the CFL condition",
)
def diffusion(answer: Callable[..., Any]) -> str | None:
    """D = a m_2 h - dt a^2 / 2."""
    for a, m_2, h, dt in ((0.7, 0.5, 0.1, 0.03), (-1.3, 0.2, 0.25, 0.1)):
        filters, euler = a * m_2 * h, a**2 * dt / 2
        other = {p[0] * p[1] * p[2] - p[0] ** 2 * p[3] / 2 for p in itertools.permutations((a, m_2, h, dt))}
        words = judge(answer(a, m_2, h, dt), filters - euler, "D", {
            filters + euler: "the sign of Euler's part: one step is 1 + dt F = e^(dt L), so L = F - dt/2 F^2",
            euler - filters: "the sign of both parts is reversed",
            filters: "this is the filter's part; Euler's is missing",
            -euler: "this is Euler's part; the filter's is missing",
            filters / 2 - euler: "the 1/2! is already in m_2, by (5.6)",
            a * m_2 - euler: "h^-1 Q u = u_x + m_2 h u_xx: a factor h is missing",
            m_2 * h - euler: "the filter's part is multiplied by a",
            filters - a * dt / 2: "F^2 begins with a^2 d_xx",
            filters - 2 * euler: "half of dt F^2",
        } | dict.fromkeys(other, "the arguments come in the order a, m_2, h, dt"),
            "add the filter's m_2 h u_xx, times a, and what Euler's step leaves",
        )  # fmt: skip
        if words:
            return f"for a = {a:g}, m_2 = {m_2:g}, h = {h:g}, dt = {dt:g}: {words}"
    return None


def correlated(u: np.ndarray, q: np.ndarray) -> Tensor:
    """sum_k q[k] u[n + k], periodic, by shifts.   (1)"""
    return torch.from_numpy(
        sum(q[k + 2, l + 2] * np.roll(u, (-k, -l), (0, 1)) for k in range(-2, 3) for l in range(-2, 3))
    )


@exercise(
    title="12.5 a true convolution",
    expects=Callable,
    hints=[
        "scipy.ndimage.convolve(u, q, mode='wrap') is sum_k q[k] u[n - k].",
        "Put q[-k] for q[k]: flip both axes. And divide by h to the order of the derivative.",
    ],
    praise="a flip makes a correlation of a convolution; for even orders q is its own flip, and nobody notices",
)
def convolved(answer: Callable[..., Any]) -> str | None:
    """d^alpha u by a true convolution with the flipped filter, over h^|alpha|."""
    n = 24
    h = 2 * math.pi / n
    x = h * np.arange(n)
    u = np.sin(x + 0.3)[:, None] * np.cos(2 * x + 0.1)
    for alpha in ((1, 0), (0, 1), (2, 1)):
        out, words = as_table(answer(u, alpha, h), (n, n), "the derivative")
        if out is None:
            return words
        q, order = central(alpha, 5).numpy(), sum(alpha)
        right = correlated(u, q) / h**order
        slips = {
            "the sign is reversed: this is sum_k q[k] u[n - k]": -right,
            "the factor h^-|alpha| is missing": right * h**order,
            "the sign is reversed and the factor h^-|alpha| missing": -right * h**order,
            "divide by h^|alpha|, not by h": right * h ** (order - 1),
        }
        if torch.allclose(out, right, atol=1e-8):
            continue
        if torch.allclose(out, -right, atol=1e-8) and alpha == (0, 1):  # (1, 0) was right
            return "for alpha = (0, 1): the sign is reversed: only the first axis is flipped; put q[-k_1, -k_2]"
        if torch.allclose(out, -right, atol=1e-8) and alpha == (1, 0):
            second, _ = as_table(answer(u, (0, 1), h), (n, n), "the derivative")
            if second is not None and torch.allclose(second, correlated(u, central((0, 1), 5).numpy()) / h, atol=1e-8):
                return "for alpha = (1, 0): the sign is reversed: only the second axis is flipped; put q[-k_1, -k_2]"
        for slip, wrong in slips.items():
            if torch.allclose(out, wrong, atol=1e-8):
                return f"for alpha = {alpha}: {slip}"
        return f"for alpha = {alpha}: {same(out, right, name='the derivative')}"
    return None
