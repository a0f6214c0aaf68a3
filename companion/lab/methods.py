r"""What competes for which task: the table of the leaderboard's methods, (f, A, sigma, weight) -> u.   (1.1)

    methods_start.py    the linear start
    methods_models.py   the models of lessons 01-09, for every A
    methods_flows.py    flows and shrinkages, for A = I and for the mask
    methods_peers.py    scikit-image, BM3D
    trained.py          the nets whose weights are stored

Absent, since they restore nothing: the shock filter and coherence-enhancing diffusion (06: they sharpen noise, too),
the framelet forms of the flows (08: the same pictures), the nets of lessons 10 and 11 (classifiers), the PDE-Nets (12,
13: they predict). Absent for A other than I: the flows, which know no A, and the isotropic TVs of lesson 07. Absent
for CT: the piecewise smooth model, which is not convex, so for ADMM, whose system has no closed form there.

Paper: Sections 1-5.  Notebook: 14.
"""

from __future__ import annotations

from typing import NamedTuple

from companion import Blur, Identity, Mask, PartialFourier, Radon
from companion.lab import methods_flows as flows
from companion.lab import methods_models as models
from companion.lab import methods_peers as peers
from companion.lab.leaderboard import Method
from companion.lab.methods_start import start
from companion.lab.tasks import Task
from companion.lab.trained import NETS, trained, weights

Span = tuple[float, float]
SIGMAS: Span = (0.3, 6.0)  # of a weight in units of sigma, A = I
SMALL: Span = (0.03, 2.0)  # ... and for another A
TIMES: Span = (0.1, 10.0)  # of a time to stop


class Entry(NamedTuple):
    """A method, where its weight is looked for, the lesson it is from (0: none), its number of learned parameters."""

    method: Method
    span: Span | None
    lesson: int
    kind: str = "course"
    parameters: int = 0


def _models(span: Span) -> dict[str, Entry]:
    """For every A."""
    return {
        "linear start": Entry(start, None, 1),
        "Tikhonov": Entry(models.smooth, (0.01, 10.0), 1),
        "analysis (2.5)": Entry(models.by_analysis, span, 4),
        "balanced (2.4)": Entry(models.by_balance, span, 4),
        "synthesis (2.6)": Entry(models.by_synthesis, (span[0] / 3, 2 * span[1]), 4),
        "TV (3.2)": Entry(models.total_variation, span, 5),
        "TGV": Entry(models.generalised, span, 5),
        "piecewise smooth [26]": Entry(models.smooth_pieces, (span[0] / 10, 5 * span[1]), 5),
        "Ambrosio-Tortorelli": Entry(models.free_edges, (0.03, 30.0), 5),
        "accelerated shrinkage (4.7)": Entry(models.accelerated, span, 9),
    }


def _peers(lo: float, hi: float) -> dict[str, Entry]:
    """For pictures; what a linear start leaves is larger than sigma, from lo to hi times."""
    return {
        name: Entry(method, (least * lo, most * hi), 0, "peer")
        for name, (method, least, most) in {
            "scikit-image TV": (peers.chambolle, 0.1, 5.0),
            "scikit-image wavelets": (peers.wavelets, 0.2, 5.0),
            "scikit-image wavelets, 16 shifts": (peers.cycled, 0.2, 5.0),
            "scikit-image non-local means": (peers.non_local, 0.1, 5.0),
            "BM3D": (peers.bm3d, 0.3, 3.0),
        }.items()
    }


DENOISERS = {  # for A = I
    "TV, Haar's gradient": Entry(models.haar_variation, SIGMAS, 7),
    "TV, Condat's": Entry(models.condat_variation, SIGMAS, 7),
    "soft shrinkage (4.5)": Entry(flows.soft, (0.3, 6.0), 2),
    "hard shrinkage": Entry(flows.hard, (0.5, 6.0), 2),
    "garrote shrinkage": Entry(flows.garrote, (0.5, 6.0), 8),
    "iterated shrinkage (4.5)": Entry(flows.iterated, (0.02, 1.0), 8),
    "heat": Entry(flows.heat, TIMES, 5),
    "Perona-Malik (3.3)": Entry(flows.perona_malik, TIMES, 6),
    "Perona-Malik, regularised": Entry(flows.catte, TIMES, 6),
    "edge-enhancing diffusion": Entry(flows.edge_enhancing, TIMES, 6),
    "TV flow": Entry(flows.tv_flow, (0.1, 10.0), 5),
    "fourth-order flow (4.6)": Entry(flows.fourth_order, (0.05, 5.0), 8),
    "curvature motion": Entry(flows.curvature, TIMES, 6),
}
HOLES = {
    "transport inpainting [12]": Entry(flows.transport, None, 6),
    "Navier-Stokes inpainting": Entry(flows.navier_stokes, None, 6),
}
BILATERAL = {"scikit-image bilateral": Entry(peers.bilateral, (0.5, 10.0), 0, "peer")}
LUCY = {
    "scikit-image Wiener": Entry(peers.wiener, None, 0, "peer"),
    "scikit-image Richardson-Lucy": Entry(peers.richardson_lucy, (1.0, 100.0), 0, "peer"),
}
BIHARMONIC = {"scikit-image biharmonic": Entry(peers.biharmonic, None, 0, "peer")}
SART = {"scikit-image SART": Entry(peers.sart, (1.0, 100.0), 0, "peer")}
TABLE = {
    Identity: _models(SIGMAS) | DENOISERS | BILATERAL | _peers(1.0, 1.0),
    Blur: _models(SMALL) | LUCY | _peers(1.5, 1.5),
    Mask: _models(SMALL) | HOLES | BIHARMONIC | _peers(1.5, 1.5),
    PartialFourier: _models(SMALL) | _peers(2.0, 2.0),
    Radon: {name: e for name, e in _models(SMALL).items() if "piecewise" not in name} | SART | _peers(15.0, 45.0),
}


def methods(task: Task, nets: bool = True) -> dict[str, Entry]:
    """{name: entry} of all that competes for the task, without BM3D where it is not installed, and with the nets that
    have stored weights unless nets=False.
    """
    table = next(table for A, table in TABLE.items() if isinstance(task.A, A))
    if not peers.has_bm3d():
        table = {name: entry for name, entry in table.items() if name != "BM3D"}
    return table | (learned(task) if nets else {})


def learned(task: Task) -> dict[str, Entry]:
    """{name: entry} of the nets with stored weights for this task."""
    table = {}
    for name, net in NETS.items():
        if task.name in net.tasks and weights(name, task.name).exists():
            F = trained(name, task.name, task.n)
            count = sum(theta.numel() for theta in F.parameters())
            table[f"{name}, learned" if "learned" not in name else name] = Entry(
                _ignoring(F), None, 14, "learned", count
            )
    return table


def _ignoring(F: Method) -> Method:
    return lambda f, A, sigma, weight: F(f)  # type: ignore[call-arg]
