"""Bad input is answered in the mathematics' words: the rule, what came, what to do instead.

One row of `CASES` for each: what somebody does, the error, and what the message says, in its order, with `...` for what
is left out and «what came» so marked. Every `raise` below `lab` must be reached by a row: a new error without one fails
here. No type checks run beside this file, since they would answer first:

    python -m pytest tests/test_messages.py --as-user
"""

import ast
import functools
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import companion
from companion import (
    ADMM,
    FISTA,
    KL,
    L1,
    PDHG,
    Blur,
    Box,
    Composed,
    Divergence,
    Filter,
    Firm,
    ForwardBackward,
    FrameLeastSquares,
    FrameletTransform,
    Functional,
    Garrote,
    GaussianNoise,
    Gradient,
    GroupL1,
    Hard,
    Hessian,
    Identity,
    IsotropicSoft,
    LaplacianNoise,
    LeastSquares,
    LinearOperator,
    Mask,
    PartialFourier,
    PoissonNoise,
    Problem,
    Radon,
    Shrinkage,
    Soft,
    Spline,
    SymmetrisedGradient,
    Threshold,
    analysis,
    balanced,
    biorthogonal,
    bspline,
    cartesian_pattern,
    check_bank,
    correlate,
    correlate_adjoint,
    data_term,
    ellipse_projection,
    extension_residual,
    fixed_point,
    framelet,
    gaussian_kernel,
    inner,
    radial_pattern,
    random_pattern,
    refinable,
    run,
    shift,
    synthesis,
    tensor_product,
    tikhonov,
    to_complex,
)
from tests.messages_beyond import BEYOND
from tests.messages_bridge07 import GAMMA
from tests.messages_bridge08 import BRIDGE
from tests.messages_bridge09 import WAVES
from tests.messages_control import CONTROL
from tests.messages_learned import LEARNED
from tests.messages_nets import NETS
from tests.messages_networks_flows import SCHEMES
from tests.messages_neural_ode import NEURAL_ODES
from tests.messages_pdenets import PDENETS
from tests.messages_pdes import PDES
from tests.messages_unrolled import UNROLLED
from tests.messages_variations import FLOWS, VARIATIONS

MARKS = {ord("«"): None, ord("»"): None}
PACKAGE = Path(companion.__file__).parent
ERRORS = (ValueError, TypeError, RuntimeError)
NAN, INF = float("nan"), float("inf")

HAAR, LINEAR = bspline(1), bspline(2)
MISTYPED = (Filter([0.5, 0.5, 0.5], -1), Filter([0.0, 0.5, -0.5], -1))  # a published Haar bank with one tap too many
WRONG_HIGH = (HAAR[0], Filter([0.5, -0.25]))  # the average is right, the difference is not
CDF = biorthogonal(2, 2)
HAAR_2D = tuple(tensor_product(p, q) for p in HAAR for q in HAAR)


@dataclass(frozen=True)
class Case:
    """Somebody calls `act`; the answer is an `error` whose message reads like `text`."""

    name: str
    act: Callable[[], Any]
    error: type[Exception]
    text: str


def image(height: int = 16, width: int = 16) -> torch.Tensor:
    """A checkerboard with a slope: no operator's null space holds it."""
    i, j = torch.arange(height)[:, None], torch.arange(width)
    return ((i + j) % 2 + i / height + j) / 2.0


def holed(value: float) -> torch.Tensor:
    u = torch.ones(16, 16)
    u[3, 4] = u[5, 6] = value
    return u


def haar(levels: Any = 1, **options: Any) -> FrameletTransform:
    return FrameletTransform(HAAR, levels, **options)


# Every operator that takes a picture asks the same questions of it: rank, type, device, finite values.
TAKES_A_PICTURE = {
    "W": lambda: haar(),
    "Gradient": lambda: Gradient(),
    "Hessian": lambda: Hessian(),
    "Blur": lambda: Blur(gaussian_kernel(0.5)),
    "Blur, reflect": lambda: Blur(gaussian_kernel(0.5), boundary="reflect"),
    "Radon": lambda: Radon(16, 3),
}
PICTURES = [
    Case(f"{name}: {what}", lambda make=make, u=u: make()(u), error, text)
    for name, make in TAKES_A_PICTURE.items()
    for what, u, error, text in [
        ("a list", [[0.0, 1.0]], TypeError, "u must be a torch tensor; got «list». Use torch.as_tensor(u)."),
        ("a NumPy array", image().numpy(), TypeError, "u must be a torch tensor; got «ndarray». Use torch.as_tensor"),
        ("a line", image()[0], ValueError, "u must have at least 2 axes ... got shape «(16,)»."),
        (
            "a uint8 image",
            (255 * image()).to(torch.uint8),
            TypeError,
            "floating point, grey values usually in [0, 1]; got «torch.uint8». Use u.double() / 255.",
        ),
        ("an int64 image", image().long(), TypeError, "floating point ... «torch.int64». Use u.double() / 255."),
        ("a complex image", image() + 0j, TypeError, "real, but u ... «torch.complex64» ... u.real and u.imag apart."),
        ("a bool image", image() > 0, TypeError, "floating point ... «torch.bool». Use u.double()"),
        ("NaN", holed(NAN), ValueError, "u must be finite; «2 of its 256» entries are NaN ... mask"),
        ("infinity", holed(INF), ValueError, "u must be finite; «2 of its 256» entries are NaN or infinite."),
    ]
]

