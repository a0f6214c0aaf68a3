r"""u -> (q_i[-.] (*) u)_i, q_i learned, its first moments held at 0: a gradient that goes on learning.   (5.7)

Every gradient of the course is a bank of filters: forward differences, the bands of a frame. Its taps become
parameters; the moments that make it blind to constants, or to ramps, stay 0.

Paper: Prop 4.1, (5.7).  Notebook: 14.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.edge_cost import stencil
from companion.energies.variation import AnyGradient
from companion.nets.held_moments import HeldMoments, bank_adjoint, bank_correlate, symbol_bound
from companion.operators.checks import check_picture
from companion.operators.gradients import FrameGradient
from companion.operators.linear import LinearOperator
from companion.operators.moments import moment_matrix


class LearnedGradient(LinearOperator):
    r"""u -> (sum_k q_i[k] u[n + k])_i, q_i = q_i0 + P z_i: (*batch, N1, N2) -> (*batch, r, N1, N2).   (5.7)

    grad       a Gradient or FrameGradient in the plane: the taps q_i0, h and the border; any choice of bands
    vanishing  the moments of order below this are 0 for all filters, and stay 0; 1: a constant has gradient 0
    N          taps along an axis, odd, by default as few as hold the taps of grad

    `bound` is B >= sup |grad|^2 of the present filters, as `symbol_bound` finds it.

    Raises TypeError for another grad; ValueError for one that cuts the border (Haar at "reflect": take "periodic"), an
    N too small, or moments that do not vanish at the start.

    >>> from companion import Gradient
    >>> LearnedGradient(Gradient())(torch.tensor([[0., 1.], [2., 4.]]))[0]
    tensor([[2., 3.],
            [0., 0.]], grad_fn=<SelectBackward0>)
    """

    def __init__(self, grad: AnyGradient, vanishing: int = 1, N: int | None = None):
        super().__init__()
        if not isinstance(grad, AnyGradient):
            raise TypeError(
                "A learned gradient starts from the taps of a Gradient or a FrameGradient in the plane; got "
                f"{type(grad).__name__}."
            )
        if isinstance(grad, FrameGradient) and grad.cut:
            raise ValueError(
                "A learned gradient acts at every pixel; this one counts only those where its filters lie inside the "
                f'picture; got the boundary "{grad.boundary}". Take "periodic", or filters symmetric about 0.'
            )
        offsets, weights = (torch.from_numpy(a) for a in stencil(grad))
        least = 2 * int(offsets.abs().max()) + 1
        N = least if N is None else N
        if N % 2 == 0 or least > N:
            raise ValueError(f"The filters of this gradient need an odd N >= {least} taps along an axis; got N={N}.")
        i, j = (offsets.long() + N // 2).unbind(1)
        taps = torch.zeros(len(weights), N, N, dtype=torch.float64)
        taps[:, i, j] = weights
        degree = torch.arange(N)[:, None] + torch.arange(N)
        if bool((moment_matrix(taps).abs()[:, degree < vanishing] > 1e-10 * taps.abs().max()).any()):
            raise ValueError(
                f"All filters must start with vanishing moments of the orders below vanishing={vanishing}; those of "
                f"this {type(grad).__name__} have fewer. Take a smaller number, or only bands of higher order."
            )
        self.q = HeldMoments(taps, vanishing)
        self.h, self.dim, self.boundary = grad.h, 2, grad.boundary

    @property
    def bound(self) -> float:
        """B >= sup |grad|^2, over all sizes of pictures."""
        return float(symbol_bound(self.q(self.q.start)).detach())

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_picture(u, "u", 2)
        return bank_correlate(u.unsqueeze(-3), self.q(u).unsqueeze(0), self.boundary).squeeze(-4)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """grad^T p = sum_i q_i (*) p_i ~ -div p."""
        check_picture(f, "p", 3)
        if f.shape[-3] != len(self.q.start):
            raise ValueError(
                f"p must have one component for each of the {len(self.q.start)} filters, on axis -3; got shape "
                f"{tuple(f.shape)}."
            )
        return bank_adjoint(f.unsqueeze(-4), self.q(f).unsqueeze(0), self.boundary).squeeze(-3)

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """|grad| by power iteration, a number without derivative."""
        with torch.no_grad():
            return super().norm(like, k, tol)

    def extra_repr(self) -> str:
        return f"h={self.h:g}, boundary={self.boundary!r}"
