"""Pictures continued into a hole: harmonic, by transport of smoothness, as a fluid."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor, nn

from companion import DiffusionInpainting, Gradient, NavierStokesInpainting, TransportInpainting, fixed_point, run
from companion.flows.inpainting import laplace, upwind

N = 30
MAPS: dict[str, Callable[..., nn.Module]] = {"transport": TransportInpainting, "Navier-Stokes": NavierStokesInpainting}
each_map = pytest.mark.parametrize("name", MAPS)


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def grid(n: int = N) -> tuple[Tensor, Tensor]:
    g = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    X, Y = torch.meshgrid(g, g, indexing="ij")
    return X, Y


def square_hole(side: int = 10, n: int = N) -> Tensor:
    """Known outside a square in the middle."""
    X, Y = grid(n)
    return (X.abs() > side / 2) | (Y.abs() > side / 2)


def laplacian_matrix(*shape: int) -> scipy.sparse.csr_matrix:
    """The five-point Laplacian, reflecting."""
    parts = []
    for n in shape:
        D = scipy.sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(n - 1, n))
        parts.append(-D.T @ D)
    H, W = shape
    return (scipy.sparse.kron(parts[0], scipy.sparse.eye(W)) + scipy.sparse.kron(scipy.sparse.eye(H), parts[1])).tocsr()


def solved(M: scipy.sparse.csr_matrix, u: Tensor, known: Tensor) -> Tensor:
    """M u = 0 in the hole, by a sparse direct solve."""
    hole, x = ~known.numpy().ravel(), u.numpy().ravel() * known.numpy().ravel()
    x[hole] = scipy.sparse.linalg.spsolve(M[hole][:, hole].tocsc(), -(M @ x)[hole])
    return torch.as_tensor(x.reshape(u.shape))


def error(u: Tensor, clean: Tensor, known: Tensor) -> float:
    return float((u - clean)[~known].square().mean().sqrt())


# ---- harmonic ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["square", "random", "border"])
def test_the_harmonic_filling_is_a_sparse_solve_and_minimises_the_gradient(kind: str) -> None:
    """Laplace u = 0 in the hole; no other picture with these known pixels has less |grad u|^2."""
    known = {"square": square_hole(), "random": uniform(N, N) < 0.2, "border": grid()[0] < 3}[kind]
    u = uniform(N, N)
    F = DiffusionInpainting(known, h=0.5)
    filled = F.fill(u)
    torch.testing.assert_close(filled, solved(laplacian_matrix(N, N), u, known), rtol=0, atol=1e-9)
    assert torch.equal(filled[known], u[known]) and float(F(filled).abs().max()) < 1e-8
    energy = [float(Gradient()(filled + e * ~known * uniform(N, N)).square().sum()) for e in (0.0, 1e-2, -1e-2)]
    assert energy[0] < min(energy[1:])
    assert float(filled.min() - u[known].min()) >= -1e-9 and float(filled.max() - u[known].max()) <= 1e-9


def test_the_flow_ends_at_the_filling() -> None:
    known, u = square_hole(6, 16), uniform(16, 16)
    F = DiffusionInpainting(known)
    torch.testing.assert_close(F.flow(u, 60.0).u, F.fill(u), rtol=0, atol=1e-6)
    torch.testing.assert_close(F(u), ~known * laplace(u, 1.0))
    batch = torch.stack([u, 5 * uniform(16, 16)])
    torch.testing.assert_close(F.fill(batch), torch.stack([F.fill(v) for v in batch]), rtol=0, atol=1e-10)
    torch.testing.assert_close(F.fill(F.fill(u)), F.fill(u), rtol=0, atol=1e-12)


def test_the_bound_of_harmonic_inpainting_is_sharp() -> None:
    """dt = h^2/4 keeps the range; beyond, a checkerboard in the hole leaves it."""
    X, Y = torch.meshgrid(*[torch.arange(10)] * 2, indexing="ij")
    board, known, h = ((X + Y) % 2).double(), square_hole(4, 10), 0.5
    F = DiffusionInpainting(known, h)
    assert F.max_dt == h**2 / 4 and F.maximum_principle
    new = board + F.max_dt * F(board)
    assert float(new.min()) >= 0 and float(new.max()) <= 1
    assert float((board + 1.01 * F.max_dt * F(board)).max()) > 1.005
    for _ in range(20):
        u = uniform(10, 10)
        new = u + F.max_dt * F(u)
        assert float(new.min()) >= float(u.min()) and float(new.max()) <= float(u.max())


# ---- what the two transports share ------------------------------------------------------------------------------


@each_map
def test_known_pixels_never_change(name: str) -> None:
    known = uniform(16, 16) < 0.6
    u = uniform(2, 16, 16)
    end = run(MAPS[name](known), u, k=5).u
    assert torch.equal(end[:, known], u[:, known]) and not torch.equal(end[:, ~known], u[:, ~known])
    all_known = MAPS[name](torch.ones(16, 16))
    torch.testing.assert_close(all_known(u), u, rtol=0, atol=0)


@each_map
def test_affine_pictures_are_continued(name: str) -> None:
    """The harmonic filling of an affine u is affine, and rests."""
    known, (X, Y) = square_hole(), grid()
    u = 0.3 * X - 0.2 * Y + 1
    start = DiffusionInpainting(known).fill(u * known)
    torch.testing.assert_close(start, u, rtol=0, atol=1e-10)
    torch.testing.assert_close(run(MAPS[name](known), start, k=10).u, u, rtol=0, atol=1e-9)


@each_map
def test_where_the_laplacian_is_constant_along_level_lines_transport_rests(name: str) -> None:
    """u a function of one coordinate, or Laplace u constant: what moves u is diffusion alone."""
    known, (X, Y) = square_hole(), grid()
    bowl, wave = (X.square() + Y.square()) / 100, torch.sin(X / 3)
    options = {"diffusion": 0} if name == "transport" else {"nu": 1e-9}
    step = MAPS[name](known, **options)
    for u in (bowl, wave):
        torch.testing.assert_close(run(step, u, k=5).u, u, rtol=0, atol=1e-6)
    tilted = torch.sin(X / 3 + Y / 9) + torch.cos(Y / 4)
    assert float((run(step, tilted, k=5).u - tilted).abs().max()) > 1e-3


@each_map
def test_contrast_and_grid_step_only_scale(name: str) -> None:
    """step(a u + b) = a step(u) + b; h changes nothing but the unit of length."""
    known, u = square_hole(6, 16), uniform(16, 16)
    u = DiffusionInpainting(known).fill(u) + 0.1 * uniform(16, 16)
    end = run(MAPS[name](known), u, k=3).u
    torch.testing.assert_close(run(MAPS[name](known), 200 * u + 5, k=3).u, 200 * end + 5, rtol=0, atol=1e-7)
    torch.testing.assert_close(run(MAPS[name](known, h=0.1), u, k=3).u, end, rtol=0, atol=1e-8)


@each_map
def test_each_image_of_a_batch_has_its_own_step(name: str) -> None:
    known = square_hole(6, 16)
    u = torch.stack([uniform(16, 16), 30 * uniform(16, 16), torch.zeros(16, 16, dtype=torch.float64)])
    end = run(MAPS[name](known), u, k=3).u
    torch.testing.assert_close(end, torch.stack([run(MAPS[name](known), v, k=3).u for v in u]), rtol=0, atol=1e-8)
    assert bool(end.isfinite().all()) and MAPS[name](known)(u.float()).dtype == torch.float32
    v = u[:1].clone().requires_grad_()
    MAPS[name](known)(v).square().sum().backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())


def edges() -> dict[str, Tensor]:
    X, Y = grid()
    return {
        "jump": (Y > 0).double(),
        "oblique": torch.sigmoid(X * 0.5 + Y * 0.866),
        "circle": torch.sigmoid(12 - ((X + 10).square() + Y.square()).sqrt()),
    }


@pytest.mark.parametrize("edge", edges())
def test_an_edge_is_continued_better_than_by_a_soap_film(edge: str) -> None:
    """The error in a hole of 10 x 10 pixels after 100 steps: a fourth of the film's by transport, three fourths and
    less by Navier-Stokes; where the edge is a circle, transport alone gains less.
    """
    known, clean = square_hole(), edges()[edge]
    film = DiffusionInpainting(known).fill(clean * known)
    e = {name: error(run(step(known), film, k=100).u, clean, known) for name, step in MAPS.items()}
    e["film"] = error(film, clean, known)
    assert e["transport"] < 0.8 * e["film"] and e["Navier-Stokes"] < 0.75 * e["film"]
    if edge != "circle":
        assert e["transport"] < 0.3 * e["film"]


# ---- transport --------------------------------------------------------------------------------------------------


def test_one_step_of_transport_written_out() -> None:
    """u + dt beta |grad u|, beta = T . grad(Laplace u), T = grad-perp u / |grad u|; dt the smaller of two bounds."""
    known, u = square_hole(4, 12), uniform(12, 12)
    wide = nn.functional.pad(u[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    x, y = (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2, (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2
    L = wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2] - 4 * u
    wide = nn.functional.pad(L[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    Lx, Ly = (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2, (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2
    size = u.max() - u.min()
    beta = (-y * Lx + x * Ly) / (x**2 + y**2 + (1e-3 * size) ** 2).sqrt()
    longest = 1 / (2 * float((beta * ~known).abs().max()))
    for dt in (0.01, 10.0):
        assert (dt / float(size) < longest) == (dt == 0.01)
        new = u + min(dt / float(size), longest) * beta * ~known * upwind(u, beta, 1.0)
        torch.testing.assert_close(TransportInpainting(known, transport=1, diffusion=0, dt=dt)(u), new)


def test_transport_keeps_the_extrema() -> None:
    """dt <= h / (2 max |beta|) whatever dt was asked for: no value passes its neighbours."""
    known = uniform(14, 14) < 0.4
    for dt in (0.1, 1e3):
        for _ in range(10):
            u = torch.where(known, 0.5 + 1e-3 * uniform(14, 14), uniform(14, 14))
            end = run(TransportInpainting(known, transport=3, diffusion=0, dt=dt), u, k=10).u
            assert float(end.min()) >= float(u.min()) - 1e-12 and float(end.max()) <= float(u.max()) + 1e-12


def test_upwind_takes_slopes_to_one_side() -> None:
    """|grad u| of a ramp 2 x_1 - x_2 is 5^{1/2} / h to either side; of a peak upwards 0, downwards 2 / h."""
    X, Y = grid(7)
    one = torch.ones_like(X)
    for speed in (one, -one):
        slope = upwind(2 * X - Y, speed, 0.5)[1:-1, 1:-1]
        torch.testing.assert_close(slope, torch.full_like(slope, 5**0.5 / 0.5))
    peak = ((X == 0) & (Y == 0)).double()
    assert float(upwind(peak, one, 0.5)[3, 3]) == 0
    assert float(upwind(peak, -one, 0.5)[3, 3]) == pytest.approx(2 / 0.5)


# ---- Navier-Stokes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["jump", "oblique"])
def test_without_velocity_navier_stokes_rests_at_the_biharmonic_continuation(edge: str) -> None:
    """nu -> infinity: Laplace^2 u = 0 in the hole, by a sparse solve and by scikit-image."""
    known = square_hole()
    u = DiffusionInpainting(known).fill(edges()[edge] * known)
    L = laplacian_matrix(N, N)
    target = solved((L @ L).tocsr(), u, known)
    end = run(NavierStokesInpainting(known, nu=1e12, dt=1.0), u, until=fixed_point(1e-12), k=1000).u
    torch.testing.assert_close(end, target, rtol=0, atol=1e-8)
    theirs = inpaint_biharmonic(u.numpy(), ~known.numpy())
    np.testing.assert_allclose(theirs, target.numpy().clip(0, 1), rtol=0, atol=1e-8)


def test_the_vorticity_takes_an_upwind_step() -> None:
    """omega + dt (nu Laplace omega - v . grad omega) in the hole is the Laplacian of the new picture there."""
    known, u = square_hole(4, 12), uniform(12, 12)
    new = NavierStokesInpainting(known)(u)
    size = float(u.max() - u.min())

    def padded(a: Tensor) -> Tensor:
        return nn.functional.pad(a[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]

    wide, omega = padded(u), laplace(u, 1.0)
    v = (-(wide[1:-1, 2:] - wide[1:-1, :-2]) / 2, (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2)
    around = padded(omega)
    change = 0.1 * size * laplace(omega, 1.0)
    for w, behind, ahead in (
        (v[0], omega - around[:-2, 1:-1], around[2:, 1:-1] - omega),
        (v[1], omega - around[1:-1, :-2], around[1:-1, 2:] - omega),
    ):
        change = change - torch.where(w > 0, w * behind, w * ahead)
    dt = 0.9 / (float((v[0].abs() + v[1].abs())[~known].max()) + 0.6 * size)
    torch.testing.assert_close(laplace(new, 1.0)[~known], (omega + dt * change)[~known], rtol=0, atol=1e-9)


def test_navier_stokes_stays_bounded_up_to_its_step() -> None:
    known = square_hole(8, 20)
    for nu in (1e-3, 0.1, 10.0):
        u = DiffusionInpainting(known).fill(uniform(20, 20))
        end = run(NavierStokesInpainting(known, nu=nu, dt=1.0), u, k=100).u
        assert float(end.abs().max()) < 5


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [DiffusionInpainting, TransportInpainting, NavierStokesInpainting])
def test_masks_that_say_nothing_are_refused(step: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        step(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"two axes \(H, W\)"):
        step(torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match=r"mask has shape \(4, 4\)"):
        step(torch.ones(4, 4))(uniform(5, 4))
    with pytest.raises(ValueError, match="grid step"):
        step(torch.ones(4, 4), h=0.0)
    assert "hole" in dict(step(torch.ones(4, 4)).named_buffers())


def test_numbers_that_make_no_step_are_refused() -> None:
    known = torch.ones(4, 4)
    for options in ({"transport": -1}, {"diffusion": -1}, {"transport": 0, "diffusion": 0}, {"dt": 0.0}):
        with pytest.raises(ValueError, match="one of them at least"):
            TransportInpainting(known, **options)
    for options in ({"nu": 0.0}, {"dt": 0.0}, {"dt": 1.1}):
        with pytest.raises(ValueError, match="viscosity nu > 0"):
            NavierStokesInpainting(known, **options)
