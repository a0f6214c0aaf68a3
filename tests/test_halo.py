"""Block by block is the whole: u^{k+1} = F(u^k) on a Dask array against `run` in memory, for every border and cut."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    RK4,
    Euler,
    Exponential,
    Firm,
    FrameletTransform,
    Garrote,
    Gradient,
    Hard,
    Heat,
    Heun,
    Isotropic,
    IsotropicSoft,
    PeronaMalik,
    SemiImplicit,
    Shrinkage,
    Soft,
    TVFlow,
    bspline,
    haar_gradient,
    run,
    spline_gradient,
)
from companion.flows.diffusion import Diffusion
from companion.lab import stored
from companion.lab.halo import Halo, OnDisk, over_blocks, reach

da = pytest.importorskip("dask.array")
g = Exponential(0.2)
ROOT = Path(__file__).resolve().parents[1]


def shrinkage(order: int, levels: int, dim: int, boundary: str, S=Soft) -> Shrinkage:
    W = FrameletTransform(bspline(order), levels, dim, boundary)
    return Shrinkage(W, S(W.weights(0.05)))


def grouped(dim: int) -> Shrinkage:
    W = FrameletTransform(bspline(1), 2, dim)
    return Shrinkage(W, IsotropicSoft(0.05, W))


def garrote_of_a_group() -> Shrinkage:
    W = FrameletTransform(bspline(2), 1, 2, "reflect")
    return Shrinkage(W, Isotropic(Garrote(0.05), W))


def firm() -> Shrinkage:
    W = FrameletTransform(bspline(2), 2, 2, "reflect")
    return Shrinkage(W, Firm(W.weights(0.05), W.weights(0.1)))


def heat(dim: int, boundary: str = "reflect") -> Euler:
    F = Heat(dim=dim, boundary=boundary)
    return Euler(F, F.max_dt)


STEPS = {  # the map and how far it looks
    "Haar": (shrinkage(1, 1, 2, "periodic"), 1),
    "Haar, 3 levels": (shrinkage(1, 3, 2, "periodic"), 7),
    "Haar, 1-D": (shrinkage(1, 2, 1, "periodic"), 3),
    "Haar, 3-D": (shrinkage(1, 1, 3, "periodic"), 1),
    "linear": (shrinkage(2, 1, 2, "reflect"), 2),
    "linear, 2 levels, hard": (shrinkage(2, 2, 2, "reflect", Hard), 6),
    "linear, 3-D": (shrinkage(2, 1, 3, "reflect"), 2),
    "cubic": (shrinkage(4, 1, 2, "periodic"), 4),
    "grouped": (grouped(2), 3),
    "grouped, 3-D": (grouped(3), 3),
    "garrote of a group": (garrote_of_a_group(), 2),
    "firm": (firm(), 6),
    "heat": (heat(2), 1),
    "heat, 3-D, torus": (heat(3, "periodic"), 1),
    "Perona-Malik": (Euler(PeronaMalik(g), 0.25), 1),
    "Perona-Malik, 3-D": (Euler(PeronaMalik(g, Gradient(dim=3)), 1 / 6), 1),
    "Perona-Malik, torus": (Euler(PeronaMalik(g, Gradient(0.5, boundary="periodic")), 0.05), 1),
    "Perona-Malik, Haar": (Euler(PeronaMalik(g, haar_gradient(bands=3)), 0.1), 1),
    "Perona-Malik, splines": (Euler(PeronaMalik(g, spline_gradient()), 0.2), 2),
    "Catte": (Euler(PeronaMalik(g, sigma=0.7), 0.2), 4),
    "TV flow": (Euler(TVFlow(eps=0.5), 0.1), 1),
    "Heun": (Heun(PeronaMalik(g), 0.2), 2),
    "RK4": (RK4(PeronaMalik(g), 0.2), 4),
}
every_step = pytest.mark.parametrize("name", STEPS)


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blockwise(step, u: Tensor, chunks, **options) -> Tensor:
    v = over_blocks(step, da.from_array(u.numpy(), chunks=chunks), **options)
    return torch.from_numpy(v.compute(scheduler="synchronous"))


def seen(step, dim: int) -> int:
    """The largest |m - n| with d step(u)[n] / d u[m] != 0, by automatic differentiation at a random picture."""
    side, farthest = 41 if dim < 3 else 17, 0
    for seed in range(3):
        u = picture(*[side] * dim, seed=seed).requires_grad_()
        step(u)[(side // 2,) * dim].backward()
        assert u.grad is not None
        farthest = max(farthest, int((u.grad.nonzero() - side // 2).abs().max()))
    return farthest


@every_step
def test_the_halo_is_as_wide_as_the_map_sees(name: str):
    step, width = STEPS[name]
    halo = reach(step)
    assert halo.width == width == seen(step, halo.dim)


@every_step
def test_blocks_are_the_whole(name: str):
    """Odd sizes, blocks of different sizes; two steps at once with a halo twice as wide, then a third."""
    step, width = STEPS[name]
    least = max(2 * width, 3)
    sizes = [(least + 3, least), (least + 1, least + 4), (2 * least + 1,)][: reach(step).dim]
    u = picture(*map(sum, sizes))
    whole = run(step, u, k=3).u
    parts = blockwise(step, u, tuple(sizes), k=3, at_once=2)
    assert float((parts - whole).abs().max()) <= 1e-13 * float(whole.abs().max())


@pytest.mark.parametrize("name", ["Haar", "linear", "Perona-Malik", "Perona-Malik, torus"])
def test_a_batch_cut_too_and_a_halo_for_each_step(name: str):
    step = STEPS[name][0]
    u = picture(3, 19, 17)
    parts = blockwise(step, u, ((2, 1), (7, 5, 7), (8, 9)), k=3)
    assert float((parts - run(step, u, k=3).u).abs().max()) <= 1e-13


@pytest.mark.parametrize("name", ["Haar, 3 levels", "linear", "Perona-Malik", "Catte", "heat, 3-D, torus"])
def test_a_pixel_less_is_not_enough(name: str):
    step, width = STEPS[name]
    dim = reach(step).dim
    u = picture(*[36] * dim)  # a torus of 12 + 12 pixels would be seen whole
    narrow = blockwise(step, u, 12, halo=reach(step)._replace(width=width - 1))
    assert float((narrow - run(step, u, k=1).u).abs().max()) > 1e-9


def test_float32_and_blocks_in_threads():
    step = STEPS["linear, 3-D"][0]
    u = picture(21, 17, 19).float()
    v = over_blocks(step, da.from_array(u.numpy(), chunks=(7, 9, 19)), k=2)
    assert v.dtype == np.float32 and v.chunks == ((7, 7, 7), (9, 8), (19,))
    assert torch.allclose(torch.from_numpy(v.compute()), run(step, u, k=2).u, rtol=0, atol=1e-6)


def test_no_step_and_what_is_uncut():
    step = STEPS["Haar"][0]
    u = picture(9, 9)
    assert torch.equal(blockwise(step, u, 4, k=0), u)
    assert torch.equal(blockwise(step, u, 9, k=2), run(step, u, k=2).u)


def test_a_map_of_ones_own():
    """A median of 3 x 3 pixels, whose reach nobody can read off."""

    def median(u: Tensor) -> Tensor:
        wide = torch.nn.functional.pad(u[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
        return wide.unfold(0, 3, 1).unfold(1, 3, 1).flatten(2).median(-1).values

    u = picture(15, 14)
    parts = blockwise(median, u, (5, 7), k=2, halo=Halo(1, 2, "reflect"))
    assert torch.equal(parts, run(median, u, k=2).u)


def test_a_file_read_and_written_in_blocks(tmp_path: Path):
    step, u = STEPS["Perona-Malik, 3-D"][0], picture(12, 10, 9)
    np.save(tmp_path / "u.npy", u.numpy())
    source, target = OnDisk(tmp_path / "u.npy"), OnDisk.new(tmp_path / "v.npy", u.shape, np.float64)
    assert np.array_equal(target[2:4], np.zeros((2, 10, 9)))
    over_blocks(step, da.from_array(source, chunks=(4, 5, 9)), k=2).store(target, lock=False)
    whole = run(step, u, k=2).u.numpy()
    assert np.allclose(np.load(tmp_path / "v.npy"), whole, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "step, options, words",
    [
        (
            "Perona-Malik, 3-D",
            {"chunks": (1, 8, 8), "at_once": 2, "k": 2},
            r"halo comes from the next block alone: 2 step\(s\) look 2 pixels.*axis 0 one has only 1\. Cut.*rechunk",
        ),
        ("Haar, 3 levels", {"chunks": (8, 8, 6)}, "look 7 pixels beyond a block.*axis 2 one has only 2"),
        ("Haar", {"k": -1}, "k >= 0 steps are taken.*got k=-1, at_once=1.*k=0 gives u itself"),
        ("Haar", {"at_once": 0}, "at_once=0.*at_once=1 an exchange after every step"),
        ("Haar", {"halo": Halo(-1, 2, "reflect")}, r"width >= 0 pixels.*got width=-1.*Halo\(1, 2, 'reflect'\)"),
        ("Haar", {"halo": Halo(1, 2, "mirror")}, "a boundary of periodic, reflect; got .*boundary='mirror'"),
    ],
)
def test_cuts_that_cannot_work(step: str, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        blockwise(STEPS[step][0], picture(8, 8, 8), **{"chunks": 8} | options)


def test_maps_that_blocks_cannot_take():
    W = FrameletTransform(bspline(1))
    for step, name in [
        (SemiImplicit(PeronaMalik(g), 1.0), r"SemiImplicit\(PeronaMalik\)"),
        (Shrinkage(W, lambda d: d - d.mean()), r"Shrinkage\(function\)"),
        (Shrinkage(W, Soft(W.weights(0.1) * torch.ones(8, 8))), r"Shrinkage\(Soft\)"),
        (torch.fft.fft2, "builtin_function_or_method"),
    ]:
        words = f"needs a halo as wide as.*a step of {name} looks is not known.*halo=Halo.*Fourier.*for each pixel"
        with pytest.raises(TypeError, match=words):
            reach(step)
    with pytest.raises(ValueError, match=r"its own part.*f of the whole picture, shape \(8, 8\).*Leave f and nu out"):
        reach(Euler(TVFlow(f=picture(8, 8), nu=1.0), 0.001))


def test_arrays_that_have_no_such_blocks(monkeypatch: pytest.MonkeyPatch):
    haar, whole = STEPS["Haar"][0], da.ones((8, 8), dtype=int)
    with pytest.raises(TypeError, match=r"a dask array; got Tensor\. Cut it, dask\.array\.from_array.*or use run"):
        over_blocks(haar, picture(8, 8))
    with pytest.raises(TypeError, match=r"real and floating point; got int64\. Convert it, u\.astype"):
        over_blocks(haar, whole)
    assert bool((over_blocks(haar, whole.astype("float32")).compute() > 0).all())
    words = r"acts on the last 3 axes; got an array of shape \(8, 8\)\. Give one with 3 axes or more.*dim=2"
    with pytest.raises(ValueError, match=words):
        over_blocks(STEPS["Haar, 3-D"][0], da.zeros((8, 8)))
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"there is no dask: pip install 'companion\[scale\]'\. In memory run"):
        over_blocks(haar, whole)


def test_reach_of_a_plain_diffusion():
    assert reach(Diffusion(g, sigma=0.5)) == Halo(3, 2, "reflect")  # 1 + ceil(4 sigma)


def test_the_page_shows_what_is_stored():
    """docs/scale.md has the tables of experiments/results/volumes.json, word for word, and its volume did not fit."""
    pytest.importorskip("distributed")
    spec = importlib.util.spec_from_file_location("volumes", ROOT / "experiments" / "volumes.py")
    assert spec is not None and spec.loader is not None
    volumes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(volumes)
    results = stored("volumes")
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in volumes.tables(results):
        assert table in page, f"docs/scale.md must have this table:\n{table}"
    rows = results["volumes"]
    assert rows["MB"] > 2 * 1074 > 2 * rows["2 workers"]["peak MB of a worker"]  # 1074 MB are the 1 GiB of a worker
    assert all(rows[name]["largest difference to memory"] < 1e-6 for name in volumes.maps())
