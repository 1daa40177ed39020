"""FELLRec's own wiring, recomputed from what was sent: rates, heats and weights follow from the reports and from nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from client_app import text_learner
from common.config import from_flat
from common.events import read_lines
from common.run_folder import RunFolder
from tests.federation import InProcessGrid, federate, tiny_dataset, tiny_settings

ROUNDS, RATE = 3, 2e-3


class Captured(InProcessGrid):
    def __init__(self, *given) -> None:  # noqa: ANN002
        super().__init__(*given)
        self.replies: list[Message] = []

    def _answer(self, message: Message) -> Message | None:
        reply = super()._answer(message)
        self.replies.append(reply)
        return reply


def vectors(records: list[Message], kind: str) -> np.ndarray:
    found = []
    for message in records:
        tensors = message.content[kind].to_torch_state_dict()
        found.append(np.concatenate([tensors[name].double().numpy().ravel() for name in sorted(tensors)]))
    return np.stack(found)


def by_round(messages: list[Message], number: int) -> list[Message]:
    chosen = [
        m for m in messages if m.metadata.message_type == "train" and m.content["config"]["server-round"] == number
    ]
    return sorted(chosen, key=lambda m: m.content["config"]["clients"])


@pytest.fixture
def run(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """Two shops with catalogues of different sizes; every client's learning rate as its optimiser had it."""
    rates: dict[tuple[str, int], float] = {}
    train = text_learner.train

    def kept(recommender, shelves, config, client, number, rate, *rest):  # noqa: ANN001, ANN002, ANN202
        rates[client, number] = rate
        return train(recommender, shelves, config, client, number, rate, *rest)

    monkeypatch.setattr(text_learner, "train", kept)
    tiny_settings(fellrec_home)
    large = tiny_dataset("large", users=30, seed=1, animals=("long", "bear", "owl"))
    large.save(fellrec_home / "data" / "large")
    settings = tiny_settings(
        fellrec_home, data__sets="toy:2 large:2", num_server_rounds=ROUNDS, train__learning_rate=RATE,
        fellrec__own_share="rule", fellrec__temperature=0.5, fellrec__alpha=0.6, fellrec__beta=3.0,
    )  # fmt: skip
    grid = federate(settings, grid=Captured)
    log = list(read_lines(RunFolder.find("latest", str(fellrec_home)).events_path))
    return from_flat(settings), grid, log, rates


def heats(losses: list[float], items: list[int], age: int, config) -> np.ndarray:  # noqa: ANN001
    """w = tanh(alpha / p^(t / beta)), p = softmax of the losses as multiples of a guess's ln(items)."""
    chance = np.log(items)
    told = np.array(losses) * chance.mean() / chance
    shares = np.exp((told - told.max()) / config.fellrec.loss_temperature)
    p = shares / shares.sum()
    return np.tanh(config.fellrec.alpha / p ** (age / config.fellrec.beta))


def test_rates_heats_and_weights_follow_from_what_was_sent(run) -> None:
    config, grid, log, rates = run
    joined = {name: told for line in log if line["event"] == "joined" for name, told in line["clients"].items()}
    ended = {line["round"]: line for line in log if line["event"] == "round_ended"}
    clients = sorted(joined)
    assert len(clients) == 4
    origin = vectors(by_round(grid.sent, 1), "personal")[0]
    warm = dict.fromkeys(clients, math.tanh(config.fellrec.alpha))
    for number in range(1, ROUNDS + 1):
        replies = by_round(grid.replies, number)
        assert [m.content["config"]["clients"][0] for m in replies] == clients
        for client in clients:
            assert rates[client, number] == pytest.approx(RATE * warm[client], rel=1e-6), (client, number)
        losses = [m.content["metrics"]["losses"][0] for m in replies]
        found = heats(losses, [joined[client]["items"] for client in clients], number - 1, config)
        told = [ended[number]["clients"][client]["heat"] for client in clients]
        assert told == pytest.approx(found.tolist(), rel=1e-9)
        # d_ij = w_i s_ij, s = ((1 + cos) / 2)^(1 / T) of what each has changed since the run began, d_ii = 1
        change = vectors(replies, "arrays") - origin
        lengths = np.linalg.norm(change, axis=1)
        alike = ((1 + change @ change.T / lengths / lengths[:, None]) / 2) ** (1 / config.fellrec.temperature)
        rows = found[:, None] * alike
        np.fill_diagonal(rows, 1.0)
        rows /= rows.sum(axis=1, keepdims=True)
        logged = np.array([[ended[number]["weights"][to][by] for by in clients] for to in clients])
        np.testing.assert_allclose(logged, rows, rtol=1e-6)
        if number < ROUNDS:
            mixed = vectors(by_round(grid.sent, number + 1), "personal")
            np.testing.assert_allclose(mixed, rows @ vectors(replies, "arrays"), atol=1e-6)
        warm = dict(zip(clients, found.tolist(), strict=True))
