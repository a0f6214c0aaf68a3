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
from companion.lab.images import camera, texture
from companion.lab.quality import psnr


@exercise(
    title="02.1 complete the bank",
    expects=(list, tuple),
    hints=[
        "Which factors (1 + z) and (1 - z) does (1) give each filter? At w = pi, z = -1, only one filter is alive.",
        "q_2 comes from (1 + z)(1 - z)^2 and q_3 from (1 - z)^3, up to factors.",
        "The factors are sqrt(binom(3, 2)) / 8 and sqrt(binom(3, 3)) / 8; the signs are free.",
    ],
    praise="both halves of the UEP hold; q_2 has two vanishing moments, q_3 three",
)
def quadratic_bank(answer: Sequence[Sequence[float]]) -> str | None:
    """(q_2, q_3) of the quadratic bank, four taps each, at k = -1, 0, 1, 2."""
    if len(answer) != 2 or any(np.shape(q) != (4,) for q in answer):
        return f"the answer is two lists of four taps, q_2 and q_3; this is {[described(q) for q in answer]}"
    p, q1, *_ = bspline(3)
    q2, q3 = (Filter(q, -1) for q in answer)
    for name, q in (("q_2", q2), ("q_3", q3)):
        if abs(q.taps.sum()) > 1e-3:
            return f"{name} must be a high-pass: its taps sum to {q.taps.sum():.3g}, not 0"
    first, second = extension_residual((p, q1, q2, q3))
    if max(first, second) < 1e-6:
        there = float(abs(q2.symbol(np.pi)))
        if there < 1e-6:
            return None
        return (
            f"both halves of the UEP hold, as for every orthogonal mixture of the two, but (1) gives q_2 the factor "
            f"(1 + z): it vanishes at w = pi, and this is {there:.3g} there"
        )
    if max(first, second) < 2e-3:
        return f"right but rounded, the UEP is off by {max(first, second):.0e}: write 3**0.5 / 8, not its digits"
    for factor, words in ((sqrt(3), "lacks its factor"), (1 / sqrt(3), "has 3 where it needs")):
        if extension_residual((p, q1, Filter(factor * q2.taps, -1), q3))[0] < 1e-6:
            return f"q_2 {words} sqrt(binom(3, 2)) = sqrt(3)"
    if first < 1e-6:
        return f"W reconstructs, but the second condition of the UEP, which psi needs, is off by {second:.2g}"
    at_pi = [float(abs(q.symbol(np.pi))) for q in (q2, q3)]
    if at_pi[0] > 1e-6:
        return f"q_2 has the factor (1 + z), so it vanishes at w = pi; add your taps with signs + - + -: {at_pi[0]:.3g}"
    if abs(at_pi[1] - 1) > 1e-6:
        return f"at w = pi only q_3 is alive, so |q_3^(pi)| = 1; yours is {at_pi[1]:.3g}: expand (1 - z)^3 / 8 again"
    half = sum(float(abs(q.symbol(np.pi / 2)) ** 2) for q in (p, q1, q2, q3))
    return f"the sum of |q_l^(w)|^2 is not 1 everywhere: at w = pi/2 it is {half:.3g}"


@exercise(
    title="02.2 the adjoint",
    expects=Callable,
    hints=[
        "Write <Wu, d> as a sum over n, and collect what multiplies u[n].",
        "For one band b: sum_n u[n+1] b[n] = sum_n u[n] b[n-1]. So each u[n+1] in W becomes a b[n-1] in W^T.",
        "low, high = d; torch.roll(low, 1) holds low[n-1]. (Roll one band at a time: without dims, torch.roll(d, 1) "
        "runs from one band into the other.)",
    ],
    praise="<Wu, d> = <u, W^T d> for every d; that W^T W u = u is the UEP's doing",
)
def haar_adjoint(WT: Callable[[Tensor], Tensor]) -> str | None:
    """W^T of the one-level Haar transform on a circle: d of shape (2, N) -> (N,)."""
    W = FrameletTransform(bspline(1), dim=1)
    generator = torch.Generator().manual_seed(0)
    u, d = torch.randn(16, generator=generator).double(), torch.randn(2, 16, generator=generator).double()
    out = WT(d)
    if not isinstance(out, Tensor):
        return f"return a torch tensor; this is {described(out)}"
    if out.shape != (16,):
        return f"W^T takes (2, N) to (N,); for N = 16 it gave {described(out)}"
    if out.dtype != d.dtype:
        return f"d is float64 and W^T d is {str(out.dtype).removeprefix('torch.')}: keep the type of what comes in"
    right = W.T(d)
    if (out - right).norm() < 1e-9 * right.norm():
        return None
    gap = adjoint_gap(W, WT, u)
    (low, high), mixed = d, d.roll(1)
    slips = {
        f"your filters are not flipped: <Wu, d> and <u, W'd> differ by {gap:.2g}. W' moves u[n + 1] back to n + 1": (
            low + low.roll(-1) + high - high.roll(-1)
        )
        / 2,
        "low + high does undo W, but many maps do; the adjoint has <Wu, d> = <u, W'd> for every d": low + high,
        "the low-pass band is moved the wrong way: u[n + 1] in W becomes d[n - 1] in W'": (
            low + low.roll(-1) + high - high.roll(1)
        )
        / 2,
        "the high-pass band is moved the wrong way: u[n + 1] in W becomes d[n - 1] in W'": (
            low + low.roll(1) + high - high.roll(-1)
        )
        / 2,
        "the minus of the high-pass filter is lost": (low + low.roll(1) + high + high.roll(1)) / 2,
        "the sign of the high-pass band is reversed: its taps are +1/2 at k = 0 and -1/2 at k = 1": (
            low + low.roll(1) - high + high.roll(1)
        )
        / 2,
        "only the low-pass band comes back: W' is the sum over both bands": (low + low.roll(1)) / 2,
        "only the high-pass band comes back: W' is the sum over both bands": (high - high.roll(1)) / 2,
        "torch.roll(d, 1) without dims rolls the flattened tensor: roll one band at a time": (
            low + mixed[0] + high - mixed[1]
        )
        / 2,
    }
    for words, wrong in slips.items():
        if (out - wrong).norm() < 1e-9:
            return words
    factor = float(out @ right / (right @ right))
    if (out - factor * right).norm() < 1e-9:
        return f"right but for a factor: <u, W'd> is {factor:.2g} times <Wu, d>; each tap is 1/2"
    return f"<Wu, d> and <u, W'd> differ by {gap:.2g} (relative to |Wu||d|)"


