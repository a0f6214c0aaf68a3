"""Examples of every operator, threshold, functional, field and scheme: the laws in this folder run over these lists.

To add an operator, append an example here: `OperatorExample(name, how to make it, shape of one input)`. A public
subclass of `LinearOperator`, `Threshold`, `Functional`, `Field` or `Scheme` without an example fails a test.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf, prod, sqrt

import numpy as np
import torch

import companion
from companion import (
    KL,
    L1,
    RK4,
    SSP3,
    AdamsBashforth,
    Balance,
    Blur,
    Box,
    Charbonnier,
    CoherenceEnhancing,
    Composed,
    CurvatureMotion,
    Diffusion,
    DiffusionInpainting,
    Divergence,
    EdgeEnhancing,
    Euler,
    Exponential,
    FastDecay,
    Field,
    Filter,
    Firm,
    FourthOrder,
    Fractal,
    FrameCascade,
    FrameGradient,
    FrameLeastSquares,
    FrameletTransform,
    FramePDE,
    Functional,
    Garrote,
    Gradient,
    GradientCascade,
    GroupBall,
    GroupL1,
    Hard,
    Heat,
    Hessian,
    Heun,
    Identity,
    Implicit,
    Interpolation,
    IsotropicSoft,
    Kutta3,
    Leapfrog,
    LearnedDiffusion,
    LearnedDiffusivity,
    LearnedFrame,
    LearnedGradient,
    LeastSquares,
    LinearMultistep,
    LinearOperator,
    Mask,
    MedianMotion,
    Midpoint,
    Neumann,
    OnFirst,
    PartialFourier,
    PeronaMalik,
    Picard,
    Radon,
    Ralston,
    Rational,
    Region,
    RungeKutta,
    Scharr,
    Selling,
    SemiImplicit,
    ShockFilter,
    SmoothOrEdge,
    Soft,
    Stencil,
    SymmetrisedGradient,
    TensorDiffusion,
    ThreeByThree,
    Threshold,
    TotalVariation,
    TVFlow,
    TwoStep,
    WeightedLength,
    along_gradient,
    biorthogonal,
    bspline,
    condat_kernels,
    dct,
    forward_kernel,
    frame_diffusion,
    frame_directed,
    frame_fourth_order,
    frame_shock,
    frame_tensor,
    gaussian_kernel,
    haar_gradient,
    laplacian,
    scharr_filters,
    spline_gradient,
)
from companion.flows.runge_kutta import tableau
from companion.flows.schemes import Scheme

Shape = tuple[int, ...]


def public_subclasses(base: type) -> set[type]:
    """Every subclass of `base` that the package defines, at any depth; names that start with "_" are exempt."""
    for module in pkgutil.walk_packages(companion.__path__, "companion."):
        if not module.name.startswith("companion.lab"):
            importlib.import_module(module.name)

    def below(cls: type) -> Iterator[type]:
        for sub in cls.__subclasses__():
            yield sub
            yield from below(sub)

    return {cls for cls in below(base) if cls.__module__.startswith("companion.") and not cls.__name__.startswith("_")}


# ---- linear operators -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OperatorExample:
    """One operator with the shape of one input, without batch; `half`: it also runs in bfloat16."""

    name: str
    make: Callable[[], LinearOperator]
    shape: Shape
    half: bool = True

    def input(self, *batch: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """A random input, with leading batch dimensions."""
        return torch.randn(*batch, *self.shape, dtype=torch.float64).to(dtype)


def dense(A: LinearOperator, shape: Shape) -> torch.Tensor:
    """The matrix of A, in float64: column j is A e_j."""
    n = prod(shape)
    return A(torch.eye(n, dtype=torch.float64).reshape(n, *shape)).reshape(n, -1).T


def simplex_bank(d: int) -> tuple[Filter, ...]:
    r"""A nonseparable tight bank on the d + 1 points 0, e_1, ..., e_d: the rows of an orthogonal matrix, over
    sqrt(d + 1).

    sum_l q_l[k] q_l[j] = delta_{kj} / (d + 1), so the autocorrelations of the filters sum to delta: the UEP.
    """
    n = d + 1
    rows = [np.ones(n) / sqrt(n)]
    for i in range(1, n):  # Helmert's rows: (1, ..., 1, -i, 0, ..., 0)
        rows.append(np.array([1.0] * i + [-i] + [0.0] * (n - i - 1)) / sqrt(i * (i + 1)))
    bank = []
    for row in rows:
        taps = np.zeros((2,) * d)
        taps[(0,) * d] = row[0]
        for i in range(d):
            taps[tuple(int(i == j) for j in range(d))] = row[i + 1]
        bank.append(Filter(taps / sqrt(n), 0))
    return tuple(bank)


def centred_dual_pair() -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """The (2, 2) spline pair with both high-pass filters moved to the origin, so that a reflecting boundary takes it.

    A common shift of q_l and q~_l cancels in q~_l^(w) conj q_l^(w).
    """
    (p, q), (p_dual, q_dual) = biorthogonal(2, 2)
    return (p, Filter(q.taps, q.origin[0] - 1)), (p_dual, Filter(q_dual.taps, q_dual.origin[0] - 1))


def frame(bank, levels=1, dim=2, boundary="periodic", dual=None) -> Callable[[], LinearOperator]:
    return lambda: FrameletTransform(bank, levels, dim, boundary, dual)


def blur(shape: Shape, boundary: str, origin: Shape | None = None) -> Callable[[], LinearOperator]:
    """A kernel without any symmetry."""
    a = torch.arange(1.0, 1 + prod(shape), dtype=torch.float64).reshape(shape).sqrt()
    return lambda: Blur(a / a.sum(), boundary, origin)


def some(*shape: int) -> torch.Tensor:
    """A mask that knows two pixels of three."""
    return (torch.arange(prod(shape)) % 3 != 1).reshape(shape)


def frames() -> Iterator[OperatorExample]:
    """Splines of order 1-4, levels 1-3, dimensions 1-3, both boundaries, dual pairs, nonseparable banks."""
    table: list[tuple[int, int, Shape, str]] = [
        (1, 1, (2,), "periodic"),
        (1, 2, (7,), "periodic"),
        (1, 3, (8,), "periodic"),
        (2, 1, (4,), "periodic"),
        (2, 3, (11,), "periodic"),
        (3, 1, (5,), "periodic"),
        (3, 2, (8,), "periodic"),
        (4, 1, (6,), "periodic"),
        (4, 3, (17,), "periodic"),
        (1, 1, (2, 3), "periodic"),
        (1, 3, (5, 6), "periodic"),
        (2, 1, (3, 4), "periodic"),
        (2, 2, (6, 5), "periodic"),
        (3, 1, (4, 5), "periodic"),
        (4, 1, (5, 5), "periodic"),
        (1, 1, (2, 3, 4), "periodic"),
        (1, 2, (3, 3, 3), "periodic"),
        (2, 1, (3, 3, 3), "periodic"),
        (2, 1, (4,), "reflect"),
        (2, 3, (9,), "reflect"),
        (4, 2, (10,), "reflect"),
        (2, 2, (5, 6), "reflect"),
        (4, 1, (6, 5), "reflect"),
        (2, 1, (3, 3, 3), "reflect"),
    ]
    for order, levels, shape, boundary in table:
        d = len(shape)
        yield OperatorExample(
            f"frame-{d}d-order{order}-levels{levels}-{boundary}", frame(bspline(order), levels, d, boundary), shape
        )
    for (m, m_dual), levels, shape in (((1, 3), 2, (13,)), ((2, 2), 2, (11,)), ((3, 1), 1, (9,)), ((2, 4), 1, (9, 9))):
        pair, d = biorthogonal(m, m_dual), len(shape)
        yield OperatorExample(f"frame-{d}d-pair{m}{m_dual}", frame(pair[0], levels, d, dual=pair[1]), shape)
        yield OperatorExample(f"frame-{d}d-pair{m}{m_dual}-swapped", frame(pair[1], levels, d, dual=pair[0]), shape)
    haar = biorthogonal(1, 1)
    yield OperatorExample("frame-1d-pair11-tight", frame(haar[0], 2, 1, dual=haar[1]), (5,))
    bank, dual = centred_dual_pair()
    yield OperatorExample("frame-1d-pair22-reflect", frame(bank, 2, 1, "reflect", dual), (10,))
    yield OperatorExample("frame-2d-cosine3", frame(dct(3), 2), (7, 5))
    yield OperatorExample("frame-2d-nonseparable-levels1", frame(simplex_bank(2), 1, 2), (3, 4))
    yield OperatorExample("frame-2d-nonseparable-levels3", frame(simplex_bank(2), 3, 2), (6, 5))
    yield OperatorExample("frame-3d-nonseparable-levels2", frame(simplex_bank(3), 2, 3), (3, 4, 3))


def rotated(W: LinearOperator, average: bool = False) -> LinearOperator:
    """A learned frame away from its start."""
    V = LearnedFrame(W, average)
    for skew in V.skew:
        torch.nn.init.normal_(skew, generator=torch.Generator().manual_seed(skew.numel()))
    return V.requires_grad_(False)


def learned_frames() -> Iterator[OperatorExample]:
    """Splines and cosines, levels 1-2, dimensions 1-3, both boundaries, the average mixed or not."""
    yield OperatorExample("learned-frame-haar", lambda: LearnedFrame(frame(bspline(1))()), (4, 5))
    yield OperatorExample("learned-frame-cosine", lambda: rotated(frame(dct(3))()), (5, 4))
    yield OperatorExample("learned-frame-average", lambda: rotated(frame(bspline(2), 2)(), True), (6, 7))
    yield OperatorExample("learned-frame-1d-reflect", lambda: rotated(frame(bspline(2), 2, 1, "reflect")()), (9,))
    yield OperatorExample("learned-frame-3d", lambda: rotated(frame(bspline(1), 1, 3)()), (3, 2, 4))


def measurements() -> Iterator[OperatorExample]:
    """Identity; masks of bools and of numbers; blurs with odd, even, long and off-centre kernels."""
    yield OperatorExample("identity", Identity, (3, 4))
    yield OperatorExample("mask-1d", lambda: Mask(some(7)), (7,))
    yield OperatorExample("mask-2d", lambda: Mask(some(4, 5)), (4, 5))
    yield OperatorExample("mask-numbers", lambda: Mask(some(4, 5).double()), (4, 5))
    for boundary in ("periodic", "reflect"):
        half = boundary == "reflect"  # PyTorch's Fourier transform has no bfloat16
        table: list[tuple[Shape, Shape]] = [
            ((3,), (8,)),
            ((4,), (7,)),
            ((6,), (6,)),
            ((3, 3), (5, 6)),
            ((2, 3), (6, 5)),
            ((2, 3, 2), (3, 4, 3)),
        ]
        for kernel, shape in table:
            label = "x".join(map(str, kernel))
            yield OperatorExample(f"blur-{label}-{boundary}", blur(kernel, boundary), shape, half)
        yield OperatorExample(f"blur-off-centre-{boundary}", blur((3, 2), boundary, (-3, 1)), (6, 5), half)
        a = gaussian_kernel(0.7, 2, 2)
        yield OperatorExample(f"blur-gaussian-{boundary}", partial(Blur, a, boundary), (7, 6), half)


def scanners() -> Iterator[OperatorExample]:
    """Fourier coefficients of real and of complex pictures: patterns that are symmetric, that are not, and all of k.

    Projections of even and odd pictures: equispaced, sparse and limited angles, all detectors and too few.
    """
    for label, m in (
        ("line", some(7)),
        ("alone", torch.arange(6) == 1),  # a frequency without its opposite
        ("line-all", torch.ones(5)),
        ("plane", some(4, 5)),
        ("numbers", some(6, 3).double()),
        ("plane-all", torch.ones(3, 4, dtype=torch.bool)),
        ("space", some(2, 3, 4)),
    ):
        for phase in (False, True):
            name = f"fourier-{label}" + "-phase" * phase
            yield OperatorExample(name, partial(PartialFourier, m, m.ndim, phase), (2,) * phase + m.shape, False)
    projections: list[tuple[str, int, int | list[float], int | None]] = [
        ("even", 4, 6, None),
        ("odd", 5, 5, None),
        ("pixel", 1, [20.0], None),
        ("sparse", 4, [100.0, -30.0, 45.0, 100.0], None),  # out of order, one twice
        ("limited", 3, [10.0, 20.0, 30.0, 40.0, 190.0], None),
        ("truncated", 5, [0.0, 57.0, 90.0, 151.0], 4),
    ]
    for label, n, angles, detectors in projections:
        yield OperatorExample(f"radon-{label}", partial(Radon, n, angles, detectors), (n, n))


def differences() -> Iterator[OperatorExample]:
    """Every finite difference in dimensions 1-3, with a step h that is not 1."""
    for boundary in ("periodic", "reflect"):
        for d, shape in ((1, (6,)), (2, (3, 4)), (3, (2, 3, 2))):
            cascade = partial(GradientCascade, 0.5, d, boundary)
            yield OperatorExample(f"cascade-{d}d-{boundary}", cascade, (1 + d, *shape))
            for kind, axes in ((Gradient, 0), (Divergence, 1), (SymmetrisedGradient, 1), (Hessian, 0)):
                name = f"{kind.__name__.lower()}-{d}d-{boundary}"
                yield OperatorExample(name, partial(kind, 0.5, d, boundary), (d,) * axes + shape)


def gradients() -> Iterator[OperatorExample]:
    """Gradients made of the bands of a bank: dimensions 1-3, both borders, cut and mirrored, given weights."""
    for boundary in ("periodic", "reflect"):
        table: list[tuple[str, Callable[[], LinearOperator], Shape]] = [
            ("haar-1d", partial(FrameGradient, bspline(1), None, 0.5, 1, boundary), (6,)),
            ("haar-2d", partial(haar_gradient, 0.5, 2, boundary), (4, 5)),
            ("haar-2d-least", partial(haar_gradient, 0.5, 2, boundary), (2, 2)),
            ("haar-2d-three", partial(haar_gradient, 0.5, 3, boundary), (4, 5)),
            ("haar-3d", partial(FrameGradient, bspline(1), None, 0.5, 3, boundary), (3, 2, 4)),
            ("spline-1d", partial(FrameGradient, bspline(2), None, 0.5, 1, boundary), (7,)),
            ("spline-2d", partial(spline_gradient, 0.5, boundary), (5, 4)),
            ("spline-2d-least", partial(spline_gradient, 0.5, boundary), (3, 3)),
            ("spline-3d", partial(FrameGradient, bspline(2), None, 2.0, 3, boundary), (3, 4, 3)),
            ("spline-second", partial(FrameGradient, bspline(2), ((2, 0), (1, 1), (0, 2)), 0.5, 2, boundary), (5, 4)),
            ("order-three", partial(FrameGradient, bspline(3), None, 0.5, 2, boundary), (5, 4)),
            ("weights", partial(FrameGradient, bspline(1), ((1, 1),), 1.0, 2, boundary, [-0.3]), (4, 5)),
        ]
        for name, make, shape in table:
            yield OperatorExample(f"gradient-{name}-{boundary}", make, shape)
        for name, make, shape in (table[0], table[1], table[3], table[6], table[9]):
            r = len(make().bands)
            yield OperatorExample(f"cascade-{name}-{boundary}", lambda make=make: FrameCascade(make()), (1 + r, *shape))


def algebra() -> Iterator[OperatorExample]:
    """A^T, A B, A + B, c A."""
    haar, linear = frame(bspline(1)), frame(bspline(2))
    yield OperatorExample("adjoint-frame", lambda: FrameletTransform(bspline(2), 1, 1).T, (3, 6))
    yield OperatorExample("adjoint-gradient", lambda: Gradient(dim=2).T, (2, 4, 5))
    yield OperatorExample("composition-mask-blur", lambda: Mask(some(4, 5)) @ blur((2, 3), "reflect")(), (4, 5))
    yield OperatorExample("composition-frame-blur", lambda: haar() @ blur((2, 3), "periodic")(), (4, 5), False)
    yield OperatorExample("composition-frame-frame", lambda: haar() @ linear(), (4, 5))
    yield OperatorExample("composition-frame-mask", lambda: haar() @ Mask(some(4, 5)), (4, 5))
    yield OperatorExample("composition-three", lambda: Gradient(dim=1) @ Mask(some(6)) @ blur((3,), "reflect")(), (6,))
    yield OperatorExample("sum-blur-identity", lambda: blur((3,), "reflect")() + 0.5 * Identity(), (7,))
    yield OperatorExample("difference-identity-blur", lambda: Identity() - blur((3, 2), "reflect")(), (5, 4))
    yield OperatorExample("multiple-gradient", lambda: -2.5 * Gradient(dim=2), (4, 5))
    yield OperatorExample("multiple-tensor", lambda: torch.tensor(3.0) * Mask(some(4, 5)), (4, 5))
    yield OperatorExample("negative-hessian", lambda: -Hessian(dim=1), (7,))


def stacked() -> Iterator[OperatorExample]:
    """A measurement of the first of several components."""
    yield OperatorExample("on-first-identity", lambda: OnFirst(Identity(), 3), (3, 4, 5))
    yield OperatorExample("on-first-alone", lambda: OnFirst(Identity(), 1, 1), (1, 6))
    yield OperatorExample("on-first-mask", lambda: OnFirst(Mask(some(4, 5)), 3), (3, 4, 5))
    yield OperatorExample("on-first-blur", lambda: OnFirst(blur((3,), "reflect")(), 2, 1), (2, 6))
    yield OperatorExample("on-first-fourier", lambda: OnFirst(PartialFourier(some(4, 5)), 3), (3, 4, 5), False)


def stirred(make: Callable[[], LinearOperator | Field], size: float = 0.2) -> Callable[[], LinearOperator | Field]:
    """What `make` gives, after a training that moved every parameter somewhere."""

    def made() -> LinearOperator | Field:
        module = make()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for theta in module.parameters():
                theta.add_(size * torch.randn(theta.shape, generator=generator, dtype=theta.dtype))
        return module.requires_grad_(False)

    return made


def learned() -> Iterator[OperatorExample]:
    """Gradients and interpolations with learned taps, at both borders."""
    for boundary in ("periodic", "reflect"):
        starts = {"forward": partial(Gradient, 0.5, 2, boundary), "spline": partial(spline_gradient, 0.5, boundary)}
        for name, grad in starts.items():
            make = stirred(lambda grad=grad: LearnedGradient(grad()))
            yield OperatorExample(f"learned-{name}-{boundary}", make, (4, 5), False)
        wide = stirred(lambda boundary=boundary: LearnedGradient(Gradient(1.0, 2, boundary), N=5))
        yield OperatorExample(f"learned-wide-{boundary}", wide, (5, 6), False)
        for name, kernels in (("forward", forward_kernel()), ("condat", condat_kernels())):
            L = partial(Interpolation, kernels, 1, boundary)
            yield OperatorExample(f"interpolation-{name}-{boundary}", stirred(L), (2, 4, 5), False)
            balance = stirred(lambda L=L: Balance(L()))
            yield OperatorExample(f"balance-{name}-{boundary}", balance, (1 + 2 * len(kernels), 4, 5), False)
    yield OperatorExample(
        "learned-haar", stirred(lambda: LearnedGradient(haar_gradient(0.5, 3, "periodic"))), (4, 5), False
    )


OPERATORS: list[OperatorExample] = [
    *frames(),
    *learned_frames(),
    *measurements(),
    *scanners(),
    *differences(),
    *gradients(),
    *stacked(),
    *learned(),
    *algebra(),
]


# ---- thresholds -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ThresholdExample:
    """One shrinkage with the shape of its coefficients.

    scalar      it acts entry by entry, so that it is a function of one real variable
    lipschitz   the smallest constant c with |S(a) - S(b)| <= c |a - b|; inf if S jumps
    reach       beyond |d| = reach the bias |d - S(d)| is at most `bias`
    """

    name: str
    make: Callable[[], Threshold]
    shape: Shape
    scalar: bool
    lipschitz: float
    reach: float
    bias: float

    def input(self, *batch: int) -> torch.Tensor:
        """Random coefficients, about half of them below the threshold."""
        return 2 * torch.randn(*batch, *self.shape, dtype=torch.float64)


LAM, MU = 0.8, 2.0
HAAR2 = FrameletTransform(bspline(1), levels=2, dim=2)
LINEAR1 = FrameletTransform(bspline(2), levels=3, dim=1)


def isotropic(fine: float, coarse: float) -> Callable[[], Threshold]:
    """One threshold for each of the two levels of HAAR2."""
    return lambda: IsotropicSoft(torch.tensor([fine, coarse], dtype=torch.float64).reshape(2, 1, 1, 1), HAAR2)


THRESHOLDS: list[ThresholdExample] = [
    ThresholdExample("soft", lambda: Soft(LAM), (11,), True, 1.0, LAM, LAM),
    ThresholdExample("soft-zero", lambda: Soft(0.0), (11,), True, 1.0, 0.0, 0.0),
    ThresholdExample("soft-bands", lambda: Soft(HAAR2.weights(LAM, 0.5)), (7, 4, 5), False, 1.0, LAM, LAM),
    ThresholdExample("hard", lambda: Hard(LAM), (11,), True, inf, LAM, 0.0),
    ThresholdExample("hard-bands", lambda: Hard(HAAR2.weights(LAM)), (7, 4, 5), False, inf, LAM, 0.0),
    ThresholdExample("garrote", lambda: Garrote(LAM), (11,), True, 2.0, 10.0, LAM**2 / 10.0),
    ThresholdExample("garrote-bands", lambda: Garrote(HAAR2.weights(LAM)), (7, 4, 5), False, 2.0, 10.0, LAM**2 / 10.0),
    ThresholdExample("firm", lambda: Firm(LAM, MU), (11,), True, MU / (MU - LAM), MU, 0.0),
    ThresholdExample(
        "firm-bands", lambda: Firm(HAAR2.weights(LAM), HAAR2.weights(MU)), (7, 4, 5), False, MU / (MU - LAM), MU, 0.0
    ),
    ThresholdExample("isotropic", lambda: IsotropicSoft(LAM, HAAR2), (7, 4, 5), False, 1.0, LAM, LAM),
    ThresholdExample("isotropic-1d", lambda: IsotropicSoft(LAM, LINEAR1), (7, 6), False, 1.0, LAM, LAM),
    ThresholdExample("isotropic-levels", isotropic(LAM, LAM / 2), (7, 4, 5), False, 1.0, LAM, LAM),
    ThresholdExample("isotropic-one-level-free", isotropic(LAM, 0.0), (7, 4, 5), False, 1.0, LAM, LAM),
]


# ---- functionals ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunctionalExample:
    """One functional with the shape of its argument, without batch; convex, unless its class says that it is not.

    conjugate  F* has a closed form here
    positive   its gradient is asked for at v > 0 only
    """

    name: str
    make: Callable[[], Functional]
    shape: Shape
    conjugate: bool = True
    positive: bool = False

    def input(self, *batch: int) -> torch.Tensor:
        """A random argument, inside the domain of F where that is the positive numbers."""
        v = torch.randn(*batch, *self.shape, dtype=torch.float64)
        return v.abs() + 0.1 if self.positive else v


def data(*shape: int) -> torch.Tensor:
    """Numbers in [0, 2), a few of them 0: data that repeat."""
    return (7 * torch.arange(prod(shape), dtype=torch.float64) % 11 / 5.5).reshape(shape)


def quadratics() -> Iterator[FunctionalExample]:
    """1/2 |A u - f|^2 for measurements of every kind, alone and after a frame's W^T."""
    table: list[tuple[str, Callable[[], LinearOperator], Shape, Shape, bool, float]] = [
        ("identity", Identity, (4, 5), (4, 5), True, 1.0),
        ("mask", lambda: Mask(some(4, 5)), (4, 5), (4, 5), False, 3.5),
        ("blur", blur((3, 3), "periodic"), (5, 6), (5, 6), True, 3.5),
        ("blur-reflect", blur((3,), "reflect"), (6, 5), (6, 5), True, 1.0),  # solved by conjugate gradients
        ("fourier", lambda: PartialFourier(some(4, 5)), (4, 5), (2, 4, 5), False, 0.4),
        ("multiple", lambda: 1.7 * Mask(some(4, 5)), (4, 5), (4, 5), False, 1.0),
    ]
    for (name, A, shape, shape_f, injective, w), kappa in zip(table, (0.3, 1.0, 0.0, 7.0, 0.3, 7.0), strict=True):

        def least(A: Callable[[], LinearOperator] = A, f: Shape = shape_f, w: float = w) -> Functional:
            return LeastSquares(data(*f), A(), w)

        def framed(A: Callable[[], LinearOperator] = A, f: Shape = shape_f, kappa: float = kappa) -> Functional:
            return FrameLeastSquares(A(), data(*f), FrameletTransform(bspline(1)), kappa)

        yield FunctionalExample(f"least-squares-{name}", least, shape, injective)
        yield FunctionalExample(f"frame-{name}-kappa{kappa:g}", framed, (4, *shape), False)
    yield FunctionalExample("least-squares-number", lambda: LeastSquares(0.5, weight=0.2), (7,))
    yield FunctionalExample(
        "composed-least-squares", lambda: Composed(LeastSquares(data(4, 5)), blur((3,), "reflect")()), (4, 5), False
    )


