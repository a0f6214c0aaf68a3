"""The numbers in the sentences of docs/scale.md are those of experiments/results/volumes.json.

After a new run of experiments/volumes.py what fails here says which words the page must have. The tables are tested in
test_halo.py.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from companion.lab import stored

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")
WORDS += ("eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen")
MUCH = 1.5  # times as much: memory given back costs something


def span(values: Iterable[float], digits: int = 2) -> str:
    """'0.67 to 0.82', or one number."""
    low, high = (f"{f(list(values)):.{digits}f}" for f in (min, max))
    return low if low == high else f"{low} to {high}"


def share(n: float) -> str:
    """1/n in words: 'a 43rd'."""
    n = round(n)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n % 100 not in (11, 12, 13) else "th"
    return f"{'an' if str(n).startswith(('8', '11', '18')) else 'a'} {n}{ending}"


Rows = dict[tuple[str, str], dict[str, float]]


def model(ratios: dict[tuple[str, str], float]) -> dict[str, str]:
    """What the page says of measured over foretold times, {(step, form): ratio}."""
    by_form = {form: [r for (_, f), r in ratios.items() if f == form] for form in ("torch", "fused")}
    fused, n = by_form["fused"], WORDS[len(by_form["fused"])]
    less, more = [r for r in fused if r < 1], [r for r in fused if r >= 1]
    if less and more:
        loops = f"{WORDS[len(less)]} of the {n} loops below took {span(less)} of it, the other"
        loops += f"{'s' * (len(more) > 1)} {span(more)}."
    else:
        loops = f"all {n} loops below took {span(fused)} of it."
    rest = {row: r for row, r in ratios.items() if abs(r - 1) > 0.3}
    names = "; ".join(f"{step}, {form} ({r:.2f})" for (step, form), r in rest.items())
    return {
        "the middle": loops,
        "within 30 %": f"are {len(ratios) - len(rest)} of {len(ratios)} rows; the torch forms come out at "
        f"{span(by_form['torch'])} times theirs, the fused loops at {span(fused)} times."
        + (f" The rest: {names}." if rest else "\n"),
    }


def given_back(ratios: dict[tuple[str, str], float]) -> str:
    """What the page says of the times with memory given back over those with memory kept."""
    much = {row: r for row, r in ratios.items() if r > MUCH}
    others = [abs(r - 1) for row, r in ratios.items() if row not in much]
    within = 5 * math.ceil(20 * max(others))
    if not much:
        return f"within {within} % of *kept* in all rows."
    names = "; ".join(f"{step}, {form}" for step, form in much)
    rows = f"{WORDS[len(much)]} row" + "s" * (len(much) > 1)
    return f"{span(much.values(), 1)} times as much in {rows} ({names}), within {within} % of *kept* in the others."


def said(results: dict[str, Any]) -> dict[str, str]:
    """{what it is about: words that the page must have}."""
    costs, blocks = results["costs"], results["volumes"]
    rows: Rows = {(step, form): row for step, forms in costs["steps"].items() for form, row in forms.items()}
    loops = [row for (_, form), row in rows.items() if form == "fused"]
    cached = [100 * row["in the cache, ms"] / (row["in the cache, ms"] + row["memory, ms"]) for row in loops]
    moved = {form: rows["Perona-Malik step", form]["bytes a pixel"] for form in ("torch", "fused")}
    slabs = {name: 4e-6 * blocks[name]["slab"] * blocks["voxels"][1] * blocks["voxels"][2] for name in MAPS}
    held = max(blocks[workers]["peak MB of a worker"] for workers in ("1 worker", "2 workers"))
    worker = float(blocks["limit"].removesuffix("GiB")) * 2**30 / 1e6
    side, voxels = (" x ".join(map(str, shape)) for shape in (costs["pixels"], blocks["voxels"]))
    return model({row: values["ms / foretold"] for row, values in rows.items()}) | {
        "the copies": f"{side} pixels, float32, one thread; the copies, made in turn with the step, ran at "
        f"{span(costs['GB a second of the copies'], 1)} GB/s.",
        "bytes by hand": f"{moved['fused']:g} in the table; the readable form, which stores each intermediate result, "
        f"moves {moved['torch']:g}.",
        "given back": given_back({row: v["memory given back, ms"] / v["ms"] for row, v in rows.items()}),
        "in the cache": f"two times {span(cached, 0)} % is its work in the cache.",
        "slabs": f"slabs of {slabs['shrinkage']:.2g} MB (shrinkage, eight bands) and {slabs['diffusion']:.2g} MB "
        f"(diffusion) fit workers of {blocks['limit'].replace('GiB', ' GiB')}: {share(worker / slabs['shrinkage'])} "
        f"and {share(worker / slabs['diffusion'])} of it.",
        "the volume": f"{voxels} voxels ({blocks['MB']} MB), more than its two workers of 1 GiB may hold together;",
        "the largest worker": f"the most that one held was {held} MB,",
        "efficiency": "It is " + ", ".join(f"{blocks[name]['efficiency']:.2f} for {name}" for name in MAPS) + ".",
    }


MAPS = ("shrinkage", "diffusion")
SAID = said(stored("volumes"))


@pytest.mark.parametrize("about", SAID)
def test_the_page_says_what_was_measured(about: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert SAID[about] in page, f"docs/scale.md, on {about}, must say: {SAID[about]}"


def test_a_loop_is_between_its_two_bounds() -> None:
    """As the page says: no faster than the longer of its two times, no slower than their sum, to 5 %."""
    for step, forms in stored("volumes")["costs"]["steps"].items():
        memory, cache, taken = (forms["fused"][key] for key in ("memory, ms", "in the cache, ms", "ms"))
        assert 0.95 * max(memory, cache) <= taken <= 1.05 * (memory + cache), step


def test_another_run_asks_for_other_words() -> None:
    """A few rows by hand."""
    ratios = {("W", "torch"): 1.0, ("W", "fused"): 0.5, ("D", "torch"): 0.98, ("D", "fused"): 1.2}
    assert model(ratios) == {
        "the middle": "one of the two loops below took 0.50 of it, the other 1.20.",
        "within 30 %": "are 3 of 4 rows; the torch forms come out at 0.98 to 1.00 times theirs, the fused loops at "
        "0.50 to 1.20 times. The rest: W, fused (0.50).",
    }
    near = model(ratios | {("W", "fused"): 1.1})
    assert near["the middle"] == "all two loops below took 1.10 to 1.20 of it."
    assert near["within 30 %"].endswith("the fused loops at 1.10 to 1.20 times.\n")  # nothing is left
    words = "1.6 to 3.1 times as much in two rows (W, fused; D, fused), within 5 % of *kept* in the others."
    assert given_back(ratios | {("W", "fused"): 1.6, ("D", "fused"): 3.11}) == words
    assert given_back(dict.fromkeys(ratios, 1.12)) == "within 15 % of *kept* in all rows."
    assert [share(n) for n in (128.2, 42.6, 11, 22, 81)] == ["a 128th", "a 43rd", "an 11th", "a 22nd", "an 81st"]