FRAMES = [
    Case("level 0", lambda: haar(0), ValueError, "levels ... integer >= 1 ... «0»"),
    Case("level -1", lambda: haar(-1), ValueError, "levels ... integer >= 1 ... «-1»"),
    Case("half a level", lambda: haar(1.5), ValueError, "levels ... integer >= 1 ... «1.5»"),
    Case("level True", lambda: haar(True), ValueError, "levels ... integer >= 1 ... «True»"),
    Case("dimension 4", lambda: haar(dim=4), ValueError, "dim = 1, 2 or 3 ... «4»"),
    Case("a 2-D bank in 3-D", lambda: FrameletTransform(HAAR_2D, dim=3), ValueError, "«dimension 2» ... use 1 or 3"),
    Case("an unknown boundary", lambda: haar(boundary="zero"), ValueError, "'periodic' ... 'reflect' ... «'zero'»"),
    Case("no boundary", lambda: haar(boundary=None), ValueError, "'periodic' ... 'reflect' ... «None»"),
    Case(
        "reflect with Haar",
        lambda: haar(boundary="reflect"),
        ValueError,
        "reflecting boundary ... symmetric or antisymmetric about 0. «Filter([0.5, 0.5], origin=0)» is neither. "
        'Use boundary="periodic", or a spline of even order: bspline(2)',
    ),
    Case(
        "reflect with the quadratic spline",
        lambda: FrameletTransform(bspline(3), boundary="reflect"),
        ValueError,
        "reflecting boundary ... «Filter([0.125, 0.375, 0.375, 0.125]» ... even order",
    ),
    Case(
        "reflect with a dual pair, whose high-pass filters are symmetric about 1",
        lambda: FrameletTransform(CDF[0], boundary="reflect", dual=CDF[1]),
        ValueError,
        "reflecting boundary ... symmetric or antisymmetric about 0. «Filter([-0.125, ... origin=-1)» is neither.",
    ),
    Case(
        "reflect with a 2-D bank",
        lambda: FrameletTransform(HAAR_2D, boundary="reflect"),
        ValueError,
        "one-dimensional banks ... tensor products ... «dimension 2» ... periodic",
    ),
    Case(
        "an image smaller than the filter",
        lambda: FrameletTransform(bspline(4))(image(16, 4)),
        ValueError,
        "dilated filters are 5 samples long ... «only 4» ... axis -1 ... fewer levels or a larger picture",
    ),
    Case(
        "an image smaller than the dilated filter",
        lambda: haar(5)(image()),
        ValueError,
        "level l = 4 ... dilated filters are 17 samples long ... «only 16» ... axis -2 ... fewer levels",
    ),
    Case(
        "the coefficients of fewer levels",
        lambda: haar(2).T(haar(1)(image())),
        ValueError,
        "W^T takes the 7 bands ... «have 4» ... another transform ... orders and levels",
    ),
    Case(
        "the coefficients of another order",
        lambda: haar().T(FrameletTransform(LINEAR)(image())),
        ValueError,
        "W^T takes the 4 bands ... «have 9» ... another transform ... orders and levels",
    ),
    Case(
        "a picture where coefficients belong",
        lambda: haar().T(image()),
        ValueError,
        "d ... at least 3 axes ... «(16, 16)»",
    ),
    Case(
        "a picture on another device",
        lambda: haar()(image().to("meta")),
        ValueError,
        "lives on cpu ... «meta» ... Move one of them ... operator.to(u.device)",
    ),
    Case(
        "coefficients on another device",
        lambda: haar().T(haar()(image()).to("meta")),
        ValueError,
        "lives on cpu ... «meta» ... Move one of them",
    ),
    Case("an operator on another device", lambda: haar().to("meta")(image()), ValueError, "lives on meta ... «cpu»"),
    Case("a band of another level", lambda: haar().band((1, 0), 1), ValueError, "no band «((1, 0), 1)»; the bands are"),
    Case("a filter beyond the bank", lambda: haar().filter((5, 5)), ValueError, "no filter «(5, 5)»; in dimension 2"),
    Case(
        "a 1-D filter of a 2-D transform", lambda: haar().filter((1,)), ValueError, "no filter «(1,)»; in dimension 2"
    ),
    Case(
        "thresholds for two bands of four",
        lambda: haar().weights(torch.tensor([0.0, 0.5])),
        ValueError,
        "one number >= 0, or one for each of 4 bands; got «tensor([0.0000, 0.5000])».",
    ),
    Case(
        "a negative threshold for all bands", lambda: haar().weights(-0.1), ValueError, "threshold ... >= 0 ... «-0.1»"
    ),
    Case(
        "a threshold that is NaN for all bands", lambda: haar().weights(NAN), ValueError, "threshold ... >= 0 ... «nan»"
    ),
]

