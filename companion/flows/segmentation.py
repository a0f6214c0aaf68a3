r"""u <- argmin_u E(u, c),  c <- argmin_c E(u, c): two regions and their means, one after the other.   Section 4.2

    E(u, c) = <(c_1 - f)^2, u> + <(c_2 - f)^2, 1 - u> + R(K u),   0 <= u <= 1

Convex in u for fixed c and in c for fixed u, not in both: where it ends depends on the first means.

Paper: Section 4.2 [48, 99].  Notebook: 15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from companion.energies.models import Problem
from companion.energies.segmentation import region_energy, region_means
from companion.flows.splitting import PDHG, PrimalDual


class Regions(NamedTuple):
    """The state: u, its extrapolation and multiplier, where PDHG goes on, and the means (c_1, c_2)."""

    u: Tensor
    bar: Tensor
    p: Tensor
    means: Tensor


class TwoRegions(nn.Module):
    r"""u <- `inner` steps of PDHG on E(., c), from where it stands;  c <- the means of f over u and 1 - u.

    f       the picture
    model   means -> Problem, such as lambda c: segmentation(f, c, W, W.weights(lam))
    means   the first (c_1, c_2); by default those of the pixels above and below the mean of f
    inner   steps of PDHG for each change of the means

        run(TwoRegions(f, model), f, k=50, until=fixed_point(1e-4))

    The start is u = 1 where f is nearer to c_1. With u exact E never rises; with `inner` steps it does so by a trifle,
    near the end: `record={"energy": flow.energy}` measures it. The set is {u > 1/2}.
    """

    f: Tensor

    def __init__(self, f: Tensor, model: Callable[[Tensor], Problem], means: Tensor | None = None, inner: int = 20):
        super().__init__()
        if inner < 1:
            raise ValueError(f"Each change of the means is followed by inner >= 1 steps of PDHG; got {inner}.")
        self.register_buffer("f", f)
        self.model, self.inner = model, inner
        self.first = region_means(f, (f > f.mean()).to(f.dtype)) if means is None else torch.as_tensor(means).to(f)

    def start(self, u0: Tensor) -> Regions:
        """u = 1 where f is nearer to c_1 than to c_2, and no multiplier."""
        c = self.first
        u = ((c[0] - u0).abs() < (c[1] - u0).abs()).to(u0.dtype)
        return Regions(u, u, torch.zeros_like(self.model(c).K(u)), c)

    def image(self, state: Regions) -> Tensor:
        """u."""
        return state.u

    def forward(self, state: Regions) -> Regions:
        step, x = PDHG(self.model(state.means)), PrimalDual(*state[:3], state.u.new_zeros(0))
        for _ in range(self.inner):
            x = step(x)
        return Regions(*x[:3], region_means(self.f, x.x))

    def energy(self, state: Regions) -> Tensor:
        """E(u, c)."""
        return region_energy(self.f, self.model(state.means), state.u, state.means)

    energy.of_state = True  # type: ignore[attr-defined]  # `run(record=)` hands it u and the means
