r"""The leaderboard as one figure: what every method gains over the linear start, task by task.

Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from companion.lab.leaderboard import Row, rows
from companion.lab.show import CYCLE, plots

START = "linear start"
LABELS = {"course": "the course, nothing learned", "learned": "learned", "peer": "outside the course", "yours": "yours"}
COLOURS = dict(zip(LABELS, (CYCLE[0], CYCLE[1], CYCLE[2], CYCLE[6]), strict=True))
MARKERS = dict(zip(LABELS, "os^*", strict=True))


def best(found: Sequence[Row], kind: str | None = None) -> Row | None:
    """The line with the highest PSNR, of one kind or of all; None where there is none."""
    return max((row for row in found if kind in (None, row.kind)), key=lambda row: row.psnr, default=None)


def leaderboard_figure(found: Sequence[Row] | None = None) -> Any:
    """A mark for each line of each task, at its PSNR less that of the linear start: circles for the course, squares for
    what is learned, triangles for the peers, a star for yours; the best of each kind is named.

    found  lines, by default all the stored ones: `rows()`, `rows("deblur")`, [*rows("deblur"), mine]
    """
    found = rows() if found is None else found
    tasks = list(dict.fromkeys(row.task for row in found))
    kinds = [kind for kind in LABELS if any(row.kind == kind for row in found)]
    high = len(kinds) + 0.6  # of one task, in lines
    fig, ax = plots(height=0.9 + 0.25 * high * len(tasks))
    ends = [0.0]
    for i, task in enumerate(tasks):
        lines = [row for row in found if row.task == task]
        base = next((row.psnr for row in lines if row.name == START), 0.0)
        for j, kind in enumerate(kinds):
            here = [row for row in lines if row.kind == kind and row.name != START]
            y = i * high + j
            gains = [row.psnr - base for row in here]
            style = {"color": COLOURS[kind], "marker": MARKERS[kind], "ls": "", "ms": 10 if kind == "yours" else 5.5}
            ax.plot(gains, [y] * len(here), alpha=0.5, mew=0, **style)
            if top := best(here, kind):
                ends.append(top.psnr - base)
                ax.plot([ends[-1]], [y], **style)
                ax.annotate(
                    f"{top.name}  {top.psnr:.1f}",
                    (ends[-1], y),
                    (8, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=11,
                    color=COLOURS[kind],
                )
        if i:
            ax.axhline(i * high - 0.8, color="0.85", lw=0.8, zorder=0)
    ax.axvline(0, color="0.6", lw=1)
    ax.set_yticks([i * high + (len(kinds) - 1) / 2 for i in range(len(tasks))], tasks)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(high * len(tasks) - 0.8, -0.8)
    low = min([0.0, *(row.psnr - _base(found, row.task) for row in found)])
    ax.set_xlim(max(low, -5.0) - 0.3, max(ends) * 1.4 + 0.5)
    ax.set_xlabel("gain over the linear start in dB; beside the best of each kind its PSNR")
    for kind in kinds:
        ax.plot([], [], color=COLOURS[kind], marker=MARKERS[kind], ls="", label=LABELS[kind])
    ax.legend(ncols=len(kinds), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return fig


def _base(found: Sequence[Row], task: str) -> float:
    return next((row.psnr for row in found if row.task == task and row.name == START), 0.0)