BANKS = [
    Case("B-spline of order 0", lambda: bspline(0), ValueError, "order ... integer >= 1 ... 1 Haar ... «0»"),
    Case("B-spline of order 1.5", lambda: bspline(1.5), ValueError, "order ... integer >= 1 ... 1 Haar ... «1.5»"),
    Case("dual orders of unequal parity", lambda: biorthogonal(1, 2), ValueError, "equal parity ... «m=1, m~=2»"),
    Case("dual order -1", lambda: biorthogonal(1, -1), ValueError, ">= 1 ... equal parity ... «m~=-1»"),
    Case(
        "the mis-typed Haar bank",
        lambda: FrameletTransform(MISTYPED),
        ValueError,
        "fail the extension principle ... low-pass ... sum p[k] = 1, but its taps «[0.5, 0.5, 0.5]» sum to 1.5. "
        "Is a tap mis-typed? Haar is [1, 1]/2.",
    ),
    Case(
        "a bank whose high-pass alone is wrong",
        lambda: FrameletTransform(WRONG_HIGH),
        ValueError,
        "unitary extension principle: sum_l |q_l^(w)|^2 = 1 does not hold ... «off by 0.1875», so W^T W is not I. "
        "... dual=...",
    ),
    Case(
        "the linear splines without their factor sqrt(2)",
        lambda: FrameletTransform([LINEAR[0], Filter([0.25, 0, -0.25]), LINEAR[2]]),
        ValueError,
        "unitary extension principle ... «0.125» ... a tap or its factor",
    ),
    Case(
        "a dual bank that is not dual",
        lambda: FrameletTransform(HAAR, dual=biorthogonal(1, 3)[1]),
        ValueError,
        "mixed extension principle: sum_l q~_l^(w) conj q_l^(w) = 1 does not hold ... «off by 1», so W~^T W "
        "is not I. "
        "`biorthogonal(m, m~)` gives",
    ),
    Case(
        "a bank whose low-pass comes last",
        lambda: check_bank(HAAR[::-1]),
        ValueError,
        "the first of the bank must be a low-pass ... «[0.5, -0.5]»",
    ),
    Case(
        "a dual bank whose low-pass sums to 0",
        lambda: check_bank(HAAR, HAAR[::-1]),
        ValueError,
        "dual bank ... «[0.5, -0.5]»",
    ),
    Case(
        "a bank of one filter",
        lambda: check_bank(HAAR[:1]),
        ValueError,
        "at least two Filters ... low-pass p first ... «0.5, 0.5»",
    ),
    Case("a bank of lists", lambda: check_bank([[0.5, 0.5], [0.5, -0.5]]), ValueError, "two Filters ... «[0.5, -0.5]»"),
    Case("a bank by its name", lambda: FrameletTransform("haar"), ValueError, "two Filters ... «'haar'»"),
    Case(
        "a bank of two dimensions", lambda: check_bank([HAAR[0], HAAR_2D[1]]), ValueError, "same dimension ... «[1, 2]»"
    ),
    Case(
        "a bank that is a function",
        lambda: FrameletTransform(bspline),
        ValueError,
        "two Filters ... «<function bspline»",
    ),
    Case("no bank", lambda: FrameletTransform(None), ValueError, "two Filters ... got «None»."),
    Case(
        "a dual bank of other dimension", lambda: check_bank(HAAR, HAAR_2D[:2]), ValueError, "dimension; got «1 and 2»."
    ),
    Case(
        "the residual of banks of unequal length",
        lambda: extension_residual(HAAR, LINEAR),
        ValueError,
        "filter by filter; got «2 and 3» filters.",
    ),
    Case("a dual bank of other length", lambda: check_bank(HAAR, LINEAR), ValueError, "filter by filter ... «2 and 3»"),
]

FILTERS = [
    Case("a filter without taps", lambda: Filter([]), ValueError, "at least one tap ... «(0,)»"),
    Case("a number for a filter", lambda: Filter(1.0), ValueError, "at least one tap along each axis ... «shape ()»"),
    Case("a tap that is NaN", lambda: Filter([0.5, NAN]), ValueError, "finite numbers ... «[0.5, nan]»"),
    Case(
        "an origin of two indices",
        lambda: Filter([1, 1], (0, 0)),
        ValueError,
        "one index for each of the 1 axes ... «(0, 0)»",
    ),
    Case("a 1-D symbol at two frequencies", lambda: HAAR[0].symbol(0, 0), ValueError, "symbol ... takes 1 ... «2»"),
    Case("a moment of two indices", lambda: HAAR[1].moment((1, 0)), ValueError, "has 1 indices >= 0 ... «(1, 0)»"),
    Case("a moment of index -1", lambda: HAAR[1].moment(-1), ValueError, "indices >= 0 ... «-1»"),
    Case("dilation by 0", lambda: HAAR[0].dilate(0), ValueError, "integer step >= 1, 2^l at level l; got «0»."),
    Case("1-D with 2-D", lambda: HAAR[0].convolve(HAAR_2D[0]), ValueError, "equal dimension convolve ... «1 and 2»"),
    Case(
        "the orders of the zero filter",
        lambda: Filter([0, 0]).vanishing_order(),
        ValueError,
        "«zero filter» ... all its moments vanish",
    ),
    Case(
        "the total order of delta",
        lambda: Filter([1.0]).total_order(allow=0),
        ValueError,
        "moment ... vanishes ... «single tap» ... total order",
    ),
]

SPLINES = [
    Case("a spline without pieces", lambda: Spline([[]]), ValueError, "shape (pieces, degree + 1) ... «(1, 0)»"),
    Case("a spline with NaN", lambda: Spline([[NAN]]), ValueError, "finite coefficients ... «NaN or infinity»"),
    Case("knots 0 apart", lambda: Spline([[1.0]], 0, 0), ValueError, "start + i step with a step > 0 ... «step=0»"),
    Case(
        "a spline at whole numbers",
        lambda: refinable(2)(torch.arange(3)),
        TypeError,
        "torch tensor of real numbers; got «torch.int64». Use x.double().",
    ),
    Case("a spline at a number", lambda: refinable(2)(0.5), TypeError, "torch tensor ... got «float». Use x.double()"),
    Case("moment -1 of a spline", lambda: refinable(2).moment(-1), ValueError, "int x^j f ... j >= 0 ... «-1»"),
    Case("Gauss's rule of 0 points", lambda: refinable(2).quadrature(0), ValueError, "at least 1 point ... «0»"),
    Case(
        "phi_alpha of a low-pass",
        lambda: refinable(2).antiderivative(),
        ValueError,
        "integral «1» is this constant right of its support ... vanishing moments: take a lower order",
    ),
    Case("antiderivative -1", lambda: refinable(2).antiderivative(-1), ValueError, "order >= 0 times ... «-1»"),
    Case("derivative -1", lambda: refinable(2).derivative(-1), ValueError, "order >= 0 times; got «-1»"),
    Case(
        "the derivative of a jump",
        lambda: framelet(HAAR[1], refinable(1)).derivative(),
        ValueError,
        "jumps has no weak derivative ... «jumps by -2 at x = 0.5» ... higher order",
    ),
    Case("a spline scaled by 0", lambda: refinable(2).scaled(0), ValueError, "factor a > 0 ... «a=0»"),
    Case("the box of order 0", lambda: refinable(0), ValueError, "order m ... integer >= 1 ... «0»"),
    Case(
        "a framelet of a 2-D filter",
        lambda: framelet(HAAR_2D[1], refinable(1)),
        ValueError,
        "one-dimensional filter, in the plane it is a product; got «dimension 2»",
    ),
    Case(
        "a framelet of a spline with knots 0.4 apart",
        lambda: framelet(HAAR[1], Spline([[1.0]], 0, 0.4)),
        ValueError,
        "knots of phi ... 1 / step is whole ... «step=0.4»",
    ),
    Case(
        "an inner product with nothing", lambda: inner(lambda x: x), ValueError, "one spline for each ... «0 splines»"
    ),
]

