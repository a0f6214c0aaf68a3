r"""p -> (L_l p)_l: where the length of a field on the edges of a grid is asked for.   (3.1)

A field p with p_1[n] on the edge between n and n + e_1, and p_2[n] on that between n and n + e_2, has its two
components nowhere at one point. The constraint |p| <= 1 of (3.1) needs them at one, so that they are interpolated,

    (L_l p)_i[n] = sum_k xi_li[k] p_i[n + k],      sum_k xi_li[k] = 1,      l = 1, ..., m:

    forward_kernel   xi_1i = delta                                         m = 1: the two as if they were at n
    condat_kernels   means of two or four neighbours                       m = 3: at n, n + e_1/2 and n + e_2/2

The sums are kept by construction while the kernels are learned. Which total variations this makes is in
consistent_tv.py.

Sources: Chambolle and Pock, Learning consistent discretizations of the total variation (2021), [31]; Condat, Discrete
total variation: new definition and minimization (2017).
Paper: (3.1), Section 5.2, [31].  Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from companion.nets.held_moments import HeldMoments, bank_adjoint, bank_correlate, symbols
from companion.operators.checks import check_picture
from companion.operators.differences import Gradient, check_components
from companion.operators.linear import LinearOperator


class Interpolation(LinearOperator):
    r"""p -> (L_l p)_l, (L_l p)_i[n] = sum_k xi_li[k] p_i[n + k]: (*batch, 2, N1, N2) -> (*batch, m, 2, N1, N2).

    kernels   xi at the start, (m, 2, N, N), N odd, of sum 1; `forward_kernel()`, `condat_kernels()`
    order     1: the sums stay 1; 2: so do the first moments, and with them the points of interpolation
    boundary  "periodic", or "reflect": no flux through the border, where p is 0, as it is beyond

    The taps are parameters by `HeldMoments`: the sums are kept. Raises ValueError for kernels of another
    shape or sum, for order < 1, and for another boundary.
    """

    def __init__(self, kernels: Float[Tensor, "m 2 N N"], order: int = 1, boundary: str = "reflect"):
        super().__init__()
        if kernels.ndim != 4 or kernels.shape[1] != 2 or kernels.shape[2] != kernels.shape[3] or order < 1:
            raise ValueError(
                "A point of interpolation has two kernels of N x N taps, for p_1 and p_2, and keeps their sums, order "
                f">= 1: (m, 2, N, N); got shape {tuple(kernels.shape)}, order={order}."
            )
        sums = kernels.sum((-2, -1))
        if not bool(((sums - 1).abs() < 1e-6).all()):
            raise ValueError(
                "A kernel of interpolation has the sum 1, or TV_h does not tend to TV; got "
                f"{[round(x, 4) for x in sums.flatten().tolist()]}. Divide each by its sum."
            )
        self.D = Gradient(1.0, 2, boundary)
        self.boundary = boundary
        self.xi = HeldMoments(kernels, order)

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_components(u, "p", 2, 1)
        return bank_correlate(self.inside(u), self._kernels(u), self._border).transpose(-4, -3)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """sum_l L_l^T v_l."""
        check_picture(f, "v", 4)
        if f.shape[-4:-2] != self.xi.start.shape[:2]:
            raise ValueError(
                f"v holds {len(self.xi.start)} gradients of two components before its two space axes; got shape "
                f"{tuple(f.shape)}."
            )
        return self.inside(bank_adjoint(f.transpose(-4, -3), self._kernels(f), self._border))

    def _kernels(self, like: Tensor) -> Tensor:
        """xi as (2, m, N, N), of the type of `like`."""
        return self.xi(like).transpose(0, 1)

    @property
    def _border(self) -> str:
        return "periodic" if self.boundary == "periodic" else "zero"

    def inside(self, p: Tensor) -> Tensor:
        """p, 0 where it would cross a reflecting border; its own adjoint."""
        if self.boundary == "periodic":
            return p
        p1, p2 = p.unbind(-3)
        return torch.stack(
            [torch.nn.functional.pad(p1[..., :-1, :], (0, 0, 0, 1)), torch.nn.functional.pad(p2[..., :-1], (0, 1))], -3
        )

    def spectrum(self, shape: Sequence[int]) -> Float[Tensor, "2 n1 n2"]:
        """sum_l |xi_li^(w)|^2 at the frequencies of a torus: the eigenvalues of L^T L, i = 1, 2."""
        return symbols(self.xi(self.xi.start), shape).abs().square().sum(0)

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """max (sum_l |xi_li^|^2)^{1/2} on a torus, else by power iteration; a number, without derivative."""
        with torch.no_grad():
            if self.boundary == "periodic":
                return self.spectrum(like.shape[-2:]).max().sqrt().to(like)
            return super().norm(like, k, tol)


def forward_kernel() -> Float[Tensor, "1 2 3 3"]:
    """xi = delta: |(p_1[n], p_2[n])| <= 1, the total variation of forward differences."""
    return _kernels([[{(0, 0): 1.0}, {(0, 0): 1.0}]])


def condat_kernels() -> Float[Tensor, "3 2 3 3"]:
    """Condat's: at n + e_1/2 and n + e_2/2, where one component lives, and at n, between two and two."""
    two = [{(0, 0): 0.5, (-1, 0): 0.5}, {(0, 0): 0.5, (0, -1): 0.5}]
    first = {(0, 0): 0.25, (0, -1): 0.25, (1, 0): 0.25, (1, -1): 0.25}  # p_2 at n + e_1/2
    second = {(0, 0): 0.25, (-1, 0): 0.25, (0, 1): 0.25, (-1, 1): 0.25}  # p_1 at n + e_2/2
    return _kernels([[{(0, 0): 1.0}, first], [second, {(0, 0): 1.0}], two])


def _kernels(points: list[list[dict[tuple[int, int], float]]]) -> Tensor:
    xi = torch.zeros(len(points), 2, 3, 3, dtype=torch.float64)
    for l, pair in enumerate(points):
        for i, taps in enumerate(pair):
            for (a, b), value in taps.items():
                xi[l, i, a + 1, b + 1] = value
    return xi
