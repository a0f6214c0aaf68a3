r"""Lesson 03, vanishing moments. The checks: moments by hand, filters by design, signs, phi_alpha.

Notebook: 03.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import Filter, bspline, framelet, refinable
from companion.lab.check import exercise
from companion.lab.diagnose import described, same
from companion.operators.filters import multi_indices


def _number(value: Any) -> float | None:
    """A real number of any kind, alone or as the one entry of a list, tuple or array; None for anything else."""
    one = isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1
    value = value[0] if one and len(value) == 1 else value
    try:
        return None if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


@exercise(
    title="03.1 read the moments",
    expects=(list, tuple, np.ndarray, Tensor),
    hints=[
        "Write k and q[k] in two rows, and add k^j q[k] for j = 0, 1, 2, 3, 4.",
        "m_0 = m_1 = m_2 = 0 and m_3 = 6/8. C_alpha has alpha! in its denominator.",
        "The accuracy is K - alpha, and K is the next order with a moment that is not 0: is m_4 = 0?",
    ],
    praise="about k = 1/2, its middle, the next moment vanishes too and the same filter is second order",
)
def by_hand(answer: Any) -> str | None:
    """(alpha, C_alpha, accuracy) of q = [-1, 3, -3, 1] / 8 at k = -1, 0, 1, 2."""
    if len(answer) != 3:
        return f"the answer is (alpha, C_alpha, accuracy), three numbers; this is {described(answer)}"
    for name, value in zip(("alpha", "C_alpha", "the accuracy"), answer, strict=True):
        if _number(value) is None:
            return f"{name} must be a number; this is {described(value)}"
    alpha, C, accuracy = (_number(value) or 0.0 for value in answer)
    q = Filter([-1 / 8, 3 / 8, -3 / 8, 1 / 8], -1)
    if alpha != 3:
        moments = ", ".join(f"m_{j} = {q.moment(j):.3g}" for j in range(5))
        return f"alpha = {alpha:g} is not the order of the first moment that does not vanish: {moments}"
    if not abs(C - 0.125) <= 1e-6:
        slips = {0.75: "0.75 is the moment m_3; C_alpha = m_alpha / alpha!", -0.125: "the sign of C_alpha is reversed"}
        return slips.get(round(C, 6), f"C_alpha = m_3 / 3! with m_3 = 6/8, not {C:.4g}")
    if accuracy == 2:
        return "second order it is about k = 1/2, the middle of the taps; about k = 0 the moment m_4 is 12/8, not 0"
    words = f"m_4 = 12/8 does not vanish, so K = 4, and the accuracy is K - alpha, not {accuracy:g}"
    return None if accuracy == 1 else "4 is K; the accuracy is K - alpha" if accuracy == 4 else words


@exercise(
    title="03.2 prescribed moments",
    expects=Callable,
    hints=[
        "The unknowns are the taps; each equation says one moment: sum_k k^j q[k] = (alpha! if j = alpha, else 0).",
        "Row j of the matrix holds the powers k^j of all points k; there are as many equations as points.",
        "k = torch.tensor(points, dtype=torch.float64); M = k ** torch.arange(len(points))[:, None]; "
        "torch.linalg.solve(M, m), and m is 0 but for m[alpha] = factorial(alpha).",
    ],
    praise="moments and taps determine each other (Vandermonde); lesson 12 learns filters by their moments",
)
def prescribed(answer: Callable[[Sequence[int], int], Any]) -> str | None:
    """(points, alpha) -> taps q with C_alpha = 1 and all other moments up to order len(points) - 1 zero."""
    cases = ((0, 1, 2), 1), ((0, 1), 1), ((-1, 0, 1), 2), ((-3, 0, 1, 4), 2), ((2, -1, 0), 0), ((-2, -1, 0, 1, 2), 1)
    for points, alpha in (*cases, ((-1, 0, 1, 2), 3)):
        case = f"for points {list(points)}, alpha = {alpha}:"
        try:
            came = answer(list(points), alpha)
        except BaseException as error:  # what a function of the learner raised is no Exception
            if "dtype" in str(error) or "floating point" in str(error):
                return f"{case} torch solves equations in real numbers of one type: use dtype=torch.float64 throughout"
            raise
        q = _taps(came, points)
        words = q if isinstance(q, str) else _about_taps(q, points, alpha)
        if words:
            return f"{case} {words}"
    return None


def _taps(came: Any, points: Sequence[int]) -> Tensor | str:
    """The taps of an answer at the points, or what it is instead."""
    if isinstance(came, Filter):
        found = {k[0]: tap for k, tap in came.indices() if tap} if came.ndim == 1 else {}
        if came.ndim > 1 or found.keys() - set(points):
            return f"taps at these points are asked for; this is {came}"
        return torch.tensor([found.get(k, 0.0) for k in points], dtype=torch.float64)
    try:
        q = torch.as_tensor(came).detach().double().flatten()
    except (TypeError, ValueError, RuntimeError):
        return f"the answer is a list or a tensor of taps; this is {described(came)}"
    return q if len(q) == len(points) else f"as many taps as points are asked for; this is {described(came)}"


def _about_taps(q: Tensor, points: Sequence[int], alpha: int) -> str | None:
    """None if the moments of q are right, or the slip."""
    k, powers = torch.tensor(points, dtype=torch.float64), torch.arange(len(points))[:, None]
    M, m = k**powers, torch.zeros_like(k)
    m[alpha] = factorial(alpha)
    right, tol = torch.linalg.solve(M, m), 1e-6 * (1 + M.abs() @ q.abs())
    slips = {
        "the sign is reversed: C_alpha must be +1": -right,
        "alpha! is missing: C_alpha = m_alpha / alpha! = 1 means m_alpha = alpha!": right / factorial(alpha),
        "the taps are right but in reversed order: q[k] weighs F(x + h k)": right.flip(0),
        "this is for sorted points; tap i belongs to points[i]": torch.linalg.solve(k.sort()[0] ** powers, m),
        "this is for k = 0, 1, 2, ...; take k from points": torch.linalg.solve(powers.T.double() ** powers, m),
        "the matrix is transposed: row j holds the powers k^j of all points": torch.linalg.solve(M.T, m),
    }
    if bool(((M @ q - m).abs() <= tol).all()):
        return None
    told = (words for words, wrong in slips.items() if bool(((M @ (q - wrong)).abs() <= tol).all()))
    moments = ", ".join(f"{v:.3g}" for v in M @ q)
    return next(told, f"the moments m_0, m_1, ... of your taps are {moments}; they must be {m.tolist()}")


@exercise(
    title="03.3 a mixed derivative",
    hints=[
        "A product of one-dimensional filters has the products of their moments.",
        "Which three taps approximate d/dx to second order, with C = 1? Take their product with themselves.",
        "The product of [-1, 0, 1] / 2 along x_1 and along x_2: only the corners are not 0.",
    ],
    praise="nine taps, eight conditions: adding any multiple of [1, -2, 1] x [1, -2, 1] is right, too",
)
def mixed(answer: Any) -> str | None:
    """A 3 x 3 filter with C = 1 for alpha = (1, 1), second order."""
    q = answer
    if not isinstance(answer, Filter):
        try:
            taps = torch.as_tensor(answer).detach().double()
        except (TypeError, ValueError, RuntimeError):
            return f"the answer is a 3 x 3 table of taps; this is {described(answer)}"
        if taps.shape != (3, 3):
            return f"the answer is a 3 x 3 table of taps; this has shape {tuple(taps.shape)}"
        q = Filter(taps.numpy(), -1)
    if q.ndim != 2 or any(max(map(abs, k)) > 1 for k, tap in q.indices() if tap):
        return f"the taps stand at k_1, k_2 = -1, 0, 1; this is a filter of shape {q.taps.shape} from {q.origin} on"
    betas, m = [beta for order in range(4) for beta in multi_indices(2, order)], q.moment((1, 1))
    others = {beta: q.moment(beta) for beta in betas if beta != (1, 1) and abs(q.moment(beta)) > 1e-6}
    if not others and abs(m - 1) <= 1e-6:
        return None
    if not others:
        if abs(m + 1) < 1e-6:
            return "the sign is reversed: C_(1,1) is -1. In a correlation the tap at k = (1, 1) weighs F(x + h (1, 1))"
        factor = f"divide the taps by {m:.3g}" if abs(m) > 1e-6 else "for this filter it is 0"
        return f"the moments that must vanish do, but C_(1,1) must be 1: {factor}"
    if abs(q.moment((2, 0)) - 2) < 1e-6 and abs(q.moment((0, 2)) - 2) < 1e-6:
        return "this approximates the Laplacian d_1^2 + d_2^2; asked is the mixed derivative d_1 d_2"
    beta, value = min(others.items(), key=lambda item: sum(item[0]))
    if sum(beta) == 3 and abs(m - 1) <= 1e-6:
        return f"this approximates d_1 d_2, but only to first order: the moment {beta} is {value:.3g}, not 0"
    return f"the moment {beta} must vanish, and is {value:.3g}"


@exercise(
    title="03.4 a derivative by W^T",
    expects=Callable,
    hints=[
        "W^T takes coefficients: a tensor like W(u), zero but for the one band that holds u.",
        "That band of W^T approximates (-1)^{|alpha|} C_alpha h^{|alpha|} d^alpha.",
        "d = torch.zeros_like(W(u)); d[i] = u with i = W.band((1, 0)); "
        "then W.T(d) / (-C * h), C = W.filter((1, 0)).constant((1, 0)).",
    ],
    praise="the adjoint of a derivative is minus that derivative; lesson 08 lives on this sign",
)
def by_the_adjoint(answer: Callable[[Tensor, float], Tensor]) -> str | None:
    """(u, h) -> -W_(1,0)^T u / (C h) of the Haar frame, an approximation of +d u / d x_1."""
    N, C = 48, -0.5
    x = torch.arange(N, dtype=torch.float64) * (2 * torch.pi / N)
    u = torch.sin(x)[:, None] * torch.cos(x[:40] + 1)
    down, across = u - u.roll(1, 0), u - u.roll(1, 1)
    adjoint, central = (down + down.roll(1, 1)) / 4, down + down.roll(-1, 0)
    others = {
        "this is made of W_(1,0), not of W_(1,0)^T: put u into the band (1, 0)": adjoint.roll((-1, -1), (0, 1)),
        "this is the linear frame; asked is Haar": central.roll(1, 1) + 2 * central + central.roll(-1, 1),
        "this is the derivative along x_2; x_1 is axis -2, the band (1, 0)": across + across.roll(1, 0),
        "this is the difference to the next pixel, without W^T": down.roll(-1, 0),
        "this is the difference to the pixel before; W^T also averages along x_2": down,
    }
    for h in (1 / N, 2 / N):
        out, right = answer(u, h), -adjoint / (C * h)
        if not isinstance(out, Tensor) or out.shape != u.shape:
            return f"the answer is a picture of the shape of u, {tuple(u.shape)}; this is {described(out)}"
        factor = _multiple(out, right)
        if factor is None:
            told = (words for words, other in others.items() if _multiple(out, other) is not None)
            return next(told, None) or same(out, right, 1e-6)
        if abs(factor - 1) > 1e-6:
            fixed = f"right for h = 1/{N}, but {factor:.4g} times what it must be for h = 2/{N}: use the h that comes"
            return _about_factor(factor, abs(C), h) if h == 1 / N else fixed
    return None


def _multiple(out: Tensor, right: Tensor) -> float | None:
    """t, not 0, with out = t right, or None."""
    a, b = out.detach().double().flatten(), right.flatten()
    t = float(a @ b / (b @ b))
    return t if bool((a - t * b).norm() <= 1e-6 * a.norm()) and t else None


def _about_factor(factor: float, C: float, h: float) -> str:
    """What a multiple of -W^T u / (C h) is, C its absolute value."""
    slips = {
        "the constant and the step are missing: this is W^T u, divide by -C h": C * h,
        "the step h is missing: a derivative is a difference divided by h": h,
        "the constant C is missing": C,
        "this is multiplied by C, where it must be divided": C**2,
        "this is multiplied by h, where it must be divided": h**2,
        "the power of h is wrong: divide by h once": 1 / h,
    }
    if abs(factor + 1) < 1e-6:
        return "the sign is reversed: W^T approximates -C h d/dx_1, the adjoint of C h d/dx_1"
    found = (words for words, value in slips.items() if abs(abs(factor) / value - 1) < 1e-6)
    words = next(found, f"this is {abs(factor):.4g} times what it must be: divide W^T u by -C h")
    return words + ("; and the sign is reversed" if factor < 0 else "")


@exercise(
    title="03.5 phi_alpha of Haar",
    expects=Callable,
    hints=[
        "psi is +1 on [0, 1/2) and -1 on [1/2, 1). Integrate it from the left.",
        "phi_1 rises with slope 1 to x = 1/2, then falls. How high does it get?",
        "0.5 - (x - 0.5).abs(), and nothing below 0: .clamp_min(0)",
    ],
    praise="a hat, half as high: the spline of order 2. Its integral is 1/4 = c_alpha",
)
def phi_haar(answer: Callable[[Tensor], Tensor]) -> str | None:
    """phi_alpha with psi = d phi_alpha / dx, for the Haar framelet psi."""
    x = torch.linspace(-0.75, 1.75, 51, dtype=torch.float64)
    psi = framelet(bspline(1)[1], refinable(1))
    right, out = psi.antiderivative()(x), answer(x)
    if isinstance(out, np.ndarray) and out.dtype.kind == "f":
        out = torch.from_numpy(out.copy())
    if not isinstance(out, Tensor) or out.shape != x.shape:
        return f"phi_alpha takes a tensor x to a tensor of its shape, {tuple(x.shape)}; this gave {described(out)}"
    if (out - right).abs().max() < 1e-6:
        return None
    slips = {
        "this is psi itself; asked is the function whose derivative psi is": psi(x),
        "twice as high as it must be: with slope 1 on [0, 1/2] it reaches 1/2": 2 * right,
        "the sign is reversed: psi starts with +1, so phi_alpha rises first": -right,
        "this is centred at 0; psi lives on [0, 1], and so does phi_alpha": psi.scaled(1, -0.5).antiderivative()(x),
        "right on [0, 1], but it must be 0 outside: there this line goes on below 0": 0.5 - (x - 0.5).abs(),
        "this is the hat B_2 on [-1, 1]; phi_alpha is its copy on [0, 1], half as high": refinable(2)(x),
    }
    told = (words for words, wrong in slips.items() if (out - wrong).abs().max() < 1e-6)
    return next(told, None) or same(out, right, 1e-6, "phi_alpha")
