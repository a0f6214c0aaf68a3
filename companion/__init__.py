"""The course's vocabulary, in reading order: from companion import FrameletTransform, bspline, Shrinkage, run.

A wavelet algorithm, a variational solver, an evolution PDE and a deep network are discrete dynamical systems,
u^{k+1} = F(u^k):

    dynamics     the one verb, `run`
    operators    linear maps A, W, grad with their adjoints
    energies     what is minimised: data terms, penalties, models
    flows        maps to iterate
    nets         learned F_Theta

The lessons' own tools (figures, explorers, checks) are in `companion.lab`, which nothing else imports.
"""

import types as _types

from companion.dynamics import ConvergenceWarning, StabilityWarning, Trajectory, fixed_point, iterate, run
from companion.energies.coefficients import FrameLeastSquares
from companion.energies.edge_cost import edge_cost, mean_edge_cost
from companion.energies.functional import Composed, Functional, LeastSquares
from companion.energies.gamma import infimum, lower_limit, recovery
from companion.energies.likelihood import KL, data_term
from companion.energies.models import Problem, Tikhonov, analysis, balanced, synthesis, tikhonov
from companion.energies.mumford_shah import (
    AmbrosioTortorelli,
    Edges,
    PiecewiseSmooth,
    SmoothOrEdge,
    piecewise_smooth,
)
from companion.energies.norms import L1, Box, GroupBall, GroupL1
from companion.energies.sampling import VARIATIONS, ContinuumEnergy, DiscreteEnergy, lambda_n, sample
from companion.energies.segmentation import (
    Region,
    region_cost,
    region_energy,
    region_means,
    rounding,
    segmentation,
    tv_segmentation,
)
from companion.energies.shapes import Disc, Shape, Square, TwoLevel
from companion.energies.surfaces import WeightedLength, distance_to, inside_outside, smooth_model, surface_model
from companion.energies.tgv import TGV, FrameTGV, frame_tgv, tgv, tgv_value
from companion.energies.variation import DISCRETISATIONS, ROF, ROFDual, TotalVariation, TVModel, rof_dual, tv
from companion.flows.accelerated import Accelerated, HeavyBall, accelerated_from
from companion.flows.bregman import LaggedDiffusivity, SplitBregman
from companion.flows.conditions import check_diffusivity, flux, normal_diffusivity
from companion.flows.curvature import CurvatureMotion, MedianMotion
from companion.flows.dictionary import DiffusionShrinkage, ShrinkageDiffusivity, diffusivity_from, shrinkage_from
from companion.flows.diffusion import Diffusion, Heat, PeronaMalik, TVFlow
from companion.flows.diffusivities import Charbonnier, Diffusivity, Exponential, FastDecay, Rational, Regularised
from companion.flows.field import Field
from companion.flows.fourth_order import FourthOrder
from companion.flows.frame_flows import (
    frame_diffusion,
    frame_directed,
    frame_fourth_order,
    frame_shock,
    frame_tensor,
    scharr_filters,
)
from companion.flows.frame_pde import FramePDE, FrameStep, dual_pair
from companion.flows.implicit import Implicit, SemiImplicit
from companion.flows.inpainting import DiffusionInpainting, NavierStokesInpainting, TransportInpainting
from companion.flows.momentum import cfl, friction, max_tau, momentum, nesterov
from companion.flows.multistep import AdamsBashforth, Leapfrog, LinearMultistep, TwoStep, TwoStepState
from companion.flows.mumford_shah import AlternatingMinimisation
from companion.flows.neumann import Fractal, Neumann, Picard
from companion.flows.refinement import refine
from companion.flows.rof import FastROF
from companion.flows.roots import multistep_order, root_condition
from companion.flows.runge_kutta import (
    SSP3,
    Kutta3,
    Midpoint,
    Ralston,
    RungeKutta,
    Tableau,
    stability_polynomial,
    tableau_order,
)
from companion.flows.schemes import RK4, Euler, Heun
from companion.flows.segmentation import Regions, TwoRegions
from companion.flows.shock import ShockFilter, along_gradient, laplacian
from companion.flows.shrinkage import Firm, Garrote, Hard, Isotropic, IsotropicSoft, Shrinkage, Soft, Threshold
from companion.flows.solvers import FISTA, ForwardBackward
from companion.flows.splitting import ADMM, PDHG
from companion.flows.stability import imaginary_interval, real_interval, stability_function, stability_region
from companion.flows.stochastic import SDE, DropoutEuler, EulerMaruyama, GatedEuler, ShakeShake
from companion.flows.symplectic import Reversible, SymplecticEuler, Verlet, hamiltonian_field
from companion.flows.tensor import CoherenceEnhancing, EdgeEnhancing, TensorDiffusion, structure_tensor
from companion.flows.vessels import Sorted, TightFrameSegmentation, all_sure
from companion.flows.wave import DampedWave, bessel_mode, laplace_spectrum, oscillator, spectral_wave
from companion.nets.adversarial import YOPO, PGDTraining, PlainTraining, count_passes, pgd, robust_accuracy
from companion.nets.blocks import Head, Held, Residual, StageChange, Stem
from companion.nets.consistent_tv import Balance, ConsistentROF, consistent_tv
from companion.nets.control import Control, costates, explicit, hamiltonian, pmp_gradient
from companion.nets.dense_connections import DenseStep, Reading, densenet
from companion.nets.dense_field import DenseField, exact_trace, hutchinson
from companion.nets.density import FlowDensity, normal_log_prob
from companion.nets.depth import BrownianPath, IndependentWeights, RoughPath, SmoothPath, TimeDependent
from companion.nets.hamiltonian import PlainNet, Potential, SymplecticNet, modified_energy, pieces, rollout_loss
from companion.nets.held_moments import HeldMoments
from companion.nets.interpolant import Interpolant
from companion.nets.interpolation import Interpolation, condat_kernels, forward_kernel
from companion.nets.learned import Between, learned
from companion.nets.learned_diffusion import (
    DiffusionStep,
    LearnedDiffusion,
    LearnedDiffusivity,
    Observed,
    learned_diffusion,
)
from companion.nets.learned_frame import LearnedFrame
from companion.nets.learned_gradient import LearnedGradient
from companion.nets.linear_quadratic import LinearQuadratic
from companion.nets.mean_field import MeanField, brownian, tracking
from companion.nets.moments import MomentBank
from companion.nets.moving_endpoint import (
    Halting,
    RestorationUnit,
    StoppingPolicy,
    going_on,
    noise_level,
    oracle_stop,
    q_loss,
    stop_loss,
)
from companion.nets.msa import EMSA, MSA
from companion.nets.neural_ode import NeuralODE, adaptive, augment
from companion.nets.neural_sde import NeuralSDE, OrnsteinUhlenbeck, PositiveField, energy_distance
from companion.nets.noisy import ShakeStep, shake_shake, stochastic_depth
from companion.nets.odenet import LMStep, ODENet, lm_resnet, mlp_resnet, resnet
from companion.nets.pdenet import Averaged, PDENet, RightSide, feature_names, pdenet
from companion.nets.pdenet1 import LinearRightSide, PDENet1
from companion.nets.polynomial import Polynomial
from companion.nets.regularise import block_loss, check_frames, huber, odd_extension, relative_loss
from companion.nets.revnet import ReversibleStage, revnet
from companion.nets.skips import ImplicitSkip
from companion.nets.symnet import SymNet
from companion.nets.unrolled import Unrolled, unrolled
from companion.nets.variants import deepen, fractalnet, implicit_resnet, polynet, rescheme
from companion.operators.banks import biorthogonal, bspline, check_bank, dct, extension_residual
from companion.operators.cascade import FrameCascade, GradientCascade, OnFirst
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
from companion.operators.gradients import FrameGradient, haar_gradient, spline_gradient
from companion.operators.grid import correlate, correlate_adjoint, shift
from companion.operators.lattice import selling
from companion.operators.linear import SVD, LinearOperator, conjugate_gradients
from companion.operators.measure import Blur, Identity, Mask, gaussian_kernel
from companion.operators.moments import (
    accuracy_of,
    central,
    constrained,
    degrees_of_freedom,
    from_moments,
    moment_matrix,
    upwind,
)
from companion.operators.noise import GaussianNoise, LaplacianNoise, PoissonNoise
from companion.operators.radon import Radon, ellipse_projection
from companion.operators.rician import RicianNoise
from companion.operators.smoothing import gaussian_smooth
from companion.operators.splines import Spline, framelet, inner, refinable
from companion.operators.stencils import Scharr, Selling, Stencil, ThreeByThree, scharr_gradient

__version__ = "0.1.0"

# what is imported above, once more, for `from companion import *`
__all__ = sorted(k for k, v in vars().items() if not (k.startswith("_") or isinstance(v, _types.ModuleType)))
