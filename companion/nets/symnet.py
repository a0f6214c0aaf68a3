r"""SymNet_m^n: m products of affine maps of what is known so far, then an affine map: a polynomial that learns.   (5.4)

    y = (x_1, ..., x_n);   for k = 1, ..., m:   y <- (y, (a_k . y + b_k) (c_k . y + d_k));   SymNet(x) = e . y + f

Its degree is 2^m at most, its parameters are (n + 1)(2m + 1) + m^2: 168 for n = 12 and m = 5, where all polynomials
of degree 32 would have 2.1e10 coefficients. The affine maps are kept as one matrix for what they see of x, and one
column for each product, in the rows of the maps after it:

    z = weight x + bias in R^{2m+1};   for each k:   product = z_1 z_2,   z <- (z_3, z_4, ...) + feed_k product;   z.

The same lines, with coefficients for numbers, are the exact polynomial up to a chosen degree.

Sources: Sahoo, Lampert and Martius, Learning equations for extrapolation and control (2018), [135]; Long, Lu and Dong,
PDE-Net 2.0 (2019), [101].
Paper: (5.4).  Notebook: 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.nets.polynomial import Polynomial, exponents, times


class SymNet(nn.Module):
    r"""x -> SymNet_m^n(x) of (5.4), (*batch, n, points) -> (*batch, outputs, points), a net of its own for each output.

    n_inputs   n
    hidden     m, the number of products; 0 is an affine map
    outputs    how many: the components of u
    nets       S for S independent nets at once; x then has S, or 1, in front
    std        of the normal law that every parameter is drawn from
    generator  of the random numbers

    The parameters are kept in float64; the net computes in the type of x.

    >>> net = SymNet(12, hidden=5, outputs=2)
    >>> sum(p.numel() for p in net.parameters()), net(torch.zeros(7, 12, 100)).shape
    (336, torch.Size([7, 2, 100]))
    """

    def __init__(
        self,
        n_inputs: int,
        hidden: int = 5,
        outputs: int = 1,
        nets: int | None = None,
        std: float = 0.1,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if n_inputs < 1 or hidden < 0 or outputs < 1 or (nets is not None and nets < 1):
            raise ValueError(
                "A SymNet has n >= 1 inputs, m >= 0 products, and one output and one net at least; got "
                f"n_inputs={n_inputs}, hidden={hidden}, outputs={outputs}, nets={nets}."
            )
        self.n_inputs, self.hidden, self.outputs, self.nets = n_inputs, hidden, outputs, nets
        lead = (outputs,) if nets is None else (nets, outputs)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(std * torch.randn(*lead, *shape, dtype=torch.float64, generator=generator))

        rows = 2 * hidden + 1
        self.weight, self.bias = normal(rows, n_inputs), normal(rows)
        self.feed = nn.ParameterList([normal(rows - 2 * (k + 1)) for k in range(hidden)])

    def forward(self, x: Float[Tensor, "*batch n points"]) -> Float[Tensor, "*more outputs points"]:
        self._check(x)
        lead = () if self.nets is None else (self.nets, *(1,) * (x.ndim - 3))

        def fit(p: Tensor, *shape: int) -> Tensor:
            return p.to(x).reshape(*lead, *shape)

        rows = 2 * self.hidden + 1
        z = fit(self.weight, -1, self.n_inputs) @ x + fit(self.bias, -1, 1)
        z = z.unflatten(-2, (self.outputs, rows))
        return self._products(z, [fit(c, self.outputs, -1, 1) for c in self.feed], torch.mul)

    def polynomial(self, degree: int) -> Polynomial:
        r"""The coefficients of SymNet(x) at all C(n + d, d) monomials up to total degree d, exactly.

        No approximation: what exceeds d is dropped at each product, and no later product brings it back. The
        coefficients, (*nets, outputs, monomials), are differentiable functions of the parameters.

        Raises ValueError where the table of products would be too large.
        """
        a = exponents(self.n_inputs, degree)
        linear = torch.cat([self.bias.unsqueeze(-1), self.weight], -1)[..., : len(a)]
        z = nn.functional.pad(linear, (0, len(a) - linear.shape[-1]))
        product = partial(times, n=self.n_inputs, degree=degree)
        coefficients = self._products(z, [c.unsqueeze(-1) for c in self.feed], product)
        return Polynomial(a.to(coefficients.device), coefficients)

    def expression(self, names: Sequence[str], threshold: float = 0.0, degree: int = 3) -> list[Any]:
        """The polynomial of each output as a SymPy expression: terms up to `degree`, those with |c| < threshold out."""
        if self.nets is not None:
            raise ValueError(
                f"These are {self.nets} SymNets; write one at a time: net.polynomial(degree)[i][output].sympy(names)."
            )
        return [p.sympy(names, threshold) for p in self.polynomial(degree)]

    @staticmethod
    def _products(z: Tensor, feed: list[Tensor], product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The product of the first two rows is sent to the rows after them, until one row is left."""
        for column in feed:
            first, second, z = z.split((1, 1, z.shape[-2] - 2), -2)
            z = z + column * product(first, second)
        return z.squeeze(-2)

    def _check(self, x: Tensor) -> None:
        rank = 2 if self.nets is None else 3
        if x.ndim < rank or not x.is_floating_point() or x.shape[-2] != self.n_inputs:
            raise ValueError(
                f"This SymNet takes n={self.n_inputs} numbers at each point, x of shape (*batch, {self.n_inputs}, "
                f"points), the nets in front; got shape {tuple(x.shape)} of {x.dtype}."
            )
        if self.nets is not None and x.shape[0] not in (1, self.nets):
            raise ValueError(
                f"These are {self.nets} SymNets, so x has {self.nets} or 1 in front, (S, *batch, n, points); got shape "
                f"{tuple(x.shape)}. Take x.unsqueeze(0) to give all of them the same x."
            )

    def extra_repr(self) -> str:
        return f"n_inputs={self.n_inputs}, hidden={self.hidden}, outputs={self.outputs}, nets={self.nets}"
