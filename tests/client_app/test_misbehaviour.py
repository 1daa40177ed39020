"""client_app/misbehaviour.py: clients that do not play fair, in simulation, and what the server makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.learned import Learned
from client_app.misbehaviour import MISBEHAVIOURS, misbehave, misbehaviour
from common.config import RunConfig, from_flat
from common.errors import ConfigError
from common.events import read_lines
from common.run_folder import RunFolder
from tests.federation import federate, tiny_settings

START, MOVED = torch.full((2, 3), 5.0), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
LEARNED = Learned({"x": START + MOVED}, {"x": START}, [1.0, 1.0], [8, 8])


def config(text: str) -> RunConfig:
    return from_flat({"federation.misbehaving": text})


def sent(text: str, learned: Learned = LEARNED) -> torch.Tensor:
    return misbehave(config(text), {}, ("a", "b"), learned).contribution["x"]


def test_nobody_misbehaves_who_is_not_named() -> None:
    assert misbehave(config(""), {}, ("a", "b"), LEARNED) is LEARNED
    assert torch.equal(sent("b=reversed")[0], (START + MOVED)[0])


@pytest.mark.parametrize(
    ("how", "wanted"), [("scaled", START + 10 * MOVED), ("reversed", START - MOVED), ("idle", START)]
)
def test_what_is_sent_is_what_the_name_says(how: str, wanted: torch.Tensor) -> None:
    assert torch.equal(sent(f"a={how} b={how}"), wanted)


def test_a_random_way_is_as_long_and_gradients_have_no_start() -> None:
    random = sent("a=random")[0] - START[0]
    assert random.norm() == pytest.approx(float(MOVED[0].norm()), rel=1e-5) and not torch.equal(random, MOVED[0])
    gradients = Learned({"x": MOVED}, None, [1.0, 1.0], [8, 8])
    assert torch.equal(sent("b=reversed", gradients)[1], -MOVED[1])


def test_one_of_ones_own_is_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_app.misbehaviour.MISBEHAVIOURS", {})
    misbehaviour("zero")(lambda moved, start: {name: torch.zeros_like(tensor) for name, tensor in moved.items()})
    assert not sent("a=zero")[0].any() and "zero" not in MISBEHAVIOURS


@pytest.mark.parametrize(
    ("text", "node", "said"),
    [
        ("a=dances", {}, "to be 'dances'"),
        ("a", {}, "'a' is no 'name=value'"),
        ("a=idle", {"client-key": "a"}, "is real"),
    ],
)
def test_what_is_not_known_and_real_nodes_refuse(text: str, node: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        misbehave(config(text), node, ("a", "b"), LEARNED)


@pytest.mark.parametrize(("how", "out"), [("scaled", True), ("reversed", False)])
def test_it_passes_the_server_like_anybodys(fellrec_home: Path, how: str, out: bool) -> None:
    federate(tiny_settings(fellrec_home, num_server_rounds=1, federation__misbehaving=f"toy-1={how}"))
    log = read_lines(RunFolder.find("latest", str(fellrec_home)).events_path)
    assert [line["clients"] for line in log if line["event"] == "rejected"] == ([["toy-1"]] if out else [])
