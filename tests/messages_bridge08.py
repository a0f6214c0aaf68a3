"""Rows of test_messages.py about shrinkage as diffusion: (name, what somebody does, the error, what it says)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion import (
    CoherenceEnhancing,
    Filter,
    FourthOrder,
    FrameletTransform,
    FramePDE,
    Gradient,
    Hard,
    Isotropic,
    IsotropicSoft,
    Rational,
    ShrinkageDiffusivity,
    Soft,
    SymmetrisedGradient,
    biorthogonal,
    bspline,
    diffusivity_from,
    frame_diffusion,
    frame_tensor,
    scharr_filters,
    shrinkage_from,
)

Row = tuple[str, Callable[[], Any], type[Exception], str]
HAAR = FrameletTransform(bspline(1))
PICTURE = torch.arange(64.0).reshape(8, 8) / 64
AXES = ((1, 0), (0, 1))
EDGE = Filter([[-1.0], [1.0]], (0, 0))


def same(Du: Tensor, u: Tensor) -> Tensor:
    return Du


BRIDGE: list[Row] = [
    (
        "a group of a number",
        lambda: Isotropic(0.1, HAAR),
        TypeError,
        "the level of a threshold of one number, such as Hard(lam), to the size |d| of a group of bands; got «float».",
    ),
    (
        "a group of groups",
        lambda: Isotropic(IsotropicSoft(0.1, HAAR), HAAR),
        TypeError,
        "a threshold of one number ... got «IsotropicSoft».",
    ),
    (
        "a group with a threshold for each band",
        lambda: Isotropic(Soft(HAAR.weights(0.1)), HAAR),
        ValueError,
        "one threshold, a number, or one for each of 1 levels, of shape (1, 1, 1, 1); got shape «(4, 1, 1)»",
    ),
    (
        "a group with the average",
        lambda: Isotropic(Hard(0.1), HAAR, bands=((0, 0), (1, 0))),
        ValueError,
        "A group is made of the high bands [(1, 0), (0, 1), (1, 1)]; got «(0, 0)».",
    ),
    (
        "a group of another frame",
        lambda: Isotropic(Hard(0.1), HAAR)(FrameletTransform(bspline(2))(PICTURE)),
        ValueError,
        "the 4 bands of its W on axis -3; got «9 bands».",
    ),
    (
        "a diffusion by two levels",
        lambda: shrinkage_from(Rational(1.0), FrameletTransform(bspline(1), levels=2), 0.1),
        ValueError,
        "one level, W^T W = I ... bspline(m). Got «FrameletTransform(2 filters, 2 levels» ... FramePDE takes others.",
    ),
    (
        "a diffusion by a dual pair",
        lambda: diffusivity_from(Soft(0.1), FrameletTransform(biorthogonal(2, 2)[0], dual=biorthogonal(2, 2)[1]), 0.1),
        ValueError,
        "W^T W = I, with a filter q_1 of first order ... q_1 of order «(2,)»",
    ),
    (
        "a shrinkage without time",
        lambda: shrinkage_from(Rational(1.0), HAAR, 0.0),
        ValueError,
        "The time step tau of one shrinkage must be finite and > 0; got «tau=0.0».",
    ),
    (
        "more than all of the rest",
        lambda: shrinkage_from(Rational(1.0), HAAR, 0.1, rest=1.5),
        ValueError,
        "a fraction taken away, in [0, 1]; got «1.5».",
    ),
    (
        "the diffusion of other coefficients",
        lambda: shrinkage_from(Rational(1.0), HAAR, 0.1)(torch.zeros(9, 8, 8)),
        ValueError,
        "made for the 4 bands of its W on axis -3; got «9».",
    ),
    (
        "the diffusivity of a function",
        lambda: diffusivity_from(torch.relu, HAAR, 0.1),
        TypeError,
        "read off a threshold, such as Garrote(lam) ... got «builtin_function_or_method».",
    ),
    (
        "the diffusivity of many thresholds",
        lambda: diffusivity_from(Soft(HAAR.weights(0.1)), HAAR, 0.1),
        ValueError,
        "one number lam; got a tensor of shape «(4, 1, 1)». Use Soft(lam)",
    ),
    (
        "the diffusivity of one step of no time",
        lambda: ShrinkageDiffusivity(torch.sigmoid, -1.0, 2.0),
        ValueError,
        "finite and > 0; got «tau=-1.0».",
    ),
    (
        "three alphas, two betas",
        lambda: FramePDE([(1, 0), (0, 1), (1, 1)], AXES, same),
        ValueError,
        "one alpha_l and one beta_l for each term; got «3 alphas and 2 betas». Where a term needs more derivatives",
    ),
    (
        "indices of two dimensions",
        lambda: FramePDE([(1,)], [(1, 0)], same),
        ValueError,
        "d indices >= 0 each, for one d; got «[(1,)] and [(1, 0)]».",
    ),
    ("a negative index", lambda: FramePDE([(-1, 0)], [(1, 0)], same), ValueError, "indices >= 0 ... got «[(-1, 0)]»"),
    (
        "a term without derivatives",
        lambda: FramePDE([(1, 0), (0, 0)], [(1, 0), (0, 0)], same),
        ValueError,
        "«alpha_l = beta_l = 0» has no band of its own ... a reaction into Phi_l of a term with alpha_l = 0",
    ),
    (
        "a bank of too low an order",
        lambda: FramePDE([(2, 0)], [(2, 0)], same, bank=bspline(1)),
        ValueError,
        "filters of order 0, ..., 1; the equation needs «(2, 0)».",
    ),
    (
        "analysis without synthesis",
        lambda: FramePDE([(1, 0)], [(1, 0)], same, analysis=[EDGE]),
        ValueError,
        "needs both analysis = [a_1, ...] and synthesis = [b_1, ...]; got «one».",
    ),
    (
        "a filter too few",
        lambda: FramePDE(AXES, AXES, same, analysis=[EDGE], synthesis=[EDGE, EDGE]),
        ValueError,
        "one filter for each term of (4.6); analysis has «1 for 2».",
    ),
    (
        "a filter of another order",
        lambda: FramePDE([(0, 1)], [(1, 0)], same, analysis=[EDGE], synthesis=[EDGE]),
        ValueError,
        "alpha = (0, 1), has vanishing moments of that order; in synthesis ... has «(1, 0)».",
    ),
    (
        "an analysis filter of zeros",
        lambda: FramePDE([(1, 0)], [(1, 0)], same, analysis=[Filter([[0.0]])], synthesis=[EDGE]),
        ValueError,
        "in analysis ... has «none».",
    ),
    (
        "Phi of another shape",
        lambda: FramePDE(AXES, AXES, lambda Du, u: u)(PICTURE),
        ValueError,
        "one component for each of the 2 terms of (4.6), shape (2, 8, 8); got «(8, 8)».",
    ),
    (
        "Phi of numbers",
        lambda: FramePDE(AXES, AXES, lambda Du, u: 1.0)(PICTURE),
        ValueError,
        "shape (2, 8, 8); got «float».",
    ),
    (
        "a frame step of no time",
        lambda: frame_diffusion(Rational(1.0)).shrinkage(math.inf),
        ValueError,
        "finite and > 0; got «tau=inf».",
    ),
    (
        "Haar's corner for Scharr's filters",
        lambda: frame_tensor(CoherenceEnhancing(0.1), scharr_filters(), 0.5),
        ValueError,
        "other filters have no such band. Got «corner=0.5 with filters».",
    ),
    (
        "too much of a corner",
        lambda: frame_tensor(CoherenceEnhancing(0.1), corner=2.0),
        ValueError,
        "the part in [0, 1] ... Got «corner=2.0 without filters».",
    ),
    (
        "fourth order without a bound",
        lambda: FourthOrder(Rational(1.0), SymmetrisedGradient() @ Gradient()),
        TypeError,
        "an H that knows bound = sup |H|^2, for its largest step; got «Composition». Hessian and FrameGradient do.",
    ),
]
