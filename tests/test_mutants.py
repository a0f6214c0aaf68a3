"""Plausible defects, one at a time: some named test must catch each of them.

A mutant is a copy of the package with one mistake that a tired author could make. It is *killed* if the test named
beside it fails; the unchanged copy must pass the same tests. A mutant whose old text no longer occurs exactly once is
stale and fails too: bring it up to date with the code, or remove it with the code it was about.

Each mutant is tested in a process of its own, forked from one that has imported torch and pytest already (see `serve`),
so that it takes about a second.
"""

import compileall
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("companion", "tests", "pyproject.toml")
IGNORED = shutil.ignore_patterns("__pycache__", "browser", Path(__file__).name)
PRELOADED = ("torch", "numpy", "scipy", "sympy", "pywt", "pytest", "jaxtyping")
BROKEN = -1
KILLED = (1, 2, 4)  # pytest's exit codes where a test failed, or where the package refuses what the tests are made of


@dataclass(frozen=True)
class Mutant:
    """A mistake: in `file`, each old text becomes new; `killer` is the pytest node that must fail."""

    name: str
    file: str
    edits: dict[str, str]
    killer: str

    def apply(self, folder: Path) -> None:
        path = folder / "companion" / self.file
        source = path.read_text(encoding="utf-8")
        for old, new in self.edits.items():
            found = source.count(old)
            assert found == 1, f"stale mutant: {old!r} occurs {found} times in {self.file}"
            source = source.replace(old, new)
        Path(importlib.util.cache_from_source(str(path))).unlink()  # the one file that is compiled anew
        path.write_text(source, encoding="utf-8")


# ---- the mistakes ------------------------------------------------------------------------------------------------

LAWS = "tests/laws/test_operators.py::"
GRID = "tests/laws/test_grid.py::"
DIFFERENCES = "tests/laws/test_differences.py::"
THRESHOLDS = "tests/laws/test_thresholds.py::"
DYNAMICS = "tests/test_dynamics.py::"
FILTERS = "tests/test_filters.py::"
FRAMES = "tests/test_frames.py::"
KERNEL_DIFFERENCES = "tests/test_kernels_differences.py::"
KERNEL_EDGES = "tests/test_kernels_edges.py::"
KEPT = "tests/test_kept.py::"
KERNEL_FRAMES = "tests/test_kernels_frames.py::"
SPLINES = "tests/test_splines.py::"
MEASURE = "tests/test_measure.py::"
RADON = "tests/test_radon.py::"
FOURIER = "tests/test_fourier.py::"
NOISE = "tests/test_noise.py::"
SPECTRA = "tests/laws/test_spectra.py::"
SHRINKAGE = "tests/test_shrinkage.py::"
ACCELERATED = "tests/test_accelerated.py::"
WAVE = "tests/test_wave.py::"
CONNECTIONS = "tests/test_connections.py::"
FUNCTIONALS = "tests/laws/test_functionals.py::"
FIELDS = "tests/laws/test_fields.py::"
SCHEMES = "tests/laws/test_schemes.py::"
DIFFUSION = "tests/test_diffusion.py::"
DIFFUSIVITY = "tests/test_diffusivity.py::"
AXIOMS = "tests/test_axioms.py::"
SMOOTHING = "tests/test_smoothing.py::"
LINEAR_SOLVES = "tests/test_linear_solves.py::"
MODELS = "tests/test_models.py::"
SOLVERS = "tests/test_solvers.py::"
TGV = "tests/test_tgv.py::"
GRADIENTS = "tests/test_gradients.py::"
VARIATION = "tests/test_variation.py::"
BREGMAN = "tests/test_bregman.py::"
MUMFORD_SHAH = "tests/test_mumford_shah.py::"
STENCILS = "tests/test_stencils.py::"
TENSOR = "tests/test_tensor.py::"
DICTIONARY = "tests/test_dictionary.py::"
FRAME_PDE = "tests/test_frame_pde.py::"
FRAME_FLOWS = "tests/test_frame_flows.py::"
FOURTH = "tests/test_fourth_order.py::"
SHOCK = "tests/test_shock.py::"
CURVATURE = "tests/test_curvature.py::"
INPAINTING = "tests/test_inpainting.py::"
SAMPLING = "tests/test_sampling.py::"
SHAPES = "tests/test_shapes.py::"
EDGE_COST = "tests/test_edge_cost.py::"
GAMMA = "tests/test_gamma.py::"
REFINEMENT = "tests/test_refinement.py::"
NEURAL_ODE = "tests/test_neural_ode.py::"
NEURAL_SDE = "tests/test_neural_sde.py::"
CONTROL = "tests/test_control.py::"
MEAN_FIELD = "tests/test_mean_field.py::"
ADVERSARIAL = "tests/test_adversarial.py::"
DENSITY = "tests/test_density.py::"
HAMILTONIAN = "tests/test_hamiltonian.py::"
BRIDGE = "tests/test_connections.py::"
BLOCKS = "tests/test_blocks.py::"
ODENETS = "tests/test_odenet.py::"
UNROLLED = "tests/test_unrolled.py::"
LEARNED_FRAME = "tests/test_learned_frame.py::"
TRAINING = "tests/test_train.py::"
DATASETS = "tests/test_datasets.py::"
SEGMENTATION = "tests/test_segmentation.py::"
SURFACES = "tests/test_surfaces.py::"
VOLUMES = "tests/test_volumes.py::"
PDES = "tests/test_pdes.py::"
CACHE = "tests/test_cache.py::"
MOMENTS = "tests/test_moments.py::"
PDENET = "tests/test_pdenet.py::"
PDENET1 = "tests/test_pdenet1.py::"
IDENTIFY = "tests/test_identify.py::"
BLOCKWISE = "tests/test_blockwise.py::"
MINIMISE = "tests/test_minimise.py::"
SYMNET = "tests/test_symnet.py::"
LEARNED_DIFFUSION = "tests/test_learned_diffusion.py::"
MOVING_ENDPOINT = "tests/test_moving_endpoint.py::"
CONSISTENT_TV = "tests/test_consistent_tv.py::"
MESSAGES = "tests/test_messages.py::test_bad_input_is_answered_by_the_rule_what_came_and_a_remedy"