OPERATORS = [
    Case(
        "a correlation with an unknown border",
        lambda: correlate(image(), torch.ones(2), (0,), (-1,), boundary="zero"),
        ValueError,
        "'periodic' ... 'reflect' ... «'zero'»",
    ),
    Case(
        "the adjoint of a correlation with an unknown border",
        lambda: correlate_adjoint(image(), torch.ones(2), (0,), (-1,), boundary="zero"),
        ValueError,
        "'periodic' ... 'reflect' ... «'zero'»",
    ),
    Case(
        "shift over an unknown border",
        lambda: shift(image(), 1, -1, "mirror"),
        ValueError,
        "'periodic' ... 'reflect' ... «'mirror'»",
    ),
    Case(
        "a gradient with an unknown border",
        lambda: Gradient(boundary="Neumann"),
        ValueError,
        "'periodic' ... 'reflect' ... «'Neumann'»",
    ),
    Case(
        "a blur with an unknown border",
        lambda: Blur(gaussian_kernel(1), "zero"),
        ValueError,
        "'periodic' ... 'reflect' ... «'zero'»",
    ),
    Case("grid step 0", lambda: Gradient(h=0), ValueError, "grid step h ... length > 0 ... «h=0» ... h = 1/N"),
    Case("a grid step that is NaN", lambda: Hessian(h=NAN), ValueError, "grid step h ... length > 0 ... «h=nan»"),
    Case("a grid of dimension 0", lambda: Gradient(dim=0), ValueError, "dimension of the grid ... >= 1 ... «0»"),
    Case(
        "the divergence of a picture",
        lambda: Divergence()(image()[None]),
        ValueError,
        "p must have 1 component axes of length 2 ... before its 2 space axes ... «(1, 16, 16)»",
    ),
    Case("the divergence of a line", lambda: Divergence()(image()[0]), ValueError, "p ... at least 3 axes ... «(16,)»"),
    Case("E of a picture", lambda: SymmetrisedGradient()(torch.ones(3, 8, 8)), ValueError, "length 2 ... «(3, 8, 8)»"),
    Case(
        "E^T of a vector field",
        lambda: SymmetrisedGradient().T(torch.ones(2, 3, 8, 8)),
        ValueError,
        "s ... 2 component axes ... «(2, 3, 8, 8)»",
    ),
    Case("A @ u", lambda: Identity() @ image(), TypeError, "composes two operators ... «Tensor» ... write A(u)"),
    Case("A + 1", lambda: Identity() + 1.0, TypeError, "adds two operators ... «float» ... c * Identity()"),
    Case("a vector times A", lambda: torch.ones(3) * Identity(), ValueError, "needs a number c ... «(3,)»"),
    Case(
        "an operator without forward",
        lambda: LinearOperator()(image()),
        TypeError,
        "«LinearOperator» does not define forward(u) = A u",
    ),
    Case(
        "an operator without adjoint",
        lambda: LinearOperator().T(image()),
        TypeError,
        "«LinearOperator» does not define adjoint(f) = A^T f",
    ),
    Case(
        "negative rho, in closed form",
        lambda: Identity().normal_solve(image(), -1.0),
        ValueError,
        "rho >= 0 ... positive ... «rho=-1.0»",
    ),
    Case(
        "negative rho, by conjugate gradients",
        lambda: Gradient().normal_solve(image(), -1.0),
        ValueError,
        "rho >= 0 ... «rho=-1.0»",
    ),
    Case(
        "negative rho, of a blur",
        lambda: Blur(gaussian_kernel(1)).normal_solve(image(), -1.0),
        ValueError,
        "rho >= 0 ... «rho=-1.0»",
    ),
    Case(
        "negative rho, of a tight frame",
        lambda: haar().normal_solve(image(), -1.0),
        ValueError,
        "rho >= 0 ... «rho=-1.0»",
    ),
    Case(
        "too few conjugate gradients",
        lambda: Gradient().normal_solve(image(), 1e-3, k=2),
        RuntimeError,
        "M x = v: «2 conjugate-gradient steps» reached a relative residual ... "
        "Allow more steps ... a looser tol, or, if M = A^T A + rho I, a larger rho.",
    ),
]

