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


VARIANTS: dict[str, dict[str, object]] = {
    "as it is": {},
    "attention off": {"fellrec__attention": False},
    "heating off": {"fellrec__heating": False},
    "pacing off": {"fellrec__pacing": False},
    "raw similarity": {"fellrec__similarity": "raw"},
    "similarity of a round": {"fellrec__similarity": "round"},
    "sharper attention": {"fellrec__temperature": 0.2},
    "quicker heating": {"fellrec__alpha": 1.2, "fellrec__beta": 1.0, "fellrec__loss_temperature": 0.5},
    "as published": {"strategy__name": "fellrec-paper"},
    "mean by size": {"strategy__name": "fedavg"},
    "plain mean": {"strategy__name": "fedavg", "fedavg__weights": "uniform"},
}
"""Settings of what the server does, each with numbers that follow from what was sent."""

BASE = {
    "fellrec__own_share": "rule",
    "fellrec__temperature": 0.5,
    "fellrec__alpha": 0.6,
    "fellrec__beta": 3.0,
    "num_server_rounds": ROUNDS,
    "train__learning_rate": RATE,
    "data__sets": "toy:2 large:2",
    "train__examples": 0,
}


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], float]:
    """Every client's learning rate as its optimiser had it, by client and round."""
    found: dict[tuple[str, int], float] = {}
    train = text_learner.train

    def kept(recommender, shelves, config, client, number, rate, *rest):  # noqa: ANN001, ANN002, ANN202
        found[client, number] = rate
        return train(recommender, shelves, config, client, number, rate, *rest)

    monkeypatch.setattr(text_learner, "train", kept)
    return found


def heats(losses: list[float], items: list[int], age: int, config) -> np.ndarray:  # noqa: ANN001
    """w = tanh(alpha / p^(t / beta)), p = softmax of the losses as multiples of a guess's ln(items)."""
    chance = np.log(items)
    told = np.array(losses) * chance.mean() / chance
    shares = np.exp((told - told.max()) / config.fellrec.loss_temperature)
    p = shares / shares.sum()
    return np.tanh(config.fellrec.alpha / p ** (age / config.fellrec.beta))


def rows(config, sent: np.ndarray, start: np.ndarray, origin: np.ndarray, warm: np.ndarray, sizes: np.ndarray):  # noqa: ANN001, ANN201
    """The mixing matrix. FELLRec's: d_ij = w_i s_ij, s = ((1 + cos) / 2)^(1 / T), d_ii = 1, rows brought to the sum one."""
    n, fellrec = len(sent), config.fellrec
    if config.strategy.name == "fedavg":
        share = sizes if config.fedavg.weights == "size" else np.ones(n)
        return np.tile(share / share.sum(), (n, 1))
    paper = config.strategy.name == "fellrec-paper"
    compared = sent - {"update": origin, "round": start, "raw": 0.0}["raw" if paper else fellrec.similarity]
    lengths = np.linalg.norm(compared, axis=1)
    cosines = compared @ compared.T / lengths / lengths[:, None]
    alike = ((1 + cosines) / 2) ** (1 if paper else 1 / fellrec.temperature)
    if not (paper or fellrec.attention):
        alike = np.ones((n, n))
    found = (warm if paper or fellrec.heating else np.ones(n))[:, None] * alike
    np.fill_diagonal(found, 1.0)
    return found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rates_heats_and_weights_follow_from_what_was_sent(fellrec_home: Path, rates: dict, variant: str) -> None:
    """Two shops with catalogues, sizes and losses of their own."""
    tiny_settings(fellrec_home)
    large = tiny_dataset("large", users=60, seed=1, animals=("long", "bear", "owl"))
    large.save(fellrec_home / "data" / "large")
    settings = tiny_settings(fellrec_home, **BASE | VARIANTS[variant])
    config, grid = from_flat(settings), federate(settings, grid=Captured)
    log = list(read_lines(RunFolder.find("latest", str(fellrec_home)).events_path))
    joined = {name: told for line in log if line["event"] == "joined" for name, told in line["clients"].items()}
    ended = {line["round"]: line for line in log if line["event"] == "round_ended"}
    clients, shared = sorted(joined), config.strategy.name == "fedavg"
    kind = "arrays" if shared else "personal"
    origin = vectors(by_round(grid.sent, 1), kind)[0]
    paced = config.strategy.name == "fellrec" and config.fellrec.pacing
    warm = np.full(4, math.tanh(config.fellrec.alpha) if paced else 1.0)
    for number in range(1, ROUNDS + 1):
        replies = by_round(grid.replies, number)
        assert [m.content["config"]["clients"][0] for m in replies] == clients and len(clients) == 4
        for place, client in enumerate(clients):
            assert rates[client, number] == pytest.approx(RATE * warm[place], rel=1e-6), (client, number)
        losses = [m.content["metrics"]["losses"][0] for m in replies]
        sizes = np.array([m.content["metrics"]["sizes"][0] for m in replies], dtype=float)
        found = heats(losses, [joined[client]["items"] for client in clients], number - 1, config)
        if not shared:
            told = [ended[number]["clients"][client]["heat"] for client in clients]
            assert told == pytest.approx(found.tolist(), rel=1e-9)
        sent, start = vectors(replies, "arrays"), vectors(by_round(grid.sent, number), kind)
        expected = rows(config, sent, start, origin, found, sizes)
        logged = np.array([[ended[number]["weights"][to][by] for by in clients] for to in clients])
        np.testing.assert_allclose(logged, expected, rtol=1e-6)
        if number < ROUNDS:
            np.testing.assert_allclose(vectors(by_round(grid.sent, number + 1), kind), expected @ sent, atol=1e-6)
        warm = found if paced else warm
    assert len(set(sizes)) > 1 and logged.std() > 0 or variant == "plain mean"


def test_without_averaging_a_client_serves_with_the_last_mix_and_with_it_with_the_mean(fellrec_home: Path) -> None:
    for window in (1, 2):
        settings = tiny_settings(
            fellrec_home, run_name=f"w{window}", **BASE | {"strategy__average_rounds": window, "data__sets": "toy:3"}
        )
        grid = federate(settings, grid=Captured)
        run = RunFolder.find(f"w{window}", str(fellrec_home))
        log = list(read_lines(run.events_path))
        mixed = []
        for number in (ROUNDS - 1, ROUNDS):
            (ended,) = [line for line in log if line["event"] == "round_ended" and line["round"] == number]
            matrix = np.array(
                [[ended["weights"][to][by] for by in sorted(ended["weights"])] for to in sorted(ended["weights"])]
            )
            mixed.append(matrix @ vectors(by_round(grid.replies, number), "arrays"))
        wanted = np.mean(mixed[-window:], axis=0)
        for place, client in enumerate(("toy-0", "toy-1", "toy-2")):
            served = run.load_adapter(client)
            found = np.concatenate([served[name].double().numpy().ravel() for name in sorted(served)])
            np.testing.assert_allclose(found, wanted[place], atol=1e-6)
