r"""p(x) = sum_a c_a x^a over monomials x^a = x_1^{a_1} ... x_n^{a_n}: what a SymNet is when it is written out.   (5.4)

`times` multiplies two polynomials and drops what exceeds a total degree d, by a table of C(2n + d, d) products of
coefficients: 2925 for n = 12, d = 3, where a symbolic expansion of a SymNet does not end.

Paper: (5.4), [101].  Notebook: 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

LARGEST = 2_000_000  # products of coefficients in a table


class Polynomial(nn.Module):
    r"""x -> sum_a c_a x^a, (*batch, n, points) -> (*batch, points).

    exponents     the a, (monomials, n)
    coefficients  the c_a, (monomials,); or (outputs, monomials) for several polynomials, whose axis then stands before
                  `points`; axes in front of that go with the first axes of x. A Parameter is learned, a tensor is not.

    p[i] is one of several. A name in `terms` is a product of the variables' names, shorter ones first.

    >>> p = Polynomial(torch.tensor([[1, 1], [0, 2]]), torch.tensor([-1.0, 0.5]))
    >>> p(torch.tensor([[2.0], [3.0]])), p.terms(["u", "u_x"])
    (tensor([-1.5000]), {'u*u_x': -1.0, 'u_x**2': 0.5})
    """

    exponents: Tensor
    coefficients: Tensor

    def __init__(self, exponents: Int[Tensor, "monomials n"], coefficients: Float[Tensor, "*more monomials"]):
        super().__init__()
        if exponents.ndim != 2 or coefficients.ndim == 0 or coefficients.shape[-1] != len(exponents):
            raise ValueError(
                "A polynomial has a row of exponents for each coefficient; got exponents of shape "
                f"{tuple(exponents.shape)} and coefficients of shape {tuple(coefficients.shape)}."
            )
        self.register_buffer("exponents", exponents)
        self.n, self.degrees = exponents.shape[1], exponents.amax(0).tolist() if len(exponents) else []
        if isinstance(coefficients, nn.Parameter):
            self.coefficients = coefficients
        else:
            self.register_buffer("coefficients", coefficients)

    @classmethod
    def of(cls, *terms: Mapping[str, float], names: Sequence[str]) -> Polynomial:
        r"""The polynomials with some terms, one output for each mapping: the reverse of `terms`.

        >>> Polynomial.of({"u*u_x": -1.0, "u_xx": 0.1}, names=["u", "u_x", "u_xx"])[0].terms(["u", "u_x", "u_xx"])
        {'u*u_x': -1.0, 'u_xx': 0.1}
        """
        rows = [{_exponents(term, names): float(c) for term, c in mapping.items()} for mapping in terms]
        a = sorted(set().union(*rows), key=lambda a: (sum(a), [-i for i in a]))
        c = torch.tensor([[row.get(b, 0.0) for b in a] for row in rows], dtype=torch.float64)
        return cls(torch.tensor(a, dtype=torch.long).reshape(len(a), len(names)), c)

    def __getitem__(self, i: int) -> Polynomial:
        if self.coefficients.ndim == 1:
            raise ValueError(
                f"p[i] is one of several polynomials, coefficients of shape (outputs, monomials); got p[{i}] of a "
                "single one. Use p itself."
            )
        return Polynomial(self.exponents, self.coefficients[i])

    def __len__(self) -> int:
        return 1 if self.coefficients.ndim == 1 else len(self.coefficients)

    def __iter__(self) -> Iterator[Polynomial]:
        return (self[i] for i in range(len(self)))

    def forward(self, x: Float[Tensor, "*batch n points"]) -> Float[Tensor, "*shape"]:
        if x.ndim < 2 or x.shape[-2] != self.n:
            raise ValueError(
                f"This is a polynomial in {self.n} variables: x has shape (*batch, {self.n}, points); got shape "
                f"{tuple(x.shape)}."
            )
        monomials = x.new_ones(*x.shape[:-2], len(self.exponents), x.shape[-1])
        for i, degree in enumerate(self.degrees):
            if degree:
                powers = torch.stack([x[..., i, :] ** e for e in range(degree + 1)], -2)
                monomials = monomials * powers.index_select(-2, self.exponents[:, i])
        c = self.coefficients.to(x)
        if lead := c.shape[:-2]:
            c = c.reshape(*lead, *(1,) * (x.ndim - 2 - len(lead)), *c.shape[-2:])
        return c @ monomials

    def rescaled(self, scale: Float[Tensor, "n"]) -> Polynomial:
        """x -> p(x / scale): the polynomial of the features themselves, if p is that of the features over `scale`."""
        powers = scale.to(self.coefficients) ** self.exponents
        return Polynomial(self.exponents, self.coefficients / powers.prod(-1))

    def pruned(self, threshold: float) -> Polynomial:
        """The terms with |c| >= threshold alone; monomials that no polynomial has any more are left out."""
        keep = self.coefficients.abs() >= threshold
        any_ = keep.reshape(-1, keep.shape[-1]).any(0)
        return Polynomial(self.exponents[any_], torch.where(keep, self.coefficients, 0)[..., any_])

    # ---- in words ------------------------------------------------------------------------------------------------

    def terms(self, names: Sequence[str], threshold: float = 0.0) -> dict[str, float]:
        """{"u*u_x": -0.99, ...}: the terms with |c| >= threshold, c != 0, the largest first; a constant is "1"."""
        return {
            "*".join(name if e == 1 else f"{name}**{e}" for name, e in factors) or "1": c
            for factors, c in self._factors(names, threshold)
        }

    def sympy(self, names: Sequence[str], threshold: float = 0.0) -> Any:
        """The same as a SymPy expression."""
        import sympy

        products = (
            c * sympy.Mul(*(sympy.Symbol(name) ** e for name, e in factors))
            for factors, c in self._factors(names, threshold)
        )
        return sympy.Add(*products)

    def latex(self, names: Sequence[str], threshold: float = 0.0, digits: int = 3) -> str:
        r"""The same for a page: -0.991 u u_{x} + 0.05 u_{xx}, the largest term first.

        >>> Polynomial.of({"u*u_x": -1.0, "u_xx": 0.05}, names=["u", "u_x", "u_xx"])[0].latex(["u", "u_x", "u_xx"])
        '-1 u u_{x} + 0.05 u_{xx}'
        """
        text = ""
        for factors, c in self._factors(names, threshold):
            letters = " ".join(_letters(name) + (f"^{{{e}}}" if e > 1 else "") for name, e in factors)
            sign = ("-" if c < 0 else "") if not text else " - " if c < 0 else " + "
            text += f"{sign}{abs(c):.{digits}g} {letters}".rstrip()
        return text or "0"

    def _factors(self, names: Sequence[str], threshold: float) -> list[tuple[list[tuple[str, int]], float]]:
        """[([(name, power), ...], c), ...], the largest |c| first."""
        if self.coefficients.ndim != 1:
            raise ValueError(
                f"These are {len(self)} polynomials, coefficients of shape {tuple(self.coefficients.shape)}; write one "
                "of them at a time: p[0], ..."
            )
        if len(set(names)) != self.n or len(names) != self.n:
            raise ValueError(f"A polynomial in {self.n} variables takes as many different names; got {list(names)}.")
        found = []
        for a, c in zip(self.exponents.tolist(), self.coefficients.tolist(), strict=True):
            if c != 0 and abs(c) >= threshold:
                factors = [(name, e) for name, e in zip(names, a, strict=True) if e]
                found.append((sorted(factors, key=lambda f: len(f[0])), c))
        return sorted(found, key=lambda f: -abs(f[1]))

    def extra_repr(self) -> str:
        return f"{self.n} variables, {len(self.exponents)} monomials"


# ---- the algebra ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def basis(n: int, degree: int) -> list[tuple[int, ...]]:
    r"""The C(n + d, d) monomials in n variables up to total degree d, as sorted lists of factors: (), (0,), (0, 0), ...

    >>> basis(2, 2)
    [(), (0,), (1,), (0, 0), (0, 1), (1, 1)]
    """
    if degree < 0 or math.comb(2 * n + degree, degree) > LARGEST:
        raise ValueError(
            f"Polynomials in n={n} variables are multiplied up to a total degree d >= 0 with C(2n + d, d) <= {LARGEST} "
            f"products; got degree={degree}. An equation of physics rarely needs more than 3."
        )
    return [m for d in range(degree + 1) for m in combinations_with_replacement(range(n), d)]


@lru_cache(maxsize=32)
def exponents(n: int, degree: int) -> Int[Tensor, "monomials n"]:
    """The exponents of `basis`, a row for each monomial."""
    with torch.inference_mode(False):  # kept in a cache, as the table below
        return torch.tensor([[m.count(i) for i in range(n)] for m in basis(n, degree)], dtype=torch.long)


@lru_cache(maxsize=32)
def _table(n: int, degree: int) -> Tensor:
    """The rows i, j, k with x^i x^j = x^k, for all pairs whose product is in the basis."""
    monomials = basis(n, degree)
    place = {m: k for k, m in enumerate(monomials)}
    first = [math.comb(n + d, d) for d in range(degree + 1)]  # the number of monomials up to degree d
    rows = [
        (i, j, place[tuple(sorted(m + monomials[j]))])
        for i, m in enumerate(monomials)
        for j in range(first[degree - len(m)])
    ]
    with torch.inference_mode(False):
        return torch.tensor(rows).T.contiguous()


def times(
    p: Float[Tensor, "*more monomials"], q: Float[Tensor, "*more monomials"], n: int, degree: int
) -> Float[Tensor, "*more monomials"]:
    """p q, coefficients in `basis`, without what exceeds the total degree."""
    i, j, k = _table(n, degree).to(p.device)
    return torch.zeros_like(p).index_add(-1, k, p[..., i] * q[..., j])


# ---- names ---------------------------------------------------------------------------------------------------------


def _exponents(term: str, names: Sequence[str]) -> tuple[int, ...]:
    """ "u*u_x**2" -> (1, 2): the exponents of a product of names."""
    a = dict.fromkeys(names, 0)
    for factor in term.replace("**", "^").split("*") if term != "1" else ():
        name, _, power = factor.strip().partition("^")
        if name not in a or not (power or "1").isdigit():
            raise ValueError(f"A term is a product of powers of {', '.join(names)}, or 1; got {term!r}.")
        a[name] += int(power or 1)
    return tuple(a.values())


def _letters(name: str) -> str:
    """u_xx -> u_{xx}."""
    letter, _, index = name.partition("_")
    return f"{letter}_{{{index}}}" if index else letter