MEASUREMENTS = [
    Case(
        "a grey mask",
        lambda: Mask(torch.tensor([0.0, 0.5])),
        ValueError,
        "0 (unknown) and 1 (known) ... «0.5» ... m > threshold",
    ),
    Case(
        "a mask that is a list", lambda: Mask([0, 1]), TypeError, "0 (unknown) and 1 (known) or of bools; got a «list»."
    ),
    Case(
        "a mask that knows nothing",
        lambda: Mask(torch.zeros(4)),
        ValueError,
        "at least one pixel ... «all 4 entries are 0»",
    ),
    Case(
        "a mask of another shape",
        lambda: Mask(torch.ones(3, 3))(image()),
        ValueError,
        "mask has shape (3, 3) ... last axes of u ... «(16, 16)»",
    ),
    Case(
        "a mask and rho = 0",
        lambda: Mask(torch.eye(16)).normal_solve(image(), 0.0),
        ValueError,
        "diag(m) ... rho > 0 ... «rho=0»",
    ),
    Case(
        "a mask on another device",
        lambda: Mask(torch.eye(16))(image().to("meta")),
        ValueError,
        "lives on cpu ... «meta». Move one of them",
    ),
    Case(
        "a kernel larger than the picture",
        lambda: Blur(torch.ones(17, 1) / 17)(image()),
        ValueError,
        "blur kernel (17, 1) ... larger ... «(16, 16)»",
    ),
    Case(
        "a kernel of integers",
        lambda: Blur(torch.ones(3, 3).long()),
        TypeError,
        "kernel must be floating point ... «torch.int64»",
    ),
    Case(
        "the origin of a kernel in one axis of two",
        lambda: Blur(torch.ones(3, 3) / 9, origin=(0,)),
        ValueError,
        "The origin of a 2-dimensional kernel has 2 indices; got «(0,)».",
    ),
    Case(
        "the inverse of a blur that annihilates the checkerboard",
        lambda: Blur(torch.tensor([0.5, 0.5])).normal_solve(image(), 0.0),
        ValueError,
        "annihilates a frequency, so (A^T A + rho I)^{-1} needs rho > 0; got «rho=0.0».",
    ),
    Case(
        "a kernel with NaN",
        lambda: Blur(torch.tensor([0.5, NAN])),
        ValueError,
        "kernel must be finite ... «1 of its 2»",
    ),
    Case("a blur of width 0", lambda: gaussian_kernel(0.0), ValueError, "sigma of a blur ... > 0 ... «0.0»"),
    Case("noise of size -1", lambda: GaussianNoise(-1.0), ValueError, "sigma of the noise ... >= 0 ... «-1.0»"),
    Case(
        "a blur of infinite width", lambda: gaussian_kernel(INF), ValueError, "finite length > 0 in pixels; got «inf»."
    ),
    Case("noise of infinite size", lambda: GaussianNoise(INF), ValueError, "finite and >= 0; got «inf»."),
    Case("noise of size NaN", lambda: GaussianNoise(NAN), ValueError, "sigma of the noise ... >= 0 ... «nan»"),
    Case(
        "noise on an integer image",
        lambda: GaussianNoise(0.1)(image().long()),
        TypeError,
        "floating point ... «torch.int64»",
    ),
    Case("noise on a complex image", lambda: GaussianNoise(0.1)(image() + 0j), TypeError, "real ... «torch.complex64»"),
]

SCANS = [
    Case("no pixels", lambda: Radon(0, 60), ValueError, "n x n with an integer n >= 1; got n=«0»."),
    Case("half a pixel", lambda: Radon(16.5, 60), ValueError, "n x n with an integer n >= 1; got n=«16.5»."),
    Case("0 angles", lambda: Radon(16, 0), ValueError, "at least one angle ... number K >= 1 ... shape of «(0,)»."),
    Case("a list of no angles", lambda: Radon(16, []), ValueError, "at least one angle ... degrees ... «(0,)»."),
    Case("a table of angles", lambda: Radon(16, torch.ones(2, 3)), ValueError, "a list or 1-d tensor ... «(2, 3)»."),
    Case("the angle NaN", lambda: Radon(16, [0.0, NAN]), ValueError, "finite numbers of degrees; got «nan»."),
    Case("0 detectors", lambda: Radon(16, 60, 0), ValueError, "an integer number D >= 1 of detectors; got «0»."),
    Case(
        "projections of another size",
        lambda: Radon(8, 60)(image()),
        ValueError,
        "projects 8 x 8 pixels; got shape «(16, 16)». Use Radon(n, angles).",
    ),
    Case(
        "data of other angles",
        lambda: Radon(16, 60, 25).T(image()),
        ValueError,
        "last axes of f are (angles, detectors) = (60, 25); got shape «(16, 16)».",
    ),
    Case(
        "a flat ellipse",
        lambda: ellipse_projection(torch.zeros(1), torch.zeros(1), 0.5, 0.0),
        ValueError,
        "semi-axes ... lengths a, b > 0; got a=0.5, «b=0.0».",
    ),
    Case("scale -1", lambda: LaplacianNoise(-1.0), ValueError, "scale b of Laplacian noise ... >= 0; got «-1.0»."),
    Case("infinite scale", lambda: LaplacianNoise(INF), ValueError, "mean of |eta|, must be finite ... «inf»"),
    Case("no photons", lambda: PoissonNoise(0.0), ValueError, "peak of Poisson noise ... > 0; got «0.0»."),
    Case(
        "counts of a negative picture",
        lambda: PoissonNoise(10.0)(holed(-0.25)),
        ValueError,
        "A Poisson mean cannot be negative: «2 of the 256» entries of v are, the least is «-0.25» ... clamp_min(0)",
    ),
    Case(
        "the SVD of a large picture",
        lambda: Gradient().svd(torch.zeros(64, 64)),
        ValueError,
        "dense SVD ... at most 4096 numbers ... got «4096 and 8192» ... A.norm(u)",
    ),
    Case(
        "a pattern that samples nothing",
        lambda: PartialFourier(torch.zeros(4, 4)),
        ValueError,
        "A sampling pattern must know at least one frequency; «all 16 entries are 0».",
    ),
    Case(
        "a density for a pattern",
        lambda: PartialFourier(torch.full((4, 4), 0.25)),
        ValueError,
        "A sampling pattern is a tensor of 0 (unknown) and 1 (known) ... «0.25»",
    ),
    Case(
        "a pattern of a line for a picture",
        lambda: PartialFourier(torch.ones(16)),
        ValueError,
        "pattern has the picture's dim = 1, 2 or 3 axes ... got shape «(16,)» with dim=2.",
    ),
    Case(
        "a pattern of another shape",
        lambda: PartialFourier(torch.ones(8, 8))(image()),
        ValueError,
        "sampling pattern has shape (8, 8), so the last axes of u must too; got shape «(16, 16)».",
    ),
    Case(
        "a complex picture",
        lambda: PartialFourier(torch.ones(16, 16))(image() + 0j),
        TypeError,
        "u is held as a real tensor with an axis of length 2 ... «torch.complex64». Use to_real(u) ... phase=True",
    ),
    Case(
        "complex data",
        lambda: PartialFourier(torch.ones(16, 16)).T(image() + 0j),
        TypeError,
        "f is held as a real tensor with an axis of length 2 ... «torch.complex64». Use to_real(f)",
    ),
    Case(
        "data without real and imaginary part",
        lambda: PartialFourier(torch.ones(16, 16)).T(image()),
        ValueError,
        "axis of length 2 before the 2 space axes ... «torch.float32 of shape (16, 16)». to_real(z, dim)",
    ),
    Case(
        "complex numbers with three parts",
        lambda: to_complex(torch.ones(3, 4, 4)),
        ValueError,
        "axis of length 2 before the 2 space axes ... shape «(3, 4, 4)»",
    ),
    Case(
        "unknown frequencies and rho = 0",
        lambda: PartialFourier(radial_pattern(16, 2)).normal_solve(image(), 0.0),
        ValueError,
        "leaves frequencies unknown, so (A^T A + rho I)^{-1} needs rho > 0; got «rho=0.0».",
    ),
    Case("a pattern of size 0", lambda: radial_pattern(0, 3), ValueError, "n x n with n >= 1; got «n=0»."),
    Case("no lines", lambda: radial_pattern(16, 0), ValueError, "lines >= 1 ... got «lines=0»."),
    Case("slower than all rows", lambda: cartesian_pattern(16, 0.5), ValueError, "n / rows >= 1; got «0.5»."),
    Case("more centre than rows", lambda: cartesian_pattern(16, 4, 1.5), ValueError, "in [0, 1]; got «1.5»."),
    Case(
        "too fast for the centre",
        lambda: cartesian_pattern(100, 20),
        ValueError,
        "= 5 rows hold no centre of 8 rows; got «n=100, acceleration=20, centre=0.08». Lower",
    ),
    Case("no frequency", lambda: random_pattern(16, 0.0), ValueError, "fraction ... in (0, 1]; got «0.0»."),
    Case("growing density", lambda: random_pattern(16, 0.5, -1.0), ValueError, "decay >= 0; got «-1.0»."),
]

