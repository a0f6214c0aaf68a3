r"""F(u, t) = B tanh(A u + a t + b) + c: a small learned field on R^d, with its divergence in closed form.   (5.1)

The neural ODEs, densities and stochastic equations of lessons 10 and 11 live in a plane or in R^d with a small d; there
a dense network is field enough. `exact_trace` and `hutchinson` give div F = trace of F'(u) for any field: the density
that a flow carries needs it.

Paper: (5.1), Section 5.1.  Notebooks: 10, 11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Time = float | Tensor


class DenseField(nn.Module):
    r"""F(u, t) = B tanh(A u + a t + b) + c, or B tanh(M tanh(A u + a t + b) + m) + c with two hidden layers.   (5.1)

    dim    d, of u: (*batch, d) -> (*batch, d)
    width  entries of a hidden layer
    time   False leaves a t out: F(u, t) = F(u), an autonomous field; t may then be left out as well
    depth  hidden layers, 1 or 2

    The parameters start as torch starts a linear layer: torch.manual_seed(0) before makes it repeatable.

    Raises ValueError unless dim, width >= 1 and depth is 1 or 2.

    >>> sum(theta.numel() for theta in DenseField(2, width=16).parameters())  # 16 (2 + 1) + 16 + 2 16 + 2
    98
    """

    def __init__(self, dim: int, width: int, time: bool = True, depth: int = 1):
        super().__init__()
        if dim < 1 or width < 1 or depth not in (1, 2):
            raise ValueError(
                "A dense field has dim >= 1, width >= 1 and one or two hidden layers; "
                f"got dim={dim}, width={width}, depth={depth}. Deeper ones are any nn.Module F(u, t)."
            )
        self.dim, self.time = dim, bool(time)
        self.first = nn.Linear(dim + self.time, width)
        self.middle = nn.Linear(width, width) if depth == 2 else None
        self.last = nn.Linear(width, dim)

    def forward(self, u: Float[Tensor, "*batch d"], t: Time = 0.0) -> Float[Tensor, "*batch d"]:
        v = self._first(u, t)
        return self.last(v if self.middle is None else torch.tanh(self.middle(v)))

    def _first(self, u: Tensor, t: Time) -> Tensor:
        """tanh(A u + a t + b)."""
        A, b = self.first.weight, self.first.bias
        shift = b + t * A[:, self.dim] if self.time else b
        return torch.tanh(nn.functional.linear(u, A[:, : self.dim], shift))

    def with_divergence(
        self, u: Float[Tensor, "*batch d"], t: Time = 0.0
    ) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch"]]:
        r"""F(u, t) and div F(u, t), in closed form: no derivative is taken.

        With v = tanh(A u + a t + b) and w = tanh(M v + m), tanh' = 1 - tanh^2,

            one hidden layer    div F = sum_j (1 - v_j^2) (A B)_jj
            two hidden layers   div F = sum_kj (1 - w_k^2) M_kj (1 - v_j^2) (A B)_jk
        """
        v = self._first(u, t)
        AB = self.first.weight[:, : self.dim] @ self.last.weight
        if self.middle is None:
            return self.last(v), (1 - v.square()) @ AB.diagonal()
        w = torch.tanh(self.middle(v))
        return self.last(w), (((1 - v.square()) @ (self.middle.weight.T * AB)) * (1 - w.square())).sum(-1)


def exact_trace(F: Callable[..., Any], u: Float[Tensor, "*batch d"], t: Time) -> tuple[Tensor, Tensor]:
    r"""F(u, t) and div F(u, t) = sum_i e_i^T F'(u) e_i, by d directional derivatives: for any F of torch's functions.

    A field with a method `with_divergence`, such as `DenseField`, is asked instead.
    """
    if hasattr(F, "with_divergence"):
        return F.with_divergence(u, t)
    eye = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    u = u.contiguous()  # an expanded tensor has no directional derivatives in torch
    columns = [torch.func.jvp(lambda w: F(w, t), (u,), (e.expand_as(u),))[1] for e in eye]
    return F(u, t), torch.stack([column[..., i] for i, column in enumerate(columns)]).sum(0)


def hutchinson(
    F: Callable[..., Any], u: Float[Tensor, "*batch d"], t: Time, e: Float[Tensor, "*batch d"]
) -> tuple[Tensor, Tensor]:
    r"""F(u, t) and e^T F'(u) e, whose mean over random signs e is div F: one directional derivative, whatever d.

    Its variance is sum_{i<j} (S_ij + S_ji)^2, S = F'(u): the diagonal is seen exactly, an antisymmetric rest as well.
    """
    return F(u, t), (e * torch.func.jvp(lambda w: F(w, t), (u.contiguous(),), (e,))[1]).sum(-1)
