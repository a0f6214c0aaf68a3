"""Rows of test_messages.py about moments and PDE-Nets: (name, what somebody does, the error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    Averaged,
    Euler,
    Interpolant,
    LinearRightSide,
    MomentBank,
    PDENet1,
    Polynomial,
    RightSide,
    SymNet,
    accuracy_of,
    block_loss,
    central,
    check_frames,
    constrained,
    degrees_of_freedom,
    huber,
    moment_matrix,
    pdenet,
    relative_loss,
    upwind,
)
from companion.lab.blockwise import blockwise
from companion.lab.pde_data import Data
from companion.lab.pdes import Burgers
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

NET = pdenet(h=0.2, dt=0.01)
ONE = MomentBank([(0, 0), (1, 0)], N=3)
SURFACES = Interpolant(0.0, 1.0, mesh=1, dim=2, several=(2,))
RISING = torch.linspace(0, 1, 16)[:, None].expand(3, 5, 2, 16, 16)


def waves(**bad: float) -> torch.Tensor:
    """Five frames of sin(x) cos(y) on 16 x 16 points."""
    x = 2 * torch.pi * torch.arange(16) / 16
    u = (x.sin()[:, None] * x.cos()).expand(3, 5, 2, 16, 16).clone()
    for value in bad.values():
        u[1, 2, 0, 3, 4:6] = value
    return u


NETS_FOR_PDES: list[Row] = [
    (
        "a response of other features",
        lambda: RightSide(ONE, SymNet(3)),
        ValueError,
        "C outputs for C components of u, and 2 C inputs, their derivatives; got «1 outputs, 3 inputs».",
    ),
    (
        "one response for two components",
        lambda: RightSide(ONE, SymNet(4)),
        ValueError,
        "got «1 outputs, 4 inputs».",
    ),
    (
        "a polynomial without an axis for its outputs",
        lambda: RightSide(ONE, Polynomial(torch.eye(2, dtype=torch.long), ONES(2))),
        ValueError,
        "got «0 outputs, 2 inputs». The coefficients of a Polynomial are (C, monomials).",
    ),
    (
        "three responses for one bank",
        lambda: RightSide(ONE, SymNet(2, nets=3)),
        ValueError,
        "As many responses as banks: got a bank with nets=None, a SymNet with «nets=3».",
    ),
    (
        "a scalar for a vector equation",
        lambda: NET(ONES(4, 1, 16, 16)),
        ValueError,
        "u has shape (*batch, 2, N1, N2) on a plane; got shape «(4, 1, 16, 16)».",
    ),
    ("half a block", lambda: NET(waves()[:, 0], k=0.5), ValueError, "a whole number k >= 0 of blocks; got «k=0.5»."),
    ("blocks backwards", lambda: NET.maps(-1), ValueError, "k >= 0 of blocks; got «k=-1»."),
    ("blocks of no time", lambda: pdenet(dt=0.0), ValueError, "The time step must be finite and > 0; got «dt=0.0»."),
    ("a PDE-Net of even filters", lambda: pdenet(N=6), ValueError, "so N is odd; got «N=6»."),
    (
        "a derivative for an average",
        lambda: Averaged(Euler(torch.sin, 0.1), ONE),
        ValueError,
        "The average is one filter, of order 0; got a bank with the orders «[(0, 0), (1, 0)]».",
    ),
    (
        "coefficients for other filters",
        lambda: LinearRightSide(MomentBank([(2, 0)]), SURFACES, 8),
        ValueError,
        "two dimensions with several=(1,); got «several=(2,) in 2 dimension(s)».",
    ),
    (
        "a source in the plane",
        lambda: LinearRightSide(ONE, SURFACES, 8, SURFACES),
        ValueError,
        "an Interpolant in one dimension with several=(); got «several=(2,) in 2 dimension(s)».",
    ),
    (
        "a field of another size than the coefficients",
        lambda: PDENet1(grid=8, dt=0.1, mesh=1)(ONES(2, 1, 9, 9)),
        ValueError,
        "The coefficients live on 8 x 8 points, so does u, (*batch, 8, 8); got shape «(2, 1, 9, 9)».",
    ),
    (
        "a mesh from right to left",
        lambda: Interpolant(1.0, 0.0),
        ValueError,
        "covers an interval [a, b] with a < b; got «[1.0, 0.0]».",
    ),
    (
        "a mesh of constants",
        lambda: Interpolant(0.0, 1.0, degree=0),
        ValueError,
        "one cell or more, a degree >= 1 and one or two variables; got mesh=20, «degree=0», dim=1.",
    ),
    (
        "too few nodal values",
        lambda: Interpolant(0.0, 1.0, mesh=4, values=ONES(5)),
        ValueError,
        "each of the 4 x 2 + 1 nodes along an axis, shape (9,); got shape «(5,)». `nodes()` says where they are.",
    ),
    (
        "points in space",
        lambda: SURFACES(ONES(7, 3)),
        ValueError,
        "Points of the plane have shape (*points, 2); got shape «(7, 3)».",
    ),
    ("whole points", lambda: Interpolant(0.0, 1.0)(torch.arange(3)), ValueError, "at real numbers; got «torch.int64»."),
    ("a bottom of no width", lambda: huber(ONES(3), 0.0), ValueError, "of half-width s > 0; got «s=0.0»."),
    (
        "a loss of one frame",
        lambda: block_loss(NET, waves()[:, :1], 0.01),
        ValueError,
        "two frames or more, (*batch, n + 1, C, N1, N2) on a plane; got shape «(3, 1, 2, 16, 16)».",
    ),
    (
        "a loss at another dt",
        lambda: block_loss(NET, waves(), 0.02),
        ValueError,
        "got «dt=0.02» for the data and dt=0.01 of a block. Make the net with dt=0.02, or choose frames that fit.",
    ),
    (
        "the end of another field",
        lambda: relative_loss(NET, waves()[:, 0], waves()[0, 0], 1),
        ValueError,
        "the same fields at two times; got shapes (3, 2, 16, 16) and «(2, 16, 16)».",
    ),
    (
        "frames of whole numbers",
        lambda: check_frames(torch.ones(3, 1, 8, 8, dtype=torch.long), 0.1, 0.1),
        ValueError,
        "Frames are real numbers of shape (*batch, frames, C, N1, N2); got shape (3, 1, 8, 8) of «torch.int64».",
    ),
    (
        "frames with NaN",
        lambda: check_frames(waves(bad=float("nan")), 0.01, 0.2),
        ValueError,
        "Frames must be finite; «2 of 7680» entries are NaN or infinite. Leave out the trajectories they are in",
    ),
    (
        "too few frames",
        lambda: check_frames(waves(), 0.01, 0.2, blocks=6),
        ValueError,
        "n blocks are fitted to n + 1 frames in a row, n >= 1; got «blocks=6 and 5 frames». Take at most 4 blocks, or",
    ),
    (
        "one frame",
        lambda: check_frames(waves()[:, :1], 0.01, 0.2),
        ValueError,
        "got «blocks=1 and 1 frames». Take more frames, or make longer trajectories.",
    ),
    ("no block", lambda: check_frames(waves(), 0.01, 0.2, blocks=0), ValueError, "got «blocks=0» and 5 frames. Take b"),
    (
        "frames at other times than the blocks",
        lambda: check_frames(waves(), 0.015, 0.2, net=NET),
        ValueError,
        "got «dt=0.015» for the data and dt=0.01 of a block. Make the net with dt=0.015, or choose frames that fit.",
    ),
    (
        "another grid than that of the filters",
        lambda: check_frames(waves(), 0.01, 0.1, net=NET),
        ValueError,
        "The step of the filters is that of the data; got «h=0.1» for the data and h=0.2 of the filters. Make the net",
    ),
    (
        "frames at uneven times",
        lambda: check_frames(waves(), [0.0, 0.1, 0.3], 0.2),
        ValueError,
        "The frames must be equidistant; got steps from 0.1 to «0.2». Interpolate u to a uniform grid, or choose those",
    ),
    (
        "an uneven grid",
        lambda: check_frames(waves(), 0.01, torch.linspace(0, 1, 16) ** 2),
        ValueError,
        "The grid points must be equidistant; got steps from «0.00444445» to 0.128889.",
    ),
    (
        "frames that go back in time",
        lambda: check_frames(waves(), -0.01, 0.2),
        ValueError,
        "The step between frames is a number > 0, or is read off their increasing times; got «-0.01».",
    ),
    (
        "a ramp taken for periodic",
        lambda: check_frames(RISING, 0.01, 0.2),
        ValueError,
        "along «x (axis -2)» it jumps by 1 across the border and by at most 0.0667 inside. Is the domain a full pe",
    ),
    (
        "the end of the period twice",
        lambda: check_frames(torch.cat([waves(), waves()[..., :1]], -1), 0.01, 0.2),
        ValueError,
        "line along «y (axis -1)» are the same: a periodic grid ends one step ... Leave out the last line.",
    ),
    (
        "one set of films for two nets",
        lambda: blockwise(
            pdenet(h=0.2, dt=0.01, nets=2), lambda stage, frames: Data(waves(), 0.01, 0.2, 0.0, Burgers()), (1,)
        ),
        ValueError,
        "2 nets has its own films: u is (2 or 1, n, frames, C, N1, N2); got shape «(3, 5, 2, 16, 16)». ... u[None] for",
    ),
]

PDENETS: list[Row] = [*MOMENTS, *SYMNETS, *NETS_FOR_PDES]
