r"""u = x^K, x^{k+1} = F_k(x^k): K steps of a solver, each with its own numbers, are a network.   (2.5), (3.2)

    ADMM            thresholds lam^k, penalty rho^k > 0               analysis (2.5), W tight
    PDHG            lam^k, tau^k > 0, sigma^k with tau^k sigma^k the classical one, <= 1/|K|^2     (2.5), (3.2), any K
    SplitBregman    lam^k, rho^k > 0                                  total variation (3.2)
    ForwardBackward lam^k, step^k < 2/L                               synthesis and balanced (2.6), (2.4)
    FISTA           lam^k; its step is 1/L, the largest allowed       synthesis and balanced

A layer is the very step of companion.flows with Parameters for buffers (`learned`); the state runs through, multipliers
included, and the net is `run` over the list. Before training it is the solver after K steps. lam^k has the shape of
lam: one threshold a band where lam = W.weights(...), and what is 0 stays 0. All layers share the data term, A and K,
and so the filters of a LearnedFrame K, unless each layer shall have its own.

The output is x^K, so the last thresholds of ADMM and SplitBregman, which act after x^K, are never used.

A trained net is no solver: its output minimises nothing. It is the best picture after K steps, on the average over the
pictures and the noise it was trained with.

Sources: Gregor and LeCun, Learning fast approximations of sparse coding (2010), for unrolling.
Paper: (2.5), (3.2), Section 5.  Notebook: 14.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor

from companion.dynamics import iterate
from companion.energies.functional import Functional
from companion.flows.bregman import SplitBregman
from companion.flows.solvers import FISTA, ForwardBackward, Solver
from companion.flows.splitting import ADMM, PDHG
from companion.nets.learned import learned
from companion.nets.odenet import ODENet
from companion.operators.checks import check_picture

NUMBERS: dict[type[Solver], tuple[str, ...]] = {
    ADMM: ("rho",),
    PDHG: ("tau",),
    SplitBregman: ("rho",),
    ForwardBackward: ("step",),
    FISTA: (),
}


class Unrolled(ODENet):
    r"""f -> run(layers, A^T f).u: the solver's own first picture, then one layer after the other.   (2.5), (3.2)

    maps  steps of solvers on one problem, such as `unrolled` makes; the data in it are an example of f

    f is (*batch, *shape) for data of the example's shape, or of another size where A and K take it. Type and device
    follow f. Raises TypeError and ValueError for an f that is no real, finite tensor with enough axes.
    """

    def __init__(self, maps: Sequence[Solver]):
        super().__init__(maps)
        self.rank = _holders(self.maps)[0].f.ndim

    def forward(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The picture after all layers."""
        with self._measured(f) as u0:
            return super().forward(u0)

    def features(self, f: Float[Tensor, "..."]) -> list[Float[Tensor, "..."]]:
        """The pictures u^0, ..., u^K of the layers."""
        with self._measured(f) as u0:
            return [self.first.image(x) for x in iterate(self.maps, self.first.start(u0))]

    @property
    def first(self) -> Any:
        """The first layer, which knows how to lift a picture to a state."""
        return self.maps[0]

    @contextmanager
    def _measured(self, f: Tensor) -> Iterator[Tensor]:
        """A^T f, and for the time being f for the example in every data term."""
        check_picture(f, "f", self.rank)
        holders, problem = _holders(self.maps), self.first.problem
        before = [E.f for E in holders]
        try:
            for E in holders:
                E.f = f
            yield problem.decode(problem.E.domain())
        finally:
            for E, example in zip(holders, before, strict=True):
                E.f = example


def unrolled(step: Solver, k: int, *, own_frame: bool = False) -> Unrolled:
    r"""k copies of a solver's step, each with its own lam and its own steps, as a network f -> u.   (2.5), (3.2)

    step       ADMM, PDHG, SplitBregman, ForwardBackward or FISTA on a problem with example data
    k          how many layers, >= 1
    own_frame  a copy of the Parameters of K for every layer; by default all layers share K

    The Parameters are theta of `learned`, 0 at the start: thresholds stay >= 0, rho and tau > 0, the step of
    ForwardBackward < 2/L, tau sigma as it is. Nothing is shared with `step` itself.

    Raises ValueError for k < 1, for a solver that is not in the table, and where own_frame finds no Parameters in K.

    >>> import torch
    >>> from companion.energies.models import analysis
    >>> from companion.operators.banks import bspline
    >>> from companion.operators.frames import FrameletTransform
    >>> from companion.operators.measure import Identity
    >>> W = FrameletTransform(bspline(1))
    >>> net = unrolled(ADMM(analysis(Identity(), torch.zeros(8, 8), W, W.weights(0.1))), k=5)
    >>> net(torch.rand(3, 8, 8)).shape, len(net.maps), sum(p.numel() for p in net.parameters())
    (torch.Size([3, 8, 8]), 5, 25)
    """
    if k < 1:
        raise ValueError(f"An unrolled solver has k >= 1 layers; got k={k}.")
    if type(step) not in NUMBERS:
        raise ValueError(
            f"The solvers that unroll are {', '.join(s.__name__ for s in NUMBERS)}; got {type(step).__name__}. For "
            "another map take Unrolled([learned(map, names), ...])."
        )
    names, base = [*NUMBERS[type(step)]], copy.deepcopy(step)
    names += ["problem.R.lam"] if hasattr(step.problem.R, "lam") else []
    names += ["problem.K"] if own_frame else []
    bound = 2 / step.problem.E.lipschitz() if type(step) is ForwardBackward else math.inf
    return Unrolled([learned(base, *names, bounds={"step": bound}) for _ in range(k)])


def _holders(maps: Any) -> list[Any]:
    """The functionals that hold the data of E: of the problem's, and of the one that PDHG has dualised."""
    found: dict[int, Any] = {}
    for E in [E for step in maps for E in (step.problem.E, getattr(step, "E", None)) if E is not None]:
        found |= {id(F): F for F in E.modules() if isinstance(F, Functional) and "f" in F._buffers and F.f.ndim}
    return list(found.values())
