"""SymNets and their polynomials: against the recursion in plain loops, SymPy's expansion and derivatives at 0."""

import itertools
import math
import time

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor, nn

from companion import Polynomial, SymNet
from companion.nets.polynomial import basis, exponents, times

D = torch.float64
BURGERS = ["u", "u_x", "u_y", "u_xx", "u_xy", "u_yy", "v", "v_x", "v_y", "v_xx", "v_xy", "v_yy"]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def net_of(n: int, hidden: int, outputs: int = 1, nets: int | None = None, std: float = 0.7, seed: int = 0) -> SymNet:
    return SymNet(n, hidden, outputs, nets, std, torch.Generator().manual_seed(seed))


def recursion(net: SymNet, x: list, output: int) -> object:
    """y <- (y, (a . y + b) (c . y + d)), then e . y + f, in numbers or in SymPy's symbols, an operation at a time."""
    weight, bias, feed = net.weight[output].tolist(), net.bias[output].tolist(), [c[output].tolist() for c in net.feed]
    known = list(x)

    def affine(row: int) -> object:
        total = bias[row]
        for i in range(net.n_inputs):
            total = total + weight[row][i] * known[i]
        for k in range(len(known) - net.n_inputs):
            total = total + feed[k][row - 2 * (k + 1)] * known[net.n_inputs + k]
        return total

    for k in range(net.hidden):
        known.append(affine(2 * k) * affine(2 * k + 1))
    return affine(2 * net.hidden)


# ---- the net -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [0, 1, 2, 5])
def test_the_net_is_its_recursion(hidden: int) -> None:
    net, x = net_of(4, hidden, outputs=2), seeded(3, 4, 6)
    out = net(x).detach()
    assert out.shape == (3, 2, 6)
    for b, o, p in itertools.product(range(3), range(2), range(6)):
        assert out[b, o, p].item() == pytest.approx(recursion(net, x[b, :, p].tolist(), o), rel=1e-12)


def test_the_number_of_parameters() -> None:
    """168 for a component of Burgers' equation, 336 for both; layer by layer: two affine maps of n + k numbers each."""
    for outputs, number in [(1, 168), (2, 336)]:
        assert sum(p.numel() for p in SymNet(12, hidden=5, outputs=outputs).parameters()) == number
    for n, m in [(3, 0), (6, 2), (12, 4)]:
        count = sum(2 * (n + k + 1) for k in range(m)) + n + m + 1
        assert sum(p.numel() for p in SymNet(n, hidden=m).parameters()) == count == (n + 1) * (2 * m + 1) + m**2


def test_the_start_is_normal_and_repeats() -> None:
    net, again = net_of(300, 4, std=0.1, seed=5), net_of(300, 4, std=0.1, seed=5)
    values = torch.cat([p.flatten() for p in net.parameters()])
    assert abs(float(values.std()) - 0.1) < 0.005
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), again.parameters(), strict=True))


def test_nets_side_by_side_are_a_loop() -> None:
    nets, x = net_of(3, 2, outputs=2, nets=4), seeded(4, 2, 3, 5)
    assert nets(x).shape == (4, 2, 2, 5)
    whole = nets.polynomial(4)
    assert torch.allclose(whole(x), nets(x), atol=1e-11)
    for s in range(4):
        one = SymNet(3, 2, outputs=2)
        one.load_state_dict({name: value[s] for name, value in nets.state_dict().items()})
        assert torch.allclose(nets(x)[s], one(x[s]), atol=1e-12)
        assert torch.allclose(nets(x[:1])[s], one(x[0]), atol=1e-12)
        assert torch.allclose(nets(x[:, 0])[s], one(x[s, 0]), atol=1e-12)
        assert torch.allclose(whole[s].coefficients, one.polynomial(4).coefficients, atol=1e-12)


def test_the_net_follows_the_type_of_x_and_lets_gradients_through() -> None:
    net, x = net_of(3, 3, outputs=2), seeded(2, 3, 4)
    assert net(x.float()).dtype == net.polynomial(2)(x.float()).dtype == torch.float32
    assert torch.allclose(net(x.float()).double(), net(x), rtol=1e-3, atol=1e-4)
    names = [name for name, _ in net.named_parameters()]

    def apply(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), x)

    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(apply, (x.requires_grad_(), *values))


