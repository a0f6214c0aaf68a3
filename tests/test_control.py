"""Training as control: costates, Pontryagin's conditions, back-propagation, successive approximations, Riccati."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torch.func import functional_call

from companion import (
    EMSA,
    MSA,
    Control,
    Euler,
    LinearQuadratic,
    Residual,
    costates,
    explicit,
    pmp_gradient,
    resnet,
    run,
)

D = torch.float64


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def squares(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(1) / 2


def layer(x: Tensor, theta: Tensor) -> Tensor:
    """tanh(W x + b), theta = (W | b)."""
    return torch.tanh(x @ theta[..., :-1].mT + theta[..., -1])


def small(running: bool = True, M: int = 7, d: int = 3) -> Control:
    ridge = (lambda x, a: 0.3 * a.square().sum() + 0.1 * x.square().sum(1)) if running else None
    return Control(layer, squares, seeded(M, d), seeded(M, d, seed=1), 0.2, ridge)


def sine(M: int = 100, d: int = 5, N: int = 20, T: float = 5.0) -> Control:
    """The toy of [95]: x -> sin x on [-pi, pi], the mean of d states that start at x, N layers up to time T."""
    s = torch.linspace(-math.pi, math.pi, M, dtype=D)
    return Control(layer, lambda x, y: (x.mean(1) - y).square(), s[:, None].expand(M, d), s.sin(), T / N)


# ---- the conditions ------------------------------------------------------------------------------------------------


def test_the_hamiltonian_by_loops() -> None:
    problem, p, theta = small(), seeded(7, 3, seed=2), seeded(3, 4, seed=3)
    H = problem.hamiltonian(problem.x, p, theta)
    for i in range(7):
        f = [
            math.tanh(sum(float(theta[j, l] * problem.x[i, l]) for l in range(3)) + float(theta[j, 3]))
            for j in range(3)
        ]
        L = 0.3 * float((theta**2).sum()) + 0.1 * float((problem.x[i] ** 2).sum())
        assert float(H[i]) == pytest.approx(sum(float(p[i, j]) * f[j] for j in range(3)) - L, abs=1e-12)


@pytest.mark.paper("(5.1)")
def test_the_state_and_costate_equations() -> None:
    """x_{t+1} = x_t + dt dH/dp, p_t = p_{t+1} + dt dH/dx, with the derivatives of tanh(Wx + b) by hand."""
    problem, theta = small(), seeded(6, 3, 4, seed=3)
    x, p = problem.paths(theta)
    torch.testing.assert_close(p[-1], problem.y - x[-1], rtol=0, atol=1e-14)
    for t in range(6):
        W, b = theta[t, :, :3], theta[t, :, 3]
        f = torch.tanh(x[t] @ W.T + b)
        torch.testing.assert_close(x[t + 1], x[t] + 0.2 * f, rtol=0, atol=1e-14)
        dH = (p[t + 1] * (1 - f**2)) @ W - 0.2 * x[t]
        torch.testing.assert_close(p[t], p[t + 1] + 0.2 * dH, rtol=0, atol=1e-14)


def test_the_costate_is_minus_the_derivative_of_the_loss_by_the_state() -> None:
    """By differences: the state of one sample at one time is moved and the rest of the net run from there."""
    problem, theta = small(running=False), seeded(5, 3, 4, seed=3)
    x, p = problem.paths(theta)
    maps = problem.maps(theta)
    for t in (0, 2, 4):
        for j in range(3):
            move = torch.zeros(7, 3, dtype=D)
            move[:, j] = 1e-6
            up, down = (squares(run(maps[t:], x[t] + sign * move).u, problem.y) for sign in (1, -1))
            torch.testing.assert_close(p[t][:, j], -(up - down) / 2e-6, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("running", [False, True])
def test_the_gradient_is_that_of_differences(running: bool) -> None:
    problem, theta = small(running), seeded(3, 3, 4, seed=3)
    gradient = problem.gradient(theta)
    for index in [(0, 0, 0), (1, 2, 3), (2, 1, 1)]:
        move = torch.zeros_like(theta)
        move[index] = 1e-6
        slope = (problem(theta + move) - problem(theta - move)) / 2e-6
        assert float(gradient[index]) == pytest.approx(float(slope), abs=1e-8)


@pytest.mark.paper("(5.1)")
@pytest.mark.parametrize("running", [False, True])
def test_the_gradient_of_the_hamiltonian_is_back_propagation(running: bool) -> None:
    problem, theta = small(running), seeded(6, 3, 4, seed=3).requires_grad_()
    expected = torch.autograd.grad(problem(theta), theta)[0]
    torch.testing.assert_close(problem.gradient(theta), expected, rtol=0, atol=1e-13)
    x, p = problem.paths(theta)
    for t in range(6):  # -(dt/M) sum_i dH/dtheta, layer by layer
        a = theta[t].detach().requires_grad_()
        H = problem.hamiltonian(x[t], p[t + 1], a).sum()
        torch.testing.assert_close(-0.2 / 7 * torch.autograd.grad(H, a)[0], expected[t], rtol=0, atol=1e-13)


@pytest.mark.paper("(5.1)")
def test_the_gradient_through_convolutions_and_batch_normalisation() -> None:
    """A residual network as it trains: stages of different sizes, statistics over the batch, cross-entropy."""
    net = resnet(8, channels=1, width=4).double()
    x, y = seeded(6, 1, 8, 8), torch.arange(6)
    parameters = list(net.parameters())
    loss = lambda u: nn.functional.cross_entropy(u, y, reduction="none")  # noqa: E731
    expected = torch.autograd.grad(loss(net(x)).mean(), parameters)
    paths = costates(net.maps, x, loss)
    found = pmp_gradient(net.maps, paths, parameters)
    assert len(found) == len(parameters) and len(paths.p) == len(net.maps) + 1
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_weight_in_several_layers_gets_the_sum() -> None:
    shared = nn.Linear(3, 3).double()
    maps = [Euler(shared, 0.5), Euler(shared, 0.5), Euler(nn.Linear(3, 3).double(), 0.5)]
    x, y = seeded(4, 3), seeded(4, 3, seed=1)
    expected = torch.autograd.grad(squares(run(maps, x).u, y).mean(), list(shared.parameters()))
    found = pmp_gradient(maps, costates(maps, x, lambda z: squares(z, y)), shared.parameters())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_what_no_layer_depends_on_has_gradient_zero() -> None:
    maps, weight = [lambda x: x + 1], torch.ones(2, dtype=D, requires_grad=True)
    paths = costates(maps, seeded(3, 2), lambda z: z.sum(1))
    assert pmp_gradient(maps, paths, [weight])[0].tolist() == [0.0, 0.0]
    assert all(torch.equal(p, -torch.ones(3, 2, dtype=D)) for p in paths.p)


def test_a_block_as_a_control() -> None:
    """`explicit` gives the module's values and takes any weights; J and its gradient are the module's."""
    block = Residual(2, dim=2).double().eval()
    f, theta = explicit(block)
    x = seeded(5, 2, 4, 4)
    torch.testing.assert_close(f(x, theta), block(x), rtol=0, atol=0)
    other = seeded(len(theta), seed=4)
    values, at = {}, 0
    for name, p in block.named_parameters():
        values[name], at = other[at : at + p.numel()].view(p.shape), at + p.numel()
    torch.testing.assert_close(f(x, other), functional_call(block, values, (x,)), rtol=0, atol=0)

    loss = lambda u, y: (u - y).square().flatten(1).sum(1)  # noqa: E731
    problem = Control(f, loss, x, torch.zeros_like(x), dt=0.5)
    stacked = torch.stack([theta, other / 10]).requires_grad_()
    torch.testing.assert_close(
        problem.gradient(stacked), torch.autograd.grad(problem(stacked), stacked)[0], rtol=0, atol=1e-11
    )


def test_the_problem_keeps_its_type_and_its_data() -> None:
    problem = small()
    before = problem.x.clone()
    single = Control(layer, squares, problem.x.float(), problem.y.float(), 0.2)
    theta = seeded(4, 3, 4).float()
    assert single.gradient(theta).dtype == single(theta).dtype == torch.float32
    assert MSA(single)(theta).dtype == torch.float32
    kept = theta.clone()
    EMSA(single, 1.0, grow=2.0)(theta)
    assert torch.equal(theta, kept) and torch.equal(problem.x, before)


# ---- successive approximations -------------------------------------------------------------------------------------


def test_gradient_descent_is_eulers_scheme_uphill_on_the_hamiltonian() -> None:
    problem, theta = small(), seeded(4, 3, 4, seed=3)
    weights = theta.clone().requires_grad_()
    descent = torch.optim.SGD([weights], lr=0.5)
    for _ in range(5):
        descent.zero_grad()
        problem(weights).backward()
        descent.step()
    torch.testing.assert_close(run(Euler(problem.descent, 0.5), theta, k=5).u, weights.detach(), rtol=0, atol=1e-13)


def test_the_augmented_hamiltonian_by_hand() -> None:
    """Both terms vanish at the old weights; at others they are those of tanh, differentiated by hand."""
    problem, old, new = small(), seeded(4, 3, 4, seed=3), seeded(4, 3, 4, seed=5)
    xs, ps = problem.paths(old)
    x, p = torch.stack(xs), torch.stack(ps)
    msa = MSA(problem)
    torch.testing.assert_close(msa.augmented(x, p, old, 5.0), msa.augmented(x, p, old, 0.0), rtol=0, atol=1e-10)
    found = msa.augmented(x, p, new, 5.0)
    for t in range(4):
        W, b, f_old = new[t, :, :3], new[t, :, 3], layer(x[t], old[t])
        f = torch.tanh(x[t] @ W.T + b)
        dH = (p[t + 1] * (1 - f**2)) @ W - 0.2 * x[t]
        dH_old = (p[t + 1] * (1 - f_old**2)) @ old[t, :, :3] - 0.2 * x[t]
        H = (p[t + 1] * f).sum(1) - 0.3 * new[t].square().sum() - 0.1 * x[t].square().sum(1)
        expected = H - 2.5 * ((f_old - f).square() + (dH - dH_old).square()).sum(1)
        assert float(found[t].detach()) == pytest.approx(float(expected.mean()), abs=1e-10)


def test_the_maxima_of_a_quadratic_hamiltonian() -> None:
    """f = A x + B theta and L = theta^T R theta / 2: theta_t = R^{-1} B^T (mean of p_{t+1})."""
    lq, problem = lq_problem(M=5)
    theta = seeded(6, 2, seed=4)
    p = torch.stack(problem.paths(theta).p)
    expected = torch.linalg.solve(lq.R, (p[1:].mean(1) @ lq.B).T).T
    torch.testing.assert_close(MSA(problem)(theta), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(MSA(problem, newton=True)(theta), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5, 2.0])
def test_one_number_shows_when_the_iterations_converge(rho: float) -> None:
    """J = S theta^2/2 + R theta^2/2: a step multiplies theta by (rho B^2 - S) / (R + rho B^2)."""
    S, R, B = 3.0, 1.5, 1.3
    one = torch.ones(1, 1, dtype=D)
    lq = LinearQuadratic(0 * one, B * one, 0 * one, R * one, S / B**2 * one)
    problem = Control(lq.f, lq.loss, 0 * one, 0 * one, 1.0, lq.running)
    assert float(problem(one)) == pytest.approx((S + R) / 2)
    step = MSA(problem) if rho == 0 else EMSA(problem, rho)
    newton = MSA(problem, newton=True) if rho == 0 else EMSA(problem, rho, newton=True)
    factor = (rho * B**2 - S) / (R + rho * B**2)
    assert float(step(one)) == pytest.approx(factor, abs=1e-8)
    assert float(newton(one)) == pytest.approx(factor, abs=1e-14)
    assert (abs(factor) < 1) == (R + 2 * rho * B**2 > S)


@pytest.mark.parametrize(("weight", "rho", "converges"), [(0.1, 0.0, False), (6.0, 0.0, True), (0.1, 5.0, True)])
def test_the_iterations_converge_where_their_spectrum_says(weight: float, rho: float, converges: bool) -> None:
    """The matrix of a step is (R + rho B^T B)^{-1} (rho B^T B - S), R + S the second derivative of J / dt."""
    lq, problem = lq_problem(M=1, weight=weight)
    N, m, dt = 6, 2, problem.dt
    hessian = torch.autograd.functional.hessian(lambda v: problem(v.view(N, m)), torch.zeros(N * m, dtype=D))
    R, BB = (torch.block_diag(*[a] * N) for a in (lq.R, lq.B.T @ lq.B))
    matrix = torch.linalg.solve(R + rho * BB, rho * BB - (hessian / dt - R))
    radius = float(torch.linalg.eigvals(matrix).abs().max())
    assert (radius < 1) == converges
    start = seeded(N, m, seed=4)
    best = lq.riccati(N, dt)
    J = run(EMSA(problem, rho, k=30) if rho else MSA(problem, k=30), start, k=25, record={"J": problem}).curves["J"]
    least = float(problem.x[0] @ best.P[0] @ problem.x[0]) / 2
    gap = J - least
    rate = math.sqrt(float(gap[25] / gap[15])) ** 0.1
    assert rate == pytest.approx(radius, rel=0.03), "J - min J goes like radius^(2k)"


@pytest.mark.paper("(5.1)")
def test_msa_does_not_descend_and_extended_msa_does() -> None:
    """sin x by 20 layers, two seeds: MSA goes up and down and stays bad; EMSA with a large rho falls at every step;
    with a rho of its own for every step it falls a hundred times lower.
    """
    problem = sine()
    for seed in range(2):
        theta = 0.1 * seeded(20, 5, 6, seed=seed)
        J = {
            "MSA": run(MSA(problem), theta, k=15, record={"J": problem}).curves["J"],
            "EMSA": run(EMSA(problem, 20.0), theta, k=15, record={"J": problem}).curves["J"],
            "searching": run(EMSA(problem, 0.3, grow=4.0), theta, k=20, record={"J": problem}).curves["J"],
        }
        assert int((J["MSA"].diff() > 0).sum()) >= 3 and float(J["MSA"].min()) > 0.1, seed
        assert bool((J["EMSA"].diff() < 0).all()) and float(J["EMSA"][-1]) < float(J["EMSA"][0]) / 2, seed
        assert bool((J["searching"].diff() <= 0).all()) and float(J["searching"][-1]) < 0.02, seed


def test_rho_grows_until_the_value_falls() -> None:
    """A step with rho = 0.01 raises J; 0.01, 0.04, ... are tried, and the first that does not raise it is taken."""
    _, problem = lq_problem(weight=0.1)
    theta = seeded(6, 2, seed=4)
    J = float(problem(theta))
    steps = [EMSA(problem, 0.01 * 4**tries)(theta) for tries in range(8)]
    falls = [float(problem(step)) <= J for step in steps]
    first = falls.index(True)
    assert first > 0
    assert torch.equal(EMSA(problem, 0.01, grow=4.0)(theta), steps[first])


def test_a_step_that_finds_no_rho_stays() -> None:
    """At the minimum of J every other weight is worse."""
    lq, problem = lq_problem(M=1)
    best = optimal(lq, problem, 6)
    after = EMSA(problem, 1.0, grow=2.0)(best)
    assert float(problem(after)) <= float(problem(best)) and float((after - best).abs().max()) < 1e-5


# ---- Riccati -------------------------------------------------------------------------------------------------------


def lq_problem(M: int = 1, weight: float = 1.0) -> tuple[LinearQuadratic, Control]:
    A = torch.tensor([[0.0, 1.0], [-1.0, -0.2]], dtype=D)
    B = torch.tensor([[0.5, 0.0], [1.0, 0.7]], dtype=D)
    Q, S = torch.diag(torch.tensor([1.0, 0.3], dtype=D)), torch.tensor([[2.0, 0.4], [0.4, 1.0]], dtype=D)
    R = weight * torch.tensor([[1.0, 0.2], [0.2, 0.8]], dtype=D)
    lq = LinearQuadratic(A, B, Q, R, S)
    x = seeded(M, 2, seed=9)
    return lq, Control(lq.f, lq.loss, x, torch.zeros_like(x), 0.25, lq.running)


def optimal(lq: LinearQuadratic, problem: Control, N: int) -> Tensor:
    """-K_t times the mean state, along the states that it drives."""
    K, mean, theta = lq.riccati(N, problem.dt).K, problem.x.mean(0), []
    for t in range(N):
        theta.append(-K[t] @ mean)
        mean = mean + problem.dt * (lq.A @ mean + lq.B @ theta[-1])
    return torch.stack(theta)


@pytest.mark.parametrize("M", [1, 4])
def test_riccati_solves_the_quadratic_problem(M: int) -> None:
    """Against one linear system for all weights, from J's derivatives at 0; with M samples, the control they share."""
    lq, problem = lq_problem(M)
    N, m = 6, 2
    J = lambda v: problem(v.view(N, m))  # noqa: E731
    zero = torch.zeros(N * m, dtype=D)
    theta = -np.linalg.solve(
        torch.autograd.functional.hessian(J, zero).numpy(), torch.autograd.functional.jacobian(J, zero).numpy()
    )
    best = optimal(lq, problem, N)
    np.testing.assert_allclose(best.flatten().numpy(), theta, rtol=0, atol=1e-12)
    P, free = lq.riccati(N, 0.25).P[0], uncontrolled(lq, N, 0.25)
    mean = problem.x.mean(0)
    spread = (problem.x - mean).T @ (problem.x - mean) / M
    value = float(mean @ P @ mean + (spread * free).sum()) / 2
    assert float(problem(best)) == pytest.approx(value, abs=1e-12)


