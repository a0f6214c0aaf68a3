r"""Lesson 04, sparse restoration. The checks: a prox, a step of (2), a solve, a choice of solver, a restoration.

Notebook: 04.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    KL,
    L1,
    PDHG,
    Blur,
    Composed,
    ForwardBackward,
    FrameletTransform,
    GaussianNoise,
    Gradient,
    LinearOperator,
    Mask,
    PartialFourier,
    Problem,
    Soft,
    analysis,
    balanced,
    bspline,
    gaussian_kernel,
    random_pattern,
)
from companion.lab.check import exercise
from companion.lab.diagnose import described, same
from companion.lab.images import camera, photographs
from companion.lab.quality import psnr

SOLVERS = {"PFBS": ForwardBackward, "FISTA": FISTA, "ADMM": ADMM, "PDHG": PDHG}


@exercise(
    title="04.1 a proximal map",
    expects=Callable,
    hints=[
        "Entry by entry: minimise t w + (w - v)^2 / 2 over w >= 0.",
        "Without the constraint the parabola has its vertex at w = v - t. What is best if that is negative?",
    ],
    praise="one-sided soft thresholding",
)
def nonnegative(answer: Callable[[Tensor, float], Tensor]) -> str | None:
    """max(v - t, 0)."""
    v = torch.linspace(-2, 2, 41, dtype=torch.float64)
    for t in (0.3, 1.0):
        out = answer(v.clone(), t)
        words = same(out, (v - t).clamp_min(0), 1e-9)
        if words is None:
            continue
        slips = {
            "this is two-sided soft thresholding: negative values are not allowed in w": v - v.clamp(-t, t),
            "this is clipping at 0 alone: the price t w is missing": v.clamp_min(0),
            "v - t may still be negative, and then w = 0 is best": v - t,
            "the sign of t is reversed: the price makes w smaller": (v + t).clamp_min(0),
            "this is hard thresholding: what is kept must be lowered by t": v * (v > t),
            "right for values below -t only: where v > t, w = v - t": (v + t).clamp_max(0),
            "t is taken away after clipping, so negative values are left": v.clamp_min(0) - t,
            "|v| - t keeps negative v as well: w = 0 there": (v.abs() - t).clamp_min(0),
        }
        return next((slip for slip, wrong in slips.items() if same(out, wrong, 1e-9) is None), words)
    return None


@exercise(
    title="04.2 denoise and correct",
    expects=Callable,
    hints=[
        "First v = W^T T(W u). Then one gradient step on |A v - f|^2 / 2, at v.",
        "v - A^T (A v - f): `A.T(...)` is the adjoint, for complex data too.",
    ],
    praise="the same two lines for every machine",
)
def correction(answer: Callable[..., Tensor]) -> str | None:
    """W^T T(W u), corrected by A^T(f - A v)."""
    u = camera(32)
    W = FrameletTransform(bspline(1))
    T = Soft(W.weights(0.05))
    scanners: tuple[LinearOperator, ...] = (Mask(camera(32) > 0.4), PartialFourier(random_pattern(32, 0.4)))
    for A in scanners:
        f = A.restrict(GaussianNoise(0.1, seed=2)(A(u)))
        before = GaussianNoise(0.2, seed=3)(u)
        v = W.T(T(W(before)))
        out = answer(before.clone(), A, f, W, T)
        if isinstance(A, PartialFourier) and isinstance(out, Tensor) and out.shape == f.shape:
            return "right for a mask; but putting data back into the picture works for a mask only: use A.T"
        words = same(out, v - A.T(A(v) - f), 1e-9)
        if words is None:
            continue
        old = before - A.T(A(before) - f)
        slips = {
            "the correction uses A u of the old picture: it must look at v = W^T T(W u)": v - A.T(A(before) - f),
            "the sign of the correction is reversed: it moves away from A v = f": v + A.T(A(v) - f),
            "this is v, denoised but not corrected": v,
            "u is corrected but not denoised: where is T?": old,
            "it corrects first and denoises then: (2) does it the other way round": W.T(T(W(old))),
            "A^T f is added, but A^T A v is not taken away": v + A.T(f),
            "A^T f is missing": v - A.T(A(v)),
            "the correction starts from u: it must start from v": before - A.T(A(v) - f),
        }
        return next((slip for slip, wrong in slips.items() if same(out, wrong, 1e-9) is None), words)
    return None


@exercise(
    title="04.3 a solve by Fourier",
    expects=Callable,
    hints=[
        "A multiplies the transform by a^, and A^T by its complex conjugate.",
        "x^ = (conj(a^) f^ + rho z^) / (|a^|^2 + rho), then the inverse transform's real part.",
    ],
    praise="one division for each frequency: this is why split Bregman is fast for deblurring",
)
def blur_step(answer: Callable[..., Tensor]) -> str | None:
    """(A^T A + rho)^{-1} (A^T f + rho z) for a kernel without symmetry."""
    kernel = torch.tensor([[0.0, 0.1, 0.3], [0.1, 0.3, 0.0], [0.2, 0.0, 0.0]], dtype=torch.float64)
    A, f, z = Blur(kernel), camera(32), GaussianNoise(0.2, seed=4)(camera(32))
    padded = torch.zeros(32, 32, dtype=torch.float64)
    padded[:3, :3] = kernel
    a = torch.fft.fft2(padded.roll((-1, -1), (0, 1)))
    F, G = torch.fft.fft2, torch.fft.ifft2

    for rho in (0.1, 2.0):
        out = answer(f.clone(), z.clone(), a.clone(), rho)
        if isinstance(out, Tensor) and out.is_complex():
            return "the picture is real: take the real part of the inverse transform"
        right = A.normal_solve(A.T(f) + rho * z, rho)
        words = same(out, right, 1e-9)
        if words is None:
            continue
        if same(out, right.abs(), 1e-9) is None:
            return "the real part is meant, not the modulus: a restored picture may dip below 0"
        power = a.abs() ** 2
        slips = {
            "A^T multiplies by the conjugate of a^, and this multiplies by a^": (a * F(f) + rho * F(z)) / (power + rho),
            "A^T f is meant, and this has f itself": (F(f) + rho * F(z)) / (power + rho),
            "A^T f is missing": rho * F(z) / (power + rho),
            "rho is missing in front of z": (a.conj() * F(f) + F(z)) / (power + rho),
            "rho is missing in the denominator": (a.conj() * F(f) + rho * F(z)) / power,
            "A^T A has |a^|^2, and this has |a^|": (a.conj() * F(f) + rho * F(z)) / (a.abs() + rho),
            "A^T A has |a^|^2 = conj(a^) a^, and this has a^ squared": (a.conj() * F(f) + rho * F(z)) / (a**2 + rho),
        }
        return next((slip for slip, wrong in slips.items() if same(out, G(wrong).real, 1e-9) is None), words)
    return None


@exercise(
    title="04.4 which solver",
    expects=dict,
    hints=[
        "Two of the four need K = I: they cannot treat any analysis model.",
        "Is K^T K = I for a gradient? Has the Kullback-Leibler term a Lipschitz gradient, or a prox after a blur?",
    ],
    praise="the hypotheses choose the solver",
)
def solvers(answer: dict[str, str]) -> str | None:
    """The solver is made for the problem; what it refuses, it says."""
    missing = [key for key in "abcd" if key not in answer]
    if missing:
        return f"no solver is named for {', '.join(missing)}"
    u, W = camera(32), FrameletTransform(bspline(1))
    blur, scanner, mask = Blur(gaussian_kernel(1.0)), PartialFourier(random_pattern(32, 0.4)), Mask(u > 0.3)
    problems = {
        "a": balanced(mask, mask(u), W, W.weights(0.01)),
        "b": analysis(scanner, scanner(u), W, W.weights(0.01)),
        "c": analysis(blur, blur(u), Gradient(), 0.01),
        "d": Problem(Composed(KL(blur(u).clamp_min(0), 100.0), blur), L1(W.weights(0.01)), W),
    }
    for key, problem in problems.items():
        if not isinstance(answer[key], str) or answer[key] not in SOLVERS:
            return f"{key}: {answer[key]!r} is none of {', '.join(SOLVERS)}"
        try:
            SOLVERS[answer[key]](problem)
        except (ValueError, TypeError) as error:
            return f"{key}: {error}"
    if answer["a"] == "PFBS":
        return "a: PFBS treats it, and FISTA is faster for the same cost a step"
    return None


@exercise(
    title="04.5 restore",
    expects=Callable,
    hints=[
        "co.analysis(co.Mask(known), f, W, W.weights(lam)).solve(co.ADMM).u, with a W of one level.",
        "One level, not more: a coarse band asks the picture to be smooth over distances at which it is not.",
        "Linear splines, lam about 0.004, 150 steps.",
    ],
    praise="and on a picture it was not tuned on",
)
def restoration(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    """30 % of the pixels: 25.5 dB on the photograph, and 24 on another one."""
    u, other = camera(128).float(), photographs(128)["coffee"].float()
    spent, found = 0.0, []
    for seed, picture in ((11, u), (12, other)):
        known = torch.rand(128, 128, generator=torch.Generator().manual_seed(seed)) < 0.3
        f = Mask(known)(GaussianNoise(0.01, seed=seed)(picture))
        begin = time.process_time()
        out = answer(f.clone(), known.clone())
        spent += time.process_time() - begin
        if not isinstance(out, Tensor) or out.shape != picture.shape:
            return f"the restored picture must have the shape (128, 128); got {described(out)}"
        if not bool(torch.isfinite(out).all()):
            return "the restored picture has NaN or infinite entries"
        holes = float((out[~known] - picture[~known]).abs().mean())
        if float(out[~known].abs().mean()) < 0.1 * float(picture[~known].mean()):
            return "the holes are still black: is the number of steps too small, or lam > 0 on the average too?"
        found.append((psnr(out, picture), holes))
    (value, holes), (again, _) = found
    if value < 25.5:
        return (
            f"PSNR {value:.2f} dB, and 25.5 is asked for; in the holes the mean error is {holes:.3f}. If it is near: "
            "fewer levels, another spline, another lam. If it is far: has the solver converged?"
        )
    if again < 24:
        return f"on another picture it reaches only {again:.2f} dB: is it tuned to this one?"
    if spent > 20:
        return f"right, but {spent / 2:.0f} s a picture: fewer steps, or a faster solver"
    return None
