"""The course's vocabulary, in reading order: from companion import FrameletTransform, bspline, Shrinkage, run.

A wavelet algorithm, a variational solver, an evolution PDE and a deep network are discrete dynamical systems,
u^{k+1} = F(u^k):

    dynamics     the one verb, `run`
    operators    linear maps A, W, grad with their adjoints
    energies     what is minimised: data terms, penalties, models
    flows        maps to iterate

The lessons' own tools (figures, explorers, checks) are in `companion.lab`, which nothing else imports.
"""

from companion.dynamics import ConvergenceWarning, StabilityWarning, Trajectory, fixed_point, iterate, run
from companion.energies.coefficients import FrameLeastSquares
from companion.energies.functional import Composed, Functional, LeastSquares
from companion.energies.likelihood import KL, data_term
from companion.energies.models import Problem, Tikhonov, analysis, balanced, synthesis, tikhonov
from companion.energies.norms import L1, Box, GroupL1
from companion.flows.shrinkage import Firm, Garrote, Hard, IsotropicSoft, Shrinkage, Soft, Threshold
from companion.flows.solvers import FISTA, ForwardBackward
from companion.flows.splitting import ADMM, PDHG
from companion.operators.banks import biorthogonal, bspline, check_bank, extension_residual
from companion.operators.differences import Divergence, Gradient, Hessian, SymmetrisedGradient
from companion.operators.filters import Filter, tensor_product
from companion.operators.fourier import (
    PartialFourier,
    cartesian_pattern,
    radial_pattern,
    random_pattern,
    to_complex,
    to_real,
)
from companion.operators.frames import Band, FrameletTransform
from companion.operators.grid import correlate, correlate_adjoint, shift
from companion.operators.linear import SVD, LinearOperator, conjugate_gradients
from companion.operators.measure import Blur, Identity, Mask, gaussian_kernel
from companion.operators.noise import GaussianNoise, LaplacianNoise, PoissonNoise
from companion.operators.radon import Radon, ellipse_projection
from companion.operators.splines import Spline, framelet, inner, refinable

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "Band",
    "Blur",
    "Box",
    "Composed",
    "ConvergenceWarning",
    "Divergence",
    "FISTA",
    "Filter",
    "Firm",
    "ForwardBackward",
    "FrameLeastSquares",
    "FrameletTransform",
    "Functional",
    "Garrote",
    "GaussianNoise",
    "Gradient",
    "GroupL1",
    "Hard",
    "Hessian",
    "Identity",
    "IsotropicSoft",
    "KL",
    "L1",
    "LaplacianNoise",
    "LeastSquares",
    "LinearOperator",
    "Mask",
    "PDHG",
    "PartialFourier",
    "PoissonNoise",
    "Problem",
    "Radon",
    "SVD",
    "Shrinkage",
    "Soft",
    "Spline",
    "StabilityWarning",
    "SymmetrisedGradient",
    "Threshold",
    "Tikhonov",
    "Trajectory",
    "analysis",
    "balanced",
    "biorthogonal",
    "bspline",
    "cartesian_pattern",
    "check_bank",
    "conjugate_gradients",
    "correlate",
    "correlate_adjoint",
    "data_term",
    "ellipse_projection",
    "extension_residual",
    "fixed_point",
    "framelet",
    "gaussian_kernel",
    "inner",
    "iterate",
    "radial_pattern",
    "random_pattern",
    "refinable",
    "run",
    "shift",
    "synthesis",
    "tensor_product",
    "tikhonov",
    "to_complex",
    "to_real",
]