SHRINKAGES = [
    *[
        Case(
            f"{S.__name__} with lam = {lam}",
            lambda S=S, lam=lam: S(lam),
            ValueError,
            f"lam must be finite and >= 0 ... «[{lam}]»",
        )
        for S in (Soft, Hard, Garrote)
        for lam in (-1.0, NAN, INF)
    ],
    Case("firm with mu below lam", lambda: Firm(2.0, 1.5), ValueError, "mu > lam ... «1.5»"),
    Case(
        "isotropic thresholds for other levels",
        lambda: IsotropicSoft(torch.ones(3), haar(2))(haar(2)(image())),
        ValueError,
        "one threshold, or one for each of 2 levels; got «3».",
    ),
    Case("firm with mu = infinity", lambda: Firm(1.0, INF), ValueError, "mu must be finite ... «[inf]»"),
    Case(
        "a threshold without a level",
        lambda: Threshold(1.0)(image()),
        TypeError,
        "«Threshold» must define level(d), the fraction",
    ),
    Case(
        "isotropic grouping of another transform",
        lambda: IsotropicSoft(0.1, haar())(FrameletTransform(LINEAR)(image())),
        ValueError,
        "groups the 4 bands of its W ... axis -3 ... «9 bands»",
    ),
    Case(
        "one threshold for all bands",
        lambda: Shrinkage(haar(), Soft(0.25)),
        ValueError,
        "«0.25» ... one number for all bands ... shrink the average ... Soft(W.weights(0.25))",
    ),
    Case(
        "the thresholds of another transform",
        lambda: Shrinkage(FrameletTransform(LINEAR), Soft(haar().weights(0.1)))(image()),
        ValueError,
        "threshold ... 4 bands ... «9»",
    ),
]


class Mute(Functional):
    """A functional whose author has not begun."""


def tv(f: torch.Tensor | None = None) -> Problem:
    """1/2 |u - f|^2 + 0.1 |grad u|_1."""
    return Problem(LeastSquares(image() if f is None else f), GroupL1(0.1), Gradient())


