r"""Lesson 08, shrinkage is diffusion. The checks: a level, a diffusivity, a step, two bounds, the terms of (4.6).

Notebook: 08.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from companion import FramePDE, GaussianNoise
from companion.lab.check import exercise
from companion.lab.diagnose import described, same
from companion.lab.images import step_and_ramp


def _g(s: Tensor) -> Tensor:
    return 1 / (1 + s / 0.09)


@exercise(
    title="08.1 a level",
    expects=Callable,
    hints=[
        "gamma = 1/(C h) with C = -sqrt 2 / 2: what is gamma^2?",
        "(6): lambda = tau gamma^2 g(gamma^2 (d_10^2 + d_01^2)), and gamma^2 = 2/h^2.",
    ],
    praise="half of Haar's level at the same slope, so that twice the step is a shrinkage",
)
def level(answer: Callable[..., Tensor]) -> str | None:
    """tau gamma^2 g(gamma^2 |d|^2), gamma^2 = 2/h^2."""
    x, y = (torch.randn(6, 5, generator=torch.Generator().manual_seed(i), dtype=torch.float64) / 10 for i in (0, 1))
    for tau, h in ((0.1, 0.5), (0.3, 1.25)):
        s, a = x**2 + y**2, 2 / h**2
        out, right = answer(x.clone(), y.clone(), _g, tau, h), tau * a * _g(a * s)
        words = same(out, right, 1e-9)
        if words is None:
            continue
        root = a**0.5
        slips = {
            "this is Haar's level, 4 tau g / h^2: for linear splines C = -sqrt 2 / 2": tau * 2 * a * _g(2 * a * s),
            "right in front, but inside g stands Haar's 4/h^2": tau * a * _g(2 * a * s),
            "right inside g; in front stands Haar's 4/h^2": tau * 2 * a * _g(a * s),
            "g is asked at the coefficients: it knows slopes, gamma d": tau * a * _g(s),
            "as printed: the gammas are missing inside g, and one of them in front": tau * root * _g(s),
            "gamma in front, where gamma^2 belongs: a level is a number, tau gamma a length": tau * root * _g(a * s),
            "g is a function of |grad u|^2, and this gives it |grad u|": tau * a * _g((a * s).sqrt()),
            "one band alone: |grad u|^2 has both": tau * a * _g(a * x**2),
            "this is what is left, 1 - lambda": 1 - right,
            "gamma^2 is upside down: gamma = 1/(C h)": tau / a * _g(s / a),
            "C^2 = 1/2, so gamma^2 = 2/h^2: here it is 1/(2 h^2)": tau * a / 4 * _g(a / 4 * s),
            "tau is missing": a * _g(a * s),
            "h is missing inside g: gamma^2 = 2/h^2": tau * a * _g(2 * s),
            "C = -sqrt m / 2, so C^2 = 1/2 for m = 2: gamma^2 = 8/h^2 stands here": tau * 4 * a * _g(4 * a * s),
            "g is missing: this is its largest value": torch.full_like(s, tau * a),
        }
        return next((slip for slip, wrong in slips.items() if same(out, wrong, 1e-9) is None), words)
    return None


@exercise(
    title="08.2 a diffusivity",
    expects=Callable,
    hints=[
        "(9): g(s) = lambda(t) / (tau gamma^2) at t = sqrt(s) / |gamma|; for Haar |gamma| = 2/h.",
        "t^2 = s h^2 / 4, so lambda = min(1, 4 theta^2 / (s h^2)); of a tensor, that is .clamp(max=1).",
        "In front stands 1/(tau gamma^2) = h^2 / (4 tau).",
    ],
    praise="beyond the threshold theta^2 / (tau s): the flux falls like 1/r, and h is gone",
)
def diffusivity(answer: Callable[..., Tensor]) -> str | None:
    """h^2/(4 tau) min(1, 4 theta^2 / (h^2 s))."""
    s = torch.cat([torch.linspace(1e-4, 0.02, 40), torch.linspace(0.03, 2, 60)]).double()
    for theta, tau, h in ((0.05, 0.2, 1.0), (0.03, 0.05, 0.5)):
        unit, kappa = h**2 / (4 * tau), 4 * theta**2 / h**2
        out, right = answer(s.clone(), theta, tau, h), unit * (kappa / s).clamp(max=1)
        words = same(out, right, 1e-9)
        if words is None:
            continue
        slips = {
            "this is the level at the slope; the diffusivity is lambda / (tau gamma^2)": (kappa / s).clamp(max=1),
            "lambda is asked at sqrt(s); the coefficient is sqrt(s)/|gamma|": unit * (theta**2 / s).clamp(max=1),
            "upside down: t = sqrt(s)/|gamma|": unit * (theta**2 * h**2 / 4 / s).clamp(max=1),
            "s is a slope squared: t^2 = s h^2/4, and this squares once more": unit * (kappa / s**2).clamp(max=1),
            "this is soft's: garrote's level is theta^2/t^2": unit * (kappa / s).sqrt().clamp(max=1),
            "below the threshold the level is 1, the cap is missing": unit * kappa / s,
            "this is for piecewise linear splines: Haar has gamma^2 = 4/h^2": (2 * unit * (kappa / 2 / s).clamp(max=1)),
            "tau gamma^2 is multiplied, where it must divide": (kappa / s).clamp(max=1) / unit,
            "the unit of time, 1/tau, is missing: g = lambda / (tau gamma^2)": unit * tau * (kappa / s).clamp(max=1),
            "gamma^2 is missing in front: g = lambda / (tau gamma^2)": (kappa / s).clamp(max=1) / tau,
            "this is the level itself, as a function of t": (theta**2 / s).clamp(max=1),
            "this is the flux r g(r^2)": unit * s.sqrt() * (kappa / s).clamp(max=1),
            "the level is squared: theta^2/t^2 is the level already": unit * (kappa / s).square().clamp(max=1),
        }
        return next((slip for slip, wrong in slips.items() if same(out, wrong, 1e-9) is None), words)
    return None


@exercise(
    title="08.3 the sign",
    expects=Callable,
    hints=[
        "d = (u - u.roll(-1)) / 2, and p = lambda(|d|) d is taken away.",
        "W_1^T is the transpose: <W_1 u, p> = sum_n (u[n] - u[n+1]) p[n] / 2. Which p stand beside u[n]?",
        "u[n] meets p[n] with + and p[n-1] with -: W_1^T p = (p - p.roll(1)) / 2.",
    ],
    praise="the transpose of a forward difference is minus a backward one: twice the minus, and it diffuses forwards",
)
def step(answer: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]) -> str | None:
    """u - W_1^T(lambda(|W_1 u|) W_1 u), Haar in one dimension."""
    u = GaussianNoise(0.05, seed=4)(step_and_ramp(64))

    def lam(t: Tensor) -> Tensor:
        return 0.9 / (1 + (t / 0.05) ** 2) if bool((t >= 0).all()) else 0.9 / (1 + t.exp())

    out = answer(u.clone(), lam)
    d, mean = (u - u.roll(-1)) / 2, (u + u.roll(-1)) / 2
    p = lam(d.abs()) * d
    right = u - (p - p.roll(1)) / 2
    words = same(out, right, 1e-9)
    if words is None:
        return None
    whole = 2 * lam((2 * d).abs()) * d
    back = -p.roll(1)  # of d[n] = (u[n] - u[n-1])/2
    slips = {
        "the signs of W_1 and W_1^T do not match, one is reversed, as in the paper's print: this is "
        "u_t = -(g u_x)_x, and blows up": u + (p - p.roll(1)) / 2,
        "W_1 stands where W_1^T belongs: the shift of a transpose is the other one, p[n-1]": u - (p - p.roll(-1)) / 2,
        "W_1 stands where W_1^T belongs, and its sign is reversed": u + (p - p.roll(-1)) / 2,
        "d[n] = (u[n] - u[n+1])/2: the 1/2 is missing, so the level is asked at twice the coefficient": (
            u - (whole - whole.roll(1)) / 2
        ),
        "the level is asked at twice the coefficient, the slope": u - (whole - whole.roll(1)) / 4,
        "both differences go back; if d looks at u[n-1], the transpose looks at p[n+1]": u - (back - back.roll(1)) / 2,
        "the 1/2 of both W_1 and W_1^T is missing": u - (whole - whole.roll(1)),
        "the 1/2 of W_1^T is missing": u - (p - p.roll(1)),
        "the level is asked at d, and is a function of |d|": u - (lam(d) * d - (lam(d) * d).roll(1)) / 2,
        "the average is shrunk, too: it passes": _both(mean, d, lam),
        "this is what is taken away; u itself is missing": u - right,
        "this keeps lambda d and takes away the rest: S(d) = d (1 - lambda)": (u - ((d - p) - (d - p).roll(1)) / 2),
        "these are the shrunken coefficients; transform them back": d - p,
        "p is what is taken away from the coefficients; transform it back with W_1^T": u - p,
        "this is the detail alone; the average is missing": ((d - p) - (d - p).roll(1)) / 2,
    }
    return next((slip for slip, wrong in slips.items() if same(out, wrong, 1e-9) is None), words)


def _both(mean: Tensor, d: Tensor, lam: Callable[[Tensor], Tensor]) -> Tensor:
    a, p = mean * (1 - lam(mean.abs())), d * (1 - lam(d.abs()))
    return (a + a.roll(1) + p - p.roll(1)) / 2


@exercise(
    title="08.4 two bounds",
    expects=(tuple, list),
    hints=[
        "C = -sqrt(m)/2 = -1 for m = 4, so gamma^2 = 1/h^2 = 4; and max g = g(0) = 3.",
        "A shrinkage: tau gamma^2 max g <= 1. Stable: tau gamma^2 max g max_w(...) <= 2.",
    ],
    praise="between 1/12 and 32/81 nothing blows up, although coefficients change their sign",
)
def bounds(answer: Any) -> str | None:
    """Cubic splines, h = 1/2, max g = 3: (1/12, 32/81)."""
    if len(answer) != 2:
        return f"two numbers are asked for, (a shrinkage, stable); got {described(answer)}"
    try:
        found = [float(value) for value in answer]
    except (TypeError, ValueError):
        return f"two numbers are asked for; got {' and '.join(map(described, answer))}"
    right = (1 / 12, 32 / 81)
    close = lambda a, b: math.isclose(a, b, rel_tol=2e-3)  # noqa: E731
    if close(found[0], right[1]) and close(found[1], right[0]):
        return "the two are right and exchanged: a level in [0, 1] asks for more than stability"
    common = {  # by which factor the answer is then wrong
        3: "max g is missing: g(0) = 3",
        16: "h is upside down: gamma^2 = 1/h^2 = 4",
        2: "gamma stands where gamma^2 belongs: 1/h^2 = 4",
        1 / 4: "these are Haar's 4/h^2: for the spline of order m, gamma^2 = 4/(m h^2)",
        4: "h is missing: gamma^2 = 1/h^2 = 4",
    }
    for name, value, goal in zip(("the first", "the second"), found, right, strict=True):
        if close(value, goal):
            continue
        slips = {goal * factor: text for factor, text in common.items()}
        if name == "the second":
            slips |= {
                1 / 6: "a tight frame is stable up to the level 2, but these two bands never add up to more than 27/64",
                16 / 81: "2, not 1, is what tau |grad|^2 max g may reach: a frequency may be multiplied by -1",
                27 / 384: "27/64 is upside down: it stands in the denominator",
            }
            worst = f"the worst frequency is multiplied by {1 - 12 * value * 27 / 64:.3g}; that must be -1"
        else:
            worst = f"the largest level is {12 * value:.4g}; it must be 1"
        said = next((slip for wrong, slip in slips.items() if close(value, wrong)), None)
        return f"{name}: {said or f'with tau = {value:.4g} {worst}'}"
    return None


PARTS = ("u_x^2", "u_xx", "u_xxxx")
COEFFICIENTS = (-0.5, -1.0, -1.0)


@exercise(
    title="08.5 the terms of (4.6)",
    expects=(tuple, list),
    hints=[
        "Three terms. In -u_x^2/2 no derivative is outside: alpha_1 = (0,), beta_1 = (1,). The others can be halved: "
        "u_xx has alpha = beta = (1,), u_xxxx has alpha = beta = (2,).",
        "Phi as it stands in (4.6), without (-1)^|alpha|: that is the frame's business, not the equation's.",
        "def Phi(Du, u): return torch.stack([-Du[0] ** 2 / 2, -Du[1], -Du[2]])",
    ],
    praise="and FramePDE makes the frame, its dual and the shrinkage of it",
)
def terms(answer: Any) -> str | None:
    """u_t = -u_x^2/2 - u_xx - u_xxxx: the equation of Kuramoto and Sivashinsky."""
    if len(answer) != 3:
        return f"three things are asked for, (alphas, betas, Phi); got {described(answer)}"
    alphas, betas, Phi = answer
    for name, indices in (("alphas", alphas), ("betas", betas)):
        if not isinstance(indices, Sequence) or not all(isinstance(i, Sequence) and len(i) == 1 for i in indices):
            return f"{name} is a list such as [(0,), (2,)], one tuple for each term; got {described(indices)}"
    if not callable(Phi):
        return f"Phi is a function (Du, u) -> one component for each term; got {described(Phi)}"
    errors = []
    for n in (64, 128):
        x = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
        y, z = 2 * x + 1, 3 * x + 2  # three frequencies tell u, u_xx and u_xxxx apart
        u = 0.3 + x.sin() + y.cos() / 3 + z.cos() / 9
        first, second = x.cos() - 2 * y.sin() / 3 - z.sin() / 3, -x.sin() - 4 * y.cos() / 3 - z.cos()
        basis = torch.stack([first**2, second, x.sin() + 16 * y.cos() / 3 + 9 * z.cos()], 1)
        right = basis @ torch.tensor(COEFFICIENTS, dtype=torch.float64)
        try:
            F = FramePDE([tuple(a) for a in alphas], [tuple(b) for b in betas], Phi, 2 * math.pi / n)(u)
        except (ValueError, TypeError) as error:
            return f"FramePDE says: {error}"
        errors.append(float((F - right).norm() / right.norm()))
    if errors[1] < 0.04 and errors[1] < 0.75 * errors[0]:
        return None
    fit = torch.linalg.lstsq(basis, F[:, None]).solution.flatten()
    if float((basis @ fit - F).norm() / F.norm()) > 0.03:
        return (
            f"for a smooth u your right-hand side differs from the right one by {100 * errors[1]:.0f} % of its norm, "
            "and is no sum of u_x^2, u_xx and u_xxxx. Which derivative is outside Phi, alpha, and which inside, beta?"
        )
    found = {part: float(c) for part, c in zip(PARTS, fit, strict=True)}
    for part, wanted in zip(PARTS, COEFFICIENTS, strict=True):
        if abs(found[part] + wanted) < 0.1:
            said = {
                "u_x^2": "alpha = 0: no sign comes with it",
                "u_xx": "this equation diffuses backwards, Phi = -u_x: (-1)^|alpha| is the frame's business, not Phi's",
                "u_xxxx": "+u_xxxx lets the shortest waves explode",
            }[part]
            return f"the term {part} has the wrong sign, {said}"
    listed = ", ".join(f"{c:.2f} {part}" for part, c in found.items())
    return f"your equation is nearly u_t = {listed}; wanted are -0.5, -1 and -1"
