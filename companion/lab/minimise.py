r"""x <- x - t H grad f(x): L-BFGS, of one smooth loss or of S at once, with a step and a memory for each.

H g is the two-loop recursion over the last pairs s = x' - x, y = g' - g with s.y > 0 (Nocedal and Wright, Numerical
Optimization, Algorithm 7.4). The step obeys the strong Wolfe conditions along d = -H g,

    f(x + t d) <= f(x) + c_1 t g.d,    |g(x + t d).d| <= c_2 |g.d|,

and is looked for by cubic interpolation between the longest t known as too short and the shortest known as too long.
Where f is no finite number, as of a net that blows up, t is too long.

One evaluation serves all S: each takes from it what it needs, one more trial of its line search or its next direction,
so that its path is the one that it would take alone.

Notebooks: 12, 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

C1, C2 = 1e-4, 0.9
TRIALS = 10  # of t, in one line search; the last is one known as too short, if there is one
FLAT = 1e-9  # where no slope is larger, the search has ended
ACUTE = 1e-10  # the least cosine between s and y


class Minimum(NamedTuple):
    """The least loss, how many evaluations there were, and whether the first of them was a finite number."""

    loss: float
    evaluations: int
    finite: bool


def minimise(loss: Callable[[], Tensor], parameters: Sequence[Tensor], iterations: int, memory: int = 50) -> Minimum:
    """Set the parameters to those of the least loss() in so many iterations and at most twice as many evaluations.

    >>> x = torch.tensor([3.0, -1.0], dtype=torch.float64, requires_grad=True)
    >>> minimise(lambda: (x[0] - 1) ** 2 + 10 * (x[1] - x[0]) ** 2, [x], 50).loss < 1e-12
    True
    """
    return minimise_each(lambda: loss().reshape(1), parameters, iterations, memory)[0]


def minimise_each(
    losses: Callable[[], Tensor], parameters: Sequence[Tensor], iterations: int, memory: int = 50
) -> list[Minimum]:
    """The same for S independent problems: losses() is (S,), number s of them a function of all parameters[...][s].

    A problem whose first loss or gradient is not finite is left as it is.

    >>> x = torch.tensor([[3.0, -1.0], [0.0, 5.0]], dtype=torch.float64, requires_grad=True)
    >>> curved = torch.tensor([10.0, 1000.0], dtype=torch.float64)
    >>> ends = minimise_each(lambda: (x[:, 0] - 1) ** 2 + curved * (x[:, 1] - x[:, 0]) ** 2, [x], 50)
    >>> [end.loss < 1e-12 for end in ends]
    [True, True]
    """
    parameters = list(parameters)
    if not parameters or iterations < 1:
        with torch.no_grad():
            return [Minimum(f, 1, abs(f) < float("inf")) for f in losses().tolist()]
    f, g, finite = _evaluate(losses, parameters)
    x = torch.cat([p.detach().reshape(len(f), -1) for p in parameters], 1)
    best, kept, searching = torch.where(finite, f, torch.inf), x, finite
    count, steps, trials = torch.ones_like(finite, dtype=torch.long), 0 * finite, 0 * finite
    pairs = x.new_zeros(2, len(x), 0, x.shape[1])  # s and y, the last pair last; where they are 0 there is none
    d, t, low, high = _line(f, g, pairs)
    while (searching := searching & (g.abs().amax(1, keepdim=True) > FLAT)).any():
        z = torch.where(searching, x + t * d, x)
        _write(z, parameters)
        fz, gz, good = _evaluate(losses, parameters)
        count, trials = count + searching, trials + 1
        less = searching & good & (fz < best)
        best, kept = torch.where(less, fz, best), torch.where(less, z, kept)

        slope_0, slope = _dot(g, d), _dot(gz, d)
        fell = good & (fz <= f + C1 * t * slope_0)
        long, short = ~fell | (slope > -C2 * slope_0), fell & (slope < C2 * slope_0)
        here = torch.cat([t, fz, slope], 1)
        low, high = torch.where(short, here, low), torch.where(long, here, high)

        ended = ~(long | short) | (trials == TRIALS)
        moved, lost = searching & ended & fell, ended & ~fell
        stuck = (lost & ~_known(pairs)) | (moved & (f - fz <= 2 * torch.finfo(f.dtype).eps * f.abs()))
        pairs = _with(pairs, z - x, gz - g, moved, memory) * ~lost[..., None]  # begin anew, downhill
        x, f, g, steps = torch.where(moved, z, x), torch.where(moved, fz, f), torch.where(moved, gz, g), steps + moved
        searching = searching & ~stuck & (steps < iterations) & (count < 2 * iterations)

        t = torch.where((trials == TRIALS - 1) & (low[:, :1] > 0), low[:, :1], _between(low, high))
        same, new = (d, t, low, high), _line(f, g, pairs)
        d, t, low, high = (torch.where(ended, b, a) for a, b in zip(same, new, strict=True))
        trials = torch.where(ended, 0, trials)
    _write(kept, parameters)
    ends = zip(best[:, 0].tolist(), count[:, 0].tolist(), (best < torch.inf)[:, 0].tolist(), strict=True)
    return [Minimum(*end) for end in ends]


def _evaluate(losses: Callable[[], Tensor], parameters: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """f (S, 1), g (S, d), and which of them are finite, (S, 1)."""
    f = losses()
    slopes = torch.autograd.grad(f.sum(), parameters, materialize_grads=True)
    g = torch.cat([p.reshape(len(f), -1) for p in slopes], 1)
    f = f.detach()[:, None]
    return f, g, torch.isfinite(f) & torch.isfinite(g).all(1, keepdim=True)


def _write(x: Tensor, parameters: list[Tensor]) -> None:
    with torch.no_grad():
        for p, part in zip(parameters, x.split([p.numel() // len(x) for p in parameters], 1), strict=True):
            p.copy_(part.reshape(p.shape))


def _line(f: Tensor, g: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """d = -H g, the first t, and (t, f, slope) at 0 and at infinity."""
    d = -_two_loops(g, *pairs)
    d = torch.where(_dot(g, d) < 0, d, -g)
    t = torch.where(_known(pairs), 1.0, (1 / g.abs().sum(1, keepdim=True)).clamp(max=1.0))
    low = torch.cat([torch.zeros_like(f), f, _dot(g, d)], 1)
    return d, t, low, torch.full_like(low, torch.inf)


def _two_loops(g: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """H g by Algorithm 7.4, each of its loops a triangular system: R alpha = s.g, then R^T delta = D alpha - y.r."""
    if s.shape[1] == 0:
        return g
    D = _dot(s, y)
    R = (s @ y.mT).triu() + torch.diag_embed((D == 0).to(s)[..., 0])
    alpha = torch.linalg.solve_triangular(R, s @ g[..., None], upper=True)
    gamma = torch.where(D > 0, D / _dot(y, y), 1)[:, -1:]
    r = gamma * (g[..., None] - y.mT @ alpha)
    delta = torch.linalg.solve_triangular(R.mT, D * alpha - y @ r, upper=False)
    return (r + s.mT @ delta)[..., 0]


def _known(pairs: Tensor) -> Tensor:
    """Which problems have a pair, (S, 1)."""
    return (pairs[1] != 0).any(-1).any(-1, keepdim=True)


def _with(pairs: Tensor, s: Tensor, y: Tensor, moved: Tensor, memory: int) -> Tensor:
    """The pairs, (2, S, number, d), and a new one where a problem has moved and s.y > 0; the oldest goes."""
    fit = moved & (_dot(s, y) > ACUTE * (_dot(s, s) * _dot(y, y)).sqrt())
    if not fit.any():
        return pairs
    new = torch.stack([s, y]).unsqueeze(-2)
    with_new, without = torch.cat([pairs, new], 2), torch.cat([torch.zeros_like(new), pairs], 2)
    return torch.where(fit[..., None], with_new, without)[:, :, -memory:]


def _between(low: Tensor, high: Tensor) -> Tensor:
    """Where the cubic through (t, f, slope) at both ends is least, a tenth off the ends; 4 t where none is too long."""
    (a, fa, ga), (b, fb, gb) = low.split(1, 1), high.split(1, 1)
    c = ga + gb - 3 * (fb - fa) / (b - a)
    r = (c.square() - ga * gb).sqrt()
    t = b - (b - a) * (gb + r - c) / (gb - ga + 2 * r)
    t = torch.where(torch.isfinite(t), t, a).clamp(a + 0.1 * (b - a), b - 0.1 * (b - a))
    return torch.where(b < torch.inf, t, 4 * a)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a, b)[..., None]
