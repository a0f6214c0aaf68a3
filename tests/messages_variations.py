"""Rows of test_messages.py about variations and flows: (name, what somebody does, the error, what the message says)."""

import math
from collections.abc import Callable
from typing import Any

import torch

import companion.operators.derivatives as derivatives
from companion import (
    KL,
    L1,
    PDHG,
    ROF,
    TGV,
    AmbrosioTortorelli,
    Charbonnier,
    CoherenceEnhancing,
    CurvatureMotion,
    Diffusion,
    DiffusionInpainting,
    Diffusivity,
    Euler,
    Exponential,
    FastROF,
    Field,
    FrameGradient,
    FrameletTransform,
    Gradient,
    GradientCascade,
    Heat,
    Identity,
    Implicit,
    LaggedDiffusivity,
    LeastSquares,
    MedianMotion,
    NavierStokesInpainting,
    OnFirst,
    PeronaMalik,
    Problem,
    Rational,
    Selling,
    SemiImplicit,
    ShockFilter,
    SmoothOrEdge,
    SplitBregman,
    Stencil,
    TensorDiffusion,
    TotalVariation,
    TransportInpainting,
    TVFlow,
    bspline,
    check_diffusivity,
    gaussian_smooth,
    haar_gradient,
    piecewise_smooth,
    rof_dual,
    selling,
    tensor_product,
    tgv,
    tgv_value,
    tv,
)
from companion.flows import axioms
from companion.operators.krylov import gmres
from companion.operators.stencils import _EdgeStencil
from companion.operators.tridiagonal import tridiagonal_solve

Row = tuple[str, Callable[[], Any], type[Exception], str]
HAAR = bspline(1)
INF, NAN = math.inf, math.nan
PICTURE = torch.arange(64.0).reshape(8, 8) / 64
KNOWN = torch.ones(8, 8, dtype=torch.bool)
KNOWN[2:5, 3:6] = False


class Idle(Diffusivity):
    """A diffusivity whose author has not begun."""


class Still(Field):
    """A field whose author has not begun."""


class Free(Field):
    """A field without a largest step."""

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return -u


class Blank(_EdgeStencil):
    """A stencil whose author has not begun."""


def heat() -> axioms.Flow:
    return axioms.evolution(Heat())


def tensors(value: float) -> torch.Tensor:
    """diag(1, value) at each pixel."""
    return torch.diag(torch.tensor([1.0, value]))[..., None, None].expand(2, 2, 8, 8)


