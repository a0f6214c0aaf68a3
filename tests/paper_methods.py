"""Every method that Sections 1-5 of the paper name: where a lesson uses it, which object it is, which test guards it.

    Method(name, paper, lesson, objects, tests)

    paper    the section and the references
    lesson   "04 PDHG": a code cell of lesson 04 uses that name, the last part of one of the objects
             "01 claim: 8 windows": a claim of lesson 01 has these words
    objects  public things below companion/lab: "flows.splitting.PDHG"
    tests    "test_solvers.test_admm_and_pdhg_agree_on_25": its source mentions one of the objects

`problems` says what of this is not so; the tests are in test_method_map.py. `IN_PASSING` are the names that the paper
mentions as history, example, result or outlook, without describing a method, with the reason. Another method is one
more entry, where the paper names it; `OPEN_METHODS` is for what has no lesson, object or test, and stays empty.
"""

import ast
import importlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from tests.test_paper_map import ROOT, claims, escaped


class Method(NamedTuple):
    """A row: see the head of the file."""

    name: str
    paper: str
    lesson: str
    objects: tuple[str, ...]
    tests: tuple[str, ...]


class Mention(NamedTuple):
    """What the paper only mentions, in its words, and why that is no method of the course."""

    name: str
    paper: str
    words: str
    reason: str


