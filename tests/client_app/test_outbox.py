"""client_app/outbox.py: fails closed; clips, counts and noises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from client_app.memory import ACCOUNT, Memory
from client_app.outbox import Outbox
from common.config import PrivacyConfig
from common.errors import OutboxError
from common.privacy.budget import release_settings
from common.scopes import SCOPES, Owner, Scope, scopes_of

TOY = {"gate": Scope.SHARED, "group": Scope.GROUP, "user": Scope.PRIVATE}
RECEIVED = {"gate": torch.zeros(3), "group": torch.zeros(2, 2)}
CLIENTS = ("a", "b")


def upload(clients: int = 2) -> dict[str, torch.Tensor]:
    return {name: torch.ones(clients, *tensor.shape) for name, tensor in RECEIVED.items()}


def door(privacy: PrivacyConfig = PrivacyConfig(), rounds: int = 4) -> Outbox:  # noqa: B008
    return Outbox(TOY, RECEIVED, privacy, release_settings(privacy, rounds))


def memory(folder: Path, clients: tuple[str, ...] = CLIENTS) -> list[Memory]:
    return [Memory(folder / client) for client in clients]


def test_without_noise_what_goes_out_is_what_was_computed(tmp_path: Path) -> None:
    out = door().release(CLIENTS, upload(), memory(tmp_path))
    assert out.places == [0, 1] and all(torch.equal(out.contribution[name], upload()[name]) for name in RECEIVED)
    assert out.epsilons == [] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [{"user": torch.ones(2, 3)}, {"gate": torch.ones(2, 4)}, {"gate": torch.ones(3, 3)}, {"other": torch.ones(2, 3)}],
)
def test_anything_else_stops_the_message(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(OutboxError):
        door().release(CLIENTS, upload() | wrong, memory(tmp_path))


def test_a_private_tensor_stays_even_where_the_server_asks_for_it(tmp_path: Path) -> None:
    asked = Outbox(TOY, {"user": torch.zeros(3)}, PrivacyConfig(), None)
    with pytest.raises(OutboxError, match="'user' is 'private'"):
        asked.release(CLIENTS, {"user": torch.ones(2, 3)}, memory(tmp_path))


def test_who_diverged_is_left_out_and_the_others_go(tmp_path: Path) -> None:
    spoilt = upload()
    spoilt["group"][1, 0, 0] = float("inf")
    out = door().release(CLIENTS, spoilt, memory(tmp_path))
    assert out.places == [0] and "not finite" in out.left_out["b"] and len(out.contribution["gate"]) == 1


def test_noise_is_on_what_a_client_moved_its_tensors_by(tmp_path: Path) -> None:
    """The tensors themselves may be of any length: what is clipped is the way from where the round began."""
    privacy = PrivacyConfig(mechanism="gaussian", epsilon=1e6, clip=0.5, max_epsilon=1e7)
    start = {name: torch.full((2, *tensor.shape), 100.0) for name, tensor in RECEIVED.items()}
    trained = {name: tensor + 1.0 for name, tensor in start.items()}
    out = door(privacy, rounds=1).release(CLIENTS, trained, memory(tmp_path), start)
    moved = torch.cat([(out.contribution[name] - start[name]).flatten(1) for name in RECEIVED], dim=1)
    torch.testing.assert_close(moved.norm(dim=1), torch.full((2,), 0.5), rtol=0.02, atol=0.0)


@pytest.mark.parametrize("strategy", sorted(SCOPES))
def test_a_strategy_lets_out_what_its_row_says(tmp_path: Path, strategy: str) -> None:
    owners = {
        "l.user.lora_A.weight": Owner.CLIENT,
        "l.groups.g.lora_A.weight": Owner.GROUP,
        "l.lora_A.weight": Owner.ALL,
    }
    scopes = scopes_of(strategy, owners)
    for name, scope in scopes.items():
        outbox = Outbox(scopes, {name: torch.zeros(2)}, PrivacyConfig(), None)
        sent = {name: torch.ones(1, 2)}
        if scope.may_leave:
            assert torch.equal(outbox.release(["a"], sent, memory(tmp_path)).contribution[name], sent[name])
        else:
            with pytest.raises(OutboxError, match=scope.value):
                outbox.release(["a"], sent, memory(tmp_path))


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_the_noises_spread_is_its_formula(tmp_path: Path, mechanism: str) -> None:
    """All numbers of 400 clients lie around the clipped update with the deviation that the settings have."""
    names = tuple(f"c{place}" for place in range(400))
    privacy = PrivacyConfig(mechanism=mechanism, epsilon=2.0, clip=0.5)
    release = release_settings(privacy, 4)
    out = door(privacy).release(names, upload(400), memory(tmp_path, names))
    sent = torch.cat([tensor.flatten(1) for tensor in out.contribution.values()], dim=1).numpy()
    clipped = 0.5 / (7 if mechanism == "laplace" else np.sqrt(7))
    assert sent.mean() == pytest.approx(clipped, abs=5 * release.deviation / np.sqrt(sent.size))
    assert sent.std() == pytest.approx(release.deviation, rel=0.1)
    assert max(out.epsilons) <= 2.0


def test_a_used_up_budget_leaves_a_client_out_before_any_noise_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    privacy = PrivacyConfig(mechanism="gaussian", epsilon=2.0)
    outbox = door(privacy, rounds=1)
    outbox.release(("a",), upload(1), memory(tmp_path, ("a",)))
    charged: list[bool] = []

    def draw(*_: object) -> dict:
        charged.append((tmp_path / "b" / ACCOUNT).is_file())
        raise ConnectionError

    monkeypatch.setattr("client_app.outbox.privatise", draw)
    with pytest.raises(ConnectionError):
        outbox.release(CLIENTS, upload(), memory(tmp_path))
    assert charged == [True]
    out = outbox.release(CLIENTS, upload(), memory(tmp_path))
    assert out.places == [] and out.left_out == {"a": "privacy budget", "b": "privacy budget"}