def norms() -> Iterator[FunctionalExample]:
    """Entry by entry, by groups, and between bounds; lam 0 somewhere."""
    yield FunctionalExample("l1", lambda: L1(0.7), (11,))
    yield FunctionalExample("l1-free", lambda: L1(0.0), (11,))
    yield FunctionalExample("l1-data", lambda: L1(1.3, data(4, 5)), (4, 5))
    yield FunctionalExample("l1-bands", lambda: L1(HAAR2.weights(LAM, 0.5)), (7, 4, 5))
    yield FunctionalExample("l1-pixels", lambda: L1(data(4, 5)), (4, 5))
    yield FunctionalExample("group-gradient", lambda: GroupL1(0.8), (2, 4, 5))
    groups = torch.tensor([0.0, 0.5, 1.5], dtype=torch.float64)
    yield FunctionalExample("group-levels", lambda: GroupL1(groups, sizes=(1, 3, 3)), (7, 4, 5))
    yield FunctionalExample("group-last-axis", lambda: GroupL1(1.1, axis=-1), (4, 3))
    yield FunctionalExample("composed-l1", lambda: Composed(L1(0.4, data(4, 5)), Mask(some(4, 5))), (4, 5), False)
    yield FunctionalExample("box", lambda: Box(-0.5, 0.8), (4, 5))
    yield FunctionalExample("box-half-line", Box, (4, 5))
    yield FunctionalExample("box-everything", lambda: Box(-inf, inf), (4, 5))
    yield FunctionalExample("ball", lambda: GroupBall(0.9), (2, 4, 5))
    yield FunctionalExample("ball-large", lambda: GroupBall(50.0, axis=-1), (4, 3))
    yield FunctionalExample("ball-point", lambda: GroupBall(0.0), (2, 4, 5))