MUTANTS = [
    # the grid and its border
    Mutant(
        "the adjoint of a correlation is not flipped",
        "operators/grid.py",
        {"return correlate(d, q, origin, axes, -step,": "return correlate(d, q, origin, axes, step,"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    Mutant(
        "the reflection repeats no sample: u[-1] = u[1]",
        "operators/grid.py",
        {
            "i = i % (2 * n)\n": "i = i % max(1, 2 * n - 2)\n",
            "torch.minimum(i, 2 * n - 1 - i)": "torch.minimum(i, 2 * n - 2 - i)",
        },
        FRAMES + "test_reflection_is_the_periodic_transform_of_the_mirrored_picture",
    ),
    Mutant(
        "the periodic picture wraps once only",
        "operators/grid.py",
        {"return i % n\n": "return torch.where(i < 0, i + n, torch.where(i < n, i, i - n)).clamp(0, n - 1)\n"},
        GRID + "test_correlation_by_its_definition",
    ),
    Mutant(
        "a tap of the filter moves to the left",
        "operators/grid.py",
        {"far + step * (o + i) for": "far + step * o + i for"},
        FRAMES + "test_the_cascade_is_correlation_with_the_filters_of_22",
    ),
    Mutant(
        "what reaches over the right border is not folded back",
        "operators/grid.py",
        {"    if right:\n        u = u.index_add": "    if left and right:\n        u = u.index_add"},
        GRID + "test_folding_is_the_adjoint_of_extending",
    ),
    # kernels: differences
    Mutant(
        "the loop of the diffusion forgets the flux that the last pixel of a row hands down",
        "kernels/diffusion.py",
        {"    up[end] = down\n": ""},
        "tests/test_kernels_diffusion.py::test_the_loop_is_the_scheme_written_out",
    ),
    Mutant(
        "a block goes its steps with too few planes beside it",
        "kernels/blocks.py",
        {"max(first - k, 0), min(last + k, A)": "max(first - k + 1, 0), min(last + k, A)"},
        "tests/test_kernels_diffusion.py::test_many_steps_block_by_block",
    ),
    Mutant(
        "the right side of split Bregman sees no row across the border of a torus",
        "kernels/bregman.py",
        {"above = m - 1 if i else m + A - 1": "above = m - 1 if i else m"},
        "tests/test_kernels_hazards.py::test_split_bregman_with_another_step_of_the_grid",
    ),
    Mutant(
        "split Bregman's loop takes differences over 1, whatever h",
        "kernels/bregman.py",
        {"(1 / h, radius)": "(1.0, radius)"},
        "tests/test_kernels_hazards.py::test_split_bregman_with_another_step_of_the_grid",
    ),
    Mutant(
        "split Bregman keeps its symbol when rho is another one",
        "flows/bregman.py",
        {"((rho,), None) if isinstance(rho, Tensor) else ((), rho)": "(), None"},
        "tests/test_kernels_hazards.py::test_split_bregman_keeps_no_stale_symbol",
    ),
    Mutant(
        "the loop of the dual takes its own row for the one above",
        "kernels/dual.py",
        {"q[m + (d - 1) * H], q[m], q[there * d * H + r], share": "q[m + (d - 1) * H], q[m], q[m], share"},
        "tests/test_fast_rof.py::test_the_loop_is_the_step",
    ),
    Mutant(
        "the loop of PDHG takes the old field of the plane before, where its part begins",
        "kernels/primal_dual.py",
        {"before, d, A, H, q, size, sigma,": "before, d, A, H, q, size, 0 * sigma,"},
        "tests/test_kernels_primal_dual.py::test_threads_share_the_planes",
    ),
    Mutant(
        "the loop of PDHG forgets that no difference leaves the last plane",
        "kernels/primal_dual.py",
        {"above, tau if periodic or i < A - 1 else zero, tau)": "above, tau, tau)"},
        "tests/test_kernels_primal_dual.py::test_the_loop_is_the_step_of_rof",
    ),
    Mutant(
        "the loop of PDHG takes the step of differences for the step of the data",
        "flows/splitting.py",
        {"pull = E.weight * self._told()[1]": "pull = E.weight * numbers[1]"},
        "tests/test_kernels_primal_dual.py::test_the_loop_climbs_for_every_data_term",
    ),
    Mutant(
        "the loop of PDHG overlooks a threshold of another kind",
        "flows/splitting.py",
        {"type(R) in (GroupL1, L1) and": "isinstance(R, (GroupL1, L1)) and"},
        "tests/test_kernels_primal_dual.py::test_what_the_loop_does_not_know_keeps_the_readable_form",
    ),
    Mutant(
        "memory is given out again while somebody holds it",
        "kernels/rows.py",
        {"    return torch.from_numpy(array)\n": "    _keep(key, memory)\n    return torch.from_numpy(array)\n"},
        "tests/test_kernels_primal_dual.py::test_old_states_stay_as_they_were",
    ),
    Mutant(
        "the loop of the gradient has no row below the last one on the torus",
        "kernels/differences.py",
        {"below = (a + 1) % A if periodic else min(a + 1, A - 1)": "below = min(a + 1, A - 1)"},
        KERNEL_DIFFERENCES + "test_the_loops_are_differences_written_out",
    ),
    Mutant(
        "the loop of D^T sees the last differences at a border that reflects",
        "kernels/differences.py",
        {"p[b, 0, a, i] if periodic or a < A - 1 else zero": "p[b, 0, a, i]"},
        KERNEL_DIFFERENCES + "test_the_loops_are_differences_written_out",
    ),
    Mutant(
        "the loop of D^T takes the middle axis of a volume for a torus",
        "kernels/differences.py",
        {"before = p[b, 1, a, i - 1 if i else H - 1] if periodic or i else zero": "before = p[b, 1, a, i - 1]"},
        KERNEL_DIFFERENCES + "test_the_loops_are_the_readable_form",
    ),
    Mutant(
        "the loop of D^T is differentiated as if it were D",
        "kernels/differences.py",
        {"transposed(_adjoint_op, _forward_op)": "transposed(_adjoint_op, _adjoint_op)"},
        KERNEL_DIFFERENCES + "test_derivatives",
    ),
    # kernels: edges
    Mutant(
        "a flux leaves one end and does not arrive at the other",
        "kernels/edges.py",
        {"                            out[n, r, s] -= flux\n": ""},
        KERNEL_EDGES + "test_the_loops_are_the_stencil",
    ),
    Mutant(
        "a half edge weighs at the end where it begins alone",
        "kernels/edges.py",
        {"                            W[n, r, s] += half\n": ""},
        KERNEL_EDGES + "test_weights_are_reduced_by_the_loop_too",
    ),
    Mutant(
        "the third edge of an acute superbase is the first",
        "kernels/edges.py",
        {"rho[n, 1, i, j] = max(-form(a, b, c, x, y, p, q), 0.0)": "rho[n, 1, i, j] = rho[n, 0, i, j]"},
        KERNEL_EDGES + "test_the_loops_are_the_stencil",
    ),
    Mutant(
        "the loop takes a tensor with a negative eigenvalue",
        "kernels/edges.py",
        {"not (small >= -1e-6 * abs(large) and large < math.inf)": "not large < math.inf"},
        KERNEL_EDGES + "test_a_tensor_that_is_none_is_still_named",
    ),
    # kernels: memory
    Mutant(
        "an interrupt lets go of the memory that another thread works on",
        "kernels/__init__.py",
        {"return compiled(*args, start, stop), keep": "return compiled(*args, start, stop)"},
        "tests/test_kernels_processes.py::test_what_is_kept_outlives_an_interrupt",
    ),
    Mutant(
        "a kept value is not made anew for data changed in place",
        "operators/kept.py",
        {"return unchanged and len(before)": "return len(before)"},
        KEPT + "test_computed_once_and_anew_where_something_changed",
    ),
    Mutant(
        "a kept value is that of another key",
        "operators/kept.py",
        {"if made and made[0] == key and _same": "if made and _same"},
        KEPT + "test_computed_once_and_anew_where_something_changed",
    ),
    Mutant(
        "a kept value has no derivative",
        "operators/kept.py",
        {" or not unwatched(*tensors)": ""},
        KEPT + "test_nothing_is_kept_where_a_derivative_is_asked_for",
    ),
    # kernels: frames
    Mutant(
        "the loop of the adjoint reflects an antisymmetric filter without its sign",
        "kernels/merge.py",
        {"w[c] = b.sign[e] * b.q[h] if mirrored(v, g.H, g.reflect) else b.q[h]": "w[c] = b.q[h]"},
        KERNEL_FRAMES + "test_the_loops_are_the_cascade",
    ),
    Mutant(
        "the adjoint takes a plane of the volume before for one of this",
        "kernels/merge.py",
        {"mark = b * (g.N + g.s * M) + v": "mark = v"},
        KERNEL_FRAMES + "test_the_loops_are_the_cascade",
    ),
    Mutant(
        "the adjoint reads the bands of a volume at the plane that it makes",
        "kernels/merge.py",
        {"start(where[e * bands + p], b, n, g, low)": "start(where[e * bands + p], b, c, g, low)"},
        KERNEL_FRAMES + "test_the_loops_are_the_cascade",
    ),
    Mutant(
        "the planes of a volume shrink by the thresholds of the first",
        "kernels/shrinkage.py",
        {"lam[c:], mu[c:]": "lam, mu"},
        KERNEL_FRAMES + "test_one_pass_is_the_composition",
    ),
    # filters
    Mutant(
        "C_alpha without alpha!",
        "operators/filters.py",
        {"return self.moment(index) / prod(map(factorial, index))": "return self.moment(index)"},
        FILTERS + "test_constants_of_proposition_41_with_their_signs",
    ),
    Mutant(
        "moments index k_2 first",
        "operators/filters.py",
        {"for k, b in zip(self.grid(), beta, strict=True)": "for k, b in zip(self.grid(), beta[::-1], strict=True)"},
        FILTERS + "test_moments_are_derivatives_of_the_symbol_at_zero",
    ),
    Mutant(
        "the vanishing order forgets the other moments of its degree",
        "operators/filters.py",
        {"return leading[0] if len(leading) == 1 else None": "return leading[0]"},
        FILTERS + "test_mixed_leading_moments_are_no_vanishing_order",
    ),
    Mutant(
        "order K minus {J+1} read as printed: all moments but one may be anything",
        "operators/filters.py",
        {"if beta != exempt]": "if beta == exempt]"},
        FILTERS + "test_total_orders_with_one_moment_exempt",
    ),
    Mutant(
        "a filter is flipped without its origin",
        "operators/filters.py",
        {"return Filter(np.flip(self.taps), origin)": "return Filter(np.flip(self.taps), self.origin)"},
        FILTERS + "test_dilation_and_flip_act_on_the_frequency",
    ),
    # banks
    Mutant(
        "B-splines without the root of the binomial",
        "operators/banks.py",
        {"Filter([sqrt(b) * c / 2**order for c in taps]": "Filter([b * c / 2**order for c in taps]"},
        FILTERS + "test_the_taps_are_the_exact_bank_rounded_once",
    ),
    Mutant(
        "the sign of every other B-spline filter",
        "operators/banks.py",
        {"(-1) ** (ell // 2) * a": "(-1) ** ell * a"},
        FILTERS + "test_the_filters_of_example_21",
    ),
    Mutant(
        "the origin of odd B-splines is one off",
        "operators/banks.py",
        {"-(order // 2)) for b, taps": "-((order + 1) // 2)) for b, taps"},
        FILTERS + "test_the_taps_are_the_exact_bank_rounded_once",
    ),
    Mutant(
        "the second condition of the UEP without its signs",
        "operators/banks.py",
        {"sign = (-1) ** sum(i * j": "sign = 1 ** sum(i * j"},
        FILTERS + "test_the_residual_is_the_defect_of_the_symbols",
    ),
    Mutant(
        "a dual pair is tested as if it were tight",
        "operators/banks.py",
        {"defect = extension_residual(bank, dual)[0]": "defect = extension_residual(bank)[0]"},
        FILTERS + "test_dual_pairs_are_checked_as_pairs",
    ),
    Mutant(
        "a bank that almost reconstructs is let through",
        "operators/banks.py",
        {"TOLERANCE = 1e-10": "TOLERANCE = 0.2"},
        MESSAGES + "[a bank whose high-pass alone is wrong]",
    ),
    Mutant(
        "one term of the dual low-pass is missing",
        "operators/banks.py",
        {"    for j in range(K):\n": "    for j in range(max(1, K - 1)):\n"},
        FILTERS + "test_the_closed_form_of_the_dual_low_pass",
    ),
    # the functions behind the filters
    Mutant(
        "framelets of the flipped filter",
        "operators/splines.py",
        {"for i, tap in enumerate(q.taps):": "for i, tap in enumerate(q.taps[::-1]):"},
        SPLINES + "test_framelet_coefficients_are_correlations",
    ),
    Mutant(
        "framelets without the factor 2",
        "operators/splines.py",
        {"+= 2 * tap * phi.coefficients": "+= tap * phi.coefficients"},
        SPLINES + "test_the_refinement_equation",
    ),
    Mutant(
        "the antiderivative forgets the length of an interval",
        "operators/splines.py",
        {"np.arange(1, self.degree + 2) * self.step, ": "np.arange(1, self.degree + 2), "},
        SPLINES + "test_psi_is_the_derivative_of_phi_alpha",
    ),
    Mutant(
        "the pieces of an antiderivative do not meet",
        "operators/splines.py",
        {"c[1:, 0] = np.cumsum(mass)[:-1]": "c[:, 0] = np.cumsum(mass)"},
        SPLINES + "test_psi_is_the_derivative_of_phi_alpha",
    ),
    Mutant(
        "psi_{n-1,k} without its factor 1/2 for each axis",
        "operators/splines.py",
        {"k / 2, 2.0 ** (n / 2 - 1))": "k / 2, 2.0 ** ((n - 1) / 2))"},
        SPLINES + "test_proposition_42_in_the_plane",
    ),
    Mutant(
        "a spline is shifted after it is scaled",
        "operators/splines.py",
        {"(self.start + b) / a": "self.start / a + b"},
        SPLINES + "test_scaling_by_its_definition",
    ),
    Mutant(
        "a function with a moment left is integrated all the same",
        "operators/splines.py",
        {"if abs(mass.sum()) > ROUNDING * max": "if abs(mass.sum()) > 10 * max"},
        SPLINES + "test_a_low_pass_has_no_antiderivative_and_psi_only_so_many",
    ),
    # frames
    Mutant(
        "dilation by XOR: 2 ^ l for 2**l",
        "operators/frames.py",
        {
            "self._split(a, 2**level)": "self._split(a, 2 ^ level)",
            "self._merge(parts, 2**level)": "self._merge(parts, 2 ^ level)",
        },
        FRAMES + "test_the_cascade_is_correlation_with_the_filters_of_22",
    ),
    Mutant(
        "dilation by 2 l, equal to 2**l up to the third level",
        "operators/frames.py",
        {
            "self._split(a, 2**level)": "self._split(a, 2 * level or 1)",
            "self._merge(parts, 2**level)": "self._merge(parts, 2 * level or 1)",
        },
        FRAMES + "test_the_cascade_is_correlation_with_the_filters_of_22",
    ),
    Mutant(
        "the filters of (2.2) with the index order as printed",
        "operators/frames.py",
        {"q.convolve(self.bank[0].dilate(2**below))": "q.convolve(self.bank[below % len(self.bank)])"},
        FRAMES + "test_the_filters_of_22_are_products_of_dilated_filters",
    ),
    Mutant(
        "the average is thresholded",
        "operators/frames.py",
        {"[0.0 if band.low else decay**band.level for": "[decay**band.level for"},
        FRAMES + "test_weights_are_zero_on_the_average_and_decay_with_the_level",
    ),
    Mutant(
        "the dual transform uses the primal bank",
        "operators/frames.py",
        {
            "FrameletTransform(self.dual_bank, ": "FrameletTransform(self.bank, ",
            "self.boundary, dual=self.bank)": "self.boundary, dual=self.dual_bank)",
        },
        FRAMES + "test_dual_frames_reconstruct_from_either_side",
    ),
    Mutant(
        "every transform says it is tight",
        "operators/frames.py",
        {"self.tight = dual is None": "self.tight = True"},
        LAWS + "test_tight_says_whether_the_adjoint_inverts",
    ),
    Mutant(
        "the bands of one axis come back in the order of another",
        "operators/frames.py",
        {"index[-2::-1]]": "index[:-1]]"},
        FRAMES + "test_the_cascade_is_correlation_with_the_filters_of_22",
    ),
    # differences
    Mutant(
        "a mirrored border lets the last flux out",
        "operators/differences.py",
        {"p.narrow(axis, 0, n - 1).diff(dim=axis, prepend=shut, append=shut)": "p.diff(dim=axis, prepend=shut)"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    Mutant(
        "the forward difference turned backward, its adjoint forgotten",
        "operators/differences.py",
        {"return u.diff(dim=axis, append=behind)": "return u.diff(dim=axis, prepend=behind)"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    Mutant(
        "the divergence with the sign of the adjoint",
        "operators/differences.py",
        {
            "-Gradient(self.h, self.dim, self.boundary).adjoint(u)": "Gradient(self.h, self.dim, self.boundary).T(u)",
            "-Gradient(self.h, self.dim, self.boundary)(f)": "Gradient(self.h, self.dim, self.boundary)(f)",
        },
        DIFFERENCES + "test_summation_by_parts",
    ),
    Mutant(
        "the Jacobian is not symmetrised",
        "operators/differences.py",
        {"return (J + J.transpose(-self.dim - 1, -self.dim - 2)) / 2": "return J"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    Mutant(
        "the grid step is forgotten",
        "operators/differences.py",
        {"return u.diff(dim=axis, append=behind) / self.h": "return u.diff(dim=axis, append=behind)"},
        DIFFERENCES + "test_the_gradient_is_the_forward_difference_over_h",
    ),
    # measurements
    Mutant(
        "the mask keeps what is unknown",
        "operators/measure.py",
        {"return u * self.m\n": "return u * ~self.m\n"},
        MEASURE + "test_a_mask_is_an_orthogonal_projection",
    ),
    Mutant(
        "the blur correlates",
        "operators/measure.py",
        {"torch.fft.rfftn(self._point(like))": "torch.fft.rfftn(self._point(like)).conj()"},
        MEASURE + "test_the_picture_of_a_point_is_the_kernel",
    ),
    Mutant(
        "the blur's centre is one off",
        "operators/measure.py",
        {"tuple(-((n - 1) // 2) for n in kernel.shape)": "tuple(-((n + 1) // 2) for n in kernel.shape)"},
        MEASURE + "test_the_picture_of_a_point_is_the_kernel",
    ),
    Mutant(
        "deblurring divides by |a^| instead of its square",
        "operators/measure.py",
        {"self.symbol(v).abs().square() + rho": "self.symbol(v).abs() + rho"},
        LAWS + "test_normal_solve_is_the_dense_solve",
    ),
    Mutant(
        "the noise ignores its seed",
        "operators/noise.py",
        {".manual_seed(self.seed)\n        eta": ".manual_seed(0)\n        eta"},
        NOISE + "test_a_seed_is_a_noise",
    ),
    Mutant(
        "the noise turns float32 into float64",
        "operators/noise.py",
        {"self.sigma * eta.to(v)": "self.sigma * eta"},
        NOISE + "test_a_seed_is_a_noise",
    ),
    Mutant(
        "Laplacian noise of deviation b",
        "operators/noise.py",
        {"torch.log1p(-w.abs())": "torch.log1p(-w.abs()) / 2**0.5"},
        NOISE + "test_laplacian_noise_has_its_mean_variance_and_tails",
    ),
    Mutant(
        "exponential noise: the sign of the Laplacian is lost",
        "operators/noise.py",
        {"-w.sign() * torch.log1p": "-torch.log1p"},
        NOISE + "test_laplacian_noise_has_its_mean_variance_and_tails",
    ),
    Mutant(
        "counts instead of intensities",
        "operators/noise.py",
        {"generator=generator) / self.peak": "generator=generator)"},
        NOISE + "test_poisson_noise_has_its_mean_and_variance",
    ),
    Mutant(
        "negative intensities are clipped in silence",
        "operators/noise.py",
        {"if bool(negative.any()):": "if bool(negative.all()):"},
        NOISE + "test_dark_pixels_are_exact_and_rounding_counts_as_dark",
    ),
    Mutant(
        "a Fourier transform that is not unitary",
        "operators/fourier.py",
        {', norm="ortho")': ")"},
        FOURIER + "test_all_frequencies_are_an_isometry",
    ),
    Mutant(
        "the adjoint takes the modulus for the real part",
        "operators/fourier.py",
        {"else u.real\n\n    def restrict": "else u.abs()\n\n    def restrict"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    Mutant(
        "the opposite frequency is forgotten",
        "operators/fourier.py",
        {"opposite = self.m if self.phase else": "opposite = self.m if True else"},
        LAWS + "test_normal_solve_is_the_dense_solve",
    ),
    Mutant(
        "m[-k] without the wrap: the pattern is only flipped",
        "operators/fourier.py",
        {"self.m.flip(axes).roll((1,) * self.dim, axes)": "self.m.flip(axes)"},
        FOURIER + "test_the_normal_operator_weighs_a_frequency_by_how_often_it_is_seen",
    ),
    Mutant(
        "eigenvalues of A^T A for singular values of A",
        "operators/fourier.py",
        {"self.weight().sqrt().to(like).expand": "self.weight().to(like).expand"},
        SPECTRA + "test_singular_values_are_those_of_the_matrix",
    ),
    Mutant(
        "the singular values of a blur are not sorted",
        "operators/measure.py",
        {".abs().expand(like.shape).flatten().sort(descending=True).values": ".abs().expand(like.shape).flatten()"},
        SPECTRA + "test_singular_values_are_those_of_the_matrix",
    ),
    Mutant(
        "the rows of a Cartesian pattern are columns",
        "operators/fourier.py",
        {"m[score.argsort()[:rows]] = True": "m[:, score.argsort()[:rows]] = True"},
        FOURIER + "test_cartesian_patterns_keep_whole_rows_as_many_as_asked",
    ),
    Mutant(
        "the centre comes on top of the rows asked for",
        "operators/fourier.py",
        {"m[score.argsort()[:rows]] = True": "m[score.argsort()[: rows + central]] = True"},
        FOURIER + "test_cartesian_patterns_keep_whole_rows_as_many_as_asked",
    ),
    Mutant(
        "the race rewards the high frequencies",
        "operators/fourier.py",
        {") ** decay\n": ") ** -decay\n"},
        FOURIER + "test_the_race_draws_with_the_weights",
    ),
    Mutant(
        "conjugate gradients forget the old direction",
        "operators/linear.py",
        {"p = r + (rr / old) * p": "p = r"},
        SPECTRA + "test_a_diagonal_system_takes_as_many_steps_as_it_has_eigenvalues",
    ),
    # projections
    Mutant(
        "degrees are taken for radians",
        "operators/radon.py",
        {"torch.cos(torch.deg2rad(phi)), torch.sin(torch.deg2rad(phi))": "torch.cos(phi), torch.sin(phi)"},
        RADON + "test_entries_are_the_areas_that_pixels_and_strips_share",
    ),
    Mutant(
        "y points downwards",
        "operators/radon.py",
        {"((n - 1) / 2 - i) * s": "(i - (n - 1) / 2) * s"},
        RADON + "test_the_data_are_scikit_images",
    ),
    Mutant(
        "the picture is projected transposed",
        "operators/radon.py",
        {"torch.stack([fold(v) for": "torch.stack([fold(v.transpose(0, 1)) for"},
        RADON + "test_columns_and_rows",
    ),
    Mutant(
        "a quarter turn to the wrong side",
        "operators/radon.py",
        {"lambda u: u.rot90(-1, (0, 1)), lambda v: v.rot90(1, (0, 1))": "lambda u: u.rot90(), lambda v: v.rot90(-1)"},
        RADON + "test_entries_are_the_areas_that_pixels_and_strips_share",
    ),
    Mutant(
        "the projections count pixels: h is forgotten",
        "operators/radon.py",
        {"(share[seen] * (2 / n))": "share[seen]"},
        RADON + "test_every_projection_carries_the_mass",
    ),
    Mutant(
        "every shadow is one pixel wide",
        "operators/radon.py",
        {"first = torch.floor(centre - (c + s) / 2)": "first = torch.floor(centre - 0.5)"},
        RADON + "test_every_projection_carries_the_mass",
    ),
    Mutant(
        "a shadow has no slopes",
        "operators/radon.py",
        {"r - r * r / (2 * s).clamp_min(1e-300)": "r / 2"},
        RADON + "test_entries_are_the_areas_that_pixels_and_strips_share",
    ),
    Mutant(
        "half a turn does not mirror the row",
        "operators/radon.py",
        {"k = torch.where(mirrored[:, None], k.flip(0), k)": "k = torch.where(mirrored[:, None], k, k)"},
        RADON + "test_half_a_turn_mirrors_the_projection",
    ),
    Mutant(
        "an angle measured twice comes back once",
        "operators/radon.py",
        {".index_add(0, place, g)": ".index_copy(0, place, g)"},
        RADON + "test_angles_come_in_any_order_and_more_than_once",
    ),
    Mutant(
        "back projection forgets to unfold",
        "operators/radon.py",
        {"[unfold(v[:, :, i])": "[v[:, :, i]"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    Mutant(
        "the derivative is not transposed twice",
        "operators/radon.py",
        {"return _Product.apply(g, *ctx.pair), None, None": "return ctx.pair[0] @ g.detach(), None, None"},
        RADON + "test_first_and_second_derivatives",
    ),
    Mutant(
        "the ellipse is turned to the other side",
        "operators/radon.py",
        {"torch.deg2rad(angles)[:, None], radians(degrees)": "torch.deg2rad(angles)[:, None], -radians(degrees)"},
        RADON + "test_the_projection_of_an_ellipse_is_the_length_of_its_chords",
    ),
    # shrinkage
    Mutant(
        "soft thresholding loses the sign",
        "flows/shrinkage.py",
        {"return d - torch.minimum(torch.maximum(d, -lam), lam)": "return torch.relu(d.abs() - lam)"},
        THRESHOLDS + "test_odd",
    ),
    Mutant(
        "the level may exceed 1",
        "flows/shrinkage.py",
        {"return a / torch.maximum(torch.maximum(a, b), ": "return a / torch.maximum(b, "},
        THRESHOLDS + "test_never_away_from_zero_nor_across_it",
    ),
    Mutant(
        "isotropic shrinkage groups across levels",
        "flows/shrinkage.py",
        {".unflatten(axis, (self.levels, -1))": ".unflatten(axis, (1, -1))"},
        THRESHOLDS + "test_isotropic_formula",
    ),
    Mutant(
        "the garrote with lam instead of its square",
        "flows/shrinkage.py",
        {"return _ratio(lam.square(), d.square())": "return _ratio(lam, d.square())"},
        THRESHOLDS + "test_garrote_formula",
    ),
    Mutant(
        "a float64 threshold turns float32 coefficients into float64",
        "flows/shrinkage.py",
        {"return self.lam.to(d.dtype)": "return self.lam"},
        THRESHOLDS + "test_type_and_device_follow_the_input",
    ),
    Mutant(
        "shrinkage goes back by W, not by its dual",
        "flows/shrinkage.py",
        {"return self.dual.T(self.S(self.W(u)))": "return self.W.T(self.S(self.W(u)))"},
        SHRINKAGE + "test_with_a_dual_frame_the_way_back_is_the_dual",
    ),
    # energies and solvers
    Mutant(
        "the Lipschitz constant is |A|, not its square",
        "energies/functional.py",
        {"self.weight * float(self.A.norm(self.domain())) ** 2": "self.weight * float(self.A.norm(self.domain()))"},
        FUNCTIONALS + "test_the_gradient_is_lipschitz_with_the_constant_that_is_claimed[least-squares-multiple]",
    ),
    Mutant(
        "least squares forget the weight in the solve",
        "energies/functional.py",
        {"rho = 1 / (self.weight * tau)": "rho = 1 / tau"},
        FUNCTIONALS + "test_the_proximal_point_is_the_minimiser[least-squares-mask]",
    ),
    Mutant(
        "Moreau's identity with sigma for 1 / sigma",
        "energies/functional.py",
        {"self.prox(p / sigma, 1 / sigma)": "self.prox(p / sigma, sigma)"},
        FUNCTIONALS + "test_the_proximal_point_of_the_conjugate_is_its_minimiser[least-squares-identity]",
    ),
    Mutant(
        "data of another shape are broadcast",
        "energies/functional.py",
        {"if f.shape != v.shape[max(0, v.ndim - f.ndim) :]:": "if f.ndim > v.ndim:"},
        FUNCTIONALS + "test_data_of_another_shape_are_refused_not_broadcast",
    ),
    Mutant(
        "soft thresholding without tau",
        "energies/norms.py",
        {"bound = tau * self.check(v)": "bound = self.check(v)"},
        FUNCTIONALS + "test_the_proximal_point_is_the_minimiser[l1]",
    ),
    Mutant(
        "group shrinkage without tau",
        "energies/norms.py",
        {"(tau * lam / size)": "(lam / size)"},
        FUNCTIONALS + "test_the_proximal_point_is_the_minimiser[group-gradient]",
    ),
    Mutant(
        "the conjugate of |v - f| without f",
        "energies/norms.py",
        {"else (p * fitted(self.f, p)).sum()": "else (p * 0).sum()"},
        FUNCTIONALS + "test_fenchel_and_young[l1-data]",
    ),
    Mutant(
        "the smaller root of the Poisson prox",
        "energies/likelihood.py",
        {".sqrt() + b.abs()": ".sqrt() - b.abs()"},
        FUNCTIONALS + "test_the_proximal_point_is_the_minimiser[kl]",
    ),
    Mutant(
        "the conjugate of Poisson's likelihood with the wrong sign",
        "energies/likelihood.py",
        {"terms = -self.weight * torch": "terms = self.weight * torch"},
        FUNCTIONALS + "test_fenchel_and_young[kl]",
    ),
    Mutant(
        "the weight of Gaussian noise is 1 / sigma",
        "energies/likelihood.py",
        {"1 / s**2": "1 / s"},
        FUNCTIONALS + "test_11_the_data_term_is_the_likelihood",
    ),
    Mutant(
        "the weight of Laplacian noise is b",
        "energies/likelihood.py",
        {"L1(1 / s, f)": "L1(s, f)"},
        FUNCTIONALS + "test_11_the_data_term_is_the_likelihood",
    ),
    Mutant(
        "kappa is forgotten on the complement of the range",
        "energies/coefficients.py",
        {"1 / (1 + self.kappa * tau)": "1 / (1 + tau)"},
        FUNCTIONALS + "test_24_the_smooth_part_written_out_in_matrices[mask-7.0]",
    ),
    Mutant(
        "the gradient of (2.4) without the projection",
        "energies/coefficients.py",
        {"self.W(self.data.grad(u) - self.kappa * u)": "self.W(self.data.grad(u))"},
        FUNCTIONALS + "test_24_the_smooth_part_written_out_in_matrices[mask-7.0]",
    ),
    Mutant(
        "the Lipschitz constant of (2.4) without kappa",
        "energies/coefficients.py",
        {"return max(self.data.lipschitz(), self.kappa)": "return self.data.lipschitz()"},
        FUNCTIONALS + "test_24_the_smooth_part_written_out_in_matrices[mask-7.0]",
    ),
    Mutant(
        "the gap with the sign of the multiplier",
        "energies/models.py",
        {"self.E.conjugate(-self.K.adjoint(p))": "self.E.conjugate(self.K.adjoint(p))"},
        SOLVERS + "test_the_gap_of_total_variation_closes",
    ),
    Mutant(
        "Tikhonov forgets alpha where K is not I",
        "energies/models.py",
        {"+ alpha * K.adjoint(K(u))": "+ K.adjoint(K(u))"},
        MODELS + "test_tikhonov_solves_the_normal_equations[D-inpainting]",
    ),
    Mutant(
        "synthesis looks at one pixel only of lam",
        "energies/models.py",
        {".flatten(1).amin(1)": ".flatten(1).amax(1)"},
        MODELS + "test_synthesis_that_costs_nothing_somewhere_is_refused",
    ),
    Mutant(
        "FISTA's gamma counts as motion",
        "energies/models.py",
        {"tuple(a for a in tensors(x) if a.ndim) or tensors(x)": "tensors(x)"},
        MODELS + "test_solve_stops_where_nothing_moves",
    ),
    Mutant(
        "a blow-up is met by an operator",
        "energies/models.py",
        {"self.lost = not size <": "self.lost = size <"},
        SOLVERS + "test_a_solve_that_blows_up_is_announced",
    ),
    Mutant(
        "gamma = (k - 1) / (k + 1)",
        "flows/solvers.py",
        {"(1 + 2 * s.gamma) / (4 - s.gamma)": "(1 + s.gamma) / (3 - s.gamma)"},
        SOLVERS + "test_the_momentum_of_fista_is_nesterovs",
    ),
    Mutant(
        "FISTA is one gamma ahead",
        "flows/solvers.py",
        {"x.new_full((), -0.5)": "x.new_zeros(())"},
        SOLVERS + "test_the_momentum_of_fista_is_nesterovs",
    ),
    Mutant(
        "restart when the step goes downhill",
        "flows/solvers.py",
        {"((y - x) * (x - s.x)).sum() > 0": "((y - x) * (x - s.x)).sum() < 0"},
        SOLVERS + "test_fista_oscillates_where_restarting_is_linear",
    ),
    Mutant(
        "ForwardBackward up to 3 / L",
        "flows/solvers.py",
        {"if self.step > 2 / L": "if self.step > 3 / L"},
        SOLVERS + "test_a_step_beyond_the_bound_is_announced_with_the_bound",
    ),
    Mutant(
        "b with the sign of the residual",
        "flows/splitting.py",
        {"s.b + self.delta * (Kx - d)": "s.b - self.delta * (Kx - d)"},
        SOLVERS + "test_the_step_of_split_bregman_in_matrices",
    ),
    Mutant(
        "shrinkage by lam rho",
        "flows/splitting.py",
        {"self.problem.R.prox(Kx + s.b, 1 / rho)": "self.problem.R.prox(Kx + s.b, rho)"},
        SOLVERS + "test_the_step_of_split_bregman_in_matrices",
    ),
    Mutant(
        "the multiplier of ADMM without rho",
        "flows/splitting.py",
        {"return self.rho * s.b": "return s.b"},
        SOLVERS + "test_the_gap_bounds_the_distance_to_the_minimum_and_closes",
    ),
    Mutant(
        "ADMM takes any K",
        "flows/splitting.py",
        {"if not problem.K.tight:": "if problem.K is None:"},
        SOLVERS + "test_what_a_solver_cannot_treat_is_refused_with_the_name_of_one_that_can",
    ),
    Mutant(
        "PDHG without extrapolation",
        "flows/splitting.py",
        {"PrimalDual(x, 2 * x - s.x, p, q)": "PrimalDual(x, x, p, q)"},
        SOLVERS + "test_the_step_of_the_primal_dual_method_in_matrices",
    ),
    Mutant(
        "the steps of PDHG from |K|, not its square",
        "flows/splitting.py",
        {"float(problem.K.norm(x)) ** 2 + (": "float(problem.K.norm(x)) + ("},
        SOLVERS + "test_the_gap_of_total_variation_closes",
    ),
    # second order, and edges
    Mutant(
        "a ramp is charged at the border",
        "operators/cascade.py",
        {"        parts[i] = torch.cat([body, torch.zeros_like(last)], i - self.dim)\n": ""},
        TGV + "test_an_affine_picture_and_its_slope_cost_nothing_at_the_border_either",
    ),
    Mutant(
        "E w = grad w, not symmetrised",
        "operators/cascade.py",
        {"        return ((J + J.transpose(-d - 2, -d - 1)) / 2).flatten": "        return J.flatten"},
        TGV + "test_on_the_torus_the_cascade_is_made_of_the_differences",
    ),
    Mutant(
        "alpha0 is scaled as alpha1",
        "energies/tgv.py",
        {"alpha0 * h ** (dim - 2)": "alpha0 * h ** (dim - 1)"},
        TGV + "test_the_grid_step_is_a_unit",
    ),
    Mutant(
        "the slope of a frame is added",
        "operators/cascade.py",
        {"first.squeeze(-d - 2) - u.narrow": "first.squeeze(-d - 2) + u.narrow"},
        TGV + "test_the_frames_cascade_is_made_of_its_bands",
    ),
    Mutant(
        "the adjoint of a frame's cascade forgets the slope",
        "operators/cascade.py",
        {".unsqueeze(-d - 1), rest - p], -d - 1)": ".unsqueeze(-d - 1), rest], -d - 1)"},
        TGV + "test_the_frames_minimum_is_that_of_cvxpy",
    ),
    Mutant(
        "a multiplier that is too long counts",
        "energies/tgv.py",
        {"    return p1 * factor.reshape": "    return p1 * torch.ones_like(factor).reshape"},
        TGV + "test_the_gap_falls_to_zero_and_bounds_the_distance",
    ),
    Mutant(
        "the factor 2 of alpha |grad u|^2",
        "energies/mumford_shah.py",
        {"A, c = self.E.A, 2 * self.alpha": "A, c = self.E.A, self.alpha"},
        MUMFORD_SHAH + "test_half_steps_are_minimisers",
    ),
    Mutant(
        "edges half as dear",
        "energies/mumford_shah.py",
        {"(1 - v).square().sum() / (4 * self.eps))": "(1 - v).square().sum() / (8 * self.eps))"},
        MUMFORD_SHAH + "test_an_edge_costs_beta_for_each_unit_of_length",
    ),
    Mutant(
        "every group is an edge",
        "energies/mumford_shah.py",
        {"torch.where(cost_on < cost_off, on, off)": "on"},
        "tests/laws/test_functionals.py::test_the_proximal_point_is_the_global_minimiser",
    ),
    Mutant(
        "v from the u before",
        "flows/mumford_shah.py",
        {"self.energy.best_v(u, state.v": "self.energy.best_v(state.u, state.v"},
        MUMFORD_SHAH + "test_a_step_is_the_best_u_and_then_the_best_v_for_it",
    ),
    # diffusion that turns, shocks, curvature, inpainting
    Mutant(
        "the zero tensor is not widened",
        "operators/lattice.py",
        {"torch.where(small <= large / THINNEST": "torch.where(small < large / THINNEST"},
        STENCILS + "test_thin_tensors_are_widened_and_nothing_diffuses_backwards",
    ),
    Mutant(
        "weights are reduced at one end of the edge",
        "operators/stencils.py",
        {"w * torch.minimum(share.unsqueeze(-2), _at(share, target))": "w * share.unsqueeze(-2)"},
        STENCILS + "test_excess_counts_the_pixels_whose_weights_are_reduced",
    ),
    Mutant(
        "Sobel's taps for Scharr's",
        "operators/stencils.py",
        {"constants(3 / 16, 10 / 16, 3 / 16": "constants(4 / 16, 8 / 16, 4 / 16"},
        STENCILS + "test_the_bound_of_scharrs_filters_is_that_of_stability_and_is_sharp",
    ),
    Mutant(
        "across and along exchanged",
        "flows/tensor.py",
        {"(across + along) / 2, (across - along) / 2": "(across + along) / 2, (along - across) / 2"},
        TENSOR + "test_the_eigenvalues_of_edge_enhancing_diffusion",
    ),
    Mutant(
        "coherence by the quotient upside down",
        "flows/tensor.py",
        {"torch.exp(-z.pow(-2))": "torch.exp(-z.pow(2))"},
        TENSOR + "test_the_eigenvalues_of_coherence_enhancing_diffusion",
    ),
    Mutant(
        "C rounded to 3.315",
        "flows/diffusivities.py",
        {"C = 3.314877361786055": "C = 3.315"},
        TENSOR + "test_the_flux_of_fast_decay_is_largest_at_the_contrast",
    ),
    Mutant(
        "the shock filter takes h in one dimension",
        "flows/shock.py",
        {"2.0 if self.dim == 1 else 1.0": "1.0"},
        SHOCK + "test_the_total_variation_does_not_grow_in_one_dimension",
    ),
    Mutant(
        "the lattice circle rounds halves to even numbers",
        "flows/curvature.py",
        {"inside = r * (1 - 1e-9)": "inside = r"},
        CURVATURE + "test_the_lattice_circle_is_symmetric_and_near_the_circle",
    ),
    Mutant(
        "the mixed derivative counts once",
        "flows/curvature.py",
        {"- 2 * x * y * xy": "- x * y * xy"},
        CURVATURE + "test_central_differences_are_of_second_order_and_nearly_free_of_contrast",
    ),
    Mutant(
        "the transport's bound looks at known pixels",
        "flows/inpainting.py",
        {"(self.hole * beta).abs().amax((-2, -1)": "(~self.hole * beta).abs().amax((-2, -1)"},
        INPAINTING + "test_one_step_of_transport_written_out",
    ),
    Mutant(
        "the vorticity is taken downwind",
        "flows/inpainting.py",
        {"torch.where(v[i] > 0, v[i] * behind": "torch.where(v[i] < 0, v[i] * behind"},
        INPAINTING + "test_the_vorticity_takes_an_upwind_step",
    ),
    # diffusion
    Mutant(
        "the sigma of u_sigma in pixels",
        "flows/diffusion.py",
        {"gaussian_smooth(u, self.sigma, self.grad.h,": "gaussian_smooth(u, self.sigma, 1.0,"},
        DIFFUSION + "test_33_catte_looks_at_a_smoothed_gradient",
    ),
    Mutant(
        "the bound of stability where extrema are promised",
        "flows/diffusion.py",
        {"self._diagonal if self.maximum_principle else self.grad.bound / 2": "self.grad.bound / 2"},
        FIELDS + "test_the_extrema_are_kept_up_to_the_largest_step[perona-malik-haar3-reflect]",
    ),
    Mutant(
        "the largest step of TV flow forgets the data",
        "flows/diffusion.py",
        {"+ (1 / self.nu if self.nu else 0.0))": ")"},
        FIELDS + "test_the_largest_step_is_sharp[tv-flow-to-0]",
    ),
    Mutant(
        "g + x g'",
        "flows/conditions.py",
        {"return g(s).detach() + 2 * s *": "return g(s).detach() + s *"},
        DIFFUSIVITY + "test_the_derivative_of_a_diffusivity",
    ),
    Mutant(
        "K without the p-th root",
        "flows/diffusivities.py",
        {"/ (2 * p - 1)) ** (1 / p)": "/ (2 * p - 1))"},
        DIFFUSIVITY + "test_33_the_conditions_and_the_threshold_in_closed_form",
    ),
    Mutant(
        "the sign of g + 2 x g' is looked at below K only",
        "flows/conditions.py",
        {"if len(changes) > 1 or": "if len(changes) > 2 or"},
        DIFFUSIVITY + "test_33_each_violation_is_refused",
    ),
    Mutant(
        "Heun's second slope at the midpoint",
        "flows/schemes.py",
        {"(a + self.slope(u + self.dt * a, 1.0))": "(a + self.slope(u + self.dt / 2 * a, 1.0))"},
        SCHEMES + "test_the_slope_of_the_error_is_the_order[heun-heat-1d]",
    ),
    Mutant(
        "a flow does not end at t",
        "flows/field.py",
        {"scheme(self, t / k if k else 1.0)": "scheme(self, dt if k else 1.0)"},
        FIELDS + "test_the_flow_ends_at_t_in_equal_steps_below_the_largest[heat-2d-reflect]",
    ),
    Mutant(
        "splitting without d",
        "flows/implicit.py",
        {"(d * self.dt / grad.h**2)": "(self.dt / grad.h**2)"},
        SCHEMES + "test_the_step_of_splitting_in_matrices",
    ),
    Mutant(
        "Sherman and Morrison without the 1",
        "operators/tridiagonal.py",
        {"(along_v(y) / (1 + along_v(z)))": "(along_v(y) / along_v(z))"},
        LINEAR_SOLVES + "test_a_tridiagonal_system_is_solved",
    ),
    Mutant(
        "the second pass of Gram and Schmidt replaces the first",
        "operators/krylov.py",
        {"H[i, j] += h": "H[i, j] = h"},
        LINEAR_SOLVES + "test_gmres_minimises_the_residual_over_the_krylov_space",
    ),
    Mutant(
        "sigma in pixels whatever h",
        "operators/smoothing.py",
        {"gaussian_kernel(sigma / h, dim=1)": "gaussian_kernel(sigma, dim=1)"},
        SMOOTHING + "test_smoothing_is_scipys",
    ),
    Mutant(
        "one range for the whole batch",
        "flows/axioms.py",
        {"v.amax(axes) - u.amax(axes)": "v.amax(axes) - u.max()"},
        AXIOMS + "test_the_maximum_principle_sees_each_side_and_each_picture",
    ),
    # total variation
    Mutant(
        "the total variation of a plane with h, not its square",
        "energies/variation.py",
        {"self.length(self.nu * grad.h**grad.dim)": "self.length(self.nu * grad.h)"},
        VARIATION + "test_the_value_by_its_formula",
    ),
    Mutant(
        "the picture of a multiplier forgets the weight of the data",
        "energies/variation.py",
        {"self.E.f.to(u.dtype) - u / self.E.weight": "self.E.f.to(u.dtype) - u"},
        VARIATION + "test_the_gap_is_that_of_duality",
    ),
    Mutant(
        "the ball of the dual has the radius nu, whatever h",
        "energies/variation.py",
        {"K, radius = rof.K, rof.J.nu * rof.J.D.h ** (rof.J.D.dim - 1)": "K, radius = rof.K, rof.J.nu"},
        VARIATION + "test_five_solvers_find_the_minimiser_of_rof",
    ),
    Mutant(
        "the field is clipped component by component, as if entrywise",
        "energies/variation.py",
        {"- 1) if rof.J.isotropic else Box": "- 1) if not rof.J.isotropic else Box"},
        VARIATION + "test_the_dual_problem",
    ),
    Mutant(
        "a ball of sigma times no radius",
        "energies/norms.py",
        {"return self.norm.prox(p, sigma)": "return self.norm.prox(p, 1.0)"},
        FUNCTIONALS + "test_the_proximal_point_of_the_conjugate_is_its_minimiser[ball]",
    ),
    Mutant(
        "a frame gradient loses the sign of C_alpha",
        "operators/gradients.py",
        {"weights = [1 / self._constant(ell)": "weights = [1 / abs(self._constant(ell))"},
        GRADIENTS + "test_a_ramp_has_the_gradient_of_its_slope",
    ),
    Mutant(
        "a second derivative over h",
        "operators/gradients.py",
        {"self.h ** sum(alpha[0] for alpha in orders)": "self.h ** max(alpha[0] for alpha in orders)"},
        GRADIENTS + "test_the_weight_of_a_band_is_one_over_its_constant",
    ),
    Mutant(
        "Haar's border is mirrored, not cut",
        "operators/gradients.py",
        {"any(q.parity() == 0 for q in used)": "all(q.parity() == 2 for q in used)"},
        GRADIENTS + "test_a_cut_border_counts_only_where_all_filters_lie_inside",
    ),
    Mutant(
        "the eigenvalues of D^T D with sin^2 w for sin^2 w/2",
        "operators/differences.py",
        {"torch.sin(torch.pi * torch.arange(n": "torch.sin(2 * torch.pi * torch.arange(n"},
        GRADIENTS + "test_the_spectrum_is_that_of_the_square_on_a_torus[differences]",
    ),
    Mutant(
        "the cosine transform of a picture that is repeated, not mirrored",
        "flows/bregman.py",
        {"v = torch.cat([v, v.flip(axis)], axis)": "v = torch.cat([v, v], axis)"},
        BREGMAN + "test_the_normal_equations_are_solved",
    ),
    Mutant(
        "lagged diffusivity with eps for its square",
        "flows/bregman.py",
        {"return (s + self.eps**2).rsqrt()": "return (s + self.eps).rsqrt()"},
        BREGMAN + "test_a_step_of_lagged_diffusivity_in_matrices",
    ),
    Mutant(
        "split Bregman shrinks by lam rho",
        "flows/bregman.py",
        {"d = R.prox(Kx + s.b, 1 / self.rho)": "d = R.prox(Kx + s.b, self.rho)"},
        BREGMAN + "test_a_step_of_split_bregman_in_matrices",
    ),
    # shrinkage is diffusion
    Mutant(
        "the level has one gamma for its square",
        "flows/dictionary.py",
        {"level = self.tau * self.gamma**2 * self.g(s.sum": "level = self.tau * abs(self.gamma) * self.g(s.sum"},
        DICTIONARY + "test_the_level_by_hand",
    ),
    Mutant(
        "no gamma inside g",
        "flows/dictionary.py",
        {"(self.gamma * d.narrow(": "(d.narrow("},
        CONNECTIONS + "test_45_shrinkage_is_diffusion",
    ),
    Mutant(
        "gamma with h upstairs",
        "flows/dictionary.py",
        {"return 1 / (W.bank[1].constant(1) * h)": "return h / W.bank[1].constant(1)"},
        CONNECTIONS + "test_45_shrinkage_is_diffusion",
    ),
    Mutant(
        "the rest is shrunk by default",
        "flows/dictionary.py",
        {"torch.full_like(others, self.rest)": "torch.full_like(others, max(self.rest, 0.01))"},
        CONNECTIONS + "test_45_the_rest_of_the_bands_must_pass",
    ),
    Mutant(
        "each band has its own level where they should share one",
        "flows/dictionary.py",
        {"self.g(s.sum(axis, keepdim=True) if self.isotropic else s)": "self.g(s)"},
        CONNECTIONS + "test_45_shrinkage_is_diffusion",
    ),
    Mutant(
        "the stable step forgets the rest",
        "flows/dictionary.py",
        {"while self.rest and self.others:": "while False:"},
        DICTIONARY + "test_the_bound_with_a_rest_is_that_of_the_symbol",
    ),
    Mutant(
        "a diffusivity in the unit of d",
        "flows/dictionary.py",
        {".sqrt() / abs(self.gamma)": ".sqrt() * abs(self.gamma)"},
        DICTIONARY + "test_the_diffusivity_by_its_formula",
    ),
    Mutant(
        "a diffusivity without the time of a step",
        "flows/dictionary.py",
        {"return self.level(t) / (self.tau * self.gamma**2)": "return self.level(t) / self.gamma**2"},
        DICTIONARY + "test_there_and_back",
    ),
    Mutant(
        "the flux turns at |gamma| lam",
        "flows/dictionary.py",
        {"return self.gamma**2 * math.exp(low + high)": "return abs(self.gamma) * math.exp((low + high) / 2)"},
        DICTIONARY + "test_where_the_flux_turns",
    ),
    Mutant(
        "the size of a group counts all bands",
        "flows/shrinkage.py",
        {"grouped = high if all(self.group) else torch.where(group, high, 0.0)": "grouped = high"},
        DICTIONARY + "test_a_group_shrinks_by_the_factor_of_its_size",
    ),
    Mutant(
        "a group takes the others with it",
        "flows/shrinkage.py",
        {"torch.where(group, self.S.level(size), 0.0)": "self.S.level(size).expand_as(high)"},
        DICTIONARY + "test_a_group_shrinks_by_the_factor_of_its_size",
    ),
    Mutant(
        "the sign that the paper prints",
        "flows/frame_pde.py",
        {"(-1) ** sum(alpha) * gamma for": "gamma for"},
        FRAME_PDE + "test_each_term_tends_to_its_derivatives",
    ),
    Mutant(
        "the dual filter is not flipped",
        "flows/frame_pde.py",
        {"q.convolve(p.flip())": "q.convolve(p)"},
        FRAME_PDE + "test_the_dual_pair_of_any_filters",
    ),
    Mutant(
        "the synthesis in units of beta",
        "flows/frame_pde.py",
        {"(q.constant(alpha) * h ** sum(alpha))": "(q.constant(alpha) * h ** sum(self.betas[0]))"},
        FRAME_PDE + "test_each_term_tends_to_its_derivatives",
    ),
    Mutant(
        "Phi sees coefficients for derivatives",
        "flows/frame_pde.py",
        {"d.index_select(axis, band) * self._column(self.gamma, d)": "d.index_select(axis, band)"},
        FRAME_PDE + "test_each_term_tends_to_its_derivatives",
    ),
    Mutant(
        "the shrinkage forgets u",
        "flows/frame_pde.py",
        {"self.F.velocity(d, self.F.dual.T(d))": "self.F.velocity(d, self.F.W.T(d))"},
        FRAME_PDE + "test_one_shrinkage_is_one_explicit_step",
    ),
    Mutant(
        "the mixed second derivative counts once",
        "flows/frame_flows.py",
        {"torch.tensor([1.0, 2.0, 1.0]": "torch.tensor([1.0, 1.0, 1.0]"},
        CONNECTIONS + "test_46_fourth_order_diffusion_is_shrinkage_of_the_second_order_bands",
    ),
    Mutant(
        "fourth order with the sign of second order",
        "flows/frame_flows.py",
        {"return -g((Du * weighted)": "return g((Du * weighted)"},
        CONNECTIONS + "test_46_fourth_order_diffusion_is_shrinkage_of_the_second_order_bands",
    ),
    Mutant(
        "the diagonal band loses |D_12| once",
        "flows/frame_flows.py",
        {"(a + c - 2 * b.abs())": "(a + c - b.abs())"},
        FRAME_FLOWS + "test_haars_diagonal_band_is_that_of_nine_points",
    ),
    Mutant(
        "dilation where there should be erosion",
        "flows/frame_flows.py",
        {"speed = -torch.sign(L)": "speed = torch.sign(L)"},
        CONNECTIONS + "test_46_the_shock_filter_is_a_shrinkage_of_one_sided_differences",
    ),
    Mutant(
        "H D for (H D + D H)/2",
        "flows/frame_flows.py",
        {"b * (xx + yy) + (a + c) * xy": "2 * (b * yy + a * xy)"},
        FRAME_FLOWS + "test_the_directed_bands_are_tr_h_d_h",
    ),
    Mutant(
        "J_rho is not smoothed",
        "flows/frame_flows.py",
        {"v.unsqueeze(-3), flow.rho, flow.h": "v.unsqueeze(-3), 0.0, flow.h"},
        CONNECTIONS + "test_46_weickerts_diffusion_is_a_shrinkage_by_matrices",
    ),
    Mutant(
        "fourth order weighs by |u_11|",
        "flows/fourth_order.py",
        {"components = tuple(range(u.ndim - self.H.dim, p.ndim - self.H.dim))": "components = (-self.H.dim - 1,)"},
        FOURTH + "test_against_loops",
    ),
    Mutant(
        "the Hessian's bound is that of two gradients",
        "operators/differences.py",
        {"return 16 * self.dim**2 / self.h**4": "return 16 * self.dim / self.h**4"},
        FOURTH + "test_the_bound_of_the_hessian_is_its_norm",
    ),
    # the spine
    Mutant(
        "the stopping rule looks at u alone",
        "dynamics.py",
        {"tensors(old), strict=True))": "tensors(old), strict=True))[:1]"},
        DYNAMICS + "test_the_rule_measures_the_whole_state",
    ),
    Mutant(
        "a ModuleList is taken for one map",
        "dynamics.py",
        {"isinstance(step, (list, tuple, nn.ModuleList))": "isinstance(step, (list, tuple))"},
        DYNAMICS + "test_a_module_list_is_callable_and_yet_a_sequence",
    ),
    Mutant(
        "one step too few",
        "dynamics.py",
        {"None if total is None else total + 1": "total"},
        DYNAMICS + "test_an_orbit_is_what_a_loop_gives",
    ),
    Mutant(
        "the last iterate is not kept",
        "dynamics.py",
        {"    if keep:\n        kept[n] = u.detach()\n": ""},
        DYNAMICS + "test_kept_iterates_are_those_asked_for_and_both_ends",
    ),
    # acceleration, and the damped wave
    Mutant(
        "friction for momentum",
        "flows/momentum.py",
        {"    return 1 - C * tau\n": "    return C * tau\n"},
        ACCELERATED + "test_momentum_is_friction",
    ),
    Mutant(
        "Nesterov's momentum is one step ahead",
        "flows/momentum.py",
        {"return (k - 1) / (k + 2)": "return k / (k + 3)"},
        ACCELERATED + "test_the_clock_starts_at_rest_and_the_rule_is_asked_in_order",
    ),
    Mutant(
        "the clock starts at 1",
        "flows/accelerated.py",
        {"Moving(u0, u0, u0.new_zeros(()))": "Moving(u0, u0, u0.new_ones(()))"},
        CONNECTIONS + "test_47_the_accelerated_iteration_is_fista[1.0-inpainting]",
    ),
    Mutant(
        "the two last pictures are swapped",
        "flows/accelerated.py",
        {"gamma * (s.u - s.old)": "gamma * (s.old - s.u)"},
        ACCELERATED + "test_the_formula_as_printed[0.7-mask]",
    ),
    Mutant(
        "the data are not added back",
        "flows/accelerated.py",
        {"u = u - self.mu * self.data.grad(u)": "u = u - self.mu * self.data.A.adjoint(self.data.A(u))"},
        ACCELERATED + "test_the_formula_as_printed[0.7-mask]",
    ),
    Mutant(
        "the data are compared with the extrapolated picture",
        "flows/accelerated.py",
        {"u = u - self.mu * self.data.grad(u)": "u = u - self.mu * self.data.grad(v)"},
        ACCELERATED + "test_the_formula_as_printed[0.7-mask]",
    ),
    Mutant(
        "a restart where the ball rolls downhill",
        "flows/accelerated.py",
        {"* (u - old)).sum() > 0": "* (u - old)).sum() < 0"},
        ACCELERATED + "test_restart_stops_the_ball_where_it_rolls_uphill",
    ),
    Mutant(
        "a restart leaves the clock running",
        "flows/accelerated.py",
        {"torch.where(uphill, 1.0, k)": "k"},
        ACCELERATED + "test_restart_stops_the_ball_where_it_rolls_uphill",
    ),
    Mutant(
        "the heavy ball with the step tau for tau^2",
        "flows/accelerated.py",
        {"self.tau**2 * self.F(s.u)": "self.tau * self.F(s.u)"},
        ACCELERATED + "test_the_heavy_ball_by_hand",
    ),
    Mutant(
        "the heavy ball looks ahead",
        "flows/accelerated.py",
        {"self.F(s.u), s.u, s.k + 1)": "self.F(s.u + self.momentum(s)), s.u, s.k + 1)"},
        CONNECTIONS + "test_48_what_the_step_adds_is_friction[heavy-ball]",
    ),
    Mutant(
        "levels with tau for tau^2",
        "flows/accelerated.py",
        {"DiffusionShrinkage(g, W, tau**2, h)": "DiffusionShrinkage(g, W, tau, h)"},
        CONNECTIONS + "test_48_nesterovs_momentum_is_friction_3_over_t",
    ),
    Mutant(
        "mu with tau for tau^2",
        "flows/accelerated.py",
        {"kappa * tau**2, gamma)": "kappa * tau, gamma)"},
        ACCELERATED + "test_a_step_made_from_the_equation[2.0]",
    ),
    Mutant(
        "the stability bound without its 2",
        "flows/momentum.py",
        {"(2 + 2 * gamma) / (1 + 2 * gamma)\n\n\ndef max_tau": "(2 + 2 * gamma) / (1 + gamma)\n\n\ndef max_tau"},
        ACCELERATED + "test_the_roots_leave_the_disc_exactly_at_cfl",
    ),
    Mutant(
        "the bound of gamma = 0 for all",
        "flows/momentum.py",
        {"math.sqrt(cfl(1.0) / bound)": "math.sqrt(cfl(0.0) / bound)"},
        ACCELERATED + "test_the_largest_time_step_by_brute_force[haar_gradient-0.0]",
    ),
    Mutant(
        "friction that feeds the wave",
        "flows/wave.py",
        {"self.force(x.u) - C * x.v": "self.force(x.u) + C * x.v"},
        WAVE + "test_the_solver_against_the_modes[3.0]",
    ),
    Mutant(
        "the data push away",
        "flows/wave.py",
        {"self.F(u) - self.kappa * self.data.grad(u)": "self.F(u) + self.kappa * self.data.grad(u)"},
        WAVE + "test_the_solver_against_runge_and_kutta",
    ),
    Mutant(
        "kinetic energy without its half",
        "flows/wave.py",
        {"x.v.square().sum() / 2 + potential": "x.v.square().sum() + potential"},
        WAVE + "test_the_energy_falls_at_the_rate_of_the_friction",
    ),
    Mutant(
        "an overdamped mode that starts in motion",
        "flows/wave.py",
        {"/ 2 + d * torch.where(m > 0": "/ 2 - d * torch.where(m > 0"},
        WAVE + "test_the_oscillator_is_the_exponential_of_its_matrix[1.0-6.0]",
    ),
    Mutant(
        "half a frequency",
        "flows/wave.py",
        {"2 * torch.pi * torch.fft.fftfreq": "torch.pi * torch.fft.fftfreq"},
        WAVE + "test_the_symbol_of_the_laplacian",
    ),
    # Gamma-convergence
    Mutant(
        "the means of T_n do not sum to one",
        "energies/sampling.py",
        {"w = (weights / weights.sum()).double()": "w = (weights / weights.abs().max()).double()"},
        SAMPLING + "test_the_weights_sum_to_one",
    ),
    Mutant(
        "T_n looks at the corner of the cell",
        "energies/sampling.py",
        {"+ t + (1 - order) / 2) / N": "+ t + (0 - order) / 2) / N"},
        SAMPLING + "test_the_samples_of_a_wave_are_the_wave_times_the_symbol_of_the_spline",
    ),
    Mutant(
        "the pieces of the spline are added in reverse",
        "energies/sampling.py",
        {".roll(-j, 0) for j": ".roll(j, 0) for j"},
        SAMPLING + "test_the_samples_of_a_wave_are_the_wave_times_the_symbol_of_the_spline",
    ),
    Mutant(
        "lambda_n loses its sign",
        "energies/sampling.py",
        {"return q.constant(alpha) * h": "return abs(q.constant(alpha)) * h"},
        SAMPLING + "test_every_scaled_band_tends_to_its_derivative",
    ),
    Mutant(
        "lambda_n is 1/h for every order",
        "energies/sampling.py",
        {"* h ** sum(alpha)": "* h"},
        SAMPLING + "test_the_coefficients_that_make_derivatives_of_bands",
    ),
    Mutant(
        "lambda_n forgets the level",
        "energies/sampling.py",
        {"    q = W.filter(ell, level)\n": "    q = W.filter(ell, 0)\n"},
        SAMPLING + "test_the_coefficients_that_make_derivatives_of_bands",
    ),
    Mutant(
        "the limit of a second derivative is a first one",
        "energies/sampling.py",
        {"for _ in range(alpha[axis]):": "for _ in range(min(alpha[axis], 1)):"},
        SAMPLING + "test_second_order",
    ),
    Mutant(
        "E measures u, not A u",
        "energies/sampling.py",
        {"u if self.A is None else self.A(u)": "u"},
        SAMPLING + "test_the_limit_with_a_measurement_and_of_a_flat_function",
    ),
    Mutant(
        "the ground keeps no mass",
        "energies/shapes.py",
        {"a, b = 1 - nu * P / A, nu * P / (1 - A)": "a, b = 1 - nu * P / A, nu * P / A"},
        SHAPES + "test_the_minimisers_of_the_course",
    ),
    Mutant(
        "the cells of the circle's segment are counted whole",
        "energies/shapes.py",
        {"+ self._segment(torch.maximum(x, c)) - self._segment(c)": ""},
        SHAPES + "test_the_means_over_cells_by_counting_points",
    ),
    Mutant(
        "the certificate is not bent to the normal",
        "energies/shapes.py",
        {"((1 - chi) * rest.conj() + potential.imag * slope * 1j * unit)": "rest.conj()"},
        SHAPES + "test_the_certificate_is_admissible_and_meets_the_edge_at_right_angles",
    ),
    Mutant(
        "the bend of the certificate is a source",
        "energies/shapes.py",
        {" + potential.imag * slope * 1j * unit)": ")"},
        SHAPES + "test_the_certificate_has_the_divergence_asked_for",
    ),
    Mutant(
        "the square's field leaves no flux beside it",
        "energies/shapes.py",
        {"q = 2 * self.a / (1 + 2 * self.a)": "q = 0.0"},
        SHAPES + "test_the_certificate_has_the_divergence_asked_for",
    ),
    Mutant(
        "the distance forgets the cells on the edge",
        "energies/shapes.py",
        {"a = shape.averages(u.shape[-1]).to(u)": "a = shape.averages(u.shape[-1]).to(u).round()"},
        SHAPES + "test_the_distance_of_a_picture_by_counting",
    ),
    Mutant(
        "the gaps of an edge are one step late",
        "energies/edge_cost.py",
        {"weights[:, order].cumsum(-1)[..., :-1]": "weights[:, order].cumsum(-1)[..., 1:]"},
        EDGE_COST + "test_the_table",
    ),
    Mutant(
        "one of the differences looks back",
        "energies/edge_cost.py",
        {"(i, 1 - i): 1 / D.h} for i in (1, 0)": "(i, i - 1): 1 / D.h} for i in (1, 0)"},
        EDGE_COST + "test_the_table",
    ),
    Mutant(
        "the cost of an edge is entrywise",
        "energies/edge_cost.py",
        {"torch.linalg.vector_norm(steps, dim=0) if J.isotropic else ": ""},
        EDGE_COST + "test_two_haar_bands_are_a_regular_octagon",
    ),
    Mutant(
        "the window of an infimum opens to one side",
        "energies/gamma.py",
        {"lo, hi = x - radius, x + radius": "lo, hi = x, x + radius"},
        GAMMA + "test_an_infimum_by_hand",
    ),
    Mutant(
        "an infimum is not refined",
        "energies/gamma.py",
        {"for _ in range(3):": "for _ in range(1):"},
        GAMMA + "test_an_infimum_is_refined_between_the_points_of_its_grid",
    ),
    Mutant(
        "every radius is that of the first n",
        "energies/gamma.py",
        {"return float(radius(n)) if callable": "return float(radius(1)) if callable"},
        GAMMA + "test_a_growing_parabola_tends_to_an_obstacle",
    ),
    Mutant(
        "the field is handed on in units of the other grid",
        "flows/refinement.py",
        {"s.x / _radius(problem)))": "s.x))"},
        REFINEMENT + "test_every_level_is_certified",
    ),
    Mutant(
        "each grid starts from nothing",
        "flows/refinement.py",
        {"            if levels:\n": "            if not levels and problem is None:\n"},
        REFINEMENT + "test_the_start_from_a_coarser_grid_saves_steps",
    ),
    Mutant(
        "a coarse value is laid over its neighbours",
        "flows/refinement.py",
        {"v.repeat_interleave(fine // coarse, axis)": "torch.cat([v] * (fine // coarse), axis)"},
        REFINEMENT + "test_the_prolongation_repeats_each_value",
    ),
    # residual networks
    Mutant(
        "batch norm is held with the variance of a sample",
        "nets/blocks.py",
        {"correction=0, keepdim=True": "correction=1, keepdim=True"},
        BLOCKS + "test_held_the_statistics_are_those_of_the_first_evaluation",
    ),
    Mutant(
        "batch norm is never let go",
        "nets/blocks.py",
        {"            norm.held = None\n": "            pass\n"},
        BLOCKS + "test_held_lets_go_after_an_error",
    ),
    Mutant(
        "the past of the next stage is its present",
        "nets/blocks.py",
        {"type(x)(new, past)": "type(x)(new, new)"},
        BLOCKS + "test_the_stage_change_is_its_formula",
    ),
    Mutant(
        "the projection forgets its relu",
        "nets/blocks.py",
        {"past = self.C(torch.relu(self.N(u)))": "past = self.C(self.N(u))"},
        BLOCKS + "test_the_stage_change_is_its_formula",
    ),
    Mutant(
        "the variance of the weights counts what comes in",
        "nets/blocks.py",
        {'mode="fan_out"': 'mode="fan_in"'},
        BLOCKS + "test_weights_have_the_variance_of_he",
    ),
    Mutant(
        "one point has a deviation",
        "nets/blocks.py",
        {"if self.training and u.numel() == u.shape[1]:": "if self.training and len(u) == 1:"},
        BLOCKS + "test_one_picture_may_train_but_one_point_may_not",
    ),
    Mutant(
        "the first step of LM-ResNet has an alpha that never acts",
        "nets/odenet.py",
        {"LMStep(F, 0.0 if F is first else alpha)": "LMStep(F, alpha)"},
        ODENETS + "test_how_many_alphas_there_are",
    ),
    Mutant(
        "alpha starts on both sides of 0",
        "nets/odenet.py",
        {"uniform_(-0.1, 0.0)": "uniform_(-0.1, 0.1)"},
        ODENETS + "test_alphas_are_drawn_from_their_interval",
    ),
    Mutant(
        "alpha is drawn before the weights of the next block",
        "nets/odenet.py",
        {
            "    parts = layers(depth, channels, classes, width, dim)\n    first = parts[1]\n": (
                "    parts = layers(depth, channels, classes, width, dim, lambda c: (torch.rand(()), "
                "Residual(c, dim=dim))[1])\n    first = parts[1]\n"
            )
        },
        ODENETS + "test_equal_seeds_give_equal_fields_and_other_maps",
    ),
    Mutant(
        "a stage has a block too many",
        "nets/odenet.py",
        {"*(field(2 * c) for _ in range(n - 1))": "*(field(2 * c) for _ in range(n))"},
        ODENETS + "test_depth_counts_layers",
    ),
    Mutant(
        "a learned number without its bound",
        "nets/learned.py",
        {"part = self.first / self.bound\n": "part = 0 * self.first\n"},
        UNROLLED + "test_between_is_the_logistic_curve_through_its_start",
    ),
    Mutant(
        "every layer copies the measurement",
        "nets/learned.py",
        {"{id(m): m for m in parts.values() if id(m) not in fresh}": "{}"},
        UNROLLED + "test_layers_share_all_but_their_numbers",
    ),
    Mutant(
        "all layers are one",
        "nets/unrolled.py",
        {
            'return Unrolled([learned(base, *names, bounds={"step": bound}) for _ in range(k)])': (
                'return Unrolled([learned(base, *names, bounds={"step": bound})] * k)'
            )
        },
        UNROLLED + "test_layers_share_all_but_their_numbers",
    ),
    Mutant(
        "the net sees its example, whatever it is given",
        "nets/unrolled.py",
        {"                E.f = f\n": "                E.f = E.f\n"},
        UNROLLED + "test_before_training_the_net_is_the_solver_after_k_steps[denoising-ADMM, analysis]",
    ),
    Mutant(
        "the example is lost after a call",
        "nets/unrolled.py",
        {"E.f = example": "E.f = E.f"},
        UNROLLED + "test_the_example_comes_back_after_every_call",
    ),
    Mutant(
        "the dualised data term keeps the example",
        "nets/unrolled.py",
        {'(step.problem.E, getattr(step, "E", None))': "(step.problem.E, None)"},
        UNROLLED + "test_before_training_the_net_is_the_solver_after_k_steps[Radon-PDHG, analysis]",
    ),
    Mutant(
        "tau is learned, and sigma stays",
        "flows/splitting.py",
        {"return 1 / (self.tau * self.square)": "return 1 / (self.tau * self.square).detach()"},
        UNROLLED + "test_gradients_with_respect_to_parameters_and_data[PDHG]",
    ),
    Mutant(
        "split Bregman solves with the rho it began with",
        "flows/bregman.py",
        {"x = self.solve(v, s.x, self.rho)": "x = self.solve(v, s.x)"},
        UNROLLED + "test_with_other_numbers_it_is_the_solver_that_is_made_with_them[denoising]",
    ),
    Mutant(
        "exp(S) of an S that is not skew",
        "nets/learned_frame.py",
        {"torch.linalg.matrix_exp(A - A.T)": "torch.linalg.matrix_exp(A)"},
        LEARNED_FRAME + "test_it_is_tight_after_random_steps[False-linear, two levels]",
    ),
    Mutant(
        "the adjoint mixes forwards",
        "nets/learned_frame.py",
        {"(C.T if transposed else C) @ flat": "C @ flat"},
        LEARNED_FRAME + "test_it_is_tight_after_random_steps[False-linear, two levels]",
    ),
    Mutant(
        "the filters by the transposed C",
        "nets/learned_frame.py",
        {"np.tensordot(C, Q[-len(C) :], 1)": "np.tensordot(C.T, Q[-len(C) :], 1)"},
        LEARNED_FRAME + "test_the_bands_are_correlations_with_the_filters[False-cosines of 5]",
    ),
    Mutant(
        "cosines that start at the first tap",
        "operators/banks.py",
        {"ell * (2 * k + 1) % (4 * size)": "ell * (2 * k) % (4 * size)"},
        LEARNED_FRAME + "test_the_cosine_bank_is_the_orthonormal_cosine_transform_over_the_root_of_p[3]",
    ),
    Mutant(
        "Ctrl-C gives half a network's answer",
        "nets/odenet.py",
        {'if end.stopped == "interrupt":': 'if end.stopped == "diverged":'},
        ODENETS + "test_an_interrupt_is_not_an_answer",
    ),
    Mutant(
        "a PolyNet without held statistics",
        "nets/variants.py",
        {"Held(Neumann(F, 1.0, n=n, printed=printed))": "Neumann(F, 1.0, n=n, printed=printed)"},
        ODENETS + "test_a_pass_counts_once_for_the_running_statistics",
    ),
    Mutant(
        "deepen shortens the steps of the network it was given",
        "nets/variants.py",
        {"short = copy.copy(step)": "short = step"},
        ODENETS + "test_a_deeper_resnet_shares_its_parameters",
    ),
    Mutant(
        "the way back counts for the running statistics",
        "nets/revnet.py",
        {"with quiet(step), ctx.precision:": "with ctx.precision:"},
        "tests/test_revnet.py::test_running_statistics_count_the_way_forwards_once",
    ),
    Mutant(
        "the way back steps forwards",
        "nets/revnet.py",
        {"u = step.inverse(u).detach()": "u = step(u).detach()"},
        "tests/test_revnet.py::test_gradients_are_those_of_the_plain_list",
    ),
    Mutant(
        "the reversible network stores its steps",
        "nets/revnet.py",
        {"ReversibleStage(steps)] if reversible": "nn.Sequential(*steps)] if reversible"},
        "tests/test_revnet.py::test_what_is_stored_does_not_depend_on_depth",
    ),
    Mutant(
        "survival falls one step late",
        "nets/noisy.py",
        {"[1 - k / n * (1 - last) for": "[1 - (k - 1) / n * (1 - last) for"},
        "tests/test_noisy.py::test_survival_falls_linearly",
    ),
    Mutant(
        "shake-shake's gradient has the gate of its value",
        "nets/noisy.py",
        {"return back + (there - back).detach()": "return there"},
        "tests/test_noisy.py::test_shake_shake_has_one_gate_or_two",
    ),
    Mutant(
        "the gradient of the implicit skip forgets the Jacobian",
        "nets/skips.py",
        {"g = r - Jr\n": "g = r + 0 * Jr\n"},
        "tests/test_skips.py::test_the_best_rate_is_the_best_rate",
    ),
    Mutant(
        "one rate for the whole batch",
        "nets/skips.py",
        {"size / torch.where(image > 0, image, 1)": "size.sum() / image.sum()"},
        "tests/test_skips.py::test_elements_of_a_batch_have_rates_of_their_own",
    ),
    Mutant(
        "the rate of the implicit skip is taken for a constant",
        "nets/skips.py",
        {"create_graph=learning, retain_graph=True": "create_graph=False, retain_graph=True"},
        "tests/test_skips.py::test_gradients_go_through_the_steps",
    ),
    # training
    Mutant(
        "the weights of batch norm and alpha decay, too",
        "lab/train.py",
        {'if p.ndim < 2], "weight_decay": 0.0}': 'if p.ndim < 2], "weight_decay": weight_decay}'},
        TRAINING + "test_the_decay_spares_alpha_and_batch_norm",
    ),
    Mutant(
        "gradients of the batches add up",
        "lab/train.py",
        {"                opt.zero_grad()\n": ""},
        TRAINING + "test_the_loop_is_heavy_ball_written_by_hand",
    ),
    Mutant(
        "a resumed training draws the first epoch's random numbers again",
        "lab/train.py",
        {
            "with seeded(seed, epoch, team.rank, place)": "with seeded(seed, epoch - first, team.rank, place)",
            "    team.agree(net)\n": "    team.agree(net)\n    first = len(history.loss)\n",
        },
        TRAINING + "test_cut_inside_a_batch_and_resumed_it_ends_at_the_same_bits",
    ),
    Mutant(
        "a net with NaN is stored",
        "lab/train.py",
        {"if not all(bool(torch.isfinite(p).all())": "if False and not all(bool(torch.isfinite(p).all())"},
        TRAINING + "test_the_last_step_of_an_epoch_is_looked_at_before_it_is_kept",
    ),
    Mutant(
        "the momentum is not stored",
        "lab/train.py",
        {
            "asdict(history), net, optimiser=opt, schedule=schedule)": "asdict(history), net, schedule=schedule)",
            "net, optimiser=opt, schedule=schedule))": "net, schedule=schedule))",
        },
        TRAINING + "test_cut_inside_a_batch_and_resumed_it_ends_at_the_same_bits",
    ),
    Mutant(
        "the processes' gradients are summed without their shares",
        "lab/train.py",
        {"loss(out, target) * len(u) / len(rows)": "loss(out, target) / team.size"},
        TRAINING + "test_two_processes_take_the_steps_of_one",
    ),
    Mutant(
        "the error is measured with batch norm and dropout in training",
        "lab/score.py",
        {"    net.eval()\n    try": "    net.train()\n    try"},
        TRAINING + "test_evaluate_keeps_the_mode_and_knows_regression",
    ),
    Mutant(
        "the test set moves with the size of the training set",
        "lab/textures.py",
        {"noise, clutter, 2 * seed + 1)": "noise, clutter, 2 * seed + n)"},
        DATASETS + "test_the_pictures_keep_their_contract",
    ),
    Mutant(
        "the pendulum falls upwards",
        "lab/datasets.py",
        {"torch.stack([p, -q.sin()], -1)": "torch.stack([p, q.sin()], -1)"},
        DATASETS + "test_the_pendulum_swings_as_scipy_says",
    ),
    # equations, data, and what is kept of them
    Mutant(
        "the wind comes from the other side",
        "lab/pde_solvers.py",
        {"c[i].clamp(min=0), left": "c[i].clamp(max=0), left", "c[i].clamp(max=0), right": "c[i].clamp(min=0), right"},
        PDES + "test_upwind_by_rolls[Burgers]",
    ),
    Mutant(
        "the upwind differences are of first order",
        "lab/pde_solvers.py",
        {"e.narrow(axis, 0, n), alpha=0.5)": "e.narrow(axis, 0, n), alpha=0.0)"},
        PDES + "test_upwind_has_order_2_on_burgers",
    ),
    Mutant(
        "the velocity of the other axis",
        "lab/pdes.py",
        {"return u[..., :1, :, :], u[..., 1:, :, :]": "return u[..., 1:, :, :], u[..., :1, :, :]"},
        PDES + "test_the_series_is_the_polynomial_of_the_true_terms[Burgers]",
    ),
    Mutant(
        "products are formed on the grid itself",
        "lab/pde_solvers.py",
        {"2 * math.ceil((equation.degree + 1) * self.n / 4)": "self.n"},
        PDES + "test_products_are_not_aliased",
    ),
    Mutant(
        "cubes are formed as if they were squares",
        "lab/pdes.py",
        {"    degree = 3\n": "    degree = 2\n"},
        PDES + "test_products_are_not_aliased",
    ),
    Mutant(
        "nu_1 damps along y",
        "lab/pde_solvers.py",
        {"nu[0] * k[0] ** 2 + nu[1] * k[1] ** 2": "nu[1] * k[0] ** 2 + nu[0] * k[1] ** 2"},
        PDES + "test_the_series_with_variable_coefficients",
    ),
    Mutant(
        "1/h for 1/h^2",
        "lab/pde_solvers.py",
        {"alpha=nu / h**2": "alpha=nu / h"},
        PDES + "test_heat_is_solved_exactly",
    ),
    Mutant(
        "the border has the value beside it, not 0",
        "lab/pde_solvers.py",
        {"zero = torch.zeros_like(first)\n        return": "zero = first\n        return"},
        PDES + "test_five_points_keep_a_sine_and_damp_it_as_they_should",
    ),
    Mutant(
        "beta turns the wrong way",
        "lab/pdes.py",
        {"u[..., 1:, :, :], -u[..., :1, :, :]), -3)": "-u[..., 1:, :, :], u[..., :1, :, :]), -3)"},
        PDES + "test_the_sources_number_by_number",
    ),
    Mutant(
        "a is a function of y for x",
        "lab/pdes.py",
        {"a = (x[0].cos() + y * (2 * math.pi - y)": "a = (y.cos() + y * (2 * math.pi - y)"},
        PDES + "test_the_sources_number_by_number",
    ),
    Mutant(
        "the longest step forgets the convection",
        "lab/pde_solvers.py",
        {"return 1 / (1 / self.max_dt + 2 *": "return 1 / (1 / self.max_dt + 0 *"},
        PDES + "test_the_longest_step_is_stable_and_not_far_from_the_longest_that_is[Upwind-Burgers]",
    ),
    Mutant(
        "an interrupt leaves a shorter film",
        "lab/pde_solvers.py",
        {'if orbit.stopped == "interrupt":': "if False:"},
        PDES + "test_an_interrupt_leaves_no_shorter_film",
    ),
    Mutant(
        "the points inside are read one too early",
        "lab/pde_data.py",
        {"first = 0 if periodic else factor - 1": "first = 0"},
        PDES + "test_the_border_is_left_out_of_the_data",
    ),
    Mutant(
        "all trajectories begin late",
        "lab/pde_data.py",
        {"early = u[: n // 2]\n": "early = u[:n]\n", "torch.cat((early, u[n // 2 :]))": "early"},
        PDES + "test_frames_are_the_solution_at_some_points",
    ),
    Mutant(
        "the noise is relative to each frame",
        "lab/pde_data.py",
        {"u[:, :1].std(": "u.std("},
        PDES + "test_the_noise_is_relative_to_the_first_frame",
    ),
    Mutant(
        "the noise moves with the caller's random numbers",
        "lab/pde_data.py",
        {", generator=torch.Generator().manual_seed(2 * seed + 1)": ""},
        PDES + "test_a_seed_is_a_film_to_the_last_bit",
    ),
    Mutant(
        "a half-written file is believed",
        "lab/cache.py",
        {"if content[:32] != hashlib.sha256(content[32:]).digest():": "if False:"},
        CACHE + "test_a_damaged_file_is_computed_again",
    ),
    Mutant(
        "a file grows under its own name",
        "lab/cache.py",
        {
            'with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:': (
                'with open(path, "wb") as file:'
            ),
            "            part = file.name\n": "",
            "        os.replace(part, path)\n": "",
        },
        CACHE + "test_a_file_appears_whole",
    ),
    Mutant(
        "the hash leaves the sources out",
        "lab/cache.py",
        {"*(_text(path) for path in sorted(_closure(frozenset(modules))))": ""},
        CACHE + "test_the_key_changes_with_the_sources_and_the_versions",
    ),
    Mutant(
        "modules are told by their parameters alone",
        "lab/cache.py",
        {"yield from _told(type(x), code)": "pass"},
        CACHE + "test_different_values_have_different_keys",
    ),
    Mutant(
        "an error of the disk ends the lesson",
        "lab/cache.py",
        {"    except OSError as error:\n        _say": "    except ZeroDivisionError as error:\n        _say"},
        CACHE + "test_a_full_disk",
    ),
    # equations found in films
    Mutant(
        "Euler's pair for the middle of two frames",
        "lab/identify.py",
        {"return windows @ fit[0], ": "return windows[..., 0], "},
        IDENTIFY + "test_the_fit_in_time_is_that_of_numpy",
    ),
    Mutant(
        "the values around a point are looked up backwards",
        "lab/identify.py",
        {"(i[:, None, None] + k[:, None]) % N1": "(i[:, None, None] - k[:, None]) % N1"},
        IDENTIFY + "test_the_points_are_those_of_plain_shifts",
    ),
    Mutant(
        "the coefficients stay those of features of unit size",
        "lab/identify.py",
        {"q = p.rescaled(scale)": "q = p"},
        IDENTIFY + "test_heat_is_found_and_the_net_steps_as_the_equation",
    ),
    Mutant(
        "filters are free where the films say nothing",
        "lab/identify.py",
        {" + (weight * away).sum()": ""},
        IDENTIFY + "test_no_wave_grows_in_the_net_found_for_heat",
    ),
    Mutant(
        "the warm-up trains the filters, too",
        "lab/blockwise.py",
        {'if n or not name.endswith("bank.free")': "if True"},
        BLOCKWISE + "test_the_warm_up_leaves_the_filters_and_the_blocks_train_them",
    ),
    Mutant(
        "a resumed training begins anew",
        "lab/blockwise.py",
        {"list(enumerate(blocks))[len(history) :]": "list(enumerate(blocks))"},
        BLOCKWISE + "test_a_cut_training_ends_where_it_would_have_ended",
    ),
    Mutant(
        "L-BFGS ends where its last line search was",
        "lab/minimise.py",
        {"_write(kept, parameters)": "_write(z, parameters)"},
        MINIMISE + "test_what_is_kept_is_the_least_that_was_seen",
    ),
    Mutant(
        "all problems begin their next search when the first does",
        "lab/minimise.py",
        {"ended = ~(long | short) | (trials == TRIALS)": "ended = (~(long | short)).any() | (trials == TRIALS)"},
        MINIMISE + "test_together_each_takes_the_path_that_it_takes_alone",
    ),
    Mutant(
        "the pairs of the first problem serve all",
        "lab/minimise.py",
        {"-_two_loops(g, *pairs)": "-_two_loops(g, *pairs[:, :1])"},
        MINIMISE + "test_together_each_takes_the_path_that_it_takes_alone",
    ),
    Mutant(
        "a net that has blown up is trained on",
        "lab/blockwise.py",
        {"torch.where(alive.to(": "torch.where(torch.ones_like(alive).to("},
        BLOCKWISE + "test_of_several_nets_those_that_blow_up_are_named_and_the_others_go_on",
    ),
    # the schemes of Section 5.1
    Mutant(
        "the middle of RK4 at the time t",
        "flows/schemes.py",
        {"k3 = F(u + dt / 2 * k2, 0.5)": "k3 = F(u + dt / 2 * k2, 0.0)"},
        SCHEMES + "test_the_order_is_that_of_a_field_with_time_too[rk4]",
    ),
    Mutant(
        "implicit Euler takes F at the start of the step",
        "flows/implicit.py",
        {"r_new = u + self.dt * self.slope(new, 1.0) - new": "r_new = u + self.dt * self.slope(new, 0.0) - new"},
        "tests/test_neumann.py::test_a_field_with_time_is_taken_at_the_end_of_the_step",
    ),
    Mutant(
        "alpha for 1 - alpha in (5.2)",
        "flows/multistep.py",
        {"(1 - alpha) * s.u + alpha * s.old": "alpha * s.u + (1 - alpha) * s.old"},
        BRIDGE + "test_52_is_the_heavy_ball",
    ),
    Mutant(
        "(5.2) as printed, without dt",
        "flows/multistep.py",
        {"alpha * s.old + self.dt * self.slope(s.u)": "alpha * s.old + self.slope(s.u)"},
        BRIDGE + "test_53_the_limit_and_the_modified_equation_of_52[0.0]",
    ),
    Mutant(
        "the momentum is alpha",
        "flows/multistep.py",
        {
            "(1 - alpha) * s.u + alpha * s.old": "(1 + alpha) * s.u - alpha * s.old",
        },
        BRIDGE + "test_52_is_the_heavy_ball",
    ),
    Mutant(
        "the memory is shifted the wrong way",
        "flows/multistep.py",
        {"return History(u, us[:-1], slopes[:-1], s.k + 1)": "return History(u, us[1:], slopes[1:], s.k + 1)"},
        "tests/test_multistep.py::test_adams_bashforth_by_a_loop",
    ),
    Mutant(
        "one step too few by the starter",
        "flows/multistep.py",
        {"if int(s.k) < len(self.a) - 1:": "if int(s.k) < len(self.a) - 2:"},
        "tests/test_multistep.py::test_adams_bashforth_by_a_loop",
    ),
    Mutant(
        "alpha = -1 is let through",
        "flows/roots.py",
        {"if not -1 < value <= 1:": "if not -1 <= value <= 1:"},
        BRIDGE + "test_52_zero_stability_is_minus_1_less_alpha_at_most_1",
    ),
    Mutant(
        "a double root on the circle is taken for stable",
        "flows/roots.py",
        {"multiple = (near.sum(-1) > 1)": "multiple = (near.sum(-1) > len(a))"},
        "tests/test_multistep.py::test_the_root_condition_is_boundedness",
    ),
    Mutant(
        "a complex number z in single precision",
        "flows/roots.py",
        {"z = torch.as_tensor(z, dtype=torch.complex128)": "z = torch.as_tensor(z).to(torch.complex128)"},
        "tests/test_multistep.py::test_the_roots_are_those_of_the_polynomial",
    ),
    Mutant(
        "the nested form starts from its last value",
        "flows/neumann.py",
        {"            z = u + self.dt * self.slope(z, 1.0)": "            z = z + self.dt * self.slope(z, 1.0)"},
        BRIDGE + "test_51_polynet_is_implicit_euler_for_a_linear_field_only",
    ),
    Mutant(
        "infinity is a fixed point",
        "flows/neumann.py",
        {"torch.linalg.vector_norm(z.detach()) < torch.inf:": "torch.linalg.vector_norm(z.detach()):"},
        "tests/test_neumann.py::test_an_infinite_iterate_of_picard_stops",
    ),
    Mutant(
        "the long path of a fractal with whole steps",
        "flows/neumann.py",
        {"middle = self._columns(u, columns - 1, c, h / 2)": "middle = self._columns(u, columns - 1, c, h)"},
        BRIDGE + "test_51_a_fractal_block_is_a_chebyshev_method",
    ),
    Mutant(
        "gamma of a tree without its number of nodes",
        "flows/runge_kutta.py",
        {"return nodes(tree) * prod(map(gamma, tree))": "return max(1, nodes(tree) - 1) * prod(map(gamma, tree))"},
        "tests/test_runge_kutta.py::test_the_order_by_the_trees_is_that_of_the_eight_conditions",
    ),
    Mutant(
        "a stage at the time of its number",
        "flows/runge_kutta.py",
        {"_plus(u, self.dt, row, k), c))": "_plus(u, self.dt, row, k), len(k) / 6))"},
        "tests/test_runge_kutta.py::test_one_step_is_that_of_scipy",
    ),
    Mutant(
        "both halves from the old ones",
        "flows/symplectic.py",
        {
            "        a = a + self.dt * self.F(b)\n        b = b + self.dt * self.G(a)\n": (
                "        a, b = a + self.dt * self.F(b), b + self.dt * self.G(a)\n"
            )
        },
        BRIDGE + "test_51_revnet_is_symplectic_euler",
    ),
    Mutant(
        "Verlet's second kick at the old position",
        "flows/symplectic.py",
        {
            "        q = q + dt * self.dT(p)\n        p = p - dt / 2 * self.dV(q)\n": (
                "        q, p = q + dt * self.dT(p), p - dt / 2 * self.dV(q)\n"
            )
        },
        "tests/test_symplectic.py::test_the_order",
    ),
    Mutant(
        "J with the wrong sign",
        "flows/symplectic.py",
        {"return torch.cat([dp, -dq], self.axis)": "return torch.cat([-dp, dq], self.axis)"},
        "tests/test_symplectic.py::test_the_field_of_an_energy_is_hamiltons_equations",
    ),
    Mutant(
        "the noise with dt for its root",
        "flows/stochastic.py",
        {"self.F(u, *time) + math.sqrt(self.dt) * noise": "self.F(u, *time) + self.dt * noise"},
        "tests/test_stochastic.py::test_the_weak_order_is_1",
    ),
    Mutant(
        "a scaled gate whose mean is scaled, too",
        "flows/stochastic.py",
        {"(self.dt * self.mean + self.fluctuation(eta))": "(math.sqrt(self.dt) * self.mean + self.fluctuation(eta))"},
        BRIDGE + "test_51_random_depth_is_an_sde_only_if_the_noise_is_scaled",
    ),
    Mutant(
        "one gate for the whole batch",
        "flows/stochastic.py",
        {"shape = (len(u), *[1] * (u.ndim - 1)) if u.ndim else ()": "shape = [1] * u.ndim"},
        "tests/test_stochastic.py::test_a_gate_is_there_or_not",
    ),
    Mutant(
        "dropout with one gate for the whole sample",
        "flows/stochastic.py",
        {"torch.rand(u.shape, generator": "torch.rand((len(u), *[1] * (u.ndim - 1)), generator"},
        "tests/test_stochastic.py::test_dropout_has_a_gate_for_each_entry",
    ),
    Mutant(
        "the new features before the old ones",
        "nets/dense_connections.py",
        {"torch.cat([x, self.H(x)]": "torch.cat([self.H(x), x]"},
        "tests/test_dense_connections.py::test_the_features_are_kept_and_the_new_ones_follow",
    ),
    Mutant(
        "DenseNet without the mean over its cells",
        "nets/dense_connections.py",
        {"(nn.AvgPool1d, nn.AvgPool2d)": "(nn.MaxPool1d, nn.MaxPool2d)"},
        "tests/test_dense_connections.py::test_densenet_is_the_network_written_out",
    ),
    Mutant(
        "the variance of a uniform gate is 1/3",
        "flows/stochastic.py",
        {"math.sqrt(1 / 12) if": "math.sqrt(1 / 3) if"},
        "tests/test_stochastic.py::test_shake_shake_tends_to_its_limit_at_the_rate_1",
    ),
    Mutant(
        "the stability of a memory by its smallest root",
        "flows/stability.py",
        {"eigenvalues.abs().argmax(-1, keepdim=True)": "eigenvalues.abs().argmin(-1, keepdim=True)"},
        "tests/test_stability.py::test_the_root_of_a_two_step_scheme_by_numpy",
    ),
    # what is asked of an input, and the arrows
    Mutant(
        "NaN is let through",
        "operators/checks.py",
        {"        if bad:\n": "        if not bad:\n"},
        MESSAGES + "[W: NaN]",
    ),
    Mutant(
        "level 0 is let through",
        "operators/banks.py",
        {"not isinstance(levels, int) or levels < 1": "not isinstance(levels, int) or levels < 0"},
        MESSAGES + "[level 0]",
    ),
    Mutant(
        "the grid asks a flow for help",
        "operators/grid.py",
        {"from torch import Tensor\n": "from torch import Tensor\n\nimport companion.flows\n"},
        "tests/test_architecture.py::test_arrows_point_downwards",
    ),
    # neural ODEs and SDEs, densities, symplectic nets
    Mutant(
        "the layers of a neural ODE all act at t = 0",
        "nets/neural_ode.py",
        {"scheme(F, T / n, t=k * T / n)": "scheme(F, T / n, t=0.0)"},
        NEURAL_ODE + "test_the_clock_of_the_layers",
    ),
    Mutant(
        "the adjoint goes back with the times of the way there",
        "nets/neural_ode.py",
        {"F = net.F(u, net.T - s)": "F = net.F(u, s)"},
        NEURAL_ODE + "test_the_adjoint_equations_gradient_tends_to_that_of_the_ode",
    ),
    Mutant(
        "the adjoint keeps u(0) where it should go back to it",
        "nets/neural_ode.py",
        {"torch.cat([-F.detach().flatten(), *": "torch.cat([F.detach().flatten() * 0, *"},
        NEURAL_ODE + "test_the_adjoint_equations_gradient_tends_to_that_of_the_ode",
    ),
    Mutant(
        "the adjoint's costate has the wrong sign",
        "nets/neural_ode.py",
        {"y[m : 2 * m].view_as(uT), materialize_grads=True)": "-y[m : 2 * m].view_as(uT), materialize_grads=True)"},
        NEURAL_ODE + "test_both_gradients_of_a_linear_ode_in_its_start",
    ),
    Mutant(
        "the adjoint keeps the layers after all",
        "nets/neural_ode.py",
        {"return _Adjoint.apply(self, u0, *theta)": "return self(u0)"},
        NEURAL_ODE + "test_the_adjoints_memory_does_not_grow_with_the_depth",
    ),
    Mutant(
        "the field forgets its time",
        "nets/dense_field.py",
        {"shift = b + t * A[:, self.dim] if self.time else b": "shift = b"},
        NEURAL_ODE + "test_the_dense_field_is_its_formula",
    ),
    Mutant(
        "tanh' = 1 - tanh",
        "nets/dense_field.py",
        {"return self.last(v), (1 - v.square()) @ AB.diagonal()": "return self.last(v), (1 - v) @ AB.diagonal()"},
        DENSITY + "test_the_divergence_in_closed_form",
    ),
    Mutant(
        "the middle matrix of the divergence is not transposed",
        "nets/dense_field.py",
        {"(self.middle.weight.T * AB)": "(self.middle.weight * AB)"},
        DENSITY + "test_the_divergence_in_closed_form",
    ),
    Mutant(
        "the trace sums a row",
        "nets/dense_field.py",
        {"torch.stack([column[..., i] for i, column": "torch.stack([column[..., 0] for i, column"},
        DENSITY + "test_the_exact_trace_of_any_field",
    ),
    Mutant(
        "the density shrinks where the flow contracts",
        "nets/density.py",
        {"normal_log_prob(y[..., :-1]) - y[..., -1]": "normal_log_prob(y[..., :-1]) + y[..., -1]"},
        DENSITY + "test_a_linear_flow_carries_a_normal_law",
    ),
    Mutant(
        "the density goes back with the times of the way there",
        "nets/density.py",
        {"exact_trace(self.F, u, T - s)": "exact_trace(self.F, u, s)"},
        DENSITY + "test_a_field_that_depends_on_time_is_asked_at_the_right_times",
    ),
    Mutant(
        "the normal law without its constant",
        "nets/density.py",
        {" - z.shape[-1] / 2 * math.log(2 * math.pi)": ""},
        DENSITY + "test_the_density_integrates_to_one",
    ),
    Mutant(
        "random signs in {0, 1}",
        "nets/density.py",
        {".to(x) * 2 - 1 if": ".to(x) if"},
        DENSITY + "test_random_signs_give_the_log_density_in_the_mean",
    ),
    Mutant(
        "sines for cosines in Weierstrass' function",
        "nets/depth.py",
        {"torch.cos(2 * torch.pi * ((2.0**m * t) % 1))": "torch.sin(2 * torch.pi * ((2.0**m * t) % 1))"},
        NEURAL_ODE + "test_the_rectangle_rule_on_weierstrass_function",
    ),
    Mutant(
        "Brownian increments of the size of their time",
        "nets/depth.py",
        {"2 ** (-levels / 2)": "2**-levels"},
        NEURAL_ODE + "test_the_brownian_path_has_independent_increments_of_variance_t",
    ),
    Mutant(
        "rounding gives two layers the same weights",
        "nets/depth.py",
        {"math.floor(t * n * (1 + 1e-12))": "math.floor(t * n)"},
        NEURAL_ODE + "test_each_layer_has_its_own_independent_weights",
    ),
    Mutant(
        "the noise of a neural SDE at the times of another",
        "nets/neural_sde.py",
        {"generator, t=k * self.T / n)": "generator, t=(k + 1) * self.T / n)"},
        NEURAL_SDE + "test_the_network_is_a_list_of_noisy_residual_layers",
    ),
    Mutant(
        "the scheme's variance with q for q^2",
        "nets/neural_sde.py",
        {"q ** (2 * k) for k": "q**k for k"},
        NEURAL_SDE + "test_the_moments_of_the_scheme_by_its_recursion",
    ),
    Mutant(
        "a sample is compared with itself",
        "nets/neural_sde.py",
        {"(len(a) * (len(a) - 1))": "len(a) ** 2"},
        NEURAL_SDE + "test_the_energy_distance_is_unbiased_and_tells_laws_apart",
    ),
    Mutant(
        "the gradient of the potential without its outer weight",
        "nets/hamiltonian.py",
        {"@ self.inner.weight\n": "@ self.inner.weight.abs()\n"},
        HAMILTONIAN + "test_the_potential_is_its_formula_and_its_gradient_is_its_gradient",
    ),
    Mutant(
        "Verlet's net with T and V exchanged",
        "nets/hamiltonian.py",
        {"Verlet(self.T.gradient, self.V.gradient, dt)": "Verlet(self.V.gradient, self.T.gradient, dt)"},
        HAMILTONIAN + "test_the_symplectic_net_follows_its_own_energy",
    ),
    Mutant(
        "the modified energy of the other splitting",
        "nets/hamiltonian.py",
        {"dt**2 * (aVa / 12 - bTb / 24)": "dt**2 * (bTb / 12 - aVa / 24)"},
        HAMILTONIAN + "test_ten_thousand_steps_keep_the_modified_energy_to_dt_to_the_fourth",
    ),
    Mutant(
        "pieces that do not overlap",
        "nets/hamiltonian.py",
        {"path.unfold(-2, k + 1, 1)": "path.unfold(-2, k + 1, k + 1)"},
        HAMILTONIAN + "test_pieces_and_the_loss_by_loops",
    ),
    # control and attacks
    Mutant(
        "the costate starts with the sign of back-propagation",
        "nets/control.py",
        {"ps = [gradient_of(lambda z: -per_sample(": "ps = [gradient_of(lambda z: per_sample("},
        CONTROL + "test_the_state_and_costate_equations",
    ),
    Mutant(
        "the costate before the layer in place of the one after it",
        "nets/control.py",
        {"zip(layers, paths.x[:-1], paths.p[1:], strict=True)": "zip(layers, paths.x[:-1], paths.p[:-1], strict=True)"},
        CONTROL + "test_the_gradient_of_the_hamiltonian_is_back_propagation",
    ),
    Mutant(
        "the state after the layer in place of the one before it",
        "nets/control.py",
        {"zip(layers, paths.x[:-1], paths.p[1:], strict=True)": "zip(layers, paths.x[1:], paths.p[1:], strict=True)"},
        CONTROL + "test_the_gradient_is_that_of_differences",
    ),
    Mutant(
        "the gradient is a sum over the samples, not their mean",
        "nets/control.py",
        {"J = -torch.stack(H).sum() / len(paths.x[0])": "J = -torch.stack(H).sum()"},
        CONTROL + "test_the_gradient_of_the_hamiltonian_is_back_propagation",
    ),
    Mutant(
        "the running cost raises the Hamiltonian",
        "nets/control.py",
        {"return H if cost is None else H - cost(x)": "return H if cost is None else H + cost(x)"},
        CONTROL + "test_the_hamiltonian_by_loops",
    ),
    Mutant(
        "the running cost without its dt",
        "nets/control.py",
        {"theta=a, dt=self.dt)": "theta=a)"},
        CONTROL + "test_riccati_solves_the_quadratic_problem",
    ),
    Mutant(
        "EMSA rewards weights that move the states",
        "nets/msa.py",
        {"(H - rho / 2 * gaps": "(H + rho / 2 * gaps"},
        CONTROL + "test_the_augmented_hamiltonian_by_hand",
    ),
    Mutant(
        "the second term of EMSA has the sign of q - dH/dx",
        "nets/msa.py",
        {"(q + dH).square()": "(q - dH).square()"},
        CONTROL + "test_the_augmented_hamiltonian_by_hand",
    ),
    Mutant(
        "the second term of EMSA is forgotten",
        "nets/msa.py",
        {" + (q + dH).square()": ""},
        CONTROL + "test_the_augmented_hamiltonian_by_hand",
    ),
    Mutant(
        "MSA minimises",
        "nets/msa.py",
        {"value = -self.augmented(x, p, new, rho).sum()": "value = self.augmented(x, p, new, rho).sum()"},
        CONTROL + "test_the_maxima_of_a_quadratic_hamiltonian",
    ),
    Mutant(
        "Newton's step goes downhill",
        "nets/msa.py",
        {"return theta + torch.cholesky_solve": "return theta - torch.cholesky_solve"},
        CONTROL + "test_the_maxima_of_a_quadratic_hamiltonian",
    ),
    Mutant(
        "a step that raises J is taken",
        "nets/msa.py",
        {"if self.problem(new) <= J:": "if self.problem(new) >= J:"},
        CONTROL + "test_rho_grows_until_the_value_falls",
    ),
    Mutant(
        "Riccati without the dt of its inner step",
        "nets/linear_quadratic.py",
        {"self.R + dt * after @ self.B": "self.R + after @ self.B"},
        CONTROL + "test_riccati_solves_the_quadratic_problem",
    ),
    Mutant(
        "the gains run backwards",
        "nets/linear_quadratic.py",
        {"torch.stack(K[::-1])": "torch.stack(K)"},
        CONTROL + "test_pontryagins_conditions_hold_along_riccatis_solution",
    ),
    Mutant(
        "noise of the size dt",
        "nets/mean_field.py",
        {"math.sqrt(self.dt) * self.g": "self.dt * self.g"},
        MEAN_FIELD + "test_the_layers_are_the_steps_of_euler_and_maruyama",
    ),
    Mutant(
        "one noise for all layers",
        "nets/mean_field.py",
        {"zip(theta, self.noise, strict=True)": "zip(theta, [self.noise[0]] * len(theta), strict=True)"},
        MEAN_FIELD + "test_the_expectation_of_a_linear_equation",
    ),
    Mutant(
        "the pairs of noise are equal",
        "nets/mean_field.py",
        {"torch.cat([half, -half], 1)": "torch.cat([half, half], 1)"},
        MEAN_FIELD + "test_brownian_noise_is_paired_and_of_variance_one",
    ),
    Mutant(
        "a shared control that pays for no spread",
        "nets/mean_field.py",
        {"square / (2 + 2 * T) + (second - square) / 2": "square / (2 + 2 * T) + (second - square) / (2 + 2 * T)"},
        MEAN_FIELD + "test_the_three_controls_of_the_additive_problem",
    ),
    Mutant(
        "a feedback that gains nothing from the noise",
        "nets/mean_field.py",
        {"noise * math.log1p(T)": "noise * T"},
        MEAN_FIELD + "test_bellmans_equation",
    ),
    Mutant(
        "the attack goes downhill",
        "nets/adversarial.py",
        {"clip(eta + step * ascent(": "clip(eta - step * ascent("},
        ADVERSARIAL + "test_the_attack_by_its_definition",
    ),
    Mutant(
        "the attack leaves [0, 1]",
        "nets/adversarial.py",
        {"torch.maximum(torch.minimum(eta.clamp(-eps, eps), 1 - x), -x)": "eta.clamp(-eps, eps)"},
        ADVERSARIAL + "test_the_clipped_perturbation_by_loops",
    ),
    Mutant(
        "the random start is one-sided",
        "nets/adversarial.py",
        {"eps * (2 * noise - 1)": "eps * noise"},
        ADVERSARIAL + "test_the_random_start_fills_the_box",
    ),
    Mutant(
        "YOPO climbs the Hamiltonian",
        "nets/adversarial.py",
        {"clip(eta - self.step * ascent(": "clip(eta + self.step * ascent("},
        ADVERSARIAL + "test_with_one_step_for_each_pass_it_is_the_attack",
    ),
    Mutant(
        "the first layer learns with the sign of p",
        "nets/adversarial.py",
        {"(-H).backward()": "H.backward()"},
        ADVERSARIAL + "test_the_gradients_are_added_as_in_the_paper",
    ),
    Mutant(
        "the first layer learns at the clean picture",
        "nets/adversarial.py",
        {"H = self.hamiltonian(x + eta, p)\n": "H = self.hamiltonian(x, p)\n"},
        ADVERSARIAL + "test_the_gradients_are_added_as_in_the_paper",
    ),
    Mutant(
        "YOPO takes p at the clean picture",
        "nets/adversarial.py",
        {"p = self.costate(x + eta, y)": "p = self.costate(x, y)"},
        ADVERSARIAL + "test_the_gradients_are_added_as_in_the_paper",
    ),
    Mutant(
        "p is refreshed once only",
        "nets/adversarial.py",
        {
            "for _ in range(self.m):": "for j in range(self.m):",
            "p = self.costate(x + eta, y)": "p = p if j else self.costate(x + eta, y)",
        },
        ADVERSARIAL + "test_full_passes_are_counted",
    ),
    Mutant(
        "the last attack alone is counted",
        "nets/adversarial.py",
        {"hits.all(0).sum()": "hits[-1].sum()"},
        ADVERSARIAL + "test_more_restarts_find_no_fewer_mistakes",
    ),
    Mutant(
        "the bank convolves",
        "nets/moments.py",
        {"q = q.reshape(S * F, 1,": "q = q.flip((-2, -1)).reshape(S * F, 1,"},
        MOMENTS + "test_a_bank_is_a_correlation_over_h_to_the_order",
    ),
    Mutant(
        "the table of moments indexes k_2 first",
        "operators/moments.py",
        {"else A @ q @ A.mT": "else A @ q.mT @ A.mT"},
        MOMENTS + "test_the_first_index_is_x",
    ),
    Mutant(
        "moments lack 1 / (i! j!)",
        "operators/moments.py",
        {"Fraction(k**i, math.factorial(i))": "Fraction(k**i)", "math.factorial(i) * c for": "c for"},
        MOMENTS + "test_the_moment_matrix_by_its_definition",
    ),
    Mutant(
        "the way back from moments lacks i! j!",
        "operators/moments.py",
        {"math.factorial(i) * c for": "c for"},
        MOMENTS + "test_from_a_filter_to_its_moments_and_back",
    ),
    Mutant(
        "filters lack 1 / h",
        "nets/moments.py",
        {"h ** -sum(alpha)": "h ** (1 - sum(alpha))"},
        MOMENTS + "test_the_orders_of_57",
    ),
    Mutant(
        "accuracy r + 1 for r",
        "operators/moments.py",
        {"< sum(alpha) + accuracy": "<= sum(alpha) + accuracy"},
        MOMENTS + "test_the_patterns_of_57",
    ),
    Mutant(
        "accuracy is read off the matrix alone",
        "operators/moments.py",
        {"in range(s + 2 * N)": "in range(N)"},
        MOMENTS + "test_accuracy_read_off_the_moments",
    ),
    Mutant(
        "the start's fixed moments are kept: no projection",
        "nets/moments.py",
        {"torch.where(mask, target, 0)": "torch.where(mask, first, 0)"},
        MOMENTS + "test_constraints_hold_whatever_is_learned",
    ),
    Mutant(
        "all moments are learned",
        "nets/moments.py",
        {
            "(~mask).flatten().nonzero()": "mask.flatten().add(1).nonzero()",
            "free = first[~mask]": "free = torch.where(mask, target, first).flatten()",
        },
        MOMENTS + "test_constraints_hold_whatever_is_learned",
    ),
    Mutant(
        "the one-sided difference looks back",
        "operators/moments.py",
        {"[0, 0, -1.5, 2, -0.5]": "[0.5, -2, 1.5, 0, 0]"},
        MOMENTS + "test_upwind_differences",
    ),
    Mutant(
        "a truncated product drops the highest degree",
        "nets/polynomial.py",
        {"range(first[degree - len(m)])": "range(first[max(0, degree - len(m) - 1)])"},
        SYMNET + "test_a_deep_net_read_off_against_its_derivatives_at_zero",
    ),
    Mutant(
        "a truncated product takes each pair once",
        "nets/polynomial.py",
        {"in range(first[degree - len(m)])": "in range(i, first[degree - len(m)])"},
        SYMNET + "test_a_product_without_what_exceeds_the_degree",
    ),
    Mutant(
        "a SymNet squares",
        "nets/symnet.py",
        {"product(first, second)": "product(first, first)"},
        SYMNET + "test_the_net_is_its_recursion",
    ),
    Mutant(
        "features are scaled the wrong way",
        "nets/polynomial.py",
        {"self.coefficients / powers.prod(-1)": "self.coefficients * powers.prod(-1)"},
        SYMNET + "test_pruned_and_rescaled",
    ),
    Mutant(
        "the side away from the wind",
        "nets/pdenet.py",
        {"s.select(-2, i) > 0": "s.select(-2, i) < 0"},
        PDENET + "test_the_step_is_the_finite_difference_scheme",
    ),
    Mutant(
        "the other side has the other sign",
        "nets/pdenet.py",
        {"other = [-q.select": "other = [q.select"},
        PDENET + "test_the_step_is_the_finite_difference_scheme",
    ),
    Mutant(
        "the other side is turned about y",
        "nets/pdenet.py",
        {".flip(axis - dim)": ".flip(-1)"},
        PDENET + "test_the_right_side_point_by_point",
    ),
    Mutant(
        "all components ask the first equation",
        "nets/pdenet.py",
        {".select(-3, c) for c": ".select(-3, 0) for c"},
        PDENET + "test_the_right_side_point_by_point",
    ),
    Mutant(
        "a component asks the first one's equation",
        "nets/pdenet.py",
        {"grad(y[c].sum()": "grad(y[0].sum()"},
        PDENET + "test_the_right_side_point_by_point",
    ),
    Mutant(
        "features in the order of the derivatives",
        "nets/pdenet.py",
        {"torch.stack(rows[:F], -2)": "torch.stack(rows[:F], -3)"},
        PDENET + "test_the_right_side_point_by_point",
    ),
    Mutant(
        "a block of twice the time",
        "nets/pdenet.py",
        {"step = scheme(F, dt)": "step = scheme(F, 2 * dt)"},
        PDENET + "test_the_step_is_the_finite_difference_scheme",
    ),
    Mutant(
        "an average besides u",
        "nets/pdenet.py",
        {".squeeze(-1 - self.average.dim) - u)": ".squeeze(-1 - self.average.dim))"},
        PDENET + "test_an_average_takes_the_place_of_u",
    ),
    Mutant(
        "a misfit not divided by dt",
        "nets/regularise.py",
        {"- later) / dt).square()": "- later)).square()"},
        PDENET + "test_the_loss_written_out",
    ),
    Mutant(
        "the mean over the blocks",
        "nets/regularise.py",
        {"loss = n * (off.mean()": "loss = (off.mean()"},
        PDENET + "test_the_loss_written_out",
    ),
    Mutant(
        "frozen filters are punished",
        "nets/regularise.py",
        {"if moments and net.F.bank.free_moments.requires_grad:": "if moments:"},
        PDENET + "test_the_loss_written_out",
    ),
    Mutant(
        "a corner in Huber's function",
        "nets/regularise.py",
        {"x.abs() - s / 2)": "x.abs() - s)"},
        PDENET + "test_huber",
    ),
    Mutant(
        "relative to the last frame",
        "nets/regularise.py",
        {"off.mean() / u0.var": "off.mean() / uT.var"},
        PDENET + "test_the_loss_of_the_last_frame",
    ),
    Mutant(
        "one block too many",
        "nets/regularise.py",
        {"blocks > steps:": "blocks > steps + 1:"},
        PDENET + "test_n_blocks_need_n_plus_1_frames",
    ),
    Mutant(
        "periodic along y is enough",
        "nets/regularise.py",
        {"for axis in (-2, -1):\n        other": "for axis in (-1,):\n        other"},
        PDENET + "test_a_jump_across_the_border_is_seen_along_either_axis",
    ),
    Mutant(
        "the border may jump no more than half a step inside",
        "nets/regularise.py",
        {"border > JUMP * inner": "border > 0.5 * inner"},
        PDENET + "test_periodic_frames_pass",
    ),
    Mutant(
        "coefficients c(y, x)",
        "nets/pdenet1.py",
        {"self.interpolant.values @ self.A.mT": "self.interpolant.values.mT @ self.A.mT"},
        PDENET1 + "test_the_step_by_loops",
    ),
    Mutant(
        "an equation without its source",
        "nets/pdenet1.py",
        {"return rate + self.source(u)": "return rate"},
        PDENET1 + "test_the_step_by_loops",
    ),
    Mutant(
        "an average that keeps first moments",
        "nets/pdenet1.py",
        {"MomentBank([(0, 0)], N, average, h": "MomentBank([(0, 0)], N, average + 1, h"},
        PDENET1 + "test_the_terms_are_those_of_order_one_to_four",
    ),
    Mutant(
        "cells that overlap",
        "nets/interpolant.py",
        {"first = cell.long() * d": "first = cell.long()"},
        PDENET1 + "test_a_line_against_scipy",
    ),
    Mutant(
        "Lagrange's polynomials without a sign",
        "nets/interpolant.py",
        {"((-1) ** (d - j) * math": "(math"},
        PDENET1 + "test_a_line_against_scipy",
    ),
    Mutant(
        "extrapolation",
        "nets/interpolant.py",
        {".clamp(0, self.mesh)": ".clamp(-1, self.mesh + 1)"},
        PDENET1 + "test_it_is_continuous_across_cells_and_constant_outside",
    ),
    Mutant(
        "a projection that lets the moments go half-way",
        "nets/held_moments.py",
        {"dtype=torch.float64) - Q @ Q.T": "dtype=torch.float64) - 0.5 * Q @ Q.T"},
        LEARNED_DIFFUSION + "test_held_moments_stay_and_the_others_move",
    ),
    Mutant(
        "a bank that is flipped",
        "nets/held_moments.py",
        {"conv2d(v, q.reshape(C * m, 1, N, N), padding": "conv2d(v, q.flip(-1).reshape(C * m, 1, N, N), padding"},
        LEARNED_DIFFUSION + "test_a_bank_by_loops_and_its_adjoint",
    ),
    Mutant(
        "a diffusivity that is largest at 0, whatever was learned",
        "nets/learned_diffusion.py",
        {"self.a.max().exp()": "self.a[0].exp()"},
        LEARNED_DIFFUSION + "test_no_training_makes_a_step_unstable",
    ),
    Mutant(
        "a reaction away from the data",
        "nets/learned_diffusion.py",
        {"change - self.lam": "change + self.lam"},
        LEARNED_DIFFUSION + "test_with_data_the_net_is_the_flow_of_the_tv_model",
    ),
    Mutant(
        "a table that is never interpolated",
        "nets/learned_diffusion.py",
        {"left + (z - i) * (right - left)": "left"},
        LEARNED_DIFFUSION + "test_a_learned_diffusivity_interpolates_its_table",
    ),
    Mutant(
        "an oracle that may stop before it starts",
        "nets/moving_endpoint.py",
        {"(losses + cost * k)[1:]": "(losses + cost * k)[:-1]"},
        MOVING_ENDPOINT + "test_the_oracle_of_a_batch_is_a_loop",
    ),
    Mutant(
        "once going on, always going on",
        "nets/moving_endpoint.py",
        {"values[-1].clamp_min(0)": "values[-1]"},
        MOVING_ENDPOINT + "test_the_value_of_going_on_by_enumeration_and_the_oracle_is_greedy",
    ),
    Mutant(
        "a late stop costs what an early one does",
        "nets/moving_endpoint.py",
        {"(Q <= 0).to(z.dtype), Q.abs())": "(Q <= 0).to(z.dtype))"},
        MOVING_ENDPOINT + "test_the_loss_of_a_policy_by_hand",
    ),
    Mutant(
        "a median for a standard deviation",
        "nets/moving_endpoint.py",
        {".values / 0.6744897501960817": ".values"},
        MOVING_ENDPOINT + "test_noise_is_estimated_and_edges_hardly_matter",
    ),
    Mutant(
        "a picture that is done goes on",
        "nets/moving_endpoint.py",
        {"x.going[..., None, None] > 0": "x.going[..., None, None] >= 0"},
        MOVING_ENDPOINT + "test_in_a_batch_every_picture_has_a_clock_of_its_own",
    ),
    Mutant(
        "one corner of Condat's on the other side",
        "nets/interpolation.py",
        {"(0, -1): 0.25, (1, 0): 0.25, (1, -1): 0.25": "(0, -1): 0.25, (-1, 0): 0.25, (-1, -1): 0.25"},
        CONSISTENT_TV + "test_condats_points_by_rolling",
    ),
    Mutant(
        "a field that is not cut to what is allowed",
        "nets/consistent_tv.py",
        {".amax((-3, -2, -1)).clamp_min(1.0)": ".amax((-3, -2, -1)).clamp(1.0, 1.0)"},
        CONSISTENT_TV + "test_the_bounds_hold_by_their_own_witnesses",
    ),
    Mutant(
        "gradients shared out with the wrong sign",
        "nets/consistent_tv.py",
        {"self.L.D.adjoint(f), -self.L(f))": "self.L.D.adjoint(f), self.L(f))"},
        LAWS + "test_the_adjoint_moves_across_the_inner_product",
    ),
    # two regions, surfaces, volumes
    Mutant(
        "the two means change places",
        "energies/segmentation.py",
        {"(c[0] - f).square() - (c[1] - f).square()\n": "(c[1] - f).square() - (c[0] - f).square()\n"},
        SEGMENTATION + "test_the_cost_of_a_set_is_chan_and_veses",
    ),
    Mutant(
        "the rest of the picture has the mean of the set",
        "energies/segmentation.py",
        {"shares = torch.stack([u, 1 - u])": "shares = torch.stack([u, u])"},
        SEGMENTATION + "test_the_means_are_the_best",
    ),
    Mutant(
        "alpha is the mean of the lower pixels alone",
        "flows/vessels.py",
        {"((mu + lower) / 2).clamp_min(0)": "lower.clamp_min(0)"},
        SEGMENTATION + "test_a_step_is_that_of_its_formulas_pixel_by_pixel",
    ),
    Mutant(
        "sure pixels are smoothed too",
        "flows/vessels.py",
        {"torch.where(unsure, self.smooth(w), w)": "self.smooth(w)"},
        SEGMENTATION + "test_the_unsure_pixels_become_fewer_until_none_is_left",
    ),
    Mutant(
        "the average is charged as area",
        "energies/surfaces.py",
        {"WeightedLength(weight, int(framed))": "WeightedLength(weight, 0)"},
        SURFACES + "test_the_frame_finds_the_torus_below_the_noise_and_the_smooth_model_does_not",
    ),
    Mutant(
        "what touches the border is inside",
        "energies/surfaces.py",
        {"torch.where(outer, 1.0, -1.0)": "torch.where(outer, -1.0, 1.0)"},
        SURFACES + "test_what_is_inside_is_not_joined_to_the_border",
    ),
    Mutant(
        "the mean of Rician noise without I_1",
        "operators/rician.py",
        {" + 2 * x * torch.special.i1e(x)": ""},
        VOLUMES + "test_the_mean_of_rician_noise",
    ),
]


# ---- how they are tested -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its tests in a folder of their own, compiled: a copy of it compiles only what it changes."""
    folder = tmp_path_factory.mktemp("unchanged")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=IGNORED)
        else:
            shutil.copy(ROOT / name, folder / name)
    compileall.compile_dir(folder, quiet=1)
    return folder


def serve() -> None:
    """Read jobs, one JSON list [folder, arguments of pytest] a line; fork for each; answer [exit code, output]."""
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    for line in sys.stdin:
        folder, arguments = json.loads(line)
        reader, writer = os.pipe()
        if not (child := os.fork()):
            os.chdir(folder)
            sys.path.insert(0, folder)
            output = io.StringIO()
            with redirect_stdout(output), redirect_stderr(output):
                try:
                    importlib.import_module("companion")  # a mutant that cannot be imported is no plausible defect
                    code = int(pytest.main(arguments))
                except Exception:
                    code = BROKEN
                    traceback.print_exc()
            with os.fdopen(writer, "w") as pipe:
                json.dump([code, output.getvalue()[-3000:]], pipe)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        print(answer or json.dumps([BROKEN, "the process died"]), flush=True)


Server = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Run named tests on a copy: (folder, *nodes) -> (pytest's exit code, its output)."""
    if not hasattr(os, "fork"):
        pytest.skip("mutants are tested in forked processes, which this system does not have")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=clean | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert process.stdin is not None and process.stdout is not None

    def ask(folder: Path, *nodes: str) -> tuple[int, str]:
        options = ["-q", "-x", "--as-user", "--no-header", "--tb=line", "--assert=plain"]
        slow = ("cacheprovider", "logging", "unraisableexception")
        options += [f"-pno:{plugin}" for plugin in slow]
        process.stdin.write(json.dumps([str(folder), [*options, *nodes]]) + "\n")
        process.stdin.flush()
        code, output = json.loads(process.stdout.readline())
        return code, output

    yield ask
    process.stdin.close()
    process.wait(timeout=10)


def test_the_unchanged_copy_passes(server: Server, unchanged: Path) -> None:
    killers = dict.fromkeys(mutant.killer for mutant in MUTANTS)
    code, output = server(unchanged, *killers)
    assert code == 0, output


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mutant_is_killed(mutant: Mutant, server: Server, unchanged: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(unchanged, tmp_path / "copy")
    mutant.apply(folder)
    code, output = server(folder, mutant.killer)
    assert code != 0, f"survived {mutant.killer}"
    assert code in KILLED, f"the tests did not run (exit code {code}):\n{output}"


if __name__ == "__main__":
    serve()