VARIATIONS: list[Row] = [
    ("nu = 0", lambda: TotalVariation(0.0), ValueError, "nu ... finite and > 0; got «nu=0.0» ... 1/lambda of (3.2)"),
    ("nu = -1", lambda: ROF(PICTURE, -1.0), ValueError, "nu ... > 0; got «nu=-1.0»"),
    ("nu = NaN", lambda: tv(Identity(), PICTURE, NAN), ValueError, "finite and > 0; got «nu=nan»"),
    (
        "the variation of a frame",
        lambda: TotalVariation(0.1, FrameletTransform(HAAR)),
        TypeError,
        "asks grad for its step h and dimension; got «FrameletTransform». Give a Gradient or a FrameGradient.",
    ),
    (
        "the dual with a measurement",
        lambda: rof_dual(TGV(Identity(), PICTURE, 0.1, 0.1)),
        TypeError,
        "for A = I only; got a «TGV» ... ROF(f, nu) ... PDHG",
    ),
    (
        "split Bregman for counts",
        lambda: SplitBregman(Problem(KL(PICTURE), L1(0.1), Gradient())),
        ValueError,
        "E must be LeastSquares; got «KL». Use PDHG",
    ),
    (
        "lagged diffusivity of no variation",
        lambda: LaggedDiffusivity(Problem(LeastSquares(PICTURE), L1(0.1)), 1e-3),
        ValueError,
        "total variation; got a «Problem». Use tv(A, f, nu) or ROF(f, nu).",
    ),
    (
        "lagged diffusivity with eps = 0",
        lambda: LaggedDiffusivity(ROF(PICTURE, 0.1), 0.0),
        ValueError,
        "eps > 0; got «0.0»",
    ),
    (
        "alpha1 = 0",
        lambda: tgv(Identity(), PICTURE, 0.0, 0.1),
        ValueError,
        "alpha1 > 0 ... got «alpha1=0.0»",
    ),
    ("alpha0 < 0", lambda: tgv(Identity(), PICTURE, 0.1, -2.0), ValueError, "alpha0 > 0 ... «alpha0=-2.0»"),
    ("TGV without a gap", lambda: tgv_value(PICTURE, 1.0, 1.0, tol=0.0), ValueError, "in the limit only ... «tol=0.0»"),
    (
        "TGV in ten steps",
        lambda: tgv_value(PICTURE**2, 1.0, 1.0, tol=1e-6, k=10),
        RuntimeError,
        "«10 steps» reached a gap ... Allow more steps (k=...) or a larger tol.",
    ),
    (
        "a picture without a slope",
        lambda: GradientCascade()(PICTURE),
        ValueError,
        "x = (u, w) must have at least 3 axes ... got shape «(8, 8)»",
    ),
    (
        "two components of three",
        lambda: GradientCascade()(PICTURE.expand(2, 8, 8)),
        ValueError,
        "3 components on axis -3 ... got shape «(2, 8, 8)» ... problem.encode(u)",
    ),
    (
        "companions that are not measured",
        lambda: OnFirst(Identity(), 2).normal_solve(PICTURE.expand(2, 8, 8), 0.0),
        ValueError,
        "the first of 2 components only ... rho > 0; got «rho=0.0»",
    ),
    (
        "eps = 0 in Ambrosio and Tortorelli",
        lambda: AmbrosioTortorelli(Identity(), PICTURE, 1.0, 1.0, 0.0),
        ValueError,
        "a finite eps > 0; got «eps=0.0» ... the width of an edge",
    ),
    (
        "the conjugate of what is not convex",
        lambda: SmoothOrEdge(1.0, 1.0).prox_conjugate(PICTURE.expand(3, 8, 8), 1.0),
        TypeError,
        "for convex functionals, and «SmoothOrEdge» is not ... Use ADMM.",
    ),
    (
        "PDHG for what is not convex",
        lambda: piecewise_smooth(Identity(), PICTURE, FrameletTransform(HAAR), 1.0, 1.0).solve(PDHG, k=1),
        TypeError,
        "«SmoothOrEdge» is not ... Use ADMM.",
    ),
    ("a gradient with h = 0", lambda: FrameGradient(HAAR, h=0.0), ValueError, "grid step h ... > 0; got «h=0.0»"),
    (
        "a gradient of products",
        lambda: FrameGradient([tensor_product(p, q) for p in HAAR for q in HAAR]),
        ValueError,
        "one-dimensional filters; got «dimension 2».",
    ),
    ("the low-pass as a gradient", lambda: FrameGradient(HAAR, [(0, 0)]), ValueError, "low-pass ... got «(0, 0)»"),
    ("a band that is not there", lambda: FrameGradient(HAAR, [(2, 0)]), ValueError, "0, ..., 1 ... got «(2, 0)»"),
    ("a weight too few", lambda: FrameGradient(HAAR, weights=[1.0]), ValueError, "each of 2 bands; got «1»."),
    ("four bands of Haar", lambda: haar_gradient(bands=4), ValueError, "3 bands in all; got «bands=4»."),
    (
        "three components of two",
        lambda: haar_gradient().T(PICTURE.expand(3, 8, 8)),
        ValueError,
        "each of the 2 bands, on axis -3; got shape «(3, 8, 8)».",
    ),
    (
        "a picture smaller than the filters",
        lambda: FrameGradient(bspline(2))(PICTURE[:2]),
        ValueError,
        "3 samples long; the picture has «(2, 8)». Use a larger picture",
    ),
]

