r"""u <- argmin E(u, v),  v <- argmin E(u, v): Ambrosio and Tortorelli's energy, one unknown at a time.

Paper: Section 3 [115].  Notebook: 05.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from companion.energies.mumford_shah import AmbrosioTortorelli, Edges


class AlternatingMinimisation(nn.Module):
    r"""u^{k+1} = argmin_u E(u, v^k),  v^{k+1} = argmin_v E(u^{k+1}, v): two linear systems a step, a map for `run`.

    energy  an `AmbrosioTortorelli`
    tol, k  of the conjugate gradients: relative residual, most steps

    E never rises, whatever tol is, since the conjugate gradients start from the last u and v. The first u, with v = 1
    everywhere, is Tikhonov's; the limit is a critical point of E, not always its minimum. A batch shares one Krylov
    space.

        run(AlternatingMinimisation(E), f, until=fixed_point(1e-4), k=100, record={"energy": E})
    """

    def __init__(self, energy: AmbrosioTortorelli, tol: float = 1e-6, k: int = 2000):
        super().__init__()
        self.energy, self.tol, self.k = energy, tol, k

    def start(self, u0: Tensor) -> Edges:
        """No edges: v = 1."""
        return Edges(u0, torch.ones_like(u0))

    def image(self, state: Edges) -> Tensor:
        """u."""
        return state.u

    def forward(self, state: Edges) -> Edges:
        u = self.energy.best_u(state.v, state.u, self.tol, self.k)
        return Edges(u, self.energy.best_v(u, state.v, self.tol, self.k))
