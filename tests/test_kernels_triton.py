"""The loops for a GPU: interpreted by Triton they equal the readable forms; and ptxas takes them. No GPU is needed."""

import copy
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from companion import (
    PDHG,
    ROF,
    Blur,
    EdgeEnhancing,
    FastDecay,
    Filter,
    Firm,
    FrameletTransform,
    Garrote,
    Gradient,
    GroupL1,
    Hard,
    IsotropicSoft,
    LeastSquares,
    Problem,
    Selling,
    Shrinkage,
    Soft,
    TensorDiffusion,
    biorthogonal,
    bspline,
    kernels,
    tv,
)
from companion.flows import one_pass
from companion.kernels import frames, gpu, gpu_edges, gpu_frames, gpu_primal_dual, gpu_shrinkage, primal_dual, tiles
from companion.operators import frames as transforms
from tests.test_kernels_edges import tensors

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="no Triton for this system")

USERS = (gpu_frames, gpu_shrinkage, gpu_primal_dual, gpu_edges)
WORTH = gpu.worth
INTERPRETED = bool(os.environ.get("TRITON_INTERPRET"))
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_in_the_interpreter")
ahead = pytest.mark.skipif(INTERPRETED, reason="compiled by test_compiled_ahead")


@pytest.mark.parametrize("how", ["1", ""], ids=["in_the_interpreter", "compiled_ahead"])
def test_as_a_user(how: str, pytestconfig: pytest.Config) -> None:
    """The tests below, in a process without run-time checks of types, in which Triton interprets or compiles."""
    if pytestconfig.getoption("--as-user"):
        pytest.skip("this is that process")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--as-user", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": how, "TRITON_CACHE_DIR": tempfile.mkdtemp()}
    if not how:
        del environment["TRITON_INTERPRET"]
    done = subprocess.run(command, cwd=pytestconfig.rootpath, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 3


Launch = tuple[Any, int, tuple[Any, ...], dict[str, Any]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> list[Launch]:
    """CPU tensors of every size count as large ones of a GPU; lists what is launched."""
    if not pytestconfig.getoption("--as-user"):
        pytest.skip("run by test_as_a_user")
    launched: list[Launch] = []

    def launch(f: Any, programs: int, *args: Any, **constants: Any) -> None:
        launched.append((f, programs, args, constants))
        if INTERPRETED:
            tiles.launch(f, programs, *args, **constants)

    monkeypatch.setattr(kernels, "available", lambda: False)
    monkeypatch.setattr(gpu, "LEAST", 0)
    monkeypatch.setattr(gpu, "works", lambda device: True)
    monkeypatch.setattr(gpu, "worth", lambda *tensors: False)
    for module in (gpu, frames, one_pass, primal_dual):
        monkeypatch.setattr(module, "on_gpu", lambda u: True)
    for module in USERS:
        monkeypatch.setattr(module, "launch", launch)
    if not INTERPRETED:  # nothing runs: what comes out is memory as it was found, now and then NaN
        monkeypatch.setattr(transforms, "check_finite", lambda u, name, image=None: image)
    return launched


def both(f: Callable[[], Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """What f gives by the loops and as written."""
    with kernels.use(False):
        wanted = f()
    with kernels.use(True):
        found = f()
    for a, b in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        if a.numel():
            yield a, b


def equal(f: Callable[[], Any], here: list[Launch], launches: int, tol: float = 1e-13) -> None:
    """They are equal, by so many launches."""
    here.clear()
    for a, b in both(f):
        assert (a - b).abs().max() <= tol * b.abs().max().clamp_min(1)
    assert len(here) == launches, [x[0].__name__ for x in here]


def frame(order: int, levels: int, dim: int, boundary: str) -> tuple[FrameletTransform, Tensor, Tensor]:
    """A transform, a batch of the smallest pictures it takes, one longer along each axis, and coefficients."""
    W = FrameletTransform(bspline(order), levels, dim, boundary)
    shape = [order * 2 ** (levels - 1) + 1 + i for i in range(dim)]
    u = torch.randn(2, *shape, dtype=torch.float64)
    return W, u, torch.randn(2, len(W.bands), *shape, dtype=torch.float64)


KINDS = [
    (order, levels, dim, boundary)
    for dim, most in ((1, 3), (2, 2), (3, 1))
    for order in (1, 2, 4)
    for levels in range(1, most + 1)
    for boundary in ("periodic", "reflect")[order % 2 == 0 and dim == 3 : 2 - order % 2]
    if not (order == 4 and (dim, levels) not in ((1, 1), (1, 3), (2, 1)))
]


@interpreted
@pytest.mark.parametrize("kind", [*KINDS, (1, 2, 3, "periodic"), (4, 2, 2, "reflect")], ids=str)
def test_w_and_its_adjoint(kind: tuple[int, int, int, str], here: list[Launch]) -> None:
    """Every order, level, dimension and border, on pictures as small as the filters."""
    W, u, d = frame(*kind)
    order, levels, dim, _ = kind
    passes = {1: 1, 2: 1 + (order > 2), 3: 2 + (order > 2)}[dim]
    equal(lambda: W(u), here, levels * passes)
    equal(lambda: W.T(d), here, levels * passes)


@interpreted
def test_more_than_one_tile_and_single_precision(here: list[Launch]) -> None:
    W, u = FrameletTransform(bspline(2), 1, 2, "reflect"), torch.randn(6, 131)
    equal(lambda: W(u), here, 1, 2e-6)
    assert here[0][1] == 4
    equal(lambda: W.T(W(u)), here, 2, 2e-6)
    equal(lambda: Shrinkage(W, Soft(W.weights(0.3)))(u), here, 1, 2e-6)
    equal(lambda: W(u.T), here, 1, 2e-6)


@interpreted
def test_derivatives_and_batches(here: list[Launch]) -> None:
    """The gradient of 1/2 |W u|^2 is W^T W u; torch.func is told of the transpose, too."""
    W, u, _ = frame(2, 2, 2, "reflect")
    v = u.clone().requires_grad_()
    with kernels.use(True):
        assert W(v).square().sum().div(2).backward() is None
    assert (v.grad - u).abs().max() < 1e-13
    assert {x[0].__name__ for x in here} == {"split", "merge"}
    with kernels.use(True):
        d = W(v)
        many = torch.randn(3, *d.shape, dtype=torch.float64)
        (slopes,) = torch.autograd.grad(d, v, many, is_grads_batched=True)
    assert (slopes - W.T(many)).abs().max() < 1e-13


@interpreted
@pytest.mark.parametrize("kind", [*(k for k in KINDS if k[0] < 4 or k[2] == 1), (1, 2, 3, "periodic")], ids=str)
def test_shrinkage_in_one_pass(kind: tuple[int, int, int, str], here: list[Launch]) -> None:
    W, u, _ = frame(*kind)
    _, levels, dim, _ = kind
    rules = [Soft(W.weights(0.4)), Hard(W.weights(0.4, 0.5)), Garrote(W.weights(0.4)), Firm(W.weights(0.3), 0.7)]
    for S in rules if kind in ((2, 1, 1, "reflect"), (1, 1, 3, "periodic")) else rules[levels % 4 :][:1]:
        equal(lambda: Shrinkage(W, S)(u), here, 2 * levels - 1 if dim < 3 else 5 * levels - 2)  # noqa: B023
    if dim < 3:
        lam = torch.linspace(0.5, 0.3, levels).reshape(-1, *[1] * (dim + 1))
        equal(lambda: Shrinkage(W, IsotropicSoft(lam, W))(u), here, 2 * levels - 1)


@interpreted
def test_coefficients_as_large_as_the_threshold(here: list[Launch]) -> None:
    """|d| = lam is killed by hard shrinkage, and by every other one."""
    W, u = FrameletTransform(bspline(1), 1, 1), torch.tensor([0.0, 1.0, 2.0, 0.0])
    for S in (Soft, Hard, Garrote):
        equal(lambda: Shrinkage(W, S(W.weights(0.5)))(u), here, 1)  # noqa: B023


@interpreted
def test_shrinkage_with_a_dual_bank(here: list[Launch]) -> None:
    bank, dual = biorthogonal(1, 3)
    W = FrameletTransform(bank, 1, 2, dual=dual)
    smallest = torch.randn(*[max(W._reach[0], W.dual._reach[0])] * 2, dtype=torch.float64)
    equal(lambda: Shrinkage(W, Soft(W.weights(0.3)))(smallest), here, 1)


@interpreted
@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
@pytest.mark.parametrize("shape", [(2, 9), (2, 5, 7), (1, 9), (2, 3, 4, 5), (1, 1, 6), (40, 43)], ids=str)
def test_steps_of_pdhg(shape: tuple[int, ...], boundary: str, here: list[Launch]) -> None:
    """For ROF whole, for another data term up to v = x - tau D^T p; lengths and entries cut."""
    f = torch.randn(shape, dtype=torch.float64)
    for dim in {1: (1,), 2: (1, 2), 3: (2, 3), 4: (3,)}[len(shape)]:
        for isotropic in (True, False):
            step = PDHG(ROF(f, 0.15, Gradient(0.5, dim, boundary), isotropic))
            s = type(step.start(f))(*(3 * torch.randn_like(part) for part in step.start(f)))
            equal(lambda: tuple(step(step(s))), here, 4)  # noqa: B023
    if len(shape) == 3:
        blur = Blur(torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64), boundary="periodic")
        step = PDHG(tv(blur, f, 0.1, Gradient(0.5, boundary=boundary)))
        equal(lambda: tuple(step(step(step.start(f)))), here, 4)


@interpreted
@pytest.mark.parametrize("condition", [1.0, 5.0, 1e3, 1e9])
def test_sellings_edges(condition: float, here: list[Launch]) -> None:
    """From discs to needles, thinner than the thinnest; a batch, a row, more pixels than a program takes."""
    for shape in ((1, 1), (1, 5), (13, 12), (2, 3, 4, 5)):
        D, u = tensors(condition, *shape), torch.randn(shape, dtype=torch.float64)
        D[..., 0, 1, :, :] += 0.01  # only the symmetric part counts
        D[..., 1, 0, :, :] -= 0.01
        slack = max(1.0, min(condition, 1e6) / 1e4)  # what cancels in <v, D w> of long v and w
        equal(lambda: Selling().divergence(D, u, 0.5), here, 2, 1e-12 * slack)  # noqa: B023
    with kernels.use(True), pytest.raises(ValueError, match="eigenvalues >= 0"):
        Selling().divergence(-D, u, 1.0)
    a, b = (torch.eye(2, dtype=torch.float64)[..., None, None].repeat(1, 1, 4, 5) for _ in range(2))
    for D, value in ((a, torch.nan), (a, torch.inf), (b, -1e-3)):  # fmt: skip
        D[1, 1, 2, 2] = value
        with kernels.use(True):
            assert Selling()._fused(D, u[0, 0], 1.0) is None


@interpreted
def test_sellings_edges_of_all_kinds_of_tensors(here: list[Launch]) -> None:
    """Single precision, views of other memory; and as written with a derivative, or sums in a fixed order."""
    D, u = tensors(5.0, 2, 7, 9), torch.randn(2, 7, 9, dtype=torch.float64)
    equal(lambda: Selling().divergence(D.float(), u.float(), 0.5), here, 2, 1e-5)
    equal(lambda: Selling().divergence(D.mT, u.mT, 0.5), here, 2)
    equal(lambda: Selling().divergence(D, u.flip(0)._neg_view(), 0.5), here, 2)
    v = u.clone().requires_grad_()
    slopes = []
    for loops in (False, True):
        here.clear()
        with kernels.use(loops):
            slopes += torch.autograd.grad(Selling().divergence(D, v, 0.5).square().sum(), v)
        assert not here
    assert torch.equal(*slopes)
    torch.use_deterministic_algorithms(True)
    try:
        equal(lambda: Selling().divergence(D, u, 0.5), here, 0)
    finally:
        torch.use_deterministic_algorithms(False)


@interpreted
def test_what_a_user_compiles_has_its_derivatives(here: list[Launch], monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is embedded in the package's own forms alone."""
    monkeypatch.setattr(gpu, "_there", lambda u: True)
    gpu._without_loops()
    D, u = tensors(5.0, 6, 7), torch.randn(6, 7, dtype=torch.float64)

    def slope(u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(lambda v: Selling().divergence(D, v, 0.5), (u,), (torch.cos(u),))

    found, wanted = torch.compile(slope)(u), slope(u)
    assert all((a - b).abs().max() < 1e-12 for a, b in zip(found, wanted, strict=True))
    assert wanted[1].abs().max() > 0.1 and not here


@interpreted
def test_needles_that_meet_are_reduced(here: list[Launch]) -> None:
    """Where the total weight would exceed the ceiling; D = 0 nearby."""
    x = torch.arange(17, dtype=torch.float64) - 8
    t = torch.stack(torch.meshgrid(x, x, indexing="ij"))
    t = t / t.square().sum(0, keepdim=True).clamp_min(1).sqrt()
    D = t.unsqueeze(0) * t.unsqueeze(1)
    D = torch.stack([D, 0.3 * D.flip(-1), 0 * D])
    assert Selling().excess(D) > 0
    u = torch.cos(x) * x[:, None]
    equal(lambda: Selling().divergence(D, torch.stack([u, u.mT, u]), 1.0), here, 2, 1e-12)


@interpreted
def test_a_step_of_edge_enhancing_diffusion_is_compiled_about_the_loop(
    here: list[Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "SMALLEST", 0)
    monkeypatch.setattr(gpu, "worth", WORTH)
    monkeypatch.setattr(gpu, "_there", lambda u: True)
    monkeypatch.setattr(gpu, "_forms", {})
    F, u = EdgeEnhancing(FastDecay(0.2), 0.7), torch.rand(2, 12, 11, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        equal(lambda: F.euler(u, 0.2, 2), here, 4, 1e-12)
    assert [key[0] for key in gpu._forms] == ["Field._step"]
    assert type(F)._step.__wrapped__ not in gpu._forms.values()  # it would stand there had it failed to compile
    backwards = TensorDiffusion(lambda mu1, mu2: (-torch.ones_like(mu1), torch.ones_like(mu1)))
    with kernels.use(True), pytest.raises(ValueError, match="eigenvalues >= 0"):
        backwards.euler(u, 0.2)


@interpreted
def test_the_readable_form_where_no_loop_is_taken(here: list[Launch], monkeypatch: pytest.MonkeyPatch) -> None:
    W, u, _ = frame(1, 1, 2, "periodic")
    W(u.half())
    with torch.autograd.forward_ad.dual_level():
        W(torch.autograd.forward_ad.make_dual(u, u))
    with kernels.use(False):
        W(u)
    monkeypatch.setattr(gpu, "LEAST", u.numel() + 1)
    W(u)
    assert not here
    W.q1 = torch.nn.Parameter(W.q1)
    with kernels.use(True):
        assert W(u).requires_grad
    assert not here


@interpreted
def test_nan_is_not_cut_to_the_radius(here: list[Launch]) -> None:
    """On a GPU nobody looks whether a picture is finite; the maximum of Triton would drop a NaN."""
    f, p = torch.rand(8, 9, dtype=torch.float64), torch.zeros(2, 8, 9, dtype=torch.float64)
    f[3, 4] = torch.nan
    for isotropic in (True, False):
        x, _, new = gpu_primal_dual.move(f, f, f, p, 0.3, 0.3, 0.1, 0.5, 0.5, isotropic, 2, False)
        assert x.isnan().any() and new[:, 3, 4].isnan().all() and new[0, 2, 4].isnan() and new[1, 3, 3].isnan()
        assert int(new.isnan().sum()) == (6 if isotropic else 4)


@interpreted
def test_a_weight_of_zero_cuts_all(here: list[Launch]) -> None:
    """Then the kernels would divide 0 by 0."""
    f = torch.rand(6, 7, dtype=torch.float64)
    step = PDHG(Problem(LeastSquares(f), GroupL1(0.0), Gradient()))
    equal(lambda: tuple(step(step.start(f))), here, 0)


@interpreted
def test_long_filters_go_axis_by_axis(here: list[Launch]) -> None:
    """Two filters of up to ten taps; too many for the step in one pass."""
    bank, dual = biorthogonal(1, 5)
    W = FrameletTransform(bank, 1, 2, dual=dual)
    u = torch.randn(10, 11, dtype=torch.float64)
    equal(lambda: W(u), here, 2)
    equal(lambda: W.dual.T(W(u)), here, 4)
    W = FrameletTransform(bspline(6), 1, 1)
    equal(lambda: Shrinkage(W, Soft(W.weights(0.3)))(u), here, 2)


@interpreted
def test_filters_further_apart_than_the_picture_is_long(here: list[Launch]) -> None:
    """The kernels know one period beyond the border."""
    u = torch.randn(2, 5, 6, dtype=torch.float64)
    for origin, near in ((5, True), (6, False), (41, False)):
        W = FrameletTransform((Filter([0.5, 0.5], 0), Filter([0.5, -0.5], origin - 1)), 1, 2)
        equal(lambda: W(u), here, 2 * near)  # noqa: B023
        equal(lambda: W.T(W(u)), here, 4 * near)  # noqa: B023
        equal(lambda: Shrinkage(W, Soft(W.weights(0.3)))(u), here, near)  # noqa: B023


@interpreted
def test_a_trial_and_what_it_decides(here: list[Launch], monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert tiles.works.__wrapped__(cpu)
    with monkeypatch.context() as m:
        m.setattr(tiles, "launch", lambda *args: (_ for _ in ()).throw(RuntimeError("no C compiler")))
        with pytest.warns(RuntimeWarning, match=r"The readable forms are used on cpu, for Triton fails: no C compiler"):
            assert not tiles.works.__wrapped__(cpu)
    with monkeypatch.context() as m:
        m.setattr(tiles.triton, "__version__", "3.3.1")
        assert not tiles.works.__wrapped__(cpu)
    W, u, _ = frame(1, 1, 2, "periodic")
    monkeypatch.setattr(gpu, "works", lambda device: False)
    with kernels.use(True):
        W(u)
    monkeypatch.setattr(gpu, "works", lambda device: True)
    monkeypatch.setattr(gpu, "MOST", u.numel())
    with kernels.use(True):
        W(u)
    assert not here


@interpreted
def test_taps_are_asked_for_once_and_after_a_change(here: list[Launch], monkeypatch: pytest.MonkeyPatch) -> None:
    W, u, _ = frame(2, 1, 2, "periodic")
    equal(lambda: W(u), here, 1)
    with monkeypatch.context() as m:
        m.setattr(Tensor, "tolist", lambda q: pytest.fail("asked again"))
        with kernels.use(True):
            frames.cascade(W, u)
    W.q1.mul_(2)
    equal(lambda: W(u), here, 1)
    W.q2 = 3 * W.q2
    equal(lambda: W(u), here, 1)
    V = copy.deepcopy(W)
    V.q1.mul_(2)
    equal(lambda: V(u), here, 1)
    assert transforms.cascade is frames.cascade


# ---- compiled for a GPU that is not there ---------------------------------------------------------------------------

TYPES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64"}


def compiled(f: Any, args: tuple[Any, ...], constants: dict[str, Any], capability: int) -> Any:
    """The kernel f as a launch with these arguments has it compiled."""
    from triton import compile as translate
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, fixed = dict.fromkeys(constants, "constexpr"), dict(constants)
    for name, value in zip(f.arg_names, args, strict=False):
        assert not isinstance(value, float), f"{name} would become float32"
        if isinstance(value, Tensor):
            signature[name] = TYPES[value.dtype]
        elif value == 1 and name not in tiles.VARIED:
            signature[name], fixed[name] = "constexpr", 1
        else:
            signature[name] = "i32" if abs(value) < 2**31 else "i64"
    return translate(ASTSource(fn=f, signature=signature, constexprs=fixed), target=GPUTarget("cuda", capability, 32))


def launches(here: list[Launch], dtype: torch.dtype) -> list[Launch]:
    """One launch of every kind that the package makes of large pictures."""
    u = torch.zeros(300, 301, dtype=dtype)
    v = torch.zeros(40, 41, 42, dtype=dtype)
    with kernels.use(True):
        for order, x in ((1, u), (2, u), (4, u), (1, v), (2, v))[: 5 if dtype == torch.float32 else 2]:
            W = FrameletTransform(bspline(order), 2, x.ndim, "periodic" if order == 1 else "reflect")
            W.T(W(x))
            if order < 4:
                Shrinkage(W, Soft(W.weights(0.1)))(x)
        W = FrameletTransform(bspline(2), 1, 2, "reflect")
        for S in (Hard(W.weights(0.1)), Garrote(W.weights(0.1)), Firm(W.weights(0.1), 0.3), IsotropicSoft(0.1, W)):
            Shrinkage(W, S)(u)
        for x in (u, v):
            step = PDHG(ROF(x + 1, 0.1, Gradient(dim=x.ndim)))
            step(step.start(x))
        Selling().divergence(torch.eye(2, dtype=dtype)[..., None, None].expand(2, 2, 300, 301), u, 0.5)
    kinds = {}
    for f, programs, args, constants in here:
        types = tuple(x.dtype for x in args if isinstance(x, Tensor))
        kinds[f.__name__, types, tuple(constants.items())] = f, programs, args, constants
    return [*kinds.values()]


def registers(binary: bytes) -> tuple[int, int]:
    """How many registers a thread takes, and how many bytes it has to keep in memory for want of them."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        told = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", told.stdout)
    assert found, told.stdout
    return int(found[1]), int(found[2])


@ahead
@pytest.mark.parametrize(("dtype", "capability"), [(torch.float32, 90), (torch.float64, 80)], ids=str)
def test_every_kernel_compiles_without_spilling(dtype: torch.dtype, capability: int, here: list[Launch]) -> None:
    """ptxas takes it, for the H100 and the A100, and what a thread holds fits its registers."""
    kinds = launches(here, dtype)
    assert {f.__name__ for f, *_ in kinds} == {"split", "merge", "step", "ascend", "descend", "edges_of", "flows"}
    for f, _, args, constants in kinds:
        used, spilled = registers(compiled(f, args, constants, capability).asm["cubin"])
        assert used <= 255 and spilled == 0, (f.__name__, used, spilled, constants)


@ahead
def test_without_triton_the_package_is_whole() -> None:
    code = """
import sys
sys.modules["triton"] = None
import torch
from companion import FrameletTransform, bspline
from companion.kernels import gpu_frames, gpu_primal_dual, gpu_shrinkage, tiles
assert tiles.triton is None
W, u = FrameletTransform(bspline(1)), torch.rand(600, 500)
assert (W.T(W(u)) - u).abs().max() < 1e-6
"""
    subprocess.run([sys.executable, "-c", code], check=True)
