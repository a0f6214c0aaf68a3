r"""min over theta of (1/M) sum_i [Phi(x_N^i, y^i) + dt sum_t L(x_t^i, theta_t)],  x_{t+1} = x_t + dt f(x_t, theta_t).

Training is a problem of optimal control: the layers are the times t, the weights theta_t the control, one and the same
for all samples i. Pontryagin's principle has a Hamiltonian and a costate p for every sample,

    H(x, p, theta) = p . f(x, theta) - L(x, theta)
    x_{t+1} = x_t     + dt dH/dp (x_t, p_{t+1}, theta_t),     x_0 = x                          forwards
    p_t     = p_{t+1} + dt dH/dx (x_t, p_{t+1}, theta_t),     p_N = -grad Phi(x_N, y)          backwards
    theta_t = argmax over theta of  sum_i H(x_t^i, p_{t+1}^i, theta).

The costate is what back-propagation carries, with the opposite sign:

    p_t^i = -d(M J)/dx_t^i,        dJ/dtheta_t = -(dt/M) sum_i dH/dtheta (x_t^i, p_{t+1}^i, theta_t),

so a step of gradient descent on J is a step uphill on H. The maximum itself is necessary in continuous time. On the
grid dH/dtheta = 0 is, and the maximum where f and L take convex sets of values; it is sufficient where H is concave in
(x, theta) and Phi convex, as for `riccati`. For a net whose layers are any maps, x_{t+1} = G_t(x_t), put p . G for
p . f: with G = x + dt f that is p . x + dt p . f, of the same derivatives in theta and the same maximum.

The iterations that solve the conditions are in msa.py.

Paper: Section 5.1 (the control problem; [95]).  Notebook: 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import Map, Steps, iterate
from companion.flows.schemes import Euler, check_dt

Cost = Callable[[Tensor], Tensor]
Dynamics = Callable[[Tensor, Tensor], Tensor]  # (x, theta_t) -> dx/dt
Loss = Callable[[Tensor, Tensor], Tensor]  # (x_N, y) -> M numbers
Running = Callable[[Tensor, Tensor], Tensor]  # (x, theta_t) -> M numbers


class Paths(NamedTuple):
    """x = [x_0, ..., x_N] and p = [p_0, ..., p_N], detached: the states and the costates of all samples."""

    x: list[Tensor]
    p: list[Tensor]


def hamiltonian(G: Map, x: Tensor, p: Tensor, cost: Cost | None = None) -> Float[Tensor, "M"]:
    """p . G(x) - L(x), one number for each sample; G is a field f, or a layer x + dt f.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> hamiltonian(lambda x: 2 * x, x, torch.ones(2, 2))
    tensor([ 6., 14.])
    """
    H = (p * G(x)).flatten(1).sum(1)
    return H if cost is None else H - cost(x)


def costates(maps: Steps, x: Tensor, Phi: Cost, costs: Sequence[Cost] | None = None) -> Paths:
    """p_N = -grad Phi(x_N),  p_t = d/dx [p_{t+1} . G_t(x_t) - L_t(x_t)]: the states of a list of maps, the costates.

    maps   G_0, ..., G_{N-1}, as `run` takes them; their states are tensors with the samples in front
    x      x_0, of shape (M, ...)
    Phi    x_N -> the M losses
    costs  the running costs L_t, in the unit of Phi (so a dt is in them): x -> M numbers, or one

    Raises ValueError if Phi gives anything but M numbers, and TypeError for a state that is more than a tensor.

    >>> w = torch.tensor([2.0])
    >>> costates([lambda x: w * x, lambda x: w * x], torch.ones(1, 1), lambda x: x[:, 0] ** 2).p
    [tensor([[-32.]]), tensor([[-16.]]), tensor([[-8.]])]
    """
    layers = list(maps)  # type: ignore[arg-type]
    with torch.no_grad():
        xs = list(iterate(layers, x.detach()))
    if other := [type(state).__name__ for state in xs if not isinstance(state, Tensor)]:
        raise TypeError(
            f"A costate here belongs to a state that is one tensor; got a list of maps with states {other[0]}. "
            "For the gradient of such a net back-propagate through it."
        )
    ps = [gradient_of(lambda z: -per_sample(Phi(z), len(z)), xs[-1])]
    for t in reversed(range(len(layers))):
        H = partial(hamiltonian, layers[t], p=ps[-1], cost=None if costs is None else costs[t])
        ps.append(gradient_of(H, xs[t]))
    return Paths(xs, ps[::-1])


def pmp_gradient(
    maps: Steps, paths: Paths, parameters: Iterable[Tensor], costs: Sequence[Cost] | None = None
) -> tuple[Tensor, ...]:
    """dJ/dtheta = -(1/M) sum_t sum_i d/dtheta [p_{t+1}^i . G_t(x_t^i) - L_t(x_t^i)]: what back-propagation finds.

    paths       from `costates`; they are fixed numbers, so that each layer is differentiated alone
    parameters  the tensors theta, such as net.parameters(); the answer has one gradient for each

    One parameter in several layers gets the sum of theirs.
    """
    layers, theta = list(maps), list(parameters)  # type: ignore[arg-type]
    with torch.enable_grad():
        H = [
            hamiltonian(G, x, p, None if costs is None else costs[t]).sum()
            for t, (G, x, p) in enumerate(zip(layers, paths.x[:-1], paths.p[1:], strict=True))
        ]
        J = -torch.stack(H).sum() / len(paths.x[0])
        if not J.requires_grad:
            return tuple(map(torch.zeros_like, theta))
        return torch.autograd.grad(J, theta, materialize_grads=True)


class Control(nn.Module):
    r"""J(theta) = (1/M) sum_i [Phi(x_N^i, y^i) + dt sum_t L(x_t^i, theta_t)],  x_{t+1} = x_t + dt f(x_t, theta_t).

    f        (x, theta_t) -> dx/dt, of the shape of x
    loss     Phi: (x_N, y) -> M numbers, one for each sample
    x, y     the samples, M in front
    dt       the time step; the number N of layers is that of theta
    running  L: (x, theta_t) -> M numbers, or one number; None is 0

    theta is one tensor (N, ...): a row for each layer. A Module becomes such an f by `explicit`. Then J is a function
    on controls, so `run(Euler(problem.descent, lr), theta, k=100, record={"J": problem})` is gradient descent.

    Raises ValueError unless dt > 0, x and y are M samples each, theta has a first axis of N >= 1 layers, and loss and
    running give M numbers.

    >>> x = torch.tensor([[1.0], [3.0]])
    >>> problem = Control(lambda x, a: a.expand_as(x), lambda x, y: (x - y).square().sum(1) / 2, x, 0 * x, dt=0.5)
    >>> problem.gradient(torch.zeros(2, 1)).squeeze()
    tensor([1., 1.])
    """

    x: Tensor
    y: Tensor
    running: Any

    def __init__(self, f: Dynamics, loss: Loss, x: Tensor, y: Tensor, dt: float = 1.0, running: Running | None = None):
        super().__init__()
        if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or not len(x):
            raise ValueError(
                "A control problem has M >= 1 samples x and as many y, M in front; got shapes "
                f"{tuple(x.shape)} and {tuple(y.shape)}."
            )
        self.f, self.loss, self.running, self.dt = f, loss, running, check_dt(dt)
        self.register_buffer("x", x)
        self.register_buffer("y", y)

    def maps(self, theta: Tensor) -> list[Map]:
        """[x -> x + dt f(x, theta_t) for each t]: the network, for `run`."""
        self._check(theta)
        return [Euler(lambda x, a=a: self.f(x, a), self.dt) for a in theta]

    def costs(self, theta: Tensor) -> list[Cost] | None:
        """[x -> dt L(x, theta_t) for each t], or None."""
        if self.running is None:
            return None
        return [partial(self._cost, theta=a, dt=self.dt) for a in theta]

    def hamiltonian(self, x: Tensor, p: Tensor, theta: Tensor) -> Float[Tensor, "M"]:
        """H = p . f(x, theta) - L(x, theta), for the samples x, p at one time and the control theta of that time."""
        cost = None if self.running is None else partial(self._cost, theta=theta)
        return hamiltonian(lambda z: self.f(z, theta), x, p, cost)

    def forward(self, theta: Tensor) -> Float[Tensor, ""]:
        xs = list(iterate(self.maps(theta), self.x))
        J = per_sample(self.loss(xs[-1], self.y), len(self.x))
        for cost, x in zip(self.costs(theta) or [], xs, strict=False):
            J = J + cost(x)
        return J.mean()

    def paths(self, theta: Tensor) -> Paths:
        """The states forwards and the costates backwards, for the control theta."""
        theta = theta.detach()
        return costates(self.maps(theta), self.x, lambda z: self.loss(z, self.y), self.costs(theta))

    def gradient(self, theta: Tensor) -> Tensor:
        """dJ/dtheta_t = -(dt/M) sum_i dH/dtheta, by the costates; of the shape of theta."""
        a = theta.detach().requires_grad_()
        return pmp_gradient(self.maps(a), self.paths(theta), [a], self.costs(a))[0]

    def descent(self, theta: Tensor) -> Tensor:
        """-dJ/dtheta: the field whose Euler steps are gradient descent, uphill on H."""
        return -self.gradient(theta)

    def _cost(self, x: Tensor, theta: Tensor, dt: float = 1.0) -> Float[Tensor, "M"]:
        """dt L(x, theta)."""
        return dt * per_sample(self.running(x, theta), len(x))

    def _check(self, theta: Tensor) -> None:
        if theta.ndim < 1 or not len(theta) or not theta.is_floating_point():
            raise ValueError(
                "The control is one tensor of real numbers with a row theta_t for each of N >= 1 layers; got shape "
                f"{tuple(theta.shape)} of {theta.dtype}."
            )


def explicit(module: nn.Module) -> tuple[Dynamics, Tensor]:
    """f(x, theta) = module(x) with theta for its parameters, and the theta it has: one vector.

    >>> f, theta = explicit(nn.Linear(2, 2))
    >>> theta.shape, f(torch.ones(3, 2), theta).shape
    (torch.Size([6]), torch.Size([3, 2]))
    """
    names = {name: p.shape for name, p in module.named_parameters()}
    if not names:
        raise ValueError(f"A control needs parameters to act on; {type(module).__name__} has none.")

    def f(x: Tensor, theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in names.values()])
        values = {name: part.view(names[name]) for name, part in zip(names, parts, strict=True)}
        return torch.func.functional_call(module, values, (x,))

    return f, nn.utils.parameters_to_vector(module.parameters()).detach()


def gradient_of(value: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d/dx of the sum over the samples of value(x)."""
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        total = value(z).sum()
        return torch.autograd.grad(total, z, materialize_grads=True)[0] if total.requires_grad else torch.zeros_like(x)


def per_sample(values: Tensor, M: int) -> Float[Tensor, "M"]:
    """M numbers; one number stands for M equal ones."""
    if values.shape not in ((), (M,)):
        raise ValueError(
            f"A loss Phi(x, y) or a cost L(x, theta) gives one number for each of the M={M} samples; got shape "
            f"{tuple(values.shape)}. Sum over the other axes, not over the samples."
        )
    return values.expand(M)
