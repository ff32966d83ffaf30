"""Clients that exchange scalars: the server's replay, GradIP, the virtual path."""

from __future__ import annotations

import pytest
import torch
from zo_lab import H, T

from zobench.plugins import lookup
from zobench.zo import Objective, build_space
from zobench.zo.conformance.problems import quadratic
from zobench.zo.federated import Client, Message, Server, VirtualPath, displacement, gradip
from zobench.zo.space import ParameterSpace

CLS = lookup("methods", "meerkat")


def flat(space: ParameterSpace) -> torch.Tensor:
    return torch.cat([space.entries(n).reshape(-1) for n in space]).clone()


def optimizer(seed: int, name: str = "meerkat", **params: object):
    module = quadratic().make(torch.float64)
    space = build_space("full", {}, module)
    cls = lookup("methods", name)
    config = {"lr": 0.02, **params} if name != "meerkat" else {"lr": 0.02, "density": 0.5, **params}
    return cls(cls.Config(**config), space, seed=seed)


def client(seed: int, target: torch.Tensor, name: str = "meerkat", **params: object) -> Client:
    method = optimizer(seed, name, **params)

    def loss(module: torch.nn.Module, batch: object) -> torch.Tensor:
        theta = torch.cat([p.reshape(-1) for p in module.parameters()])
        return 0.5 * (H * (theta - target) ** 2).sum()

    objective = Objective(method.space.module, loss)
    return Client(f"client-{seed}", method, objective, lambda o: o.set_batch(None, sequences=1, tokens=0))


def server(**options: object) -> Server:
    method = optimizer(99)
    return Server(method.space, method.direction, **options)


def test_the_server_moves_by_the_mean_of_the_clients_real_paths() -> None:
    clients, hub = [client(1, T), client(2, T + 1), client(3, T - 2)], server()
    for _ in range(3):
        before = flat(hub.space)
        sent = hub.round(clients, 5)
        ends = torch.stack([flat(c.optimizer.space) for c in clients])
        assert torch.allclose(flat(hub.space), ends.mean(dim=0), rtol=1e-10, atol=1e-12)
        for said, end in zip(sent, ends, strict=True):
            rebuilt = torch.cat([displacement(hub.direction, said, n).reshape(-1) for n in hub.space])
            assert torch.allclose(rebuilt, end - before, rtol=1e-9, atol=1e-12)


def test_bytes_do_not_depend_on_the_model() -> None:
    hub = server()
    sent = hub.round([client(1, T), client(2, T)], 4)
    assert [m.bytes for m in sent] == [4 * 24, 4 * 24]
    assert hub.received == 192


def test_rounds_lower_the_common_loss() -> None:
    clients, hub = [client(s, T + 0.1 * s) for s in range(4)], server()
    start = float((H * (flat(hub.space) - T) ** 2).sum())
    for _ in range(15):
        hub.round(clients, 10)
    assert float((H * (flat(hub.space) - T) ** 2).sum()) < 0.9 * start


def test_gradip_is_the_inner_product_with_the_estimate() -> None:
    hub = server()
    gradient = {
        n: torch.randn(hub.space.shape(n), generator=torch.Generator().manual_seed(5)) for n in hub.space
    }
    said = Message("a", ((0.1, (3, 4), (0.5, -2.0)), (0.1, (9,), (1.5,))))
    u = {s: torch.cat([hub.direction.tensor(n, s).reshape(-1) for n in hub.space]) for s in (3, 4, 9)}
    g = torch.cat([gradient[n].reshape(-1) for n in hub.space]).double()
    expected = [float(g @ (0.5 * u[3] - 2.0 * u[4])), float(g @ (1.5 * u[9]))]
    assert gradip(hub.direction, said, gradient) == pytest.approx(expected, rel=1e-6)


def test_a_vanishing_path_is_cut_to_one_step() -> None:
    """One client starts at its minimum, where its estimates are rounding noise; the other is far away."""
    hub = server(rule=VirtualPath(window=10, ratio=0.1))
    hub.gradient = {n: torch.ones(hub.space.shape(n)) for n in hub.space}
    here = flat(hub.space)
    near, far = client(1, here), client(2, here + 50)
    near.path = [5.0] * 10
    hub.round([near, far], 10)
    assert hub.stopped == {"client-1"}
    sent = hub.round([near, far], 10)
    assert [len(m.steps) for m in sent] == [1, 10]


def test_virtual_path_rule() -> None:
    rule = VirtualPath(window=3, ratio=0.1)
    assert not rule.vanished([1.0, -1.0, 1.0, 0.0, 0.0])
    assert rule.vanished([1.0, -1.0, 1.0, 0.05, -0.05, 0.05])
    assert not rule.vanished([1.0, -1.0, 1.0, 0.5, -0.5, 0.5])
    with pytest.raises(ValueError, match="ratio"):
        VirtualPath(ratio=1.0)


@pytest.mark.parametrize(
    ("name", "params"),
    [("zo-adam", {}), ("random-mask", {"interval": 1}), ("mezo", {"weight_decay": 0.1}), ("conmezo", {})],
)
def test_methods_that_scalars_do_not_rebuild_are_refused(name: str, params: dict) -> None:
    with pytest.raises(ValueError, match=name):
        server().round([client(1, T, name, **params)], 1)
