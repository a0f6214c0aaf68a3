"""Rows of test_messages.py about learned diffusions, stopping and total variations: (name, what somebody does, the
error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    ConsistentROF,
    DiffusionStep,
    Gradient,
    HeldMoments,
    Identity,
    Interpolation,
    LearnedDiffusion,
    LearnedDiffusivity,
    LearnedGradient,
    Observed,
    PeronaMalik,
    Rational,
    Reading,
    RestorationUnit,
    StoppingPolicy,
    condat_kernels,
    densenet,
    haar_gradient,
    learned_diffusion,
)

Row = tuple[str, Callable[[], Any], type[Exception], str]
U = torch.rand(6, 7)


def field(sizes: tuple[int, ...] = (2,)) -> LearnedDiffusion:
    return LearnedDiffusion([LearnedDiffusivity(Rational(1.0))], LearnedGradient(Gradient()), sizes)


def table(**changes: Any) -> LearnedDiffusivity:
    return LearnedDiffusivity(Rational(1.0), **changes)


LEARNED: list[Row] = [
    (
        "held moments: all of them",
        lambda: HeldMoments(torch.zeros(3, 3), 5),
        ValueError,
        "3 x 3 taps keeps its moments ... «order=5».",
    ),
    (
        "a learned identity",
        lambda: LearnedGradient(Identity()),
        TypeError,
        "starts from the taps of a Gradient or a FrameGradient ... got «Identity».",
    ),
    (
        "a learned gradient that is cut",
        lambda: LearnedGradient(haar_gradient()),
        ValueError,
        'acts at every pixel ... filters lie inside the picture; got the boundary «"reflect"». Take "periodic"',
    ),
    (
        "a learned gradient of even length",
        lambda: LearnedGradient(Gradient(), N=4),
        ValueError,
        "an odd N >= 3 taps along an axis; got «N=4».",
    ),
    (
        "a learned gradient that shall ignore ramps",
        lambda: LearnedGradient(Gradient(), vanishing=2),
        ValueError,
        "vanishing moments of the orders below «vanishing=2»; those of this Gradient have fewer.",
    ),
    (
        "three components for a learned gradient of two",
        lambda: LearnedGradient(Gradient()).T(torch.zeros(3, 6, 7)),
        ValueError,
        "one component for each of the 2 filters, on axis -3; got shape «(3, 6, 7)».",
    ),
    ("a table with one node", lambda: table(nodes=1), ValueError, "2 nodes or more ... got «nodes=1»"),
    (
        "a diffusivity that never falls",
        lambda: LearnedDiffusivity(torch.ones_like),
        ValueError,
        "both finite and > 0; got nodes=17, reach=1000.0, «scale=nan».",
    ),
    (
        "groups that leave a filter out",
        lambda: field(sizes=(1,)),
        ValueError,
        "The 2 filters fall into groups, each with one diffusivity; got groups of «(1,)» and 1 diffusivities.",
    ),
    (
        "a learned reaction that drives away from the data",
        lambda: DiffusionStep(field(), 0.1, -1.0),
        ValueError,
        "lam (u - f) is finite and >= 0; got «lam=-1.0».",
    ),
    (
        "a learned diffusion from a shrinkage",
        lambda: learned_diffusion(Identity(), 0.1, 3),
        TypeError,
        "starts from a Diffusion, such as PeronaMalik; got «Identity».",
    ),
    (
        "a learned diffusion of Catte's",
        lambda: learned_diffusion(PeronaMalik(Rational(1.0), sigma=0.5), 0.1, 3),
        ValueError,
        "without smoothing; got k=3, «sigma=0.5».",
    ),
    (
        "a restoration unit of width 0",
        lambda: RestorationUnit(width=0),
        ValueError,
        "hidden layers of width >= 1; got «width=0».",
    ),
    (
        "a policy that is not sharp",
        lambda: StoppingPolicy(beta=0.0),
        ValueError,
        "a width >= 1 and a sharpness beta > 0; got width=8, «beta=0.0».",
    ),
    (
        "one clock for two pictures",
        lambda: StoppingPolicy()(Observed(torch.zeros(2, 6, 7), torch.zeros(2, 6, 7))),
        ValueError,
        "stops one picture; got «2». Give each its own clock: halting = Halting(unit, policy)",
    ),
    (
        "kernels for one component",
        lambda: Interpolation(torch.ones(3, 1, 3, 3) / 9),
        ValueError,
        "two kernels of N x N taps ... (m, 2, N, N); got shape «(3, 1, 3, 3)», order=1.",
    ),
    (
        "kernels whose sums are learned",
        lambda: Interpolation(condat_kernels(), order=0),
        ValueError,
        "keeps their sums, order >= 1 ... «order=0».",
    ),
    (
        "kernels of sum 2",
        lambda: Interpolation(2 * condat_kernels()),
        ValueError,
        "has the sum 1, or TV_h does not tend to TV; got «[2.0, 2.0, 2.0, 2.0, 2.0, 2.0]». Divide each by its sum.",
    ),
    (
        "two gradients where three are shared out",
        lambda: Interpolation(condat_kernels()).T(torch.zeros(2, 2, 6, 7)),
        ValueError,
        "v holds 3 gradients of two components ... got shape «(2, 2, 6, 7)».",
    ),
    (
        "a consistent total variation of no weight",
        lambda: ConsistentROF(U, 0.0, Interpolation(condat_kernels())),
        ValueError,
        "The weight nu of the total variation and the grid step h are > 0; got «nu=0.0», h=1.0.",
    ),
    (
        "a DenseNet of a depth that is not 3n + 4",
        lambda: densenet(depth=39),
        ValueError,
        "DenseNet has 3n + 4 layers: a stem, 3n dense steps, two changes of the grid, a head; got «depth=39». Near it "
        "are 37 and 40.",
    ),
    (
        "a reading of another number of features",
        lambda: Reading(torch.nn.Identity(), [1.0, 2.0])(torch.zeros(1, 3, 4, 4)),
        ValueError,
        "A layer reads every feature with a number of its own; got «2 numbers for 3 features» on axis 1.",
    ),
]
