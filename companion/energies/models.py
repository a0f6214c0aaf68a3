r"""min_x E(x) + R(K x): the three models of wavelet frame restoration, and Tikhonov's.   (2.4)-(2.6)

    analysis    min_u 1/2 |A u - f|^2 + |lam . W u|_1                                             (2.5)
    synthesis   min_d 1/2 |A W^T d - f|^2 + |lam . d|_1                                           (2.6)
    balanced    min_d 1/2 |A W^T d - f|^2 + kappa/2 |(I - W W^T) d|^2 + |lam . d|_1               (2.4)
    tikhonov    min_u 1/2 |A u - f|^2 + alpha/2 |K u|^2                                           Section 1

A `Problem` is the triple (E, R, K) and two translations: `encode` takes a picture to the unknown x and `decode` takes x
to a picture, u -> W u and d -> W^T d where the unknown is a set of coefficients d. A solver asks its parts for what it
needs (`E.grad`, `E.prox`, `R.prox`, `K.tight`) and refuses a problem that cannot give it.

What the paper leaves open about "special cases" of (2.4): kappa = 0 is (2.6) as printed, but (2.5) is the limit
kappa -> infinity, not a value of kappa; and (2.6) needs lam > 0 on the averages too: see `synthesis`.

Paper: (2.4), (2.5), (2.6).  Notebook: 04.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import ConvergenceWarning, StabilityWarning, Trajectory, fixed_point, run, tensors
from companion.energies.coefficients import FrameLeastSquares
from companion.energies.functional import Functional, LeastSquares
from companion.energies.norms import L1
from companion.operators.frames import FrameletTransform
from companion.operators.linear import LinearOperator, conjugate_gradients
from companion.operators.measure import Identity


class Problem(nn.Module):
    r"""x -> E(x) + R(K x), convex.

    E  a Functional of the unknown x, with `domain()`: a tensor of x's shape
    R  a Functional of K x
    K  a LinearOperator, by default the identity
    W  a tight FrameletTransform where x are coefficients; then the picture is W^T x, else it is x itself
    """

    of_state = True  # `run(record=)` hands it the unknown, not the picture
    E: Any
    R: Any
    K: LinearOperator
    W: FrameletTransform | None
    ratio: float | None = None  # the size of x over that of the multiplier of K x, where a model knows it: for PDHG

    def __init__(
        self, E: Functional, R: Functional, K: LinearOperator | None = None, W: FrameletTransform | None = None
    ):
        super().__init__()
        self.E, self.R, self.K, self.W = E, R, Identity() if K is None else K, W

    def forward(self, x: Any) -> Float[Tensor, ""]:
        """The objective at the unknown x; of a solver's state, at its first field."""
        x = tensors(x)[0]
        return self.E(x) + self.R(self.K(x))

    def decode(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The picture of the unknown."""
        return x if self.W is None else self.W.adjoint(x)

    def encode(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The unknown of a picture."""
        return u if self.W is None else self.W(u)

    def gap(self, x: Float[Tensor, "..."], p: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        r"""E(x) + R(K x) + E*(-K^T p) + R*(p) >= 0, and 0 only at a minimiser x with multiplier p.

        It bounds how far E(x) + R(K x) is from the minimum. It exists where E* is finite: for E = 1/2 |A u - f|^2 that
        asks for an injective A, such as denoising; a mask has none (ValueError).
        """
        return self(x) + self.E.conjugate(-self.K.adjoint(p)) + self.R.conjugate(p)

    def solve(
        self,
        method: Callable[..., Any],
        u0: Tensor | None = None,
        *,
        k: int = 1000,
        tol: float | None = 1e-4,
        reference: Tensor | None = None,
        progress: bool | str = False,
        **options: Any,
    ) -> Trajectory:
        r"""run(method(self, **options), u0): iterate a solver, and watch it.

        method     ForwardBackward, FISTA, ADMM or PDHG; `options` are its own
        u0         the picture to start from, by default that of A^T f
        k, tol     at most k steps, fewer if |x^{k+1} - x^k| <= tol |x^k| on the whole state (x and multipliers, not
                   FISTA's gamma); tol=None takes all k
        reference  a true picture, for the curve of PSNR
        progress   True or a title: a progress bar after two seconds; Ctrl-C returns what was reached

        The Trajectory has the curves objective, residual (|x^{k+1} - x^k| / |x^k|, infinite at k = 0), seconds (spent
        in the steps alone) and, with a reference, psnr. Where k steps do not reach tol a ConvergenceWarning says what
        was reached; a StabilityWarning ends a run that diverges. Computed without gradients: for an unrolled solver use
        `run` itself.
        """
        watch = _Watch(method(self, **options))
        record: dict[str, Any] = {"objective": self, "residual": watch.residual, "seconds": watch.seconds}
        if reference is not None:
            record["psnr"] = lambda u: _psnr(u, reference)
        with torch.no_grad():
            u0 = self.decode(self.E.domain()) if u0 is None else u0
            rest = fixed_point(tol) if tol is not None else lambda new, old: False
            until = lambda new, old: watch.lost or rest(_moving(new), _moving(old))  # noqa: E731
            result = run(watch, u0, k=k, until=until, record=record, progress=progress)
        if watch.lost:
            result.stopped = "diverged"
            warnings.warn(
                f"{type(watch.step).__name__} has diverged: after {result.k} steps its state has overflown. Is a step "
                "too large?",
                StabilityWarning,
                stacklevel=2,
            )
        if tol is not None and result.stopped == "k":
            warnings.warn(
                f"{type(watch.step).__name__} has not converged: after {k} steps the relative change of its state is "
                f"{result.curves['residual'][-1]:.1e}, not {tol:.1e}; the objective has reached "
                f"{result.curves['objective'][-1]:.6g}. Allow more steps (k=...) or a larger tol.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return result


def analysis(A: LinearOperator, f: Tensor, W: LinearOperator, lam: Tensor | float) -> Problem:
    r"""min_u 1/2 |A u - f|^2 + |lam . W u|_1.   (2.5)   For ADMM (W tight) or PDHG (any W).

    lam  one number, or one for each band: W.weights(lam) has 0 on the average
    """
    return _checked(Problem(LeastSquares(f, A), L1(lam), W))


def synthesis(A: LinearOperator, f: Tensor, W: FrameletTransform, lam: Tensor | float, free: bool = False) -> Problem:
    r"""min_d 1/2 |A W^T d - f|^2 + |lam . d|_1.   (2.6)   For every solver of the course.

    lam   > 0 in every band, averages included: `W.weights(lam)` plus something on the average. With lam = 0 there the
          averages alone reproduce almost any data at no cost, and the details are 0: the minimum is (nearly) 0 and the
          model says nothing. Such a lam raises ValueError,
    free  unless free=True asks for the degenerate model.
    """
    problem = _checked(Problem(FrameLeastSquares(A, f, W), L1(lam), W=W))
    least = problem.R.lam.expand(problem.E.domain().shape).movedim(-W.dim - 1, 0).flatten(1).amin(1)
    unpaid = [tuple(band) for band, value in zip(W.bands, least, strict=True) if value == 0]
    if unpaid and not free:
        raise ValueError(
            f"Synthesis (2.6) needs lam > 0 in every band, and the bands {unpaid} cost nothing: they alone can "
            "reproduce the data. Penalise the average too, or use (2.4) or (2.5), where lam = 0 is harmless."
        )
    return problem


def balanced(A: LinearOperator, f: Tensor, W: FrameletTransform, lam: Tensor | float, kappa: float = 1.0) -> Problem:
    r"""min_d 1/2 |A W^T d - f|^2 + kappa/2 |(I - W W^T) d|^2 + |lam . d|_1.   (2.4)   For every solver of the course.

    kappa  >= 0: 0 is synthesis (2.6), the limit kappa -> infinity is analysis (2.5); the minimum grows with kappa
    """
    return _checked(Problem(FrameLeastSquares(A, f, W, kappa), L1(lam), W=W))


class Tikhonov(Problem):
    r"""min_u 1/2 |A u - f|^2 + alpha/2 |K u|^2, with its minimiser (A^T A + alpha K^T K)^{-1} A^T f."""

    def minimiser(self, tol: float | None = None, k: int = 1000) -> Float[Tensor, "..."]:
        """(A^T A + alpha K^T K)^{-1} A^T f: by `A.normal_solve` for K = I, else by conjugate gradients."""
        A, K, alpha, g = self.E.A, self.K, self.R.weight, self.E.domain()
        if isinstance(K, Identity):
            return A.normal_solve(g, alpha)
        return conjugate_gradients(lambda u: A.adjoint(A(u)) + alpha * K.adjoint(K(u)), g, tol, k)


def tikhonov(A: LinearOperator, f: Tensor, alpha: float, K: LinearOperator | None = None) -> Tikhonov:
    r"""min_u 1/2 |A u - f|^2 + alpha/2 |K u|^2, K = I or a gradient; `.minimiser()` solves it.   Section 1

    >>> tikhonov(Identity(), torch.tensor([3.0]), alpha=0.5).minimiser()
    tensor([2.])
    """
    return Tikhonov(LeastSquares(f, A), LeastSquares(0.0, weight=alpha), K)


class _Watch(nn.Module):
    """A solver that is watched: the seconds its steps take, and how far the last one went."""

    def __init__(self, step: Any):
        super().__init__()
        self.step, self.spent, self.moved, self.lost = step, 0.0, math.inf, False
        self.start, self.image = step.start, step.image

    def forward(self, x: Any) -> Any:
        begin = time.perf_counter()
        new = self.step(x)
        self.spent += time.perf_counter() - begin
        pairs = list(zip(_moving(new), _moving(x), strict=True))
        size = sum(float(b.square().sum()) for _, b in pairs)
        self.lost = not size < torch.finfo(pairs[0][1].dtype).max ** 0.8  # before an operator meets infinity
        self.moved = (sum(float((a - b).square().sum()) for a, b in pairs) / size) ** 0.5 if size else math.inf
        return new

    def residual(self, _: Any) -> float:
        return self.moved

    def seconds(self, _: Any) -> float:
        return self.spent

    residual.of_state = seconds.of_state = True  # type: ignore[attr-defined]  # neither asks `run` for a picture


def _checked(problem: Problem) -> Problem:
    """The problem, lam tried on coefficients of its own shape."""
    problem.R.check(problem.K(problem.E.domain()))
    return problem


def _moving(x: Any) -> tuple[Tensor, ...]:
    """The tensors of a state but for single numbers, such as FISTA's gamma, which goes on to 1 when x is at rest."""
    return tuple(a for a in tensors(x) if a.ndim) or tensors(x)


def _psnr(u: Tensor, reference: Tensor) -> float:
    """-10 log_10 of the mean square of u - reference, for grey values in [0, 1]; infinity if they agree."""
    if u.shape != reference.shape:
        raise ValueError(
            f"The reference has shape {tuple(reference.shape)}, the picture {tuple(u.shape)}: PSNR compares pixels."
        )
    error = float((u - reference).double().square().mean())
    return -10 * math.log10(error) if error else math.inf
