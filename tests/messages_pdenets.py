"""Rows of test_messages.py about moments and PDE-Nets: (name, what somebody does, the error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    MomentBank,
    Polynomial,
    SymNet,
    accuracy_of,
    central,
    constrained,
    degrees_of_freedom,
    moment_matrix,
    upwind,
)
from companion.nets.polynomial import basis

Row = tuple[str, Callable[[], Any], type[Exception], str]
ONES = torch.ones
TWO = Polynomial(torch.eye(2, dtype=torch.long), ONES(3, 2))

MOMENTS: list[Row] = [
    (
        "a filter without a middle",
        lambda: moment_matrix(ONES(4, 4)),
        ValueError,
        "with 0 in the middle, so N is odd; got «N=4». Take N=5, or pad the filter with zeros to it.",
    ),
    ("a bank of even filters", lambda: MomentBank([(1, 0)], N=6), ValueError, "so N is odd; got «N=6»."),
    (
        "an oblong filter",
        lambda: moment_matrix(ONES(3, 5)),
        ValueError,
        "N taps along each of its 2 axes, real numbers; got shape «(3, 5)» of torch.float32.",
    ),
    (
        "a filter of whole numbers",
        lambda: accuracy_of(torch.tensor([0, -1, 1]), 1),
        ValueError,
        "along each of its 1 axes, real numbers; got shape (3,) of «torch.int64».",
    ),
    (
        "moments in space",
        lambda: moment_matrix(ONES(3, 3, 3), dim=3),
        ValueError,
        "one or two dimensions here; got «dim=3».",
    ),
    (
        "a derivative beyond the taps",
        lambda: central((3, 0), 3),
        ValueError,
        "each from 0 to N-1 for N=3 taps along an axis; got «(3, 0)».",
    ),
    (
        "the accuracy of a line for a surface",
        lambda: accuracy_of(ONES(3, 3), 1),
        ValueError,
        "A derivative is (i, j), or i in one dimension ... got «1».",
    ),
    (
        "one-sided on three taps",
        lambda: upwind((0, 1), 3),
        ValueError,
        "reaches from k = 0 to k = 2, so it needs N >= 5 taps; got «N=3». Take central(alpha, N).",
    ),
    (
        "k^3 = k on three taps",
        lambda: constrained((1, 0), 3, accuracy=3),
        ValueError,
        "for the derivative of order (1, 0) has an accuracy of 1 to 2: beyond, the moments contradict each other; got "
        "«accuracy=3». Take a larger N or less accuracy.",
    ),
    ("no accuracy", lambda: degrees_of_freedom((1, 0), 5, 0), ValueError, "accuracy of 1 to 4 ... got «accuracy=0»."),
    ("a bank of no filters", lambda: MomentBank([]), ValueError, "has one derivative or more ... got «[]»."),
    (
        "lines and surfaces",
        lambda: MomentBank([1, (1, 0)]),
        ValueError,
        "all in one dimension or all in two ... got «[1, ",
    ),
    ("a grid without a step", lambda: MomentBank([1], h=0.0), ValueError, "must be finite and > 0; got «h=0.0»."),
    (
        "filters on whole numbers",
        lambda: MomentBank([(1, 0)])(torch.ones(8, 8, dtype=torch.long)),
        ValueError,
        "act on real numbers with 2 axes or more ... got shape (8, 8) of «torch.int64».",
    ),
    (
        "a bank of nets on one net's data",
        lambda: MomentBank([(1, 0)], nets=3)(ONES(2, 8, 8)),
        ValueError,
        "a bank of 3 nets, so u has 3 or 1 in front ... got shape «(2, 8, 8)». Take u.unsqueeze(0) to give all of them",
    ),
]

SYMNETS: list[Row] = [
    (
        "a net of nothing",
        lambda: SymNet(0),
        ValueError,
        "n >= 1 inputs, m >= 0 products ... got «n_inputs=0», hidden=5",
    ),
    (
        "too few features",
        lambda: SymNet(12)(ONES(6, 10)),
        ValueError,
        "takes n=12 numbers at each point, x of shape (*batch, 12, points) ... got shape «(6, 10)» of torch.float32.",
    ),
    (
        "nets on one net's features",
        lambda: SymNet(2, nets=3)(ONES(4, 2, 10)),
        ValueError,
        "These are 3 SymNets, so x has 3 or 1 in front ... got shape «(4, 2, 10)». Take x.unsqueeze(0)",
    ),
    (
        "one expression of many nets",
        lambda: SymNet(2, nets=3).expression(["u", "v"]),
        ValueError,
        "These are «3» SymNets; write one at a time: net.polynomial(degree)[i][output].sympy(names).",
    ),
    (
        "a polynomial of degree 32",
        lambda: SymNet(12).polynomial(32),
        ValueError,
        "in n=12 variables are multiplied up to a total degree d >= 0 with C(2n + d, d) <= 2000000 products; got "
        "«degree=32».",
    ),
    ("a polynomial of negative degree", lambda: basis(2, -1), ValueError, "d >= 0 ... got «degree=-1»."),
    (
        "coefficients without exponents",
        lambda: Polynomial(torch.eye(2, dtype=torch.long), ONES(3)),
        ValueError,
        "a row of exponents for each coefficient; got exponents of shape (2, 2) and coefficients of shape «(3,)».",
    ),
    (
        "a part of one polynomial",
        lambda: TWO[0][0],
        ValueError,
        "one of several polynomials ... got «p[0]» of a single one.",
    ),
    (
        "a polynomial of other variables",
        lambda: TWO(ONES(3, 10)),
        ValueError,
        "a polynomial in 2 variables: x has shape (*batch, 2, points); got shape «(3, 10)».",
    ),
    (
        "the terms of several polynomials",
        lambda: TWO.terms(["u", "v"]),
        ValueError,
        "These are 3 polynomials, coefficients of shape «(3, 2)»; write one of them at a time: p[0], ...",
    ),
    (
        "two variables of one name",
        lambda: TWO[0].terms(["u", "u"]),
        ValueError,
        "in 2 variables takes as many different names; got «['u', 'u']».",
    ),
    (
        "a term that is no product",
        lambda: Polynomial.of({"u + v": 1.0}, names=["u", "v"]),
        ValueError,
        "A term is a product of powers of u, v, or 1; got «'u + v'».",
    ),
]

PDENETS: list[Row] = [*MOMENTS, *SYMNETS]
