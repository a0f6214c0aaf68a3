"""Lesson 00, the one verb. The checks: a first map, a first difference, a first descent.

Notebook: 00.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from companion import Blur, Gradient, gaussian_kernel, run
from companion.lab.check import exercise
from companion.lab.diagnose import described, same


@exercise(
    title="00.1 a map of one's own",
    expects=Callable,
    hints=["The mean of x and 2 / x lies nearer to the root than either.", "return (x + 2 / x) / 2"],
    praise="a fixed point is where a map stands still; the mean of x and 2 / x about doubles the correct digits "
    "in each step, once it is near",
)
def heron(step: Callable[[Tensor], Tensor]) -> str | None:
    """A map x -> step(x) whose iteration tends to sqrt(2), fast."""
    x = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    root, before = torch.full_like(x, 2**0.5), x.clone()
    out = step(x)
    if not torch.equal(x, before):
        return "this changes x itself; a map makes a new state: write x + v, not x += v"
    if not isinstance(out, Tensor) or out.shape != x.shape:
        return f"a map takes a tensor to a tensor of its shape; for (3,) it gave {described(out)}"
    if (out - root).abs().max() < 1e-12 or (out - out[0]).abs().max() < 1e-12:
        return "this gives one and the same number, whatever x is: let the iteration find the root"
    if (step(root) - root).abs().max() > 1e-12:
        return f"sqrt(2) is not a fixed point: it goes to {float(step(root)[0]):.4g}"
    if (step(out) - x).abs().max() < 1e-12:
        return "applied twice this gives x back: the orbit never comes nearer"
    end = run(step, x, k=6).u
    error = float((end - root).abs().max())
    return (
        None
        if error < 1e-6
        else f"after 6 steps from 0.5, 1 and 3 the largest error is still {error:.2g}; 1e-6 is asked"
    )


@exercise(
    title="00.2 a difference",
    expects=Callable,
    hints=["x_1 is axis -2: down the page.", "torch.diff(u, dim=-2) has one row too few: append the last row before."],
    praise="axis -2 is x_1, h is written where a derivative is, and nothing flows through the border",
)
def difference(answer: Callable[[Tensor, float], Tensor]) -> str | None:
    """(u[n + e_1] - u[n]) / h, 0 in the last row, for pictures and batches of pictures."""
    u = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    h = 0.25
    right = Gradient(h)(u)
    out = answer(u, h)
    if not isinstance(out, Tensor):
        return f"the answer is a tensor; this is {described(out)}"
    if out.shape == (1, 5, 4):
        return "this is a difference between the pictures of the batch: count axes from the end"
    if out.shape == (2, 5, 3):
        return "this is the difference along x_2, axis -1, and one column is missing; x_1 is axis -2, down the page"
    if out.shape == right[:, 1].shape and (out - right[:, 1]).norm() < 1e-9:
        return "this is the difference along x_2, axis -1; x_1 is axis -2, down the page"
    if out.shape == (2, 4, 4):
        return "one row is missing: at the last row u[n + e_1] is the reflected u[n], so the difference there is 0"
    if out.shape == u.shape and (out - right[:, 0] * h).norm() < 1e-9:
        return "the step h is missing: a derivative is a difference divided by h"
    if out.shape == u.shape and (out - (u.roll(-1, -2) - u) / h).norm() < 1e-9:
        return "the last row takes its neighbour from the first; here the border reflects: the difference there is 0"
    if out.shape != u.shape:
        return same(out, right[:, 0], 1e-9)
    slips = {
        "this is a difference between the pictures of the batch: count axes from the end": (u.roll(-1, 0) - u) / h,
        "this is the central difference; asked is the forward one, u[n + e_1] - u[n]": torch.gradient(
            u, spacing=h, dim=-2
        )[0],
        "the last row compares with 0 outside the picture; the difference there is 0": torch.diff(
            u, dim=-2, append=torch.zeros_like(u[..., :1, :])
        )
        / h,
        "this is the backward difference, u[n] - u[n - e_1]": (u - u.roll(1, -2)) / h,
        "this goes up the page: torch.roll(u, -1, -2) is u[n + e_1], torch.roll(u, 1, -2) is u[n - e_1]": (
            u.roll(1, -2) - u
        )
        / h,
    }
    slips["this is along x_2, axis -1, and the step h is missing; x_1 is axis -2, down the page"] = right[:, 1] * h
    for words, wrong in slips.items():
        if (out - wrong).norm() < 1e-9:
            return words
    if (out[..., :-1, :] - right[:, 0, :-1] * h).norm() < 1e-9:
        return "the step h is missing (and look at the last row)"
    if (out[..., :-1] - right[:, 1, :, :-1]).norm() < 1e-9:
        return "this is along x_2, axis -1; x_1 is axis -2, down the page"
    if (slip := same(out, right[:, 0], 1e-9)) is not None:
        return slip
    for v, shape in ((u[0], "a single picture"), (u[None], "a batch of batches")):
        found = None
        with contextlib.suppress(RuntimeError, IndexError, ValueError):
            found = answer(v, h)
        if (
            not isinstance(found, Tensor)
            or found.shape != v.shape
            or (found - Gradient(h)(v)[..., 0, :, :]).norm() > 1e-9
        ):
            return f"right for a batch of shape (2, 5, 4), wrong for {shape}: count axes from the end, dim=-2"
    return None


@exercise(
    title="00.3 descend",
    expects=Callable,
    hints=[
        "The gradient of |A u - f|^2 / 2 with respect to u is A^T (A u - f).",
        "u - A.T(A(u) - f): the step 1 is allowed, since |A| = 1.",
    ],
    praise="gradient descent is a dynamical system, and lesson 01 asks where it should stop",
)
def descent(step: Callable[[Tensor, Blur, Tensor], Tensor]) -> str | None:
    """One step u -> u - tau A^T (A u - f) of gradient descent on |A u - f|^2 / 2, for a blur A with |A| = 1."""
    kernel = torch.zeros(3, 3, dtype=torch.float64)
    kernel[0, 1:], kernel[2, 1] = torch.tensor([0.5, 0.25]), 0.25  # not symmetric: A and A^T differ
    generator = torch.Generator().manual_seed(0)
    for A in (Blur(gaussian_kernel(1.0)), Blur(kernel)):
        truth = torch.rand(24, 24, generator=generator, dtype=torch.float64)
        f = A(truth)
        u = torch.rand(24, 24, generator=generator, dtype=torch.float64)
        g = A.T(A(u) - f)
        out = step(u, A, f)
        if not isinstance(out, Tensor) or out.shape != u.shape:
            return f"a step gives a picture of the shape of u, {tuple(u.shape)}; this is {described(out)}"
        move = u - out
        if move.norm() <= 1e-14 * u.norm():
            return "this stands still: the step moves u by minus a multiple of the gradient"
        if (out.abs() - g.abs()).norm() < 1e-9 * g.norm():
            return "this is the gradient itself, up to sign; a step is u minus a multiple of it"
        tau = float((move * g).sum() / (g * g).sum())
        if (move - tau * g).norm() > 1e-9 * move.norm():
            forward = A(A(u) - f)
            if (move - float((move * forward).sum() / (forward**2).sum()) * forward).norm() < 1e-9 * move.norm():
                return "the residual is blurred once more by A; it must be taken back by A.T"
            r = A(u) - f
            if (move - float((move * r).sum() / (r * r).sum()) * r).norm() < 1e-9 * move.norm():
                return "this moves along the residual A u - f; the gradient is A.T of it"
            return "the step is not along the gradient A.T(A(u) - f)"
        if tau <= 0:
            return f"this climbs: the step is {tau:.2g} times minus the gradient; the sign must be minus"
        if tau >= 2:
            return f"the step tau = {tau:.2g} is unstable: descent needs 0 < tau < 2 / |A|^2 = 2"
    return None
