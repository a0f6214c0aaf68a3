r"""Lesson 02, framelets. Each check looks at an answer as a teacher would, and says what is wrong with it.

A check is a diagnosis `answer -> None (right) | sentence`, decorated by `exercise`; the lesson calls it with the
learner's answer. Wrong answers are recognised by what they do (a missing factor, a flipped filter, an average
thresholded), not compared with the one solution.

Notebook: 02.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from companion import Filter, FrameletTransform, GaussianNoise, bspline, extension_residual
from companion.lab.check import exercise
from companion.lab.diagnose import adjoint_gap, described, same
from companion.lab.images import camera, psnr, texture


@exercise(
    title="02.1 complete the bank",
    expects=(list, tuple),
    hints=[
        "The closed form: q_2 comes from (1 + z)(1 - z)^2 and q_3 from (1 - z)^3, up to factors.",
        "The factors are sqrt(binom(3, 2)) / 8 and sqrt(binom(3, 3)) / 8; the signs are free.",
    ],
    praise="the UEP holds, for the functions too; any sign of a filter would do",
)
def quadratic_bank(answer: Sequence[Sequence[float]]) -> str | None:
    """(q_2, q_3) of the quadratic bank, four taps each, at k = -1, 0, 1, 2."""
    if len(answer) != 2 or any(np.shape(q) != (4,) for q in answer):
        return f"the answer is two lists of four taps, q_2 and q_3; got shapes {[np.shape(q) for q in answer]}"
    p, q1, *_ = bspline(3)
    q2, q3 = (Filter(q, -1) for q in answer)
    for name, q in (("q_2", q2), ("q_3", q3)):
        if abs(q.taps.sum()) > 1e-9:
            return f"{name} must be a high-pass: its taps sum to {q.taps.sum():.3g}, not 0"
    first, second = extension_residual((p, q1, q2, q3))
    if first < 1e-9 and second < 1e-9:
        return None
    half, whole = (sum(float(abs(q.symbol(w)) ** 2) for q in (p, q1, q2, q3)) for w in (np.pi / 2, np.pi))
    if extension_residual((p, q1, Filter(sqrt(3) * q2.taps, -1), q3))[0] < 1e-9:
        return f"q_2 lacks its factor sqrt(binom(3, 2)): the sum of |q^|^2 at w = pi/2 is {half:.3g}, not 1"
    if first < 1e-9:
        return f"W reconstructs, but the second condition of the UEP, which psi needs, is off by {second:.2g}"
    if abs(whole - 1) > 1e-9:
        return f"at w = pi the sum of |q_l^|^2 is {whole:.3g}, not 1; there only q_3 is alive: is its factor 1/8?"
    return f"the sum of |q_l^(w)|^2 is not 1 everywhere: at w = pi/2 it is {half:.3g}"


@exercise(
    title="02.2 the adjoint",
    expects=Callable,
    hints=[
        "W^T is the sum over the bands of the adjoint of each correlation, and (u[n + 1])^T is d[n - 1].",
        "torch.roll(d, 1) is d[n - 1]; torch.roll(d, -1) is d[n + 1].",
    ],
    praise="<Wu, d> = <u, W^T d>, and W^T W u = u comes for free",
)
def haar_adjoint(WT: Callable[[Tensor], Tensor]) -> str | None:
    """W^T of the one-level Haar transform on a circle: d of shape (2, N) -> (N,)."""
    W = FrameletTransform(bspline(1), dim=1)
    generator = torch.Generator().manual_seed(0)
    u, d = torch.randn(16, generator=generator).double(), torch.randn(2, 16, generator=generator).double()
    out = WT(d)
    if not isinstance(out, Tensor) or out.shape != (16,):
        return f"W^T takes (2, N) to (N,); for N = 16 it gave {described(out)}"
    right = W.T(d)
    if (out - right).norm() < 1e-9 * right.norm():
        return None
    gap = adjoint_gap(W, WT, u)
    low, high = d
    flipped = (low + low.roll(-1) + high - high.roll(-1)) / 2
    if (out - flipped).norm() < 1e-9:
        return (
            f"your filters are not flipped: <Wu, d> and <u, W'd> differ by {gap:.2g}. W' moves u[n + 1] back to n + 1"
        )
    if (2 * right - out).norm() < 1e-9 or (right / 2 - out).norm() < 1e-9:
        factor = float(out @ right / (right @ right))
        return f"right but for a factor: <u, W'd> is {factor:.2g} times <Wu, d>; each tap is 1/2"
    for name, part in (
        ("low-pass", W.T(d * torch.tensor([[1.0], [0.0]]))),
        ("high-pass", W.T(d * torch.tensor([[0.0], [1.0]]))),
    ):
        if (out - part).norm() < 1e-9:
            return f"only the {name} band comes back: W' is the sum over both bands"
    sign = W.T(d * torch.tensor([[1.0], [-1.0]]))
    if (out - sign).norm() < 1e-9:
        return "the sign of the high-pass band is reversed: its taps are +1/2 at k = 0 and -1/2 at k = 1"
    return f"<Wu, d> and <u, W'd> differ by {gap:.2g} (relative to |Wu||d|)"


@exercise(
    title="02.3 a trous",
    expects=Callable,
    hints=[
        "(2.2) for L = 1: first average with p, then apply q_1 with its taps two samples apart.",
        "a = (u + torch.roll(u, -1)) / 2; then q_1 dilated by 2 has its taps at k = 0 and k = 2.",
    ],
    praise="this is (2.2) with its index order put right",
)
def second_level(answer: Callable[[Tensor], Tensor]) -> str | None:
    """W_{1,1} u of the Haar bank in one dimension: the detail band of level 1."""
    u = torch.randn(32, generator=torch.Generator().manual_seed(1)).double()

    def q(v: Tensor, sign: int, step: int) -> Tensor:
        return (v + sign * v.roll(-step)) / 2

    out = answer(u)
    if not isinstance(out, Tensor) or out.shape != u.shape:
        return f"a band has the shape of the signal, (32,); got {described(out)}"
    mistakes = {
        "you did not average first: this is q_1 dilated, applied to u itself": q(u, -1, 2),
        "this is level 0, W_{1,0}: nothing is averaged and nothing dilated": q(u, -1, 1),
        "the filter of level 1 is not dilated: its taps must be 2^1 samples apart": q(q(u, 1, 1), -1, 1),
        "you dilated the average too: at level 0 the taps of p are neighbours": q(q(u, 1, 2), -1, 2),
        "this is the average a_1, not the detail: the last filter is q_1 = [1, -1]/2": q(q(u, 1, 1), 1, 2),
        "dilation by 2 subsamples nothing: keep every sample, only the taps move apart": q(q(u, 1, 1), -1, 4),
        "the sign is reversed: q_1 is +1/2 at k = 0 and -1/2 at k = 1": -q(q(u, 1, 1), -1, 2),
    }
    if same(out, q(q(u, 1, 1), -1, 2), 1e-9) is None:
        return None
    for words, wrong in mistakes.items():
        if (out - wrong).norm() < 1e-9:
            return words
    return same(out, q(q(u, 1, 1), -1, 2), 1e-9)


@exercise(
    title="02.4 restore a photograph",
    expects=Callable,
    hints=[
        "One level averages over 2 x 2 pixels only; noise has low frequencies too: take two or three levels.",
        "Give each band a threshold in units of its noise, lam = c * sigma * W.gains, and shrink with Soft or Hard.",
        "Soft with c = 1.5 or Hard with c = 3 passes, for two levels and more.",
    ],
    praise="on a photograph and a noise it was not tuned on, too",
)
def restoration(answer: Callable[[Tensor], Tensor]) -> str | None:
    """f -> u by framelet shrinkage: 27.5 dB on the photograph, sigma = 0.1, for noise the learner has not seen."""
    u, other = camera(256).float(), texture(256).float()
    f = GaussianNoise(0.1, seed=7)(u)
    out = answer(f)
    if not isinstance(out, Tensor) or out.shape != u.shape:
        return f"the restored picture must have the shape {tuple(u.shape)}; got {described(out)}"
    if abs(float(out.mean() - f.mean())) > 1e-3:
        return (
            f"the mean grey value went from {float(f.mean()):.3f} to {float(out.mean()):.3f}: the average band was "
            "thresholded (W.weights(lam) has 0 there), or W^T is not applied to all bands"
        )
    value, before = psnr(out, u), psnr(f, u)
    if value < before + 0.1:
        return f"PSNR {value:.2f} dB, no better than the noisy picture ({before:.2f} dB): is the threshold too small?"
    if value < 27.5:
        rough = float((out - out.roll(1, -1)).abs().mean() / (u - u.roll(1, -1)).abs().mean())
        cause = (
            "still rough: raise the threshold"
            if rough > 1.2
            else "too smooth: lower the threshold"
            if rough < 0.75
            else "close"
        )
        measured = f"neighbours differ {rough:.2f} times as much as in the clean picture"
        return f"PSNR {value:.2f} dB, and 27.5 is asked for; the result is {cause} ({measured})"
    g = GaussianNoise(0.1, seed=8)(other)
    gain = psnr(answer(g), other) - psnr(g, other)
    if gain < 1:
        return f"on another picture it gains only {gain:.2f} dB: does it use something of this one, u itself perhaps?"
    return None
