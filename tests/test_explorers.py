"""Every explorer at its default, at the corners of its sliders and at random points: a picture and facts."""

import ast
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from companion.lab import explorers

ROOT = Path(__file__).resolve().parents[1]


def lives() -> list[tuple[str, str, dict[str, Any]]]:
    """(lesson, explorer, controls) for each `live(explorers.name, ...)` in the lessons."""
    found = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if "explorer" not in cell["metadata"].get("tags", []):
                continue
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "live":
                    assert isinstance(node.args[0], ast.Attribute)
                    controls = {
                        k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg not in (None, "labels")
                    }
                    found.append((path.stem, node.args[0].attr, controls))
    return found


LIVES = lives()


def values(control: Any) -> list[Any]:
    """The two ends of a slider, or the entries of a list."""
    return (
        list(control[:2])
        if isinstance(control, tuple)
        else [False, True]
        if isinstance(control, bool)
        else list(control)
    )


def somewhere(control: Any, draw: random.Random) -> Any:
    """A random point of a control."""
    if isinstance(control, tuple):
        low, high = control[:2]
        return draw.randint(low, high) if isinstance(low, int) and isinstance(high, int) else draw.uniform(low, high)
    return draw.choice(values(control))


def answers(explorer: Callable[..., Any], **parameters: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """The explorer's answer, checked to be a picture and facts."""
    picture, facts = explorer(**parameters)
    assert picture.dtype == np.uint8 and picture.ndim in (2, 3) and min(picture.shape[:2]) >= 64, parameters
    assert picture.min() < picture.max(), f"an empty picture at {parameters}"
    assert facts and all(str(value).strip() and "nan" not in str(value).lower() for value in facts.values()), facts
    return picture, facts


def test_every_lesson_with_a_kernel_has_one() -> None:
    assert {name for name, _, _ in LIVES} == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {name for _, name, _ in LIVES} == set(explorers.__all__)


@pytest.mark.parametrize(("lesson", "name", "controls"), LIVES)
def test_default_corners_and_random_points(lesson: str, name: str, controls: dict[str, Any]) -> None:
    explorer, draw = getattr(explorers, name), random.Random(0)
    default, _ = answers(explorer)
    points = [dict(zip(controls, corner, strict=True)) for corner in itertools.product(*map(values, controls.values()))]
    draw.shuffle(points)
    points = points[:24] + [{k: somewhere(c, draw) for k, c in controls.items()} for _ in range(8)]
    pictures = [answers(explorer, **point)[0] for point in points]
    assert any(p.shape != default.shape or (p != default).any() for p in pictures), "no control changes the picture"


@pytest.mark.parametrize(("lesson", "name", "controls"), LIVES)
def test_each_control_changes_the_picture(lesson: str, name: str, controls: dict[str, Any]) -> None:
    explorer = getattr(explorers, name)
    for control, spec in controls.items():
        first, *others = (answers(explorer, **{control: value})[0] for value in values(spec))
        assert any(p.shape != first.shape or (p != first).any() for p in others), control


def test_the_threshold_explorer_tells_the_truth() -> None:
    """No threshold leaves the noisy picture, a huge one the average; in between the restored picture is best."""
    psnr = {lam: float(explorers.threshold(lam=lam)[1]["PSNR restored"].split()[0]) for lam in (0.0, 1.5, 50.0)}
    noisy = float(explorers.threshold()[1]["PSNR noisy"].split()[0])
    assert abs(psnr[0.0] - noisy) < 0.011 and psnr[1.5] > psnr[0.0] + 5 and psnr[1.5] > psnr[50.0] + 2
    assert explorers.threshold(lam=50.0)[1]["details kept"] == "0.0 %"


def test_the_band_explorer_shows_the_band_it_names() -> None:
    """A constant band for the average of the phantom's corner; the facts name the filter and its vanishing moments."""
    _, facts = explorers.band(order=4, level=1, along_x1=2, along_x2=0)
    assert facts["filter"].startswith("(2, 0) at level 1") and facts["vanishing moments of order"] == (2, 0)
    clamped = explorers.band(order=1, along_x1=4, along_x2=0)[0]
    assert (clamped == explorers.band(order=1, along_x1=1, along_x2=0)[0]).all()


def test_iterating_zero_steps_or_a_zero_threshold_changes_nothing() -> None:
    for parameters in ({"k": 0}, {"lam": 0.0, "k": 7}):
        picture, facts = explorers.iterated(**parameters)
        half = (picture.shape[1] - 4) // 2
        assert abs(picture[:, :half].astype(int) - picture[:, -half:].astype(int)).max() <= 1
        assert facts["PSNR of u^k"] == facts["PSNR of u^0"]