def uncontrolled(lq: LinearQuadratic, N: int, dt: float) -> Tensor:
    P, step = lq.S, torch.eye(2, dtype=D) + dt * lq.A
    for _ in range(N):
        P = dt * lq.Q + step.T @ P @ step
    return P


def test_pontryagins_conditions_hold_along_riccatis_solution() -> None:
    """p_t = -P_t x_t, and theta_t maximises H: R theta = B^T p."""
    lq, problem = lq_problem()
    K, P = lq.riccati(6, 0.25)
    theta = optimal(lq, problem, 6)
    x, p = problem.paths(theta)
    for t in range(7):
        torch.testing.assert_close(p[t], -x[t] @ P[t], rtol=0, atol=1e-12)
    for t in range(6):
        torch.testing.assert_close(theta[t], -(K[t] @ x[t][0]), rtol=0, atol=1e-12)
        torch.testing.assert_close(lq.R @ theta[t], lq.B.T @ p[t + 1][0], rtol=0, atol=1e-12)
    assert float(problem.gradient(theta).abs().max()) < 1e-12


def test_a_feedback_is_a_net_whose_weights_are_gains() -> None:
    """f(x, K) = (A - B K) x: at Riccati's gains every sample pays x^T P_0 x / 2, and the gradient is 0."""
    lq, shared = lq_problem(M=4)
    f = lambda x, K: lq.f(x, -x @ K.T)  # noqa: E731
    problem = Control(f, lq.loss, shared.x, shared.y, 0.25, lambda x, K: lq.running(x, -x @ K.T))
    K, P = lq.riccati(6, 0.25)
    assert float(problem(K)) == pytest.approx(float((shared.x @ P[0] * shared.x).sum(1).mean()) / 2, abs=1e-12)
    assert float(problem.gradient(K).abs().max()) < 1e-12
    assert float(problem(K)) < float(shared(optimal(lq, shared, 6))) - 0.1


def test_riccati_tends_to_the_differential_equation() -> None:
    """-P' = Q + A^T P + P A - P B R^{-1} B^T P by SciPy, from P(T) = S back to 0: order 1."""
    lq, _ = lq_problem()
    A, B, Q, R, S = (a.numpy() for a in (lq.A, lq.B, lq.Q, lq.R, lq.S))

    def backwards(_: float, v: np.ndarray) -> np.ndarray:
        P = v.reshape(2, 2)
        return (Q + A.T @ P + P @ A - P @ B @ np.linalg.solve(R, B.T @ P)).ravel()

    exact = solve_ivp(backwards, (0, 1.5), S.ravel(), rtol=1e-10, atol=1e-12).y[:, -1].reshape(2, 2)
    errors = [float(np.abs(lq.riccati(N, 1.5 / N).P[0].numpy() - exact).max()) for N in (40, 80, 160)]
    assert np.log2(errors[-2] / errors[-1]) == pytest.approx(1, abs=0.05)