ENERGIES = [
    Case(
        "a functional without forward",
        lambda: Mute()(image()),
        TypeError,
        "«Mute» is no functional yet: it does not define forward(v)",
    ),
    Case("the gradient of a norm", lambda: L1(0.1).grad(image()), TypeError, "«L1» has no gradient ... Use its prox."),
    Case(
        "the prox of a composition",
        lambda: Composed(L1(0.1), Identity()).prox(image(), 1.0),
        TypeError,
        "proximal map of «Composed» has no closed form. Use its gradient, or PDHG.",
    ),
    Case(
        "the gap of a composition",
        lambda: Composed(L1(0.1), Identity()).conjugate(image()),
        TypeError,
        "conjugate of «Composed» is not known in closed form: no duality gap.",
    ),
    Case(
        "a penalty in the place of the data term",
        lambda: Problem(L1(0.1), L1(0.1)).solve(PDHG),
        TypeError,
        "«L1» has no data ... the shape of the unknown x ... Make it R, or give it data f.",
    ),
    Case("weight 0", lambda: LeastSquares(image(), weight=0.0), ValueError, "weight ... > 0; got «0.0» ... 1/sigma^2"),
    Case("an infinite weight", lambda: KL(image(), INF), ValueError, "weight of a data term is a finite ... «inf»"),
    Case("alpha = -1", lambda: tikhonov(Identity(), image(), -1.0), ValueError, "weight ... > 0; got «-1.0»"),
    Case(
        "data with NaN",
        lambda: LeastSquares(holed(NAN)),
        ValueError,
        "f must be finite; «2 of its 256» entries are NaN",
    ),
    Case("a number NaN as data", lambda: L1(0.1, NAN), ValueError, "f must be finite; «1 of its 1» entries are NaN"),
    Case("integer data", lambda: LeastSquares(image().long()), TypeError, "f must be floating point ... «torch.int64»"),
    Case(
        "data of another shape",
        lambda: LeastSquares(image())(image(8, 8)),
        ValueError,
        "data have shape (16, 16), what they are compared with «(8, 8)»: the last axes must agree",
    ),
    Case(
        "a batch of data for one picture",
        lambda: L1(1.0, image()[None]).prox(image(), 1.0),
        ValueError,
        "data have shape «(1, 16, 16)» ... A batch of data asks for a batch of pictures.",
    ),
    Case(
        "the likelihood of no noise of ours",
        lambda: data_term(Identity(), image()),
        TypeError,
        "Gaussian, Laplacian and Poisson noise; got «Identity».",
    ),
    Case(
        "the likelihood of noise of size 0",
        lambda: data_term(GaussianNoise(0.0), image()),
        ValueError,
        "«sigma = 0» is no noise: A u = f is then a constraint. Give sigma > 0.",
    ),
    Case(
        "the likelihood of Laplacian noise of size 0",
        lambda: data_term(LaplacianNoise(0.0), image()),
        ValueError,
        "«b = 0» is no noise ... Give b > 0.",
    ),
    Case(
        "negative counts",
        lambda: data_term(PoissonNoise(10.0), image() - 1.0),
        ValueError,
        "Counts cannot be negative, and «24 of 256» data are (the smallest: -1) ... LeastSquares ... background",
    ),
    Case("lam = -1", lambda: L1(-1.0), ValueError, "lam must be finite and >= 0 in every band ... got «[-1.0]»."),
    Case("lam = NaN", lambda: GroupL1(NAN), ValueError, "lam must be finite and >= 0 in every band ... got «[nan]»."),
    Case(
        "lam for another transform",
        lambda: analysis(Identity(), image(), haar(), haar(2).weights(0.1)),
        ValueError,
        "lam has shape «(7, 1, 1)», the coefficients (4, 16, 16): one lam, or one for each band. W.weights(lam)",
    ),
    Case(
        "lam for bands where there are none",
        lambda: L1(haar().weights(0.1))(image()[0]),
        ValueError,
        "lam has shape (4, 1, 1), the coefficients «(16,)»",
    ),
    Case("two lam for one group", lambda: GroupL1(torch.ones(2)), ValueError, "one for each of its 1 groups; got «2»."),
    Case(
        "a group axis counted from the front",
        lambda: GroupL1(0.1, axis=0),
        ValueError,
        "axis of GroupL1 is counted from the end ... a batch would move it; got «0».",
    ),
    Case(
        "groups of another transform",
        lambda: GroupL1(0.1, sizes=(1, 3))(torch.ones(7, 8, 8)),
        ValueError,
        "along axis -3, which must have 4 members; got shape «(7, 8, 8)».",
    ),
    Case(
        "the group norm of a picture",
        lambda: GroupL1(0.1)(image()),
        ValueError,
        "along axis -3, which must have some members; got shape «(16, 16)».",
    ),
    Case("an empty box", lambda: Box(1.0, 0.0), ValueError, "box needs lo <= hi; got «lo=1.0, hi=0.0»."),
    Case(
        "(2.4) with a dual pair",
        lambda: balanced(Identity(), image(), FrameletTransform(CDF[0], dual=CDF[1]), 0.1),
        ValueError,
        "projection only for a tight frame, W^T W = I; got «FrameletTransform(2 filters, 1 levels, dim=2, periodic",
    ),
    Case(
        "kappa = -1",
        lambda: balanced(Identity(), image(), haar(), 0.1, -1.0),
        ValueError,
        "kappa of (2.4) is finite and >= 0; got «-1.0». The limit kappa -> infinity is analysis.",
    ),
    Case(
        "kappa = infinity",
        lambda: FrameLeastSquares(Identity(), image(), haar(), INF),
        ValueError,
        "kappa of (2.4) is finite ... got «inf». The limit kappa -> infinity is analysis.",
    ),
    Case(
        "synthesis that does not charge for the average",
        lambda: synthesis(Identity(), image(), haar(), haar().weights(0.1)),
        ValueError,
        "Synthesis (2.6) needs lam > 0 in every band, and the bands «[((0, 0), 0)]» cost nothing ... (2.4) or (2.5)",
    ),
    Case(
        "the gap of an underdetermined problem",
        lambda: analysis(Mask(torch.eye(16)), torch.eye(16), haar(), 0.1).gap(image(), haar()(image())),
        ValueError,
        "diag(m) has zeros, so (A^T A + rho I)^{-1} needs rho > 0; got «rho=0.0».",
    ),
    Case(
        "a reference of another shape",
        lambda: tv().solve(PDHG, k=1, reference=image(8, 8)),
        ValueError,
        "reference has shape «(8, 8)», the picture (16, 16): PSNR compares pixels.",
    ),
]

SOLVERS = [
    Case(
        "ADMM for total variation",
        lambda: ADMM(tv()),
        ValueError,
        "K^T K = I, and K = «Gradient» is not tight ... Use PDHG, which takes any K.",
    ),
    Case(
        "FISTA for the analysis model",
        lambda: FISTA(analysis(Identity(), image(), haar(), 0.1)),
        ValueError,
        "FISTA needs the proximal map of R(K x), known only for K = I; here K = «FrameletTransform». Use ADMM or PDHG.",
    ),
    Case(
        "forward steps for total variation",
        lambda: ForwardBackward(tv()),
        ValueError,
        "known only for K = I; here K = «Gradient». Use PDHG.",
    ),
    Case(
        "forward steps for counts",
        lambda: ForwardBackward(Problem(KL(image()), L1(0.1))),
        ValueError,
        "data term with a Lipschitz gradient, and «KL» has none. Use PDHG.",
    ),
    Case(
        "ADMM for counts behind a mask",
        lambda: ADMM(Problem(Composed(KL(image()), Mask(torch.eye(16))), L1(0.1))),
        ValueError,
        "ADMM needs the proximal map of E, and «Composed» has none: PDHG treats its parts apart.",
    ),
    Case(
        "a penalty without a proximal map",
        lambda: FISTA(Problem(LeastSquares(image()), Mute())),
        ValueError,
        "FISTA needs the proximal map of R, and «Mute» has none",
    ),
    Case(
        "step 0", lambda: FISTA(Problem(LeastSquares(image()), L1(0.1)), step=0.0), ValueError, "step > 0; got «0.0»."
    ),
    Case(
        "rho = -1", lambda: ADMM(Problem(LeastSquares(image()), L1(0.1)), rho=-1.0), ValueError, "rho > 0; got «-1.0»."
    ),
    Case(
        "delta = 0",
        lambda: ADMM(Problem(LeastSquares(image()), L1(0.1)), delta=0.0),
        ValueError,
        "delta > 0; got «0.0»",
    ),
    Case("tau = NaN", lambda: PDHG(tv(), tau=NAN), ValueError, "PDHG needs a finite tau > 0; got «nan»."),
    Case("sigma = infinity", lambda: PDHG(tv(), sigma=INF), ValueError, "PDHG needs a finite sigma > 0; got «inf»."),
    Case("ratio = 0", lambda: PDHG(tv(), ratio=0.0), ValueError, "PDHG needs a finite ratio > 0; got «0.0»."),
]

