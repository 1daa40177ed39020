from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from client_app.crowd_memory import ACCOUNT, CrowdMemory
from client_app.crowd_outbox import CrowdOutbox
from common.config import PrivacyConfig
from common.errors import OutboxError
from common.privacy.budget import release_settings
from common.scopes import Scope

SCOPES = {"gate": Scope.SHARED, "group": Scope.GROUP, "user": Scope.PRIVATE}
RECEIVED = {"gate": torch.zeros(3), "group": torch.zeros(2, 2)}
CLIENTS = ("a", "b")


def upload(clients: int = 2) -> dict[str, torch.Tensor]:
    return {name: torch.ones(clients, *tensor.shape) for name, tensor in RECEIVED.items()}


def door(privacy: PrivacyConfig = PrivacyConfig(), rounds: int = 4) -> CrowdOutbox:  # noqa: B008
    return CrowdOutbox(SCOPES, RECEIVED, privacy, release_settings(privacy, rounds))


def memory(folder: Path, clients: tuple[str, ...] = CLIENTS) -> CrowdMemory:
    return CrowdMemory(lambda client: folder / client, clients)


def test_without_noise_what_goes_out_is_what_was_computed(tmp_path: Path) -> None:
    out = door().release(CLIENTS, upload(), memory(tmp_path))
    assert out.places == [0, 1] and all(torch.equal(out.upload[name], upload()[name]) for name in RECEIVED)
    assert out.epsilons == [] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [{"user": torch.ones(2, 3)}, {"gate": torch.ones(2, 4)}, {"gate": torch.ones(3, 3)}, {"other": torch.ones(2, 3)}],
)
def test_anything_else_stops_the_message(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(OutboxError):
        door().release(CLIENTS, upload() | wrong, memory(tmp_path))


def test_a_private_tensor_stays_even_where_the_server_asks_for_it(tmp_path: Path) -> None:
    asked = CrowdOutbox(SCOPES, {"user": torch.zeros(3)}, PrivacyConfig(), None)
    with pytest.raises(OutboxError, match="'user' is 'private'"):
        asked.release(CLIENTS, {"user": torch.ones(2, 3)}, memory(tmp_path))


def test_who_diverged_is_left_out_and_the_others_go(tmp_path: Path) -> None:
    spoilt = upload()
    spoilt["group"][1, 0, 0] = float("inf")
    out = door().release(CLIENTS, spoilt, memory(tmp_path))
    assert out.places == [0] and "not finite" in out.left_out["b"] and len(out.upload["gate"]) == 1


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_the_noises_spread_is_its_formula(tmp_path: Path, mechanism: str) -> None:
    """All numbers of 400 clients lie around the clipped update with the deviation that the settings have."""
    names = tuple(f"c{place}" for place in range(400))
    privacy = PrivacyConfig(mechanism=mechanism, epsilon=2.0, clip=0.5)
    release = release_settings(privacy, 4)
    out = door(privacy).release(names, upload(400), memory(tmp_path, names))
    sent = torch.cat([tensor.flatten(1) for tensor in out.upload.values()], dim=1).numpy()
    clipped = 0.5 / (7 if mechanism == "laplace" else np.sqrt(7))
    assert sent.mean() == pytest.approx(clipped, abs=5 * release.deviation / np.sqrt(sent.size))
    assert sent.std() == pytest.approx(release.deviation, rel=0.1)
    assert max(out.epsilons) <= 2.0


def test_a_used_up_budget_leaves_a_client_out_before_any_noise_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    privacy = PrivacyConfig(mechanism="gaussian", epsilon=2.0)
    outbox = door(privacy, rounds=1)
    outbox.release(("a",), upload(1), memory(tmp_path))
    charged: list[bool] = []

    def draw(*_: object) -> dict:
        charged.append((tmp_path / "b" / ACCOUNT).is_file())
        raise ConnectionError

    monkeypatch.setattr("client_app.crowd_outbox.privatise", draw)
    with pytest.raises(ConnectionError):
        outbox.release(CLIENTS, upload(), memory(tmp_path))
    assert charged == [True]
    out = outbox.release(CLIENTS, upload(), memory(tmp_path))
    assert out.places == [] and out.left_out == {"a": "privacy budget", "b": "privacy budget"}