# ---- its polynomial ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "hidden"), [(3, 2), (2, 3), (4, 1), (3, 0)])
def test_the_polynomial_is_sympys_expansion(n: int, hidden: int) -> None:
    net, symbols = net_of(n, hidden, outputs=2), sympy.symbols(f"x:{n}")
    for output in range(2):
        expanded = sympy.Poly(sympy.expand(recursion(net, list(symbols), output)), *symbols)
        assert expanded.total_degree() == 2**hidden
        for degree in (2**hidden, 2, 1, 0):
            p = net.polynomial(degree)[output]
            assert len(p.exponents) == math.comb(n + degree, degree) == len({*map(tuple, p.exponents.tolist())})
            for a, c in zip(p.exponents.tolist(), p.coefficients.tolist(), strict=True):
                exact = float(expanded.coeff_monomial(sympy.prod(s**e for s, e in zip(symbols, a, strict=True))))
                assert c == pytest.approx(exact, rel=1e-10, abs=1e-12)


def test_a_deep_net_read_off_against_its_derivatives_at_zero() -> None:
    """Five products of twelve inputs, degree 3: 455 coefficients in milliseconds. c_a a! = d^a SymNet(0)."""
    net = net_of(12, 5, std=0.5)
    seconds = []
    for _ in range(5):
        begin = time.process_time()
        p = net.polynomial(3)[0]
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.05

    def f(x: Tensor) -> Tensor:
        return net(x.unsqueeze(-1)).squeeze()

    zero = torch.zeros(12, dtype=D)
    gradient, hessian = torch.func.jacrev(f), torch.func.hessian(f)
    derivatives = [f(zero), gradient(zero), hessian(zero), torch.func.jacfwd(hessian)(zero)]
    assert len(p.exponents) == 455
    for a, c in zip(p.exponents.tolist(), p.coefficients.tolist(), strict=True):
        factors = [i for i, e in enumerate(a) for _ in range(e)]
        exact = derivatives[len(factors)][tuple(factors)] / math.prod(map(math.factorial, a))
        assert c == pytest.approx(float(exact), rel=1e-10, abs=1e-12)


def test_coefficients_are_differentiable() -> None:
    net = net_of(2, 2)
    names = [name for name, _ in net.named_parameters()]

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self) -> Tensor:
            return self.net.polynomial(2).coefficients

    def read(*values: Tensor) -> Tensor:
        return torch.func.functional_call(Read(), {f"net.{k}": v for k, v in zip(names, values, strict=True)}, ())

    assert torch.autograd.gradcheck(read, tuple(p.detach().clone().requires_grad_() for p in net.parameters()))


def test_a_product_without_what_exceeds_the_degree() -> None:
    """Against NumPy's two-dimensional convolution of coefficients, by loops."""
    n, degree = 2, 4
    p, q = seeded(2, len(basis(n, degree))), seeded(2, len(basis(n, degree)), seed=1)
    a = exponents(n, degree).tolist()
    for row in range(2):
        exact = np.zeros((9, 9))
        for (e, c), (f, d) in itertools.product(zip(a, p[row], strict=True), zip(a, q[row], strict=True)):
            exact[e[0] + f[0], e[1] + f[1]] += float(c * d)
        got = times(p, q, n, degree)[row]
        assert np.allclose(got, [exact[tuple(e)] for e in a], atol=1e-12)


def test_burgers_equation_as_a_symnet_of_two_products() -> None:
    """-u u_x - v u_y + nu (u_xx + u_yy): the products are u u_x and v u_y, with the weights of [101]."""
    net = SymNet(12, hidden=2, std=0.0)
    with torch.no_grad():
        for row, name in enumerate(["u", "u_x", "v", "u_y"]):
            net.weight[0, row, BURGERS.index(name)] = 1
        net.weight[0, 4, [BURGERS.index("u_xx"), BURGERS.index("u_yy")]] = 0.05
        net.feed[0][0, 2] = net.feed[1][0, 0] = -1
    true = {"u*u_x": -1.0, "v*u_y": -1.0, "u_xx": 0.05, "u_yy": 0.05}
    assert net.polynomial(3)[0].terms(BURGERS) == true
    u, v, ux, uy, uxx, uyy = sympy.symbols("u v u_x u_y u_xx u_yy")
    assert net.expression(BURGERS)[0] - (-u * ux - v * uy + 0.05 * uxx + 0.05 * uyy) == 0
    x = seeded(12, 20)
    assert torch.allclose(Polynomial.of(true, names=BURGERS)(x), net(x), atol=1e-13)


