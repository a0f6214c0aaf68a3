"""Examples of every operator, threshold and functional: the laws in this folder run over these three lists.

To add an operator, append an example here: `OperatorExample(name, how to make it, shape of one input)`. A public
subclass of `LinearOperator`, `Threshold` or `Functional` without an example fails `test_every_operator_has_an_example`.
"""

from __future__ import annotations

import importlib
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
    Blur,
    Box,
    Composed,
    Divergence,
    Filter,
    Firm,
    FrameLeastSquares,
    FrameletTransform,
    Functional,
    Garrote,
    Gradient,
    GradientCascade,
    GroupL1,
    Hard,
    Hessian,
    Identity,
    IsotropicSoft,
    LeastSquares,
    LinearOperator,
    Mask,
    OnFirst,
    PartialFourier,
    Radon,
    SmoothOrEdge,
    Soft,
    SymmetrisedGradient,
    Threshold,
    biorthogonal,
    bspline,
    gaussian_kernel,
)

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
    yield OperatorExample("frame-2d-nonseparable-levels1", frame(simplex_bank(2), 1, 2), (3, 4))
    yield OperatorExample("frame-2d-nonseparable-levels3", frame(simplex_bank(2), 3, 2), (6, 5))
    yield OperatorExample("frame-3d-nonseparable-levels2", frame(simplex_bank(3), 2, 3), (3, 4, 3))


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


OPERATORS: list[OperatorExample] = [*frames(), *measurements(), *scanners(), *differences(), *stacked(), *algebra()]


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


FUNCTIONALS: list[FunctionalExample] = [*quadratics(), *norms(), *edges(), *counts()]