def variations() -> Iterator[FunctionalExample]:
    """The total variation by several gradients, isotropic and entrywise, in dimensions 1-3."""
    yield FunctionalExample("variation", lambda: TotalVariation(0.7), (4, 5), False)
    yield FunctionalExample("variation-entrywise", lambda: TotalVariation(0.7, Gradient(0.5), False), (4, 5), False)
    yield FunctionalExample("variation-haar", lambda: TotalVariation(0.7, haar_gradient(0.5, 3)), (4, 5), False)
    yield FunctionalExample("variation-spline", lambda: TotalVariation(2.0, spline_gradient(0.5)), (4, 5), False)
    full = partial(haar_gradient, 0.5, 3, "periodic")
    yield FunctionalExample("variation-haar-entrywise", lambda: TotalVariation(0.7, full(), False), (4, 5), False)
    for d, shape in ((1, (7,)), (3, (3, 2, 4))):
        grad = partial(Gradient, 0.5, d, "periodic")
        yield FunctionalExample(f"variation-{d}d", lambda grad=grad: TotalVariation(0.3, grad()), shape, False)


def edges() -> Iterator[FunctionalExample]:
    """Squares off the edges, lengths on them: not convex. lam or gamma 0 somewhere."""
    lam, gamma = (torch.tensor(x, dtype=torch.float64) for x in ([0.0, 2.0, 0.7], [0.0, 0.9, 1.5]))
    yield FunctionalExample("smooth-or-edge", lambda: SmoothOrEdge(1.0, 1.2), (2, 4, 5), False)
    yield FunctionalExample("smooth-or-edge-nearly-l1", lambda: SmoothOrEdge(30.0, 0.8), (2, 4, 5), False)
    yield FunctionalExample("smooth-or-edge-cheap", lambda: SmoothOrEdge(0.6, 0.05), (2, 4, 5), False)
    levels = partial(SmoothOrEdge, lam, gamma, sizes=(1, 3, 3))
    yield FunctionalExample("smooth-or-edge-levels", levels, (7, 4, 5), False)