# ---- a polynomial by itself ----------------------------------------------------------------------------------------


def test_a_polynomial_by_its_definition() -> None:
    a, c, x = torch.tensor([[0, 0], [3, 1], [0, 2]]), seeded(4, 3), seeded(5, 2, 6)
    p = Polynomial(a, c)
    assert p(x).shape == (5, 4, 6)
    for b, o, j in itertools.product(range(5), range(4), range(6)):
        exact = sum(float(c[o, m]) * math.prod(float(x[b, i, j]) ** int(a[m, i]) for i in range(2)) for m in range(3))
        assert float(p(x)[b, o, j]) == pytest.approx(exact, rel=1e-12)
    assert torch.equal(p[1](x), p(x)[:, 1])
    assert [q.coefficients.tolist() for q in p] == c.tolist()
    assert torch.autograd.gradcheck(p, (x * x.gt(0)).requires_grad_())  # zeros among x, too


def test_coefficients_may_be_learned() -> None:
    a = torch.tensor([[1], [2]])
    assert not list(Polynomial(a, seeded(2)).parameters())
    p = Polynomial(a, nn.Parameter(seeded(2)))
    x = seeded(1, 50)
    optimiser = torch.optim.LBFGS(p.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = (p(x) - (3 * x[0] - x[0] ** 2)).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    assert torch.allclose(p.coefficients, torch.tensor([3.0, -1.0], dtype=D), atol=1e-5)


def test_terms_are_sorted_and_thresholded() -> None:
    names, terms = ["u", "u_x", "v"], {"v*u_x": 2.0, "1": -0.5, "u**2*v": 0.25, "u_x**3": 1e-3}
    p = Polynomial.of(terms, {"u": 1.0, "1": 1.0}, names=names)
    assert p[0].terms(names) == terms
    assert list(p[0].terms(names)) == list(terms)
    assert p[0].terms(names, 0.01) == {k: c for k, c in terms.items() if abs(c) >= 0.01}
    assert p[0].latex(names, 0.01) == "2 v u_{x} - 0.5 + 0.25 u^{2} v"
    assert p[1].terms(names) == {"u": 1.0, "1": 1.0}
    assert Polynomial.of({}, names=names)[0].latex(names) == "0"
    u, ux, v = sympy.symbols("u u_x v")
    assert sympy.expand(p[0].sympy(names, 0.01) - (2 * v * ux - 0.5 + 0.25 * u**2 * v)) == 0


def test_expressions_of_a_net_are_thresholded() -> None:
    net = net_of(2, 2, outputs=2)
    x, y = sympy.symbols("x y")
    whole = net.expression(["x", "y"], degree=4)
    for output in range(2):
        difference = sympy.Poly(sympy.expand(whole[output] - recursion(net, [x, y], output)), x, y)
        assert max(map(abs, difference.coeffs())) < 1e-12
        kept = sympy.Poly(net.expression(["x", "y"], threshold=0.1, degree=4)[output], x, y)
        assert min(map(abs, kept.coeffs())) >= 0.1
        assert len(kept.coeffs()) == sum(bool(abs(c) >= 0.1) for c in sympy.Poly(whole[output], x, y).coeffs())


def test_pruned_and_rescaled() -> None:
    p, x = net_of(3, 2, outputs=2).polynomial(4), seeded(3, 7)
    scale = torch.tensor([0.5, 2.0, 3.0], dtype=D)
    assert torch.allclose(p.rescaled(scale)(x), p(x / scale.unsqueeze(-1)), atol=1e-11)
    small = p.pruned(0.2)
    assert len(small.exponents) < len(p.exponents)
    for q, r in zip(p, small, strict=True):
        assert r.terms(["a", "b", "c"]) == q.terms(["a", "b", "c"], threshold=0.2)