METHODS = (
    # ---- 1: the inverse problem, transforms, links ---------------------------------------------------------------
    Method(
        "denoising, A the identity",
        "1",
        "01 Identity",
        ("operators.measure.Identity",),
        ("test_connections.test_11_least_squares_reaches_the_picture_that_explains_the_data",),
    ),
    Method(
        "deblurring, A a convolution",
        "1",
        "01 Blur",
        ("operators.measure.Blur", "operators.measure.gaussian_kernel"),
        ("test_measure.test_blur_is_a_convolution_by_its_definition",),
    ),
    Method(
        "inpainting, A a restriction",
        "1, [13]",
        "01 Mask",
        ("operators.measure.Mask",),
        ("test_measure.test_a_mask_is_an_orthogonal_projection",),
    ),
    Method(
        "MRI, A a subsampled Fourier transform",
        "1, [19]",
        "01 PartialFourier",
        ("operators.fourier.PartialFourier", "operators.fourier.radial_pattern"),
        ("test_fourier.test_the_data_are_the_sums_of_the_definition",),
    ),
    Method(
        "CT, A a subsampled Radon transform",
        "1, [22]",
        "01 Radon",
        ("operators.radon.Radon",),
        ("test_radon.test_entries_are_the_areas_that_pixels_and_strips_share",),
    ),
    Method(
        "Gaussian, Laplacian and Poisson noise, each with its data term",
        "1",
        "01 data_term",
        (
            "operators.noise.GaussianNoise",
            "operators.noise.LaplacianNoise",
            "operators.noise.PoissonNoise",
            "energies.likelihood.data_term",
        ),
        ("test_oracle_cvxpy.test_counts", "test_oracle_cvxpy.test_outliers"),
    ),
    Method(
        "naive inversion, the pseudoinverse",
        "1",
        "01 svd",
        ("operators.linear.LinearOperator.svd",),
        ("laws.test_spectra.test_the_svd_is_the_operator",),
    ),
    Method(
        "Tikhonov regularisation, the H^1 seminorm",
        "1, 3, [154]",
        "01 tikhonov",
        ("energies.models.tikhonov",),
        ("test_models.test_tikhonov_solves_the_normal_equations",),
    ),
    Method(
        "the Fourier transform",
        "1",
        "01 claim: Fourier: error ~ k^p",
        ("operators.fourier.PartialFourier",),
        ("test_fourier.test_all_frequencies_are_an_isometry",),
    ),
    Method(
        "the windowed Fourier transform, cosines in windows",
        "1, [72]",
        "01 claim: 8 windows: p",
        ("operators.banks.dct",),
        ("test_learned_frame.test_the_cosine_bank_is_the_orthonormal_cosine_transform_over_the_root_of_p",),
    ),
    Method(
        "orthogonal wavelets",
        "1, [45, 110]",
        "02 claim: frame shrinkage = mean of shifted basis shrinkage",
        ("flows.shrinkage.Shrinkage", "operators.frames.FrameletTransform"),
        ("test_oracles.test_shrinkage_is_cycle_spinning",),
    ),
    Method(
        "functions of bounded variation, BV",
        "1, 3, [115, 131]",
        "05 TotalVariation",
        ("energies.variation.TotalVariation",),
        ("test_variation.test_the_coarea_formula",),
    ),
    Method(
        "frame shrinkage as high-order diffusion",
        "1, [84]",
        "08 frame_fourth_order",
        ("flows.frame_flows.frame_fourth_order", "flows.fourth_order.FourthOrder"),
        ("test_connections.test_46_fourth_order_diffusion_is_shrinkage_of_the_second_order_bands",),
    ),
    Method(
        "soft shrinkage as diffusion of total variation",
        "1, [148]",
        "08 Isotropic",
        ("flows.shrinkage.Isotropic", "flows.dictionary.diffusivity_from"),
        ("test_connections.test_45_isotropic_soft_shrinkage_is_the_flow_of_total_variation",),
    ),
    # ---- 2: wavelet frames ----------------------------------------------------------------------------------------
    Method(
        "the fast wavelet frame transform, L levels, d dimensions",
        "2, [53]",
        "02 FrameletTransform",
        ("operators.frames.FrameletTransform",),
        ("test_connections.test_22_the_cascade_multiplies_symbols",),
    ),
    Method(
        "tight frames by the unitary extension principle",
        "2, [129]",
        "02 extension_residual",
        ("operators.banks.extension_residual", "operators.banks.check_bank"),
        ("test_filters.test_the_residual_is_the_defect_of_the_symbols",),
    ),
    Method(
        "dual frames by the mixed extension principle",
        "2, [128]",
        "02 biorthogonal",
        ("operators.banks.biorthogonal",),
        ("test_filters.test_the_mixed_extension_principle_is_exact",),
    ),
    Method(
        "B-spline frames: Haar, piecewise linear, and of every order",
        "2, [129]",
        "02 bspline",
        ("operators.banks.bspline", "operators.splines.refinable", "operators.splines.framelet"),
        (
            "test_connections.test_ex_21_the_averages_are_inner_products_with_b_splines",
            "test_splines.test_the_two_functions_of_example_21",
        ),
    ),
    Method(
        "denoise in the frame, correct by the data, repeat",
        "2, [32, 23]",
        "04 claim: iteration (1) = PFBS on (2.4)",
        ("energies.models.balanced", "flows.solvers.ForwardBackward"),
        (
            "test_connections.test_24_inpainting_by_denoising_is_forward_backward_splitting",
            "test_connections.test_24_for_any_measurement",
        ),
    ),
    Method(
        "the balanced model",
        "2, [23]",
        "04 balanced",
        ("energies.models.balanced", "energies.coefficients.FrameLeastSquares"),
        ("test_oracle_cvxpy.test_balanced_and_synthesis",),
    ),
    Method(
        "the analysis model",
        "2, [25, 55, 147]",
        "04 analysis",
        ("energies.models.analysis",),
        ("test_oracle_cvxpy.test_analysis",),
    ),
    Method(
        "the synthesis model",
        "2, [47, 59, 60, 63, 64]",
        "04 synthesis",
        ("energies.models.synthesis",),
        ("test_oracle_cvxpy.test_balanced_and_synthesis",),
    ),
    Method(
        "proximal forward-backward splitting, PFBS",
        "2, [20, 35, 44, 122, 155]",
        "04 ForwardBackward",
        ("flows.solvers.ForwardBackward",),
        ("test_solvers.test_a_step_of_forward_backward",),
    ),
    Method(
        "Nesterov's acceleration of PFBS: FISTA, APG",
        "2, [10, 141]",
        "04 FISTA",
        ("flows.solvers.FISTA",),
        ("test_connections.test_47_the_accelerated_iteration_is_fista",),
    ),
    Method(
        "ADMM, split Bregman",
        "2, [16, 25, 66, 68, 69]",
        "04 ADMM",
        ("flows.splitting.ADMM", "flows.bregman.SplitBregman"),
        (
            "test_connections.test_25_split_bregman_is_a_primal_dual_method",
            "test_bregman.test_a_step_of_split_bregman_in_matrices",
        ),
    ),
    Method(
        "the primal dual hybrid gradient method, PDHG",
        "2, [30, 58, 176]",
        "04 PDHG",
        ("flows.splitting.PDHG",),
        ("test_solvers.test_admm_and_pdhg_agree_on_25",),
    ),
    # ---- 3: variations and diffusions -----------------------------------------------------------------------------
    Method(
        "the total variation model of Rudin, Osher and Fatemi",
        "3, [131]",
        "05 ROF",
        ("energies.variation.ROF", "energies.variation.tv"),
        ("test_oracle_tv.test_denoising", "test_oracle_tv.test_with_a_measurement"),
    ),
    Method(
        "its Euler-Lagrange equation",
        "3",
        "05 LaggedDiffusivity",
        ("flows.bregman.LaggedDiffusivity",),
        ("test_variation.test_five_solvers_find_the_minimiser_of_rof",),
    ),
    Method(
        "its gradient flow",
        "3",
        "05 TVFlow",
        ("flows.diffusion.TVFlow",),
        ("test_diffusion.test_32_total_variation_flow_is_steepest_descent",),
    ),
    Method(
        "its discretisation by a convex solver",
        "3",
        "05 rof_dual",
        ("energies.variation.rof_dual", "energies.variation.ROF"),
        ("test_oracle_tv.test_chambolles_iteration", "test_variation.test_the_dual_problem"),
    ),
    Method(
        "total generalised variation",
        "3, [18]",
        "05 tgv",
        ("energies.tgv.tgv", "energies.tgv.tgv_value"),
        ("test_tgv.test_a_ramp_has_no_staircase",),
    ),
    Method(
        "Mumford and Shah's model",
        "3, [115]",
        "05 AmbrosioTortorelli",
        ("energies.mumford_shah.AmbrosioTortorelli", "flows.mumford_shah.AlternatingMinimisation"),
        ("test_mumford_shah.test_an_edge_costs_beta_for_each_unit_of_length",),
    ),
    Method(
        "the shock filter",
        "3, [120]",
        "06 ShockFilter",
        ("flows.shock.ShockFilter",),
        ("test_shock.test_a_blurred_edge_becomes_a_jump_at_its_inflection",),
    ),
    Method(
        "scale-space axioms",
        "3, [3]",
        "06 recursivity",
        ("flows.axioms.recursivity", "flows.axioms.locality", "flows.axioms.translation", "flows.axioms.evolution"),
        ("test_axioms.test_heat_obeys_all_but_contrast",),
    ),
    Method(
        "Perona and Malik's equation",
        "3, [123]",
        "06 PeronaMalik",
        ("flows.diffusion.PeronaMalik",),
        ("test_diffusion.test_33_the_flow_is_that_of_plain_loops",),
    ),
    Method(
        "its two diffusivities, exponential and rational",
        "3",
        "06 Rational",
        ("flows.diffusivities.Exponential", "flows.diffusivities.Rational", "flows.conditions.check_diffusivity"),
        ("test_diffusivity.test_33_the_conditions_and_the_threshold_in_closed_form",),
    ),
    Method(
        "diffusion along the tangent and the normal, backwards beyond K",
        "3",
        "06 normal_diffusivity",
        ("flows.conditions.normal_diffusivity",),
        ("test_diffusivity.test_33_the_conditions_and_the_threshold_in_closed_form",),
    ),
    Method(
        "Catte's regularisation",
        "3, [28]",
        "06 claim: Catte, sigma = 0.03",
        ("flows.diffusion.PeronaMalik", "operators.smoothing.gaussian_smooth"),
        ("test_diffusion.test_33_catte_looks_at_a_smoothed_gradient",),
    ),
    Method(
        "anisotropic diffusion: edge- and coherence-enhancing",
        "3, [161]",
        "06 CoherenceEnhancing",
        ("flows.tensor.EdgeEnhancing", "flows.tensor.CoherenceEnhancing"),
        (
            "test_tensor.test_edge_enhancing_diffusion_cleans_the_edge_and_keeps_it",
            "test_tensor.test_coherence_enhancing_diffusion_closes_a_gap",
        ),
    ),
    Method(
        "fluid dynamics: inpainting by Navier and Stokes, and by transport",
        "3, [12, 13]",
        "06 NavierStokesInpainting",
        ("flows.inpainting.NavierStokesInpainting", "flows.inpainting.TransportInpainting"),
        (
            "test_inpainting.test_the_vorticity_takes_an_upwind_step",
            "test_inpainting.test_one_step_of_transport_written_out",
        ),
    ),
    # ---- 4: the bridge --------------------------------------------------------------------------------------------
    Method(
        "the frame model for piecewise smooth functions, after Mumford and Shah",
        "1, 4, [26]",
        "05 piecewise_smooth",
        ("energies.mumford_shah.piecewise_smooth", "energies.mumford_shah.SmoothOrEdge"),
        ("test_mumford_shah.test_edges_are_found_at_the_jump_and_nowhere_else",),
    ),
    Method(
        "the general frame model, total generalised variation by bands",
        "1, 4, [52]",
        "05 frame_tgv",
        ("energies.tgv.frame_tgv", "operators.cascade.FrameCascade"),
        ("test_tgv.test_the_frames_penalty_tends_to_that_of_tgv", "test_tgv.test_the_frames_minimum_is_that_of_cvxpy"),
    ),
    Method(
        "filters with vanishing moments as finite differences",
        "4.1, [24, 49]",
        "03 Filter",
        ("operators.filters.Filter", "operators.gradients.FrameGradient"),
        (
            "test_connections.test_41_moments_by_three_routes",
            "test_gradients.test_the_weight_of_a_band_is_one_over_its_constant",
        ),
    ),
    Method(
        "sampling by the refinable function, the discrete and the continuous functional",
        "4.2, [24]",
        "07 DiscreteEnergy",
        ("energies.sampling.sample", "energies.sampling.DiscreteEnergy", "energies.sampling.ContinuumEnergy"),
        ("test_connections.test_42_pointwise_convergence_at_rate_two_for_a_smooth_function",),
    ),
    Method(
        "Gamma-convergence",
        "4.2, [17, 24]",
        "07 lower_limit",
        ("energies.gamma.lower_limit", "energies.gamma.recovery"),
        ("test_connections.test_def_41_minimisers_see_the_gamma_limit_not_the_pointwise_one",),
    ),
    Method(
        "Haar's functional against finite differences, turned by 45 degrees",
        "4.2",
        "07 edge_cost",
        ("energies.edge_cost.edge_cost",),
        ("test_connections.test_42_what_turns_by_45_degrees", "test_connections.test_42_what_does_not_turn"),
    ),
    Method(
        "frame-based segmentation",
        "4.2, [48]",
        "15 segmentation",
        ("energies.segmentation.segmentation", "flows.segmentation.TwoRegions"),
        ("test_segmentation.test_pdhg_reaches_the_linear_program",),
    ),
    Method(
        "tight-frame segmentation of vessels",
        "4.2, [27]",
        "15 TightFrameSegmentation",
        ("flows.vessels.TightFrameSegmentation",),
        ("test_segmentation.test_clean_vessels_are_found_and_a_batch_is_its_pictures",),
    ),
    Method(
        "surfaces from unorganised points",
        "4.2, [50]",
        "15 surface_model",
        ("energies.surfaces.surface_model", "energies.surfaces.distance_to"),
        ("test_surfaces.test_points_near_the_surface_lower_the_cost",),
    ),
    Method(
        "shrinkage operators, soft thresholding entry by entry and isotropic",
        "4.3, [24, 49, 54]",
        "08 Soft",
        ("flows.shrinkage.Soft", "flows.shrinkage.IsotropicSoft"),
        ("test_connections.test_44_thresholds_levels_and_proximal_maps",),
    ),
    Method(
        "the wavelet frame shrinkage algorithm",
        "4.3, [49]",
        "08 Shrinkage",
        ("flows.shrinkage.Shrinkage",),
        ("test_shrinkage.test_one_step_is_transform_shrink_and_back",),
    ),
    Method(
        "Perona and Malik's equation as a shrinkage",
        "4.3, [49]",
        "08 shrinkage_from",
        ("flows.dictionary.shrinkage_from",),
        ("test_connections.test_45_shrinkage_is_diffusion",),
    ),
    Method(
        "a shrinkage read as an equation",
        "4.3, [49]",
        "08 diffusivity_from",
        ("flows.dictionary.diffusivity_from",),
        ("test_dictionary.test_there_and_back",),
    ),
    Method(
        "general evolution equations as shrinkages",
        "4.3, [49]",
        "08 FramePDE",
        ("flows.frame_pde.FramePDE",),
        ("test_frame_pde.test_one_shrinkage_is_one_explicit_step",),
    ),
    Method(
        "the shock filter as a shrinkage",
        "4.3, [49]",
        "08 frame_shock",
        ("flows.frame_flows.frame_shock",),
        ("test_connections.test_46_the_shock_filter_is_a_shrinkage_of_one_sided_differences",),
    ),
    Method(
        "anisotropic diffusion as a shrinkage",
        "4.3, [49]",
        "08 frame_tensor",
        ("flows.frame_flows.frame_tensor", "flows.frame_flows.frame_directed"),
        ("test_connections.test_46_weickerts_diffusion_is_a_shrinkage_by_matrices",),
    ),
    Method(
        "accelerated frame shrinkage",
        "4.3, [93, 116, 117]",
        "09 Accelerated",
        ("flows.accelerated.Accelerated", "flows.accelerated.accelerated_from"),
        ("test_accelerated.test_the_formula_as_printed",),
    ),
    Method(
        "hyperbolic equations that speed up convergence",
        "4.3, [111]",
        "09 DampedWave",
        ("flows.wave.DampedWave",),
        ("test_wave.test_the_solver_against_runge_and_kutta",),
    ),
    Method(
        "Nesterov's momentum as a differential equation",
        "4.3, [149, 150]",
        "09 nesterov",
        ("flows.momentum.nesterov", "flows.wave.bessel_mode"),
        ("test_accelerated.test_momentum_is_friction", "test_wave.test_bessels_mode_by_its_power_series"),
    ),
    # ---- 5.1: ODE-Nets --------------------------------------------------------------------------------------------
    Method(
        "ResNet as Euler's scheme",
        "5.1, [74, 77, 162]",
        "10 resnet",
        ("nets.odenet.resnet", "nets.blocks.Residual"),
        ("test_odenet.test_the_number_of_parameters", "test_blocks.test_the_field_is_its_formula"),
    ),
    Method(
        "dense connections, DenseNet",
        "1, 5.1, [79]",
        "10 DenseStep",
        ("nets.dense_connections.DenseStep", "nets.dense_connections.Reading", "nets.dense_connections.densenet"),
        (
            "test_dense_connections.test_densenet_is_the_network_written_out",
            "test_dense_connections.test_readings_that_begin_with_1_are_a_tableau",
        ),
    ),
    Method(
        "fractal paths, FractalNet",
        "5.1, [90]",
        "10 Fractal",
        ("flows.neumann.Fractal", "nets.variants.fractalnet"),
        ("test_neumann.test_the_fractal_by_its_recursion", "test_odenet.test_the_variants_are_what_they_say"),
    ),
    Method(
        "PolyNet",
        "5.1, [174]",
        "10 Neumann",
        ("flows.neumann.Neumann", "nets.variants.polynet"),
        ("test_connections.test_51_polynet_is_implicit_euler_for_a_linear_field_only",),
    ),
    Method(
        "the backward Euler scheme",
        "5.1, [6]",
        "10 Implicit",
        ("flows.implicit.Implicit", "flows.neumann.Picard"),
        ("test_neumann.test_picard_is_the_root_of_scipy_and_of_newton",),
    ),
    Method(
        "RevNet, reversible networks",
        "5.1, [34, 70]",
        "10 Reversible",
        ("flows.symplectic.Reversible", "nets.revnet.revnet"),
        ("test_connections.test_51_revnet_is_symplectic_euler", "test_revnet.test_half_precision_keeps_the_inverse"),
    ),
    Method(
        "shake-shake regularisation",
        "5.1, [67]",
        "11 ShakeShake",
        ("flows.stochastic.ShakeShake", "nets.noisy.shake_shake"),
        ("test_stochastic.test_shake_shake_tends_to_its_limit_at_the_rate_1",),
    ),
    Method(
        "stochastic depth",
        "5.1, [80]",
        "11 GatedEuler",
        ("flows.stochastic.GatedEuler", "nets.noisy.stochastic_depth"),
        ("test_stochastic.test_a_scaled_gate_by_its_formula", "test_noisy.test_survival_falls_linearly"),
    ),
    Method(
        "dropout",
        "5.1, [146, 151]",
        "11 DropoutEuler",
        ("flows.stochastic.DropoutEuler",),
        (
            "test_stochastic.test_dropout_is_torchs_for_a_multiple_of_the_field",
            "test_stochastic.test_scaled_dropout_tends_to_its_sde_at_the_rate_1",
        ),
    ),
    Method(
        "weak approximation of stochastic differential equations",
        "5.1, [107, 118]",
        "11 EulerMaruyama",
        ("flows.stochastic.EulerMaruyama",),
        ("test_stochastic.test_the_weak_order_is_1",),
    ),
    Method(
        "mean-field stochastic optimal control",
        "5.1, [107]",
        "11 MeanField",
        ("nets.mean_field.MeanField", "nets.mean_field.tracking"),
        ("test_mean_field.test_the_three_controls_of_the_additive_problem",),
    ),
    Method(
        "LM-ResNet, linear two-step networks",
        "5.1, [107]",
        "10 TwoStep",
        ("flows.multistep.TwoStep", "nets.odenet.lm_resnet"),
        ("test_odenet.test_lm_resnet_is_5_2_with_its_past_across_the_stages",),
    ),
    Method(
        "the analysis by modified equations",
        "5.1, [160]",
        "10 claim: against (5.3)",
        ("flows.multistep.TwoStep",),
        ("test_connections.test_53_the_limit_and_the_modified_equation_of_52",),
    ),
    Method(
        "networks by Runge-Kutta and other schemes of higher order",
        "5.1, [108, 177]",
        "10 RK4",
        ("flows.schemes.RK4", "flows.schemes.Heun", "nets.variants.rescheme"),
        ("test_odenet.test_deepened_features_converge_at_the_order_of_the_scheme",),
    ),
    Method(
        "implicit Euler skip connections",
        "5.1, [94]",
        "10 claim: implicit skips: accuracy gained under attack",
        ("nets.skips.ImplicitSkip", "nets.variants.implicit_resnet"),
        ("test_skips.test_gradient_steps_tend_to_the_implicit_step",),
    ),
    Method(
        "symplectic networks",
        "5.1, [41]",
        "10 SymplecticNet",
        ("nets.hamiltonian.SymplecticNet", "flows.symplectic.Verlet"),
        ("test_hamiltonian.test_every_layer_is_symplectic_whatever_the_weights",),
    ),
    Method(
        "stability analysis of a network as a dynamical system, and its robustness",
        "5.1, [173]",
        "10 stability_region",
        ("flows.stability.stability_region", "flows.stability.real_interval", "nets.adversarial.robust_accuracy"),
        (
            "test_stability.test_the_intervals_of_the_textbooks",
            "test_adversarial.test_a_linear_classifier_is_attacked_in_closed_form",
        ),
    ),
    Method(
        "neural ordinary differential equations",
        "5.1, [37]",
        "10 NeuralODE",
        ("nets.neural_ode.NeuralODE",),
        ("test_neural_ode.test_the_adjoint_equations_gradient_tends_to_that_of_the_ode",),
    ),
    Method(
        "stochastic differential equations as models",
        "5.1, [97]",
        "11 NeuralSDE",
        ("nets.neural_sde.NeuralSDE",),
        ("test_neural_sde.test_the_networks_moments_are_those_of_the_scheme_not_of_the_equation",),
    ),
    Method(
        "generative modelling by flows",
        "5.1, [37, 97]",
        "10 FlowDensity",
        ("nets.density.FlowDensity",),
        ("test_density.test_the_density_integrates_to_one",),
    ),
    Method(
        "training as optimal control, the maximum principle, MSA",
        "5.1, [95]",
        "11 EMSA",
        ("nets.control.Control", "nets.control.pmp_gradient", "nets.msa.MSA", "nets.msa.EMSA"),
        (
            "test_connections.test_51_back_propagation_is_the_costate_of_pontryagin",
            "test_connections.test_51_successive_approximations_diverge_where_extended_ones_descend",
        ),
    ),
    Method(
        "accelerated adversarial training, YOPO",
        "5.1, [171]",
        "11 YOPO",
        ("nets.adversarial.YOPO",),
        ("test_adversarial.test_with_one_step_for_each_pass_it_is_the_attack",),
    ),
    Method(
        "the limit of infinite depth",
        "5.1, [43, 106, 121, 125, 153]",
        "10 SmoothPath",
        ("nets.depth.SmoothPath", "nets.depth.RoughPath", "nets.depth.IndependentWeights"),
        (
            "test_neural_ode.test_smooth_weights_reach_the_order_of_the_scheme",
            "test_neural_ode.test_independent_weights_average_or_do_not_converge",
        ),
    ),
    # ---- 5.2: PDE-Nets --------------------------------------------------------------------------------------------
    Method(
        "PDE-Net",
        "5.2, [102]",
        "12 PDENet1",
        ("nets.pdenet1.PDENet1",),
        ("test_pdenet1.test_one_block_with_frozen_filters_is_linear_in_the_coefficients",),
    ),
    Method(
        "PDE-Net 2.0",
        "5.2, [101]",
        "13 PDENet",
        ("nets.pdenet.PDENet", "nets.pdenet.pdenet"),
        ("test_pdenet.test_the_step_is_the_finite_difference_scheme", "test_pdenet.test_the_numbers_of_the_paper"),
    ),
    Method(
        "the symbolic network SymNet",
        "5.2, [101, 135]",
        "13 SymNet",
        ("nets.symnet.SymNet", "nets.polynomial.Polynomial"),
        ("test_symnet.test_burgers_equation_as_a_symnet_of_two_products",),
    ),
    Method(
        "the moment matrix of a filter",
        "5.2, [101, 102]",
        "12 moment_matrix",
        ("operators.moments.moment_matrix", "operators.moments.from_moments"),
        ("test_moments.test_the_moment_matrix_by_its_definition",),
    ),
    Method(
        "filters learned under constraints on their moments",
        "5.2, [101, 102]",
        "12 MomentBank",
        ("nets.moments.MomentBank", "operators.moments.degrees_of_freedom"),
        ("test_moments.test_constraints_hold_whatever_is_learned",),
    ),
    Method(
        "learned discretisations of the total variation",
        "5.2, [31]",
        "14 condat_kernels",
        ("nets.consistent_tv.ConsistentROF", "nets.consistent_tv.consistent_tv", "nets.interpolation.condat_kernels"),
        ("test_connections.test_31_a_total_variation_with_learned_kernels_of_sum_one_is_consistent",),
    ),
    Method(
        "unrolled algorithms",
        "1, 5.2, [38, 113]",
        "14 unrolled",
        ("nets.unrolled.unrolled",),
        ("test_unrolled.test_the_default_numbers_are_those_of_the_solver",),
    ),
    Method(
        "networks for nonlinear diffusion",
        "5.2, [4]",
        "14 learned_diffusion",
        ("nets.learned_diffusion.learned_diffusion", "nets.learned_diffusion.LearnedDiffusion"),
        ("test_learned_diffusion.test_before_training_the_net_is_eulers_scheme_for_the_flow",),
    ),
    Method(
        "moving endpoint control, DURR",
        "5.2, [175]",
        "14 StoppingPolicy",
        (
            "nets.moving_endpoint.RestorationUnit",
            "nets.moving_endpoint.StoppingPolicy",
            "nets.moving_endpoint.Halting",
        ),
        ("test_moving_endpoint.test_in_a_batch_every_picture_has_a_clock_of_its_own",),
    ),
)