def counts() -> Iterator[FunctionalExample]:
    """Poisson's likelihood: with and without empty pixels, few and many photons, alone and after a blur."""
    yield FunctionalExample("kl", lambda: KL(data(4, 5) + 0.2), (4, 5), positive=True)
    yield FunctionalExample("kl-empty-pixels", lambda: KL(data(4, 5), 3.0), (4, 5), positive=True)
    yield FunctionalExample("kl-many-photons", lambda: KL(data(4, 5), 500.0), (4, 5), positive=True)
    yield FunctionalExample(
        "kl-blur", lambda: Composed(KL(data(4, 5) + 0.2), blur((3,), "reflect")()), (4, 5), False, True
    )


def regions() -> Iterator[FunctionalExample]:
    """The cost of a set, and an area with a weight for each pixel, 0 somewhere."""
    yield FunctionalExample("region", lambda: Region(data(4, 5) - 1.0), (4, 5))
    yield FunctionalExample("weighted-length", lambda: WeightedLength(data(4, 5)), (4, 4, 5))
    yield FunctionalExample("weighted-length-gradient", lambda: WeightedLength(data(3, 2, 4), 0), (3, 3, 2, 4))


FUNCTIONALS: list[FunctionalExample] = [*quadratics(), *norms(), *variations(), *edges(), *counts(), *regions()]


