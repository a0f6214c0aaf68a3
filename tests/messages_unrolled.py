"""Rows of test_messages.py about learned maps and frames: (name, what somebody does, the error, what it says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    ADMM,
    FrameletTransform,
    Heat,
    Identity,
    LearnedFrame,
    analysis,
    biorthogonal,
    bspline,
    dct,
    learned,
    unrolled,
)
from companion.nets.learned import Between

Row = tuple[str, Callable[[], Any], type[Exception], str]
HAAR = FrameletTransform(bspline(1))
STEP = ADMM(analysis(Identity(), torch.ones(4, 4), HAAR, HAAR.weights(0.1)), 2.0)
PAIR = biorthogonal(2, 2)


def assign(value: float) -> None:
    """A Parameter that is set to a value."""
    learned(STEP, "delta", bounds={"delta": 1.5}).delta = torch.tensor(value, dtype=torch.float64)


UNROLLED: list[Row] = [
    ("cosines of one tap", lambda: dct(1), ValueError, "p >= 2 filters ... 2 is Haar ... got «1»."),
    ("cosines of 2.5 taps", lambda: dct(2.5), ValueError, "p >= 2 filters ... got «2.5»."),  # type: ignore[arg-type]
    ("a negative threshold", lambda: Between(torch.tensor(-1.0)), ValueError, "between 0 and inf starts ... «[-1.0]»"),
    ("a start too large", lambda: Between(torch.tensor(2.0), 1.5), ValueError, "between 0 and 1.5 ... got «[2.0]»."),
    ("a step beyond the bound", lambda: assign(1.6), ValueError, "0 and 1.5 from [1.0] on cannot be «[1.6"),
    (
        "a buffer that is none",
        lambda: learned(STEP, "sigma"),
        ValueError,
        "ADMM has no buffer «'sigma'» to learn; it has 'rho', 'delta', ... 'problem.R.lam'",
    ),
    ("a frame without Parameters", lambda: learned(STEP, "problem.K"), ValueError, "«problem.K = FrameletTransform»"),
    ("no layer", lambda: unrolled(STEP, 0), ValueError, "k >= 1 layers; got «k=0»."),
    (
        "a diffusion",
        lambda: unrolled(Heat(), 3),  # type: ignore[arg-type]
        ValueError,
        "unroll are ADMM, PDHG, ... got «Heat». For another map take Unrolled",
    ),
    (
        "own frames of a fixed frame",
        lambda: unrolled(STEP, 3, own_frame=True),
        ValueError,
        "«problem.K = FrameletTransform» has no Parameters of its own. Name its buffers.",
    ),
    (
        "whole numbers",
        lambda: unrolled(STEP, 1)(torch.ones(4, 4).long()),
        TypeError,
        "f ... floating ... «torch.int64»",
    ),
    ("half a picture", lambda: unrolled(STEP, 1)(torch.ones(4)), ValueError, "f ... at least 2 axes ... «(4,)»"),
    (
        "a frame with a dual",
        lambda: LearnedFrame(FrameletTransform(PAIR[0], dual=PAIR[1])),
        ValueError,
        "tight for every orthogonal C if W^T W = I; got «FrameletTransform» ... with a dual ... Take a tight bank.",
    ),
    ("a learned frame, no bands", lambda: LearnedFrame(HAAR).T(torch.ones(3, 4, 4)), ValueError, "the 4 bands ... «3»"),
]