OPEN_METHODS: tuple[str, ...] = ()  # what has no lesson, object or test

IN_PASSING = (
    Mention(
        "AlexNet, U-Net",
        "1",
        "AlexNet [89], U-Net [130], ResNet [77], and DenseNet [79] are well-known examples",
        "examples of convolutional networks; the two that Section 5.1 takes up again are methods here",
    ),
    Mention(
        "empirical risk minimisation by stochastic algorithms",
        "1",
        "trained (or optimized) on large data sets via stochastic algorithms",
        "how networks are trained, without a method named; the course's loop is lab/train.py",
    ),
    Mention(
        "approximation of functions in high dimensions by deep networks",
        "1",
        "can well approximate nonlinear functions [...] without suffering from the curse of dimensionality",
        "a property with references, no method",
    ),
    Mention(
        "the edge driven model [42]",
        "4",
        "Extensions of these results can be found in [26, 42, 52]",
        "named in the title of the reference only; its idea, another price on edges, is the frame model of [26]",
    ),
    Mention(
        "multiresolution analysis",
        "4.1",
        "a given multiresolution analysis (MRA) based wavelet frame system",
        "where the filters come from; its two ends, refinable function and framelet, are with the B-splines",
    ),
    Mention(
        "segmentation with a prior of shape [99]",
        "4.2",
        "image segmentation [27, 48, 99] and 3D surface reconstruction [50]",
        "one of three references for an application; [27] and [48] are built",
    ),
    Mention(
        "universal approximation by dynamical systems [96]",
        "5.1",
        "the universal approximation property of these models was established",
        "a theorem of the reference that the paper does not state; what a flow on the line cannot do is in lesson 10",
    ),
    Mention(
        "time series [87], identification of physical systems [73, 127, 168]",
        "5.1",
        "more applications of ODE-Nets in time series prediction [87] and physical system identification",
        "a list of applications",
    ),
    Mention(
        "differential dynamic programming [98]",
        "5.1",
        "[98, 171] designed new accelerated training algorithms for ODE-Nets",
        "one of two references for one sentence; [171] is built",
    ),
    Mention(
        "convolutions from translation-invariant basis functions [39]",
        "5.2",
        "any discretization of D based on an approximation of u [...] can also be realized by convolutions",
        "a remark on how general filters are",
    ),
    Mention(
        "other identification of equations: [14, 21, 100, 133, 137, 138, 167]",
        "5.2",
        "A key difference from existing works [...] on discovering PDE models from observation data",
        "what PDE-Net is set against; lesson 13 runs two of them, PDE-FIND and its weak form, from PySINDy",
    ),
    Mention(
        "a regular deep network as the response function",
        "5.2",
        "(or a regular DNN as in [102] that is more expressive but less interpretable)",
        "an alternative in brackets; coefficients and a source as interpolants, in PDENet1, are what [102] runs",
    ),
    Mention(
        "data-driven solvers [9]",
        "5.2",
        "later used in [9] to design data-driven solvers for PDEs",
        "an outlook; the constrained filters themselves are with PDE-Net, and lesson 13 lets one simulate",
    ),
    Mention(
        "multigrid networks [76], networks from equations [134], NeuPDE [152], cheap networks [57]",
        "5.2",
        "many new designs of CNN models for machine learning and computer vision tasks [4, 76, 113, ...]",
        "references of a list, not described",
    ),
    Mention(
        "solvers, model reduction, control, inverse problems, seismology, graphs",
        "5.2",
        "this line of research also drives the development of data-driven modeling in scientific computing",
        "the closing list of applications",
    ),
)