@exercise(
    title="02.3 the second level",
    expects=Callable,
    hints=[
        "(2.2) for L = 1: first average with p, then apply q_1 with its taps two samples apart.",
        "torch.roll(u, -k) is u[n + k]. Which k does p need at level 0, and which does q_1 need at level 1?",
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
    if not isinstance(out, Tensor):
        return f"return a torch tensor; this is {described(out)}"
    if out.shape != u.shape:
        return f"nothing is subsampled, so a band has the shape of the signal, (32,); got {described(out)}"
    slips = {
        "you did not average first: this is q_1 dilated, applied to u itself": q(u, -1, 2),
        "this is level 0, W_{1,0}: nothing is averaged and nothing dilated": q(u, -1, 1),
        "the filter of level 1 is not dilated: its taps must be 2^1 samples apart": q(q(u, 1, 1), -1, 1),
        "you dilated the average too: at level 0 the taps of p are neighbours": q(q(u, 1, 2), -1, 2),
        "this is the average of level 1, not the detail: the last filter is q_1 = [1, -1]/2": q(q(u, 1, 1), 1, 2),
        "the taps of level 1 are 2^1 = 2 samples apart; yours are 4": q(q(u, 1, 1), -1, 4),
        "the sign is reversed: q_1 is +1/2 at k = 0 and -1/2 at k = 1": -q(q(u, 1, 1), -1, 2),
        "torch.roll(u, 1) is u[n - 1]: a correlation needs u[n + k], torch.roll(u, -k)": q(q(u, 1, -1), -1, -2),
        "the average is right, but the detail uses a[n - 2]: torch.roll(a, -2) is a[n + 2]": q(q(u, 1, 1), -1, -2),
        "the dilations are exchanged: the average has neighbouring taps, the detail taps 2 apart": q(q(u, 1, 2), -1, 1),
        "you took a detail of the detail: the first filter is the average p": q(q(u, -1, 1), -1, 2),
        "the detail comes last: first average u, then apply q_1 dilated": q(q(u, -1, 1), 1, 2),
    }
    right = q(q(u, 1, 1), -1, 2)
    words = same(out, right, 1e-9)
    return words and next((slip for slip, wrong in slips.items() if (out - wrong).norm() < 1e-9), words)


@exercise(
    title="02.4 restore a photograph",
    expects=Callable,
    hints=[
        "One level averages over 2 x 2 pixels only; noise has low frequencies too: take two or three levels.",
        "Give each band a threshold in units of its noise, lam = c * sigma * W.gains, and shrink with Soft or Hard.",
        "W.T(Soft(W.weights(lam))(W(f))): W.weights puts 0 on the average.",
        "Soft with c = 1.5 or Hard with c = 3 passes, for two levels and more.",
    ],
    praise="on a photograph and a noise it was not tuned on, too",
)
def restoration(answer: Callable[[Tensor], Tensor]) -> str | None:
    """f -> u by framelet shrinkage: 27.5 dB on the photograph, sigma = 0.1, for noise the learner has not seen."""
    u, other = camera(256).float(), texture(256).float()
    f, g = GaussianNoise(0.1, seed=7)(u), GaussianNoise(0.1, seed=8)(other)
    out, again = answer(f), answer(g)
    for result in (out, again):
        if not isinstance(result, Tensor) or result.shape != u.shape:
            return f"the restored picture must have the shape {tuple(u.shape)}; got {described(result)}"
        if not bool(torch.isfinite(result).all()):
            return "the restored picture has NaN or infinite entries: is something divided by 0, |d| perhaps?"
    moved = abs(float(out.mean() - f.mean()))
    if moved > 1e-3:
        low = "the average band was thresholded (W.weights(lam) has 0 there)"
        cause = low if moved > 5e-3 else "was f clipped to [0, 1], or something else used than f?"
        return f"the mean grey value went from {float(f.mean()):.3f} to {float(out.mean()):.3f}: {cause}"
    value, before = psnr(out, u), psnr(f, u)
    if value < before + 0.1:
        return f"PSNR {value:.2f} dB, no better than the noisy picture ({before:.2f} dB): is the threshold too small?"
    if value < 27.5:
        rough = float((out - out.roll(1, -1)).abs().mean() / (u - u.roll(1, -1)).abs().mean())
        cause = "too rough" if rough > 1.2 else "too smooth" if rough < 0.75 else "neither rough nor smooth"
        return (
            f"PSNR {value:.2f} dB, and 27.5 is asked for; the result is {cause} (neighbours differ {rough:.2f} times "
            "as much as in the clean picture). If no threshold does it: are there two levels or more, has each band "
            "its own threshold (in proportion to W.gains), and does W.T put all bands together?"
        )
    gain = psnr(again, other) - psnr(g, other)
    if gain < 1:
        return f"on another picture it gains only {gain:.2f} dB: does it use something of this one, u itself perhaps?"
    return None