FLOWS: list[Row] = [
    ("t = -1", lambda: Heat().flow(PICTURE, -1.0), ValueError, "runs forwards ... t >= 0; got «t=-1.0». Backwards"),
    ("t = infinity", lambda: Heat().flow(PICTURE, INF), ValueError, "a finite time ... got «t=inf»"),
    ("a flow with dt = 0", lambda: Heat().flow(PICTURE, 1.0, 0.0), ValueError, "time step must be > 0; got «dt=0.0»."),
    (
        "a flow without dt",
        lambda: Free().flow(PICTURE, 1.0),
        ValueError,
        "«Free» has no largest step ... flow(",
    ),
    ("a scheme with dt < 0", lambda: Euler(Heat(), -0.1), ValueError, "finite and > 0; got «dt=-0.1»."),
    ("a field not begun", lambda: Still()(PICTURE), TypeError, "«Still» is no field yet ... forward(u) = F(u)."),
    (
        "a diffusivity not begun",
        lambda: Idle()(PICTURE),
        TypeError,
        "«Idle» is no diffusivity yet",
    ),
    ("sigma = 0 in g", lambda: Exponential(0.0), ValueError, "The sigma of a diffusivity ... > 0; got «0.0»."),
    ("lam = NaN in g", lambda: Charbonnier(NAN), ValueError, "The lam of a diffusivity ... > 0; got «nan»."),
    ("p = 1/2", lambda: Rational(1.0, 0.5), ValueError, "p > 1/2 only; got «p=0.5» ... no edge is sharpened."),
    (
        "g(0) = 2",
        lambda: PeronaMalik(lambda s: 2 / (1 + s)),
        ValueError,
        "g(0) = 1 ... got «g(0) = 2». Divide",
    ),
    (
        "g rises",
        lambda: PeronaMalik(lambda s: (1 + s) * torch.exp(-s / 2)),
        ValueError,
        "got «g(» ... < g( ... = 1.213.",
    ),
    (
        "g < 0",
        lambda: check_diffusivity(lambda s: 2 * torch.exp(-s) - 1),
        ValueError,
        "g > 0 everywhere; got «g(» ... = -",
    ),
    (
        "g stays positive",
        lambda: check_diffusivity(lambda s: 0.5 + 0.5 * torch.exp(-s)),
        ValueError,
        "g(s) -> 0 as s -> infinity; got «g(1e+30) = 0.5»",
    ),
    (
        "two thresholds",
        lambda: check_diffusivity(lambda s: 0.95 / (1 + s) + 0.05 / (1 + s / 1e6)),
        ValueError,
        "one threshold K ... got changes of sign near «s = » ... rise once and fall once.",
    ),
    (
        "g of all at once",
        lambda: check_diffusivity(lambda s: s.sum()),
        ValueError,
        "entry by entry ... shape «()».",
    ),
    (
        "a diffusion by a frame",
        lambda: Diffusion(torch.ones_like, FrameletTransform(HAAR)),
        TypeError,
        "knows bound = sup |grad|^2 ... got «FrameletTransform». Gradient, haar_gradient and FrameGradient do.",
    ),
    ("sigma < 0", lambda: PeronaMalik(Rational(1.0), sigma=-1.0), ValueError, "sigma ... >= 0; got «sigma=-1.0»."),
    ("smoothing by sigma < 0", lambda: gaussian_smooth(PICTURE, -2.0), ValueError, "scale sigma ... >= 0; got «-2.0»."),
    ("data without a weight", lambda: TVFlow(f=PICTURE), ValueError, "f and the weight nu > 0; got «f without nu»."),
    ("a weight without data", lambda: TVFlow(nu=0.1), ValueError, "f and the weight nu > 0; got «nu=0.1 without f»."),
    (
        "nu = 0 in a flow",
        lambda: TVFlow(f=PICTURE, nu=0.0),
        ValueError,
        "number > 0; got «nu=0.0»",
    ),
    (
        "splitting Haar along the axes",
        lambda: SemiImplicit(PeronaMalik(Rational(1.0), haar_gradient()), 1.0),
        TypeError,
        "Gradient of forward differences; got «PeronaMalik with grad = FrameGradient». Implicit takes any field.",
    ),
    ("no step of Newton", lambda: Implicit(Heat(), 1.0, k=0), ValueError, "k >= 1; got tol=None, «k=0»."),
    (
        "one step of Newton",
        lambda: Implicit(PeronaMalik(Exponential(0.01)), 50.0, k=1)(PICTURE),
        RuntimeError,
        "«1 steps» of Newton's method reached a residual ... a shorter step than dt=50",
    ),
    (
        "u > v",
        lambda: axioms.comparison(heat(), PICTURE, PICTURE - 1, 1.0),
        ValueError,
        "pictures u <= v; got u > v at «64 pixels». Use u and torch.maximum(u, v).",
    ),
    (
        "locality at t = 0",
        lambda: axioms.locality(heat(), PICTURE, 0.0, 2.0),
        ValueError,
        "time t > 0; got «t=0.0».",
    ),
    ("curvature with eps = 0", lambda: CurvatureMotion(eps=0.0), ValueError, "a finite eps > 0; got «eps=0.0»"),
    ("medians on no circle", lambda: MedianMotion(radius=0), ValueError, "whole number >= 1 of pixels; got «0»."),
    ("a shock with h = 0", lambda: ShockFilter(0.0), ValueError, "The grid step h is a length > 0; got «h=0.0»."),
    ("a derivative with h < 0", lambda: derivatives.check_grid_step(-1.0), ValueError, "length > 0; got «h=-1.0»."),
    (
        "alpha = 1",
        lambda: CoherenceEnhancing(0.1, alpha=1.0),
        ValueError,
        "0 < alpha < 1 ... «alpha=1.0».",
    ),
    (
        "an eigenvalue below 0",
        lambda: selling(tensors(-0.5)),
        ValueError,
        "eigenvalues >= 0; this one has «-0.5»: it would diffuse backwards.",
    ),
    (
        "an eigenvalue below 0 in a flow",
        lambda: TensorDiffusion(lambda a, b: (a * 0 - 1, b * 0 + 1), stencil=Selling())(PICTURE),
        ValueError,
        "eigenvalues >= 0; this one has «-1»",
    ),
    (
        "a stencil not begun",
        lambda: Stencil().divergence(tensors(1.0), PICTURE, 1.0),
        TypeError,
        "«Stencil» is no stencil yet ... divergence(D, u, h).",
    ),
    (
        "edges not begun",
        lambda: Blank().divergence(tensors(1.0), PICTURE, 1.0),
        TypeError,
        "«Blank» is no stencil yet ... edges(D).",
    ),
    (
        "a mask without known pixels",
        lambda: DiffusionInpainting(torch.zeros(8, 8)),
        ValueError,
        "at least one pixel; all «64 entries» are 0.",
    ),
    (
        "masks of a batch",
        lambda: DiffusionInpainting(KNOWN.expand(2, 8, 8)),
        ValueError,
        "two axes (H, W) of one picture; got shape «(2, 8, 8)».",
    ),
    (
        "another picture's mask",
        lambda: DiffusionInpainting(KNOWN)(PICTURE[:6]),
        ValueError,
        "The mask has shape «(8, 8)» ... got shape (6, 8).",
    ),
    (
        "no step of transport",
        lambda: TransportInpainting(KNOWN, transport=0, diffusion=0),
        ValueError,
        "one of them at least ... got «transport=0, diffusion=0»",
    ),
    ("an inviscid flow", lambda: NavierStokesInpainting(KNOWN, nu=0.0), ValueError, "nu > 0 ... got «nu=0.0»"),
    (
        "GMRES with three products",
        lambda: gmres(lambda x: x.roll(1), torch.eye(8)[0], k=3, basis=3),
        RuntimeError,
        "«3 products» of GMRES reached a relative residual ... Allow more (k=...)",
    ),
    (
        "diagonals of other lengths",
        lambda: tridiagonal_solve(torch.ones(2), torch.ones(3), torch.ones(3), torch.ones(3)),
        ValueError,
        "one entry for each row of the system; got lengths «2, 3, 3, 3».",
    ),
    (
        "a gap of zero",
        lambda: FastROF(PICTURE, 0.1).certified(0.0),
        ValueError,
        "certified for tol > 0, looked at every >= 1 steps; got «tol=0.0», every=10.",
    ),
]