# ---- what a lesson, an object, a test is -------------------------------------------------------------------------


def tree_of(code: str) -> ast.Module:
    """The syntax of a code cell, without the lines for IPython."""
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines()))


def names_of(tree: ast.AST) -> Iterator[str]:
    """The names that code uses; what it only imports, or mentions in a string or a comment, does not count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def names_of_companion(trees: Sequence[ast.AST]) -> frozenset[str]:
    """Those that are attributes (`co.tgv`, `A.svd`) or come from the package (`from companion import run`)."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imports = [
        node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("companion")
    ]
    known = {alias.asname or alias.name for node in imports for alias in node.names}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return frozenset(attributes | {node.id for node in nodes if isinstance(node, ast.Name) and node.id in known})


@cache
def lesson(number: str) -> tuple[str, frozenset[str], str]:
    """(place, the names its code cells use, its claims) of a lesson; ("", ...) where there is none."""
    paths = sorted((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    if len(paths) != 1:
        return "", frozenset(), ""
    place = paths[0].relative_to(ROOT).as_posix()
    cells = json.loads(paths[0].read_text(encoding="utf-8"))["cells"]
    code = [tree_of("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    said = "\n".join(statement for where, statement, _ in claims() if where == place)
    return place, names_of_companion(code), said


@cache
def named_tests(module: str) -> dict[str, frozenset[str]]:
    """The tests of a file of tests, each with the names that it uses."""
    path = ROOT / "tests" / f"{module.replace('.', '/')}.py"
    if not path.exists():
        return {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: frozenset(names_of(node))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def documented(qualified: str) -> bool:
    """True for a public object below lab, defined where it is said to be, with a docstring of its own."""
    parts = qualified.split(".")
    if parts[0] == "lab" or any(part.startswith("_") for part in parts):
        return False
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(["companion", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        home = found.__name__
        for part in parts[cut:]:
            if part not in vars(found):
                return False
            found = vars(found)[part]
        return getattr(found, "__module__", "") == home and bool((found.__doc__ or "").strip())
    return False


def problems(methods: Sequence[Method]) -> list[str]:
    """What of the rows is not so, in words."""
    found = []
    for method in methods:
        last = {name.rpartition(".")[2] for name in method.objects}
        number, _, mark = method.lesson.partition(" ")
        place, names, said = lesson(number)
        claim = mark.removeprefix("claim: ")
        if not place:
            found.append(f"{method.name}: there is no lesson {number}")
        elif claim != mark:
            if claim not in said:
                found.append(f"{method.name}: no claim of lesson {number} has the words {claim!r}")
        elif mark not in names:
            found.append(f"{method.name}: no code cell of lesson {number} uses {mark}")
        elif mark not in last:
            found.append(f"{method.name}: {mark} is none of its objects")
        found += [
            f"{method.name}: companion.{name} is no documented public object"
            for name in method.objects
            if not documented(name)
        ]
        for test in method.tests:
            module, _, name = test.rpartition(".")
            if name not in named_tests(module):
                found.append(f"{method.name}: there is no test {test}")
            elif not last & named_tests(module)[name]:
                found.append(f"{method.name}: {test} uses none of {', '.join(sorted(last))}")
        if not (method.objects and method.tests):
            found.append(f"{method.name}: an object and a test are asked for")
    return found


# ---- the page ----------------------------------------------------------------------------------------------------


def linked(qualified: str, root: str) -> str:
    """A name with a link to its file."""
    module, _, name = qualified.rpartition(".")
    path = f"{root}/{module.replace('.', '/')}.py"
    while not (ROOT / path).exists():
        module, _, owner = module.rpartition(".")
        name, path = f"{owner}.{name}", f"{root}/{module.replace('.', '/')}.py"
    return f"[`{name}`](../{path})"


def section() -> list[str]:
    """The second table of docs/paper_map.md, and the list of what is named in passing."""
    rows = []
    for method in METHODS:
        number, _, mark = method.lesson.partition(" ")
        claim = mark.removeprefix("claim: ")
        shown = f"`{mark}`" if claim == mark else f"“{escaped(claim)}”"
        cells = (
            escaped(method.name),
            escaped(method.paper),
            f"[{number}](../{lesson(number)[0]}): {shown}",
            ", ".join(linked(name, "companion") for name in method.objects),
            ", ".join(linked(name, "tests") for name in method.tests),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return [
        "## Methods",
        "",
        f"The {len(METHODS)} methods that Sections 1-5 name, in the paper's order, with its references: what a code "
        "cell of a lesson uses (or, in quotation marks, claims), objects of the package, tests that guard them. "
        "From `tests/paper_methods.py`.",
        "",
        "| method | paper | lesson | object | test |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## Named in passing",
        "",
        "What the paper mentions as history, example or outlook, without describing a method.",
        "",
        "| name | paper | its words | why it is no method here |",
        "|---|---|---|---|",
        *(f"| {' | '.join(map(escaped, mention))} |" for mention in IN_PASSING),
        "",
    ]
