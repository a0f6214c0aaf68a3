"""min_u nu TV(u) + |u - f|^2 / 2 to a relative duality gap of 1e-4.   (3.2)

f is the photograph with noise of deviation 0.1, nu = 0.1. The minimum is bounded from below by the dual value of a long
run in float64, so a result's distance is its objective over that bound, minus 1: at most 1e-4. Each peer takes as few
iterations as reach it, to 5 %, found before the timing; whoever does not within LONGEST iterations is named. The
primal-dual peers are given the step sizes of this package's own PDHG.

    ours          dual acceleration until the gap, which is certified, is 1e-4 of the objective
    scikit-image  denoise_tv_chambolle, denoise_tv_bregman
    pyproximal, odl, deepinv, scico   their Chambolle-Pock iterations with the same differences
    PDHG          this package's own PDHG, stopped by the same gap

The limit is a copy of the state (f, the field and its extrapolation: five pictures) for each of our iterations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import companion
from benchmarks.diffusion import photograph
from benchmarks.harness import Call, Case, Peer, Size, Task
from benchmarks.readable import readable
from companion import FISTA, PDHG, ROF, rof_dual, run

NU, GAP, LONGEST = 0.1, 1e-4, 20_000
Solve = Callable[[int], Any]


def fewest(solve: Solve, good: Callable[[Any], bool], first: int = 8, longest: int = LONGEST) -> int:
    """The iterations k, to 5 %, from which on solve(k) is good. Raises ValueError where none up to longest is."""
    low, high = 0, first
    while not good(solve(high)):
        low, high = high, 2 * high
        if high > longest:
            raise ValueError(f"does not come near enough in {low} iterations")
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if good(solve(middle)) else (middle, high)
    return high


def searched(solve: Solve, excess: Callable[[Any], float]) -> Call:
    """The call with the fewest iterations whose excess is at most GAP."""
    k = fewest(solve, lambda result: excess(result) <= GAP)
    return lambda: solve(k)


def solver(problem: ROF, f: Tensor) -> tuple[Any, Callable[[Any, Any], bool]]:
    """A map for `run` and the rule that stops it at the gap: FastROF where the package has it."""
    fast = getattr(companion, "FastROF", None)
    dual = rof_dual(problem)
    if fast is None:
        return FISTA(dual, restart=True), every(10, lambda x: dual.gap(x.x) <= GAP * problem(dual.decode(x.x)))
    step = fast(f, NU)
    return step, every(10, lambda x: step.gap(x) <= GAP * problem(step.image(x)))


def every(n: int, rule: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    """A stopping rule that is asked each n-th step."""
    count = 0

    def until(new: Any, old: Any) -> bool:
        nonlocal count
        count += 1
        return count % n == 0 and bool(rule(new))

    return until


def rof(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    f = photograph(size, dtype, device)
    f = f + 0.087 * torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=dtype).to(device)  # 0.1 in all
    problem, array = ROF(f, NU), f.cpu().numpy()
    taken = 0

    @functools.cache
    def bound() -> tuple[ROF, float]:
        """The problem in float64, and a lower bound of its minimum."""
        exact = ROF(f.double(), NU)
        dual = rof_dual(exact)
        end = run(FISTA(dual, restart=True), f.double(), k=1500)
        return exact, float(exact(end.u) - dual.gap(end.x.x))

    def excess(u: Any) -> float:
        exact, least = bound()
        return float(exact(torch.as_tensor(u).to(device).double())) / least - 1

    def ours() -> Tensor:
        nonlocal taken
        step, until = solver(problem, f)
        end = run(step, f, k=LONGEST, until=until)
        taken = end.k
        return end.u

    def primal_dual() -> Tensor:
        rule = every(10, lambda x: problem.gap(x.x, x.p) <= GAP * problem(x.x))
        return run(PDHG(problem), f, k=LONGEST, until=rule).u

    def bregman(k: int) -> Any:
        from skimage.restoration import denoise_tv_bregman

        return denoise_tv_bregman(array, weight=1 / NU, max_num_iter=k, eps=0.0)

    def chambolle(k: int) -> Any:
        from skimage.restoration import denoise_tv_chambolle

        return denoise_tv_chambolle(array, weight=NU, max_num_iter=k, eps=0.0)

    tau, sigma = (float(x) for x in (PDHG(problem).tau, PDHG(problem).sigma))
    peers = {"PDHG": Peer(lambda: primal_dual)}
    peers["deepinv"] = Peer(lambda: searched(deepinv(f, tau), excess), "deepinv")
    if device.type == "cpu":
        peers["scikit-image Chambolle"] = Peer(lambda: searched(chambolle, excess), "skimage")
        peers["scikit-image Bregman"] = Peer(lambda: searched(bregman, excess), "skimage")
        peers["pyproximal"] = Peer(lambda: searched(pyproximal(array, tau, sigma), excess), "pyproximal")
        peers["odl"] = Peer(lambda: searched(odl(array, tau, sigma), excess), "odl")
        peers["scico"] = Peer(lambda: searched(scico(array, tau, sigma), excess), "scico")
    return Case(
        ours,
        f.numel() * f.element_size(),
        peers | readable(ours),
        apart=lambda ours, theirs: excess(theirs),
        tolerance=GAP,
        moves=lambda: 5 * taken,
        words=lambda _: f"{taken} iterations, gap certified",
    )


def deepinv(f: Tensor, tau: float) -> Solve:
    from deepinv.models import TVDenoiser

    def solve(k: int) -> Tensor:
        return TVDenoiser(tau=tau, n_it_max=k, crit=0.0)(f[None, None], ths=NU)[0, 0]

    return solve


def pyproximal(f: np.ndarray, tau: float, sigma: float) -> Solve:
    import pylops
    import pyproximal as prox
    from pyproximal.optimization.primaldual import PrimalDual

    K = pylops.Gradient(f.shape, edge=False, kind="forward", dtype=f.dtype)
    data, length = prox.L2(b=f.ravel()), prox.L21(ndim=2, sigma=NU)

    def solve(k: int) -> np.ndarray:
        return PrimalDual(data, length, K, x0=f.ravel(), tau=tau, mu=sigma, niter=k).reshape(f.shape)

    return solve


def odl(f: np.ndarray, tau: float, sigma: float) -> Solve:
    import odl as o

    def named(name: str) -> Any:  # functionals have moved between its versions
        places = (getattr(o, place, None) for place in ("functional", "functionals", "solvers"))
        return next(getattr(place, name) for place in places if hasattr(place, name))

    space = o.uniform_discr([0, 0], list(f.shape), list(f.shape), dtype=str(f.dtype))
    K = o.Gradient(space, method="forward", pad_mode="symmetric")
    data = 0.5 * named("L2NormSquared")(space).translated(space.element(f))
    length = NU * named("GroupL1Norm")(K.range)

    def solve(k: int) -> np.ndarray:
        u = space.element(f)
        o.solvers.pdhg(u, data, length, K, k, tau=tau, sigma=sigma)
        return np.asarray(u.asarray())

    return solve


def scico(f: np.ndarray, tau: float, sigma: float) -> Solve:
    import scico.numpy as snp
    from scico import functional, linop, loss
    from scico.optimize import PDHG as Theirs

    y = snp.array(f)
    K = linop.FiniteDifference(input_shape=f.shape, input_dtype=f.dtype, append=0)
    parts = {"f": loss.SquaredL2Loss(y=y), "g": NU * functional.L21Norm(), "C": K, "tau": tau, "sigma": sigma}

    def solve(k: int) -> np.ndarray:
        quiet = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}  # no objective at each step
        return np.asarray(Theirs(**parts, x0=y, maxiter=k, itstat_options=quiet).solve())

    return solve


TASKS = [Task("ROF to a gap of 1e-4", rof, ((512, 512),), ((128, 128),))]
