"""The course's vocabulary, in reading order: from companion import FrameletTransform, bspline, Shrinkage, run.

A wavelet algorithm, a variational solver, an evolution PDE and a deep network are discrete dynamical systems,
u^{k+1} = F(u^k):

    dynamics     the one verb, `run`
    operators    linear maps A, W, grad with their adjoints
    flows        maps to iterate

The lessons' own tools (figures, explorers, checks) are in `companion.lab`, which nothing else imports.
"""

from companion.dynamics import StabilityWarning, Trajectory, fixed_point, iterate, run
from companion.flows.shrinkage import Firm, Garrote, Hard, IsotropicSoft, Shrinkage, Soft, Threshold
from companion.operators.banks import biorthogonal, bspline, check_bank, extension_residual
from companion.operators.differences import Divergence, Gradient, Hessian, SymmetrisedGradient
from companion.operators.filters import Filter, tensor_product
from companion.operators.frames import Band, FrameletTransform
from companion.operators.grid import correlate, correlate_adjoint, shift
from companion.operators.linear import LinearOperator
from companion.operators.measure import Blur, GaussianNoise, Identity, Mask, gaussian_kernel

__version__ = "0.1.0"

__all__ = [
    "Band",
    "Blur",
    "Divergence",
    "Filter",
    "Firm",
    "FrameletTransform",
    "Garrote",
    "GaussianNoise",
    "Gradient",
    "Hard",
    "Hessian",
    "Identity",
    "IsotropicSoft",
    "LinearOperator",
    "Mask",
    "Shrinkage",
    "Soft",
    "StabilityWarning",
    "SymmetrisedGradient",
    "Threshold",
    "Trajectory",
    "biorthogonal",
    "bspline",
    "check_bank",
    "correlate",
    "correlate_adjoint",
    "extension_residual",
    "fixed_point",
    "gaussian_kernel",
    "iterate",
    "run",
    "shift",
    "tensor_product",
]