RUNS = [
    Case("a run of no map", lambda: run(5, image(), k=1), TypeError, "iterates a map, or a list of maps; got «5»"),
    Case("k = 2.5", lambda: run(lambda u: u, image(), k=2.5), ValueError, "a whole number >= 0; got «k=2.5»."),
    Case("keep = 2.5", lambda: run(lambda u: u, image(), k=1, keep=2.5), ValueError, "whole number ... «keep=2.5»."),
    Case(
        "a start that is no tensor",
        lambda: run(lambda u: u, 1.0, k=1),
        TypeError,
        "torch tensor u0 ... «float» ... torch.as_tensor",
    ),
    Case(
        "a run without k or until",
        lambda: run(lambda u: u, image()),
        ValueError,
        "when to stop ... k= ... until=fixed_point(tol)",
    ),
    Case("k = -1", lambda: run(lambda u: u, image(), k=-1), ValueError, "number of steps k ... >= 0 ... «k=-1»"),
    Case(
        "keep = -1",
        lambda: run(lambda u: u, image(), k=1, keep=-1),
        ValueError,
        "keep must be a whole number >= 0 ... 0 keeps nothing ... «keep=-1»",
    ),
    Case(
        "a start with NaN",
        lambda: run(lambda u: u, holed(NAN), k=1),
        ValueError,
        "u0 must be finite ... «2 of its 256 entries»",
    ),
    Case(
        "a start with infinity",
        lambda: run(lambda u: u, holed(-INF), k=1),
        ValueError,
        "u0 must be finite ... «2 of its 256»",
    ),
    Case("tolerance 0", lambda: fixed_point(0.0), ValueError, "tol > 0 ... every >= 1 ... «tol=0.0»"),
    Case("a test every 0 steps", lambda: fixed_point(1e-3, every=0), ValueError, "every >= 1 ... «every=0»"),
]

CASES = [
    *PICTURES,
    *FRAMES,
    *BANKS,
    *FILTERS,
    *SPLINES,
    *OPERATORS,
    *MEASUREMENTS,
    *SCANS,
    *SHRINKAGES,
    *ENERGIES,
    *SOLVERS,
    *RUNS,
    *(Case(*row) for row in (*VARIATIONS, *FLOWS)),
    *(Case(*row) for row in GAMMA),
    *(Case(*row) for row in BRIDGE),
    *(Case(*row) for row in BEYOND),
    *(Case(*row) for row in WAVES),
    *(Case(*row) for row in SCHEMES),
    *(Case(*row) for row in NETS),
    *(Case(*row) for row in CONTROL),
    *(Case(*row) for row in NEURAL_ODES),
    *(Case(*row) for row in PDES),
    *(Case(*row) for row in PDENETS),
    *(Case(*row) for row in LEARNED),
    *(Case(*row) for row in UNROLLED),
]
NOTHING_CAME = {"a run without k or until"}


@functools.cache
def answer(case: Case) -> BaseException | None:
    """What the package answers, or None where it answers nothing."""
    try:
        case.act()
    except Exception as error:
        return error
    return None


def raised_at(error: BaseException) -> tuple[str, int]:
    """The file, relative to the package, and the line in which an exception was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    path = Path(frame.filename).resolve()
    return (path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else str(path)), frame.lineno or 0


def raised_in_package(error: BaseException) -> bool:
    return not raised_at(error)[0].startswith("/")


def raises() -> dict[tuple[str, int, int], str]:
    """Every `raise` of an error below lab: {(file, first line, last line): its text}."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and not file.startswith("lab/") and node.exc is not None:
                found[file, node.lineno, node.end_lineno or node.lineno] = ast.unparse(node)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_answered_by_the_rule_what_came_and_a_remedy(case: Case) -> None:
    error = answer(case)
    assert error is not None, "answered by silence: bad input was taken"
    assert type(error) is case.error, f"answered by {type(error).__name__}: {error}"
    assert raised_in_package(error), f"answered not by the package but by {raised_at(error)}: {error}"
    pattern = ".*".join(re.escape(part) for part in case.text.translate(MARKS).split(" ... "))
    assert re.search(pattern, str(error), re.DOTALL), f"expected: {case.text}\n     got: {error}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_message_is_a_sentence_and_says_what_came(case: Case) -> None:
    error = answer(case)
    if error is None or not raised_in_package(error):
        pytest.skip("the test above fails: there is no message")
    message = str(error)
    assert message.endswith("."), f"no full stop at the end: {message}"
    assert len(message.split()) >= 8, f"too short to help: {message}"
    assert "\n" not in message, f"a line break: {message!r}"
    assert "«" in case.text or case.name in NOTHING_CAME, "a row marks the value or shape that came, unless none did"


def test_every_error_of_the_package_has_a_case() -> None:
    reached = {raised_at(error) for error in map(answer, CASES) if error is not None}
    untested = [
        f"companion/{file}:{first}  {text}"
        for (file, first, last), text in raises().items()
        if not any(path == file and first <= line <= last for path, line in reached)
    ]
    assert not untested, "errors that no row of CASES reaches:\n" + "\n".join(untested)


def test_the_package_raises_value_type_and_runtime_errors_only() -> None:
    names = tuple(f"raise {error.__name__}(" for error in ERRORS)
    others = {place: text for place, text in raises().items() if not text.startswith(names)}
    assert not others


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
