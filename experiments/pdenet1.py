r"""PDE-Net 1.0, filters frozen or learned: u_t = a u_x + b u_y + 0.2 u_xx + 0.3 u_yy, and u_t = 0.3 Lap u + 15 sin u.

    linear   the recipe of [102] on a smaller grid, with fewer trajectories, cells and iterations. Warm-up with frozen
             filters and one block, then 1, 2, ..., 6 blocks; after each stage 80 steps ahead of 24 trajectories that
             were not seen, and the coefficients that the net stands for
    sources  the nonlinear source, as a function of u alone, learned with the diffusion
    full     --scale full: 50 x 50 points, 24 trajectories, 20 x 20 cells, up to 20 blocks, for a CUDA card, or several:
             torchrun --nproc-per-node 4 experiments/pdenet1.py --scale full shares the kinds of nets out

Lengths are measured in fifths and time in blocks, so that every parameter moves u by about as much, which L-BFGS needs:
c_alpha here is dt 5^|alpha| times that of the equation. Frozen and learned nets see the same data and have the same
warm-up. The error of a trajectory is |u_hat - u| / |u - mean u|, u without noise, at that time. The coefficients of a
net are read off its whole step, by the moments of all its filters:

    C_beta = sum_alpha c_alpha m_beta(q_alpha) h^{|beta|-|alpha|} + (m_beta(q_00) - [beta = 0]) h^|beta| / dt

and "corrected" are those less (dt/2) of the square of the equation, what a step of Euler owes to order dt; for Heun
nothing is owed.

    make experiments            # or: python experiments/pdenet1.py     about 10 minutes on one core

writes experiments/results/pdenet1.json. The full scale has not been run by the authors: "full" is null until it is.

Paper: Section 5.2, [102].  Notebook: 12.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, distributed

from companion import (
    Euler,
    Heun,
    Interpolant,
    LinearRightSide,
    MomentBank,
    PDENet,
    PDENet1,
    moment_matrix,
    relative_loss,
)
from companion.lab import device, store, stored
from companion.lab.blockwise import blockwise
from companion.lab.parallel import Team, join
from companion.lab.pde_data import Data, frames
from companion.lab.pde_grid import odd, points
from companion.lab.pdes import ConvectionDiffusion, SinSource

UNIT, DT = 5.0, 0.015  # a length of 1 is 5 of ours; a block
STEPS, AHEAD, SEEN = 80, 24, (1, 6)
MAPPED = ("frozen", "learned", "learned, Heun")


class Kind(NamedTuple):
    """Highest order of the terms, taps, accuracy of the filters and of Q_00, scheme, learned or not."""

    top: int
    N: int
    accuracy: int
    average: int
    scheme: type
    learned: bool


KINDS = {
    "frozen": Kind(2, 5, 2, 3, Euler, False),
    "learned": Kind(2, 5, 2, 3, Euler, True),
    "frozen, 7 x 7": Kind(2, 7, 2, 3, Euler, False),
    "learned, 7 x 7": Kind(2, 7, 2, 3, Euler, True),
    "frozen, orders to 4": Kind(4, 5, 2, 3, Euler, False),
    "learned, orders to 4": Kind(4, 5, 2, 3, Euler, True),
    "learned, orders to 4, as in [102]": Kind(4, 5, 1, 1, Euler, True),
    "frozen, Heun": Kind(2, 5, 2, 3, Heun, False),
    "frozen, 7 x 7, Heun": Kind(2, 7, 2, 3, Heun, False),
    "learned, Heun": Kind(2, 5, 2, 3, Heun, True),
}


FULL: dict[str, Any] = {"grid": 50, "mesh": 20, "n": 24, "iterations": 500, "blocks": tuple(range(1, 21))}


class Size(NamedTuple):
    """Points and cells of a side, trajectories of a stage, iterations, blocks of the stages, seeds."""

    grid: int = 32
    mesh: int = 5
    n: int = 8
    iterations: int = 150
    blocks: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    device: str = "cpu"


def net_of(kind: Kind, size: Size, learned: bool, nets: int | None = None) -> PDENet1:
    """The net in our units, or S of them in one; not learned: its frozen twin, with Q_00 u = u."""
    net = PDENet1(
        size.grid, 1.0, h=UNIT * 2 * math.pi / size.grid, N=kind.N, accuracy=kind.accuracy, average=kind.average,
        orders=[(i, s - i) for s in range(1, kind.top + 1) for i in range(s, -1, -1)],
        mesh=size.mesh, learned=learned, scheme=kind.scheme, nets=nets,
    )  # fmt: skip
    return net.to(size.device)


def data(size: Size, seed: int, steps: int, n: int, noise: float | None = None) -> Data:
    """Trajectories in our units, dt = 1."""
    made = frames(ConvectionDiffusion(), n=n, steps=steps, coarse=size.grid, dt=DT, noise=noise, seed=seed, cache=False)
    return made._replace(u=made.u.to(size.device), dt=1.0, h=UNIT * made.h)


def last_frame(net: PDENet, u: Tensor, dt: float, *weights: float) -> Tensor:
    """The loss of [102]."""
    k = u.shape[-4] - 1
    return relative_loss(net, u.select(-4, 0), u.select(-4, k), k)


def trained(kind: Kind, size: Size) -> list[tuple[int, list[PDENet1]]]:
    """[(blocks, the net of each seed after that stage)]: all seeds in one net, each with films of its own. Stage k has
    the data of seed 100 seed + k, for all kinds.
    """
    options: dict[str, Any] = {"loss": last_frame, "sparsity": 0.0, "moments": 0.0, "progress": False}
    count = len(size.seeds)

    def made(at: int) -> Callable[[int, int], Data]:
        def make(_: int, m: int) -> Data:
            each = [data(size, 100 * seed + at, m - 1, size.n) for seed in size.seeds]
            return each[0]._replace(u=torch.stack([films.u for films in each]))

        return make

    def part(s: int) -> PDENet1:
        alone = net_of(kind, size, kind.learned)
        own = alone.state_dict()
        alone.load_state_dict({k: v[s] if v.ndim > own[k].ndim else v for k, v in net.state_dict().items()})
        return alone

    warm = net_of(kind, size, False, count)
    blockwise(warm, made(0), (0,), size.iterations, **options)
    net = net_of(kind, size, kind.learned, count)
    stages: list[tuple[int, list[PDENet1]]] = []
    with torch.no_grad():
        net.F.interpolant.values.copy_(warm.F.interpolant.values)
    for stage, k in enumerate(size.blocks, 1):
        blockwise(net, made(stage), (k,), size.iterations, **options)
        stages.append((k, [part(s) for s in range(count)]))
    return stages


def errors(net: PDENet, test: Tensor) -> Tensor:
    """|u_hat - u| / |u - mean u| for each trajectory and frame."""
    with torch.no_grad():
        off = (net.trajectory(test[:, 0], test.shape[1] - 1) - test).square().mean((-3, -2, -1)).sqrt()
    return off / (test - test.mean((-2, -1), keepdim=True)).square().mean((-3, -2, -1)).sqrt()


def coefficients(net: PDENet, top: int = 2) -> dict[tuple[int, int], Tensor]:
    """{beta: C_beta on the grid}, 1 <= |beta| <= top, in the units of the equation: what the whole step stands for."""
    bank, c = net.F.bank, net.F.coefficients()
    average: Any = getattr(net.step, "average", None)
    M, found = bank.moments(), {}
    for beta in [(i, s - i) for s in range(1, top + 1) for i in range(s, -1, -1)]:
        powers = [bank.h ** (sum(beta) - sum(alpha)) for alpha in bank.orders]
        C = sum(c_alpha * m[beta] * p for c_alpha, m, p in zip(c, M, powers, strict=True))
        if average is not None:
            C = C + moment_matrix(average.taps()[0])[beta] * bank.h ** sum(beta)
        found[beta] = (C / (DT * UNIT ** sum(beta))).detach()
    return found


def truth(grid: int) -> tuple[dict[tuple[int, int], Tensor], dict[tuple[int, int], Tensor]]:
    """The coefficients of L = a d_x + b d_y + 0.2 d_xx + 0.3 d_yy, and those of orders 1 and 2 of L^2."""
    with torch.enable_grad():
        x = points(grid).requires_grad_()
        a, b = ConvectionDiffusion.coefficients(x)

        def d(f: Tensor) -> Tensor:
            return torch.autograd.grad(f.sum(), x, create_graph=True)[0]

        (a_x, a_y), (b_x, b_y) = d(a), d(b)
        a_xx, a_yy, b_xx, b_yy = d(a_x)[0], d(a_y)[1], d(b_x)[0], d(b_y)[1]
        zero = torch.zeros_like(a)
        L = {(1, 0): a, (0, 1): b, (2, 0): zero + 0.2, (1, 1): zero, (0, 2): zero + 0.3}
        squared = {
            (1, 0): a * a_x + b * a_y + 0.2 * a_xx + 0.3 * a_yy,
            (0, 1): a * b_x + b * b_y + 0.2 * b_xx + 0.3 * b_yy,
            (2, 0): a**2 + 0.4 * a_x,
            (1, 1): 2 * a * b + 0.4 * b_x + 0.6 * a_y,
            (0, 2): b**2 + 0.6 * b_y,
        }
    return {k: v.detach() for k, v in L.items()}, {k: v.detach() for k, v in squared.items()}


NAMES = {(1, 0): "u_x", (0, 1): "u_y", (2, 0): "u_xx", (1, 1): "u_xy", (0, 2): "u_yy"}


def linear(size: Size, kinds: Sequence[str] = tuple(KINDS)) -> dict[str, Any]:
    """{kind: errors by steps and blocks, coefficients}."""
    test = data(size, 9999, STEPS, AHEAD, noise=0.0).u
    L, squared = truth(size.grid)
    step = max(1, size.grid // 16)
    table: dict[str, Any] = {}
    for name in kinds:
        kind, begin = KINDS[name], time.process_time()
        ahead: dict[int, list[Tensor]] = {}
        for k, nets in trained(kind, size):
            ahead[k] = [errors(net, test).cpu() for net in nets]
        C = [{beta: v.cpu() for beta, v in coefficients(net).items()} for net in nets]
        raw = [net.F.coefficients().detach().cpu() / DT for net in nets]
        quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        by_blocks = {k: torch.cat(e).quantile(quarters, 0) for k, e in ahead.items()}
        last = size.blocks[-1]
        row: dict[str, Any] = {
            "error by two steps": {
                str(k): numbers(by_blocks[k][:, ::2]) for k in size.blocks if k in SEEN or k == last
            },
            "error after 80 steps": {str(k): numbers(q[:, -1]) for k, q in by_blocks.items()},
            "of each seed": numbers(torch.stack([e[:, -1].median() for e in ahead[last]])),
            "coefficients": {},
            "c of the filters": {
                f"{i}{j}": numbers(torch.stack([c[p].mean() for c in raw]) / UNIT ** (i + j), 4)
                for p, (i, j) in enumerate(nets[0].F.bank.orders)
            },
        }
        for beta, v in L.items():
            each = torch.stack([c[beta] for c in C])
            owed = DT / 2 * squared[beta] * (kind.scheme is Euler)
            row["coefficients"][NAMES[beta]] = {
                "mean": numbers(each.mean((-2, -1)), 4),
                "corrected": numbers((each - owed).mean((-2, -1)), 4),
                "off": numbers((each - v).square().mean((-2, -1)).sqrt(), 4),
                "off, corrected": numbers((each - owed - v).square().mean((-2, -1)).sqrt(), 4),
            }
        if name in MAPPED:
            row["map, seed 0"] = {NAMES[beta]: numbers(C[0][beta][::step, ::step], 3) for beta in L}
        row["free moments"] = nets[0].F.bank.free.numel()
        row["seconds"] = round(time.process_time() - begin, 1)
        table[name] = row
        print(
            name, row["error after 80 steps"], {k: v["corrected"] for k, v in row["coefficients"].items()}, flush=True
        )
    return table


def shared(team: Team, size: Size) -> dict[str, Any]:
    """`linear`, each process with some of the kinds; all have the whole table in the end."""
    tables: list[Any] = [linear(size, tuple(KINDS)[team.rank :: team.size])]
    if team.size > 1:
        mine, tables = tables[0], [None] * team.size
        distributed.all_gather_object(tables, mine)
    whole = {name: row for table in tables for name, row in table.items()}
    return {name: whole[name] for name in KINDS}


def numbers(v: Tensor, digits: int = 3) -> Any:
    """Nested lists, rounded to so many significant digits."""
    return v.item() and float(f"{v.item():.{digits}g}") if v.ndim == 0 else [numbers(w, digits) for w in v]


def sources(size: Size, seeds: Sequence[int] = (0, 1, 2, 3)) -> dict[str, Any]:
    """u = 0 on the border: the odd continuation to twice the domain is periodic. Steps of Heun."""
    dt, half = SinSource().recipe.dt, size.grid // 2
    u = torch.linspace(-10, 10, 81, dtype=torch.float64)
    curves, seen = [], []
    found: list[Tensor] = []
    for seed in seeds:
        h = UNIT * 4 * math.pi / size.grid
        orders, source = list(NAMES), Interpolant(-15.0, 15.0, mesh=20, degree=4)
        bank = MomentBank(orders, 5, 2, h)
        c = Interpolant(0.0, size.grid * h, 2, dim=2, several=(len(orders),))
        net = PDENet(LinearRightSide(bank, c, size.grid, source), 1.0, scheme=Heun)

        def make(stage: int, m: int, seed: int = seed) -> Data:
            made = frames(
                SinSource(), n=size.n, steps=m - 1, grid=8 * half, coarse=half, dt=dt, seed=100 * seed + stage,
                cache=False,
            )  # fmt: skip
            seen.append(made.u)
            return made._replace(u=odd(made.u), dt=1.0, h=UNIT * 2 * math.pi / half)

        options: dict[str, Any] = {"loss": last_frame, "sparsity": 0.0, "moments": 0.0, "progress": False}
        blockwise(net, make, (0, 1, 2, 3), size.iterations, **options)
        with torch.no_grad():
            curves.append(source(u) / dt)
            inner = slice(half // 4, -half // 4)
            powers = torch.tensor([UNIT ** sum(alpha) for alpha in orders], dtype=torch.float64)
            found.append(net.F.coefficients()[:, inner, inner] / dt / powers[:, None, None])
    share = torch.histc(torch.cat([s.flatten() for s in seen]), 20, -10, 10)
    return {
        "u": numbers(u),
        "source": [numbers(v, 4) for v in curves],
        "coefficients": {
            name: {
                "mean": numbers(torch.stack([c[p].mean() for c in found]), 4),
                "r.m.s.": numbers(torch.stack([c[p].square().mean().sqrt() for c in found]), 4),
            }
            for p, name in enumerate(NAMES.values())
        },
        "share of u": numbers(share / share.sum()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Small or full; what the other one has stored stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    scale = parser.parse_args(arguments).scale
    team, place = join(device())
    try:
        results = stored("pdenet1")
    except FileNotFoundError:
        results = {"linear": None, "sources": None, "full": None}
    about = results.pop("about", {})
    begin = time.process_time()
    if scale == "full":
        results["full"] = shared(team, Size(**FULL, device=str(place)))
        about.pop("full scale", None)
    else:
        torch.set_num_threads(1)
        results |= {"linear": linear(Size()), "sources": sources(Size(grid=64, iterations=300))}
        about = {
            "size": Size()._asdict(),
            "dt": DT,
            "noise": 0.015,
            "seconds in all": round(time.process_time() - begin),
        }
    if results["full"] is None:
        about["full scale"] = "not run: it is meant for a CUDA card"
    if team.first:
        store(__file__, results, **about)
    team.wait()


if __name__ == "__main__":
    main()