# ---- fields and schemes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldExample:
    """One vector field with the shape of one picture, without batch.

    peak    a picture that a step of 1.01 max_dt throws out of its range, or makes grow where `grows`; None where
            max_dt is not sharp, and `blunt` says why
    feeds   weights < 0: |u| may grow slowly, whatever dt
    within  data that count among the extrema beside u_0
    torus   F commutes with shifts on the torus
    grey    F(u + c) = F(u)
    meta    F decides nothing by the numbers in u, so that it runs on tensors without numbers
    """

    name: str
    make: Callable[[], Field]
    shape: Shape
    peak: Callable[[], torch.Tensor] | None
    blunt: str = ""
    grows: bool = False
    feeds: bool = False
    within: torch.Tensor | None = None
    torus: bool = False
    grey: bool = True
    meta: bool = True

    def input(self, *batch: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Random pictures."""
        return torch.randn(*batch, *self.shape, dtype=torch.float64).to(dtype)


def spike(*shape: int, size: float = 1e-5) -> torch.Tensor:
    """One pixel in the middle, so low that a diffusivity is g(0) there."""
    u = torch.zeros(shape, dtype=torch.float64)
    u[tuple(n // 2 for n in shape)] = size
    return u


def checkerboard(*shape: int, size: float = 1e-5) -> torch.Tensor:
    """(-1)^{n_1 + ... + n_d}."""
    return size * (1 - 2 * (torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).sum(0) % 2)).double()


def steepest(grad: LinearOperator, *shape: int) -> torch.Tensor:
    """The picture on which |grad u| / |u| is largest, low."""
    G = dense(grad, shape)
    return 1e-5 * torch.linalg.eigh(G.T @ G).eigenvectors[:, -1].reshape(shape)


def steepest_scharr(*shape: int) -> torch.Tensor:
    """The wave on which Scharr's gradient is largest: w = 7 pi / 19 along both axes."""
    waves = [torch.cos(7 * torch.pi / 19 * (torch.arange(n, dtype=torch.float64) + 0.5)) for n in shape]
    return 1e-5 * waves[0][:, None] * waves[1]


def valley(*shape: int) -> torch.Tensor:
    """max(0, n_1 + ... + n_d - c): a ramp with a foot, where every one-sided slope is the same and L > 0."""
    far = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).sum(0)
    return (far - sum(shape) // 2).clamp_min(0).double()


def diffusions() -> Iterator[FieldExample]:
    """Heat and Perona-Malik in dimensions 1-3, at both borders, with every kind of gradient; their smoothed forms."""
    shapes: list[Shape] = [(12,), (6, 8), (4, 5, 4)]
    for boundary in ("reflect", "periodic"):
        for d, shape in enumerate(shapes, 1):
            torus, label = boundary == "periodic", f"{d}d-{boundary}"
            peak, grad = partial(spike, *shape), partial(Gradient, 0.5, d, boundary)
            yield FieldExample(f"heat-{label}", partial(Heat, 0.5, d, boundary), shape, peak, torus=torus)
            for g in (partial(Exponential, 1.5), partial(Rational, 1.2, 1.5))[: 2 if d == 2 else 1]:
                name = f"perona-malik-{g.func.__name__.lower()}-{label}"
                yield FieldExample(name, lambda g=g, grad=grad: PeronaMalik(g(), grad()), shape, peak, torus=torus)
            if d == 3 and torus:
                continue
            catte = lambda grad=grad: PeronaMalik(Exponential(1.5), grad(), 0.6)  # noqa: E731
            yield FieldExample(f"catte-{label}", catte, shape, peak, torus=torus)
            yield FieldExample(f"tv-flow-{label}", lambda grad=grad: TVFlow(grad(), 0.3), shape, peak, torus=torus)
        for label, frame in (
            ("haar", partial(haar_gradient, 0.5, 2, boundary)),
            ("haar3", partial(haar_gradient, 0.5, 3, boundary)),
            ("spline", partial(spline_gradient, 0.5, boundary)),
        ):
            shape = (12, 12) if label == "spline" else (8, 8)
            peak = (
                partial(spike, *shape) if label != "spline" else partial(lambda f, n: steepest(f(), *n), frame, shape)
            )
            make = partial(lambda f: PeronaMalik(Exponential(1.5), f()), frame)
            name, grows = f"perona-malik-{label}-{boundary}", label == "spline"
            yield FieldExample(name, make, shape, peak, grows=grows, torus=boundary == "periodic")
    yield FieldExample("diffusion", lambda: Diffusion(Charbonnier(0.7)), (6, 8), partial(spike, 6, 8))
    own = lambda: PeronaMalik(lambda s: 1 / (1 + s / 4))  # noqa: E731
    yield FieldExample("perona-malik-own", own, (6, 8), partial(spike, 6, 8))
    f = data(6, 8) / 4
    fit = lambda: TVFlow(Gradient(0.5), 0.3, f - f, 0.4)  # noqa: E731
    yield FieldExample("tv-flow-to-0", fit, (6, 8), partial(spike, 6, 8), within=f - f, grey=False)
    fit = lambda: TVFlow(Gradient(0.5), 0.3, f, 0.4)  # noqa: E731
    blunt = "a spike that is flat and the data f do not fall together; tv-flow-to-0 is sharp"
    yield FieldExample("tv-flow-to-f", fit, (6, 8), None, blunt, within=f, grey=False)


def turned() -> Iterator[FieldExample]:
    """Tensors by every stencil: edge- and coherence-enhancing, and D = g I."""
    peaks: list[tuple[Stencil, Shape, Callable[..., torch.Tensor]]] = [
        (Selling(), (8, 7), spike),
        (ThreeByThree(), (8, 7), spike),
        (Scharr(), (19, 19), steepest_scharr),
    ]
    for stencil, shape, peak in peaks:
        label, meta, grows = type(stencil).__name__.lower(), not isinstance(stencil, Selling), stencil.limit > 1
        promise = partial(FieldExample, feeds=isinstance(stencil, ThreeByThree), meta=meta)
        eed = lambda stencil=stencil: EdgeEnhancing(FastDecay(1.0), 0.8, 0.0, 0.5, stencil)  # noqa: E731
        ced = partial(CoherenceEnhancing, 0.3, 0.6, 1.2, 0.01, 0.5, stencil)
        own = partial(TensorDiffusion, lambda m, n: (1 / (1 + m), 1 / (1 + n)), 0.6, 0.8, 0.5, stencil)
        yield promise(f"edge-enhancing-{label}", eed, shape, partial(peak, *shape), grows=grows)
        blunt = "one eigenvalue of D is alpha: max_dt is that of D = I"
        yield promise(f"coherence-enhancing-{label}", ced, shape, None, blunt)
        yield promise(f"tensor-{label}", own, shape, partial(peak, *shape), grows=grows)


def motions() -> Iterator[FieldExample]:
    """What is no divergence: shocks, level lines, and a hole."""
    for boundary in ("reflect", "periodic"):
        torus = boundary == "periodic"
        for d, shape in ((1, (12,)), (2, (7, 8)), (3, (7, 7, 7))):
            for detector, sigma in ((along_gradient, 0.0), (laplacian, 0.4)):
                shock = partial(ShockFilter, 0.5, detector, sigma, d, boundary)
                name = f"shock-{detector.__name__}-{d}d-{boundary}"
                peak = partial(valley, *shape) if d > 1 else None
                blunt = "" if d > 1 else "h/2 is for the total variation; the extrema are kept up to h"
                yield FieldExample(name, shock, shape, peak, blunt, torus=torus)
        curvature = partial(CurvatureMotion, 0.5, 0.1, boundary)
        yield FieldExample(f"curvature-{boundary}", curvature, (8, 6), partial(spike, 8, 6), torus=torus)
        for r in (1, 2):
            median = partial(MedianMotion, 0.5, r, boundary)
            yield FieldExample(f"median{r}-{boundary}", median, (8, 7), partial(spike, 8, 7), torus=torus)
    yield FieldExample("inpainting", lambda: DiffusionInpainting(some(6, 8), 0.5), (6, 8), partial(spike, 6, 8))


def stripes(*shape: int, size: float = 1e-5) -> torch.Tensor:
    """(-1)^{n_1}."""
    return size * (1 - 2 * (torch.arange(shape[0]) % 2)).double().reshape(-1, 1).expand(shape).contiguous()


def bending() -> Iterator[FieldExample]:
    """Fourth order in dimensions 1-3, by differences and by bands of linear splines."""
    for d, shape in ((1, (12,)), (2, (6, 8)), (3, (4, 4, 6))):
        make = partial(lambda d, boundary: FourthOrder(Charbonnier(1.5), Hessian(0.5, d, boundary)), d)
        peak = partial(checkerboard, *shape)
        ring = partial(make, "periodic")
        yield FieldExample(f"fourth-order-{d}d-periodic", ring, shape, peak, grows=True, torus=True)
        blunt = "the steepest wave of a mirrored border misses the bound, by less the more pixels there are"
        yield FieldExample(f"fourth-order-{d}d-reflect", partial(make, "reflect"), shape, None, blunt)
    H = partial(FrameGradient, bspline(2), ((2, 0), (1, 1), (0, 2)), 0.5, 2, "periodic", (-16.0, 8.0 * sqrt(2), -16.0))
    make = lambda: FourthOrder(Charbonnier(1.5), H())  # noqa: E731
    yield FieldExample("fourth-order-bands", make, (8, 6), partial(stripes, 8, 6), grows=True, torus=True)


def framed() -> Iterator[FieldExample]:
    """The flows of Section 3 as frame shrinkages."""
    on_torus = partial(FieldExample, torus=True)
    g, eed = Exponential(1.5), EdgeEnhancing(FastDecay(1.0), 0.8, 0.0, 0.5)
    ced = CoherenceEnhancing(0.3, 0.6, 1.2, 0.01, 0.5)
    yield on_torus("frame-haar", lambda: frame_diffusion(g, 1, 0.5), (8, 8), partial(spike, 8, 8))
    peak = partial(steepest, spline_gradient(0.5), 12, 12)
    mirrored = lambda: frame_diffusion(g, 2, 0.5, boundary="reflect")  # noqa: E731
    yield FieldExample("frame-linear", mirrored, (12, 12), peak, grows=True)
    yield on_torus("frame-haar-1d", lambda: frame_diffusion(g, 1, 0.5, 1), (12,), partial(spike, 12))
    for corner, tensor_peak in ((0.0, stripes), (1.0, checkerboard)):
        make = partial(frame_tensor, eed, None, corner)
        yield on_torus(f"frame-eed-haar-{corner:g}", make, (8, 6), partial(tensor_peak, 8, 6), grows=True)
    waves = torch.cos(7 * torch.pi / 19 * torch.arange(38, dtype=torch.float64))
    peak = lambda: 1e-5 * torch.outer(waves, waves)  # noqa: E731
    yield on_torus("frame-eed-scharr", lambda: frame_tensor(eed, scharr_filters()), (38, 38), peak, grows=True)
    yield on_torus("frame-eed-directed", lambda: frame_directed(eed), (8, 6), partial(checkerboard, 8, 6), grows=True)
    blunt = "one eigenvalue of D is alpha: max_dt is that of D = I"
    yield on_torus("frame-ced-directed", lambda: frame_directed(ced), (8, 6), None, blunt)
    fourth = lambda: frame_fourth_order(Charbonnier(1.5), 0.5)  # noqa: E731
    yield on_torus("frame-fourth-order", fourth, (8, 6), partial(stripes, 8, 6), grows=True)
    yield on_torus("frame-shock", lambda: frame_shock(0.5, 0.4), (7, 8), partial(valley, 7, 8))
    terms = [(1, 0), (1, 0), (0, 1)], [(0, 0), (1, 0), (0, 1)]
    wind = lambda: FramePDE(*terms, lambda Du, u: Du, 0.5, max_dt=2 / 17)  # noqa: E731  u_t = d_1 u + Laplace u
    yield on_torus("frame-wind", wind, (8, 6), None, "2 / (|grad|^2 + 1) is enough, and nearly needed")


def learned_fields() -> Iterator[FieldExample]:
    """Diffusions with learned filters and diffusivities: one length for all filters, and one for each."""
    bands = [ell for ell in itertools.product(range(3), repeat=2) if any(ell)]

    def alone(boundary: str = "periodic") -> LearnedDiffusion:
        grad = LearnedGradient(FrameGradient(bspline(2), bands, 1.0, 2, boundary, [1.0] * 8))
        return LearnedDiffusion([LearnedDiffusivity(Rational(0.3)) for _ in bands], grad, [1] * 8)

    def together() -> LearnedDiffusion:
        return LearnedDiffusion([LearnedDiffusivity(Exponential(1.5))], LearnedGradient(Gradient(0.5), N=5), [2])

    peak = partial(checkerboard, 8, 8)
    yield FieldExample("learned-bands", stirred(alone, 0.0), (8, 8), peak, grows=True, torus=True)
    blunt = "B takes each g for its largest value"
    yield FieldExample("learned-bands-trained", stirred(alone), (8, 7), None, blunt, torus=True)
    yield FieldExample("learned-bands-reflect", stirred(partial(alone, "reflect")), (8, 7), None, blunt)
    yield FieldExample("learned-gradient-trained", stirred(together, 0.5), (6, 8), None, blunt)


FIELDS: list[FieldExample] = [*diffusions(), *turned(), *motions(), *bending(), *framed(), *learned_fields()]


THREE_EIGHTHS = tableau(["1/3"], ["-1/3", 1], [1, -1, 1], b=["1/8", "3/8", "3/8", "1/8"])


@dataclass(frozen=True)
class SchemeExample:
    """One scheme; `implicit`: it takes every dt; `speed`: it tends to u' = speed F(u); `apart`: why a law that asks for
    a step up to the limit, for a diffusion or for F(0) != 0 leaves it out. Its own tests then measure what is true.
    """

    name: str
    make: Callable[..., Scheme]
    implicit: bool = False
    speed: float = 1.0
    apart: str = ""


SCHEMES: list[SchemeExample] = [
    SchemeExample("euler", Euler),
    SchemeExample("heun", Heun),
    SchemeExample("rk4", RK4),
    SchemeExample("semi-implicit", SemiImplicit, True),
    SchemeExample("implicit", Implicit, True),
    SchemeExample("midpoint", Midpoint),
    SchemeExample("ralston", Ralston),
    SchemeExample("kutta-3", Kutta3),
    SchemeExample("ssp-3", SSP3),
    SchemeExample("three-eighths", partial(RungeKutta, tableau=THREE_EIGHTHS)),
    SchemeExample("two-step", partial(TwoStep, alpha=-0.25), speed=1 / 0.75),
    SchemeExample("two-step-forwards", partial(TwoStep, alpha=0.5), speed=1 / 1.5),
    SchemeExample("adams-bashforth-2", AdamsBashforth),
    SchemeExample("adams-bashforth-3", partial(AdamsBashforth, q=3)),
    SchemeExample("adams-bashforth-4", partial(AdamsBashforth, q=4)),
    SchemeExample("multistep", partial(LinearMultistep, a=(0.5, 0.5), b=(1.75, -0.25))),
    SchemeExample("leapfrog", Leapfrog, apart="it is stable on the imaginary axis only"),
    SchemeExample("neumann-2", Neumann),
    SchemeExample("neumann-3", partial(Neumann, n=3)),
    SchemeExample("polynet", partial(Neumann, printed=True), apart="it is no scheme for F(0) != 0"),
    SchemeExample("picard", Picard, apart="beyond dt Lip(F) < 1 it finds no step"),
    SchemeExample("fractal-2", Fractal),
    SchemeExample("fractal-3", partial(Fractal, columns=3)),
]
