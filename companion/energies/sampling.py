r"""E_n(u) = nu |lambda_n . W T_n u|_1 + 1/2 |A_n T_n u - T_n f|^2,  E(u) = nu |D u|_1 + 1/2 |A u - f|^2.   (4.2), (4.3)

Everything lives on the periodic unit square: N = 2^n cells a side, h = 1/N, cell k with its centre at (k + 1/2) h.

    sample            T_n u[k], the mean of u about the centre of cell k, weighted with a B-spline
    lambda_n          1 / (C_alpha h^{|alpha|}) for each band of W, so that lambda_n . W T_n u ~ d^alpha u
    DiscreteEnergy    E_n
    ContinuumEnergy   E, for a smooth u

What (4.2) leaves open is fixed as [24] has it. The norms are weighted, |v|_1 = h^2 sum_k |v[k]| and |v|_2^2 = h^2 sum_k
|v[k]|^2: without h^2 both terms grow like h^{-2}. |v[k]| is the Euclidean length over the bands that share a place; the
sum of absolute values tends to int |d_1 u| + |d_2 u| instead, which is not (3.1). nu weights the regulariser: 1/lambda
of (3.2).

Paper: (4.2), (4.3), Prop 4.1, Prop 4.2.  Notebook: 07.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.energies.variation import DISCRETISATIONS, TotalVariation, TVModel, tv
from companion.operators.frames import FrameletTransform
from companion.operators.gradients import haar_gradient
from companion.operators.linear import LinearOperator
from companion.operators.measure import Identity
from companion.operators.splines import refinable

Function = Callable[[Tensor, Tensor], Tensor]  # u(x_1, x_2) of tensors that broadcast


def _three_entrywise(nu: float = 1.0, h: float = 1.0, boundary: str = "reflect") -> TotalVariation:
    return TotalVariation(nu, haar_gradient(h, 3, boundary), isotropic=False)


VARIATIONS: dict[str, Callable[..., TotalVariation]] = {  # the registry of (3.1), and the full Haar analysis model
    **DISCRETISATIONS,
    "Haar, three bands, entrywise": _three_entrywise,
}


def sample(u: Function, N: int, order: int = 1, points: int = 4) -> Float[Tensor, "n n"]:
    r"""T_n u[k] = h^{-2} int u(x) B(x/h - k - 1/2) dx, B the centred B-spline: N x N weighted means.   (4.2)

    u       a function of two tensors x_1, x_2 that broadcast, with period 1 in each: it is called on [0, 1) only
    order   1 the mean over the cell, 2 the hat over two cells a side, m the B-spline of order m: the refinable function
            of bspline(m). The paper's T_n has 2^n <u, phi_{n,k}>; for even orders its grid is half a cell from this one
    points  of Gauss's rule, along each side of each piece of B: exact for polynomials of degree < 2 points - m + 1 in
            each variable (where they do not meet the border, over which u is continued by its period)

    The weights sum to 1. For a u that jumps the rule is as rough as points h; `Disc.averages` is exact.

    >>> sample(lambda x, y: x, 2)
    tensor([[0.2500, 0.2500],
            [0.7500, 0.7500]], dtype=torch.float64)
    """
    _check_size(N)
    nodes, weights = refinable(order).quadrature(points)  # piece by piece: (order * points,)
    t = (nodes[:points] - nodes[:points].floor()).double()
    w = (weights / weights.sum()).double().reshape(order, points)
    x = torch.remainder((torch.arange(N)[:, None] + t + (1 - order) / 2) / N, 1.0).flatten()
    v = u(x[:, None], x[None, :])
    v = torch.as_tensor(v, dtype=torch.float64).expand(N * points, N * points)
    for axis in (0, 1):  # along each axis: weigh the points of each piece, then add the pieces that cell k sees
        pieces = v.movedim(axis, 0).reshape(N, points, -1)
        means = torch.stack([torch.einsum("t,ktj->kj", w[j], pieces).roll(-j, 0) for j in range(order)])
        v = means.sum(0).movedim(0, axis)
    return v.contiguous()


def lambda_n(W: FrameletTransform, h: float) -> Float[Tensor, "band ..."]:
    r"""1 / (C_alpha h^{|alpha|}) for every high band, with its sign, and 0 on the average: (band, 1, ..., 1).   (4.2)

    C_alpha and alpha are those of the band's filter q_{ell,l}: at level l, C is 2^{l |alpha|} times that of level 0. So
    lambda_n . W u ~ (d^alpha u) in every high band, by Prop 4.1; |lambda_n| = 2^{n |alpha|} / |C_alpha| for h = 2^{-n}.

    Raises ValueError for h <= 0, and for a filter without vanishing moments of some order alpha.

    >>> from companion import bspline
    >>> lambda_n(FrameletTransform(bspline(1)), 0.5).flatten()             # -2/h, -2/h, 4/h^2
    tensor([ 0., -4., -4., 16.], dtype=torch.float64)
    """
    if not 0 < h < float("inf"):
        raise ValueError(f"The grid step h is a length > 0; got h={h}. On the unit square it is 1/N.")
    values = [0.0 if band.low else 1 / _constant(W, *band, h) for band in W.bands]
    return torch.tensor(values, dtype=torch.float64, device=W.device).reshape(-1, *[1] * W.dim)


def _constant(W: FrameletTransform, ell: tuple[int, ...], level: int, h: float) -> float:
    """C_alpha h^{|alpha|} of one band."""
    q = W.filter(ell, level)
    alpha = q.vanishing_order()
    if alpha is None:
        raise ValueError(
            f"lambda_n divides by the constant C_alpha of Prop 4.1, and the filter of band {(ell, level)} has none: "
            "several of its first moments differ from 0. Use a bank such as bspline(m)."
        )
    return q.constant(alpha) * h ** sum(alpha)


class DiscreteEnergy(nn.Module):
    r"""E_n(u) = nu h^2 sum_k |(lambda_n . W T_n u)[k]| + h^2/2 sum_k |(A_n T_n u)[k] - T_n f[k]|^2.   (4.2)

    J      a TotalVariation on the periodic unit square, nu inside: VARIATIONS[name](nu, 1 / N, "periodic"), or any
           TotalVariation(nu, FrameGradient(...)), whose components are bands of lambda_n . W
    f      a function of (x_1, x_2), or its samples T_n f, (N, N)
    A      A_n, an operator on pictures; by default the identity
    order  of the B-spline of T_n

    Called with a function u it samples it; with a picture (N, N) it takes it for T_n u. `problem` is min E_n, for the
    solvers: a ROF or TVModel whose unknown is T_n u, all that E_n sees of u. So a function that minimises E_n is never
    the only one; the course takes the one that is T_n u[k] on cell k.

    Raises ValueError for a J that is not periodic, or whose h is not 1/N.
    """

    def __init__(self, J: TotalVariation, f: Function | Tensor, A: LinearOperator | None = None, order: int = 1):
        super().__init__()
        h, N = J.D.h, round(1 / J.D.h)
        if J.D.boundary != "periodic" or J.D.dim != 2 or abs(N * h - 1) > 1e-9:
            raise ValueError(
                "E_n lives on the periodic unit square, whose step is h = 1/N; J has "
                f"h={h:g}, dim={J.D.dim}, boundary={J.D.boundary!r}. Build it by VARIATIONS[name](nu, 1/N, 'periodic')."
            )
        self.J, self.N, self.order = J, N, order
        self.problem: TVModel = tv(Identity() if A is None else A, self.samples(f), J.nu, J.D, J.isotropic)

    def samples(self, u: Function | Tensor) -> Float[Tensor, "*batch n n"]:
        """T_n u; a picture is taken for its own samples."""
        if not isinstance(u, Tensor):
            return sample(u, self.N, self.order)
        if u.shape[-2:] != (self.N, self.N):
            raise ValueError(f"The samples of E_n are {self.N} x {self.N}, as h = 1/{self.N}; got {tuple(u.shape)}.")
        return u

    def forward(self, u: Function | Tensor) -> Float[Tensor, ""]:
        return self.problem(self.samples(u))


class ContinuumEnergy(nn.Module):
    r"""E(u) = nu int (sum_alpha |d^alpha u|^2)^{1/2} + 1/2 int |A u - f|^2 for a smooth u of period 1.   (4.3)

    nu         >= 0
    f          a function of (x_1, x_2)
    isotropic  False: int sum_alpha |d^alpha u|, the limit of the entrywise norm
    A          takes the function u to the function A u; by default the identity
    D          the orders alpha of D u = (d^alpha u)_alpha; (1,0), (0,1) is the gradient. A derivative named twice
               counts twice: (2,0), (1,1), (1,1), (0,2) is the Frobenius norm of the Hessian
    points     a side of the periodic grid on which the mean stands for the integral

    Derivatives are exact, by automatic differentiation. The mean over a periodic grid errs less than any power of
    1/points for the data term of smooth u and f; where |D u| has a cone (isotropic, an isolated zero of D u) like its
    cube, and where it has a fold along a curve (entrywise) like its square.
    """

    def __init__(
        self,
        nu: float,
        f: Function,
        isotropic: bool = True,
        A: Callable[[Function], Function] | None = None,
        D: Sequence[tuple[int, int]] = ((1, 0), (0, 1)),
        points: int = 512,
    ):
        super().__init__()
        if not 0 <= nu < float("inf"):
            raise ValueError(f"The weight nu of the regulariser is finite and >= 0; got nu={nu}.")
        _check_size(points)
        self.nu, self.f, self.isotropic, self.A, self.D, self.points = float(nu), f, isotropic, A, tuple(D), points

    def variation(self, u: Function) -> Float[Tensor, ""]:
        """int |D u|, without nu."""
        with torch.enable_grad():
            x = self._grid().requires_grad_()
            parts = torch.stack([self._derivative(u(x[0], x[1]), x, alpha).detach() for alpha in self.D])
        length = torch.linalg.vector_norm(parts, dim=0) if self.isotropic else parts.abs().sum(0)
        return length.mean()

    def forward(self, u: Function) -> Float[Tensor, ""]:
        x, Au = self._grid(), u if self.A is None else self.A(u)
        return self.nu * self.variation(u) + (Au(x[0], x[1]) - self.f(x[0], x[1])).square().mean() / 2

    def _grid(self) -> Tensor:
        """The points (i + 1/2)/points, (j + 1/2)/points: (2, points, points)."""
        x = (torch.arange(self.points, dtype=torch.float64) + 0.5) / self.points
        return torch.stack(torch.meshgrid(x, x, indexing="ij"))

    @staticmethod
    def _derivative(v: Tensor, x: Tensor, alpha: tuple[int, int]) -> Tensor:
        """d^alpha v at every point; 0 where v does not depend on x."""
        for axis in (0, 1):
            for _ in range(alpha[axis]):
                if not v.requires_grad:
                    return torch.zeros_like(x[0])
                v = torch.autograd.grad(v.sum(), x, create_graph=True)[0][axis]
        return v


def _check_size(N: int) -> None:
    if not isinstance(N, int) or N < 1:
        raise ValueError(f"A grid has N >= 1 cells a side, an integer; got {N!r}.")
