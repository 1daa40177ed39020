from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from common.click_counts import STEPS, count
from common.crowd_messages import CrowdReport, CrowdRoster, CrowdScores, CrowdTask, SetFacts
from common.errors import MessageError
from common.record_fields import message_bytes

FACTS = SetFacts("toy", "d" * 8, "v" * 8, 5, 40, 20, True, "60/20/20")


def report(**changes) -> CrowdReport:
    counts = count([0, 1, 1], [-0.5, 0.2, 1.0], [0, 1, 1], 2)
    own = {"auc": [1.0, -1.0], "logloss": [0.3, 0.2], "precision": [1.0, 1.0], "recall": [1.0, 0.5], "f1": [1.0, 0.5],
           "rows": [2.0, 1.0]}  # fmt: skip
    given = {
        "round": 3, "clients": ("a", "b"), "upload": {"x": torch.ones(2, 3)}, "weights": [2.0, 1.0],
        "losses": [0.1, 0.2], "epsilons": [], "scores": {"valid": CrowdScores(counts, own)}, "measured": ("a", "b"),
        "left_out": {"c": "privacy budget"}, "seconds": {"train": 1.5}, "peak_memory": 7,
    }  # fmt: skip
    return CrowdReport(**given | changes)


def test_a_roster_and_a_task_come_back_as_they_were() -> None:
    roster = CrowdRoster("app", True, FACTS, ("a", "b"), torch.tensor([[0, 1], [2, 3]]))
    found = CrowdRoster.from_record(roster.to_record())
    assert (found.facts, found.clients, found.simulated) == (FACTS, ("a", "b"), True)
    assert torch.equal(found.codes, roster.codes)
    task = CrowdTask("app", "run", 2, ("a",), {"s": torch.ones(2)}, {"t": torch.zeros(2, 4)}, {"age": [1, 3]})
    back = CrowdTask.from_record(task.to_record())
    assert back.shared.keys() == {"s"} and back.tables["t"].shape == (2, 4) and back.codes == {"age": (1, 3)}
    assert (back.app, back.run, back.round, back.clients) == ("app", "run", 2, ("a",))


def test_a_report_comes_back_as_it_was() -> None:
    sent = report()
    found = CrowdReport.from_record(sent.to_record(), 2)
    assert found.clients == ("a", "b") and found.left_out == {"c": "privacy budget"} and found.losses == (0.1, 0.2)
    np.testing.assert_array_equal(found.scores["valid"].counts.rows, sent.scores["valid"].counts.rows)
    assert found.scores["valid"].clients["auc"] == (1.0, -1.0) and found.epsilons == ()
    assert torch.equal(found.upload["x"], sent.upload["x"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": [1.0]}, "'weights'"),
        ({"weights": [1.0, float("nan")]}, "finite"),
        ({"clients": ("a", "a")}, "distinct"),
        ({"clients": ("a", "../b")}, "cannot name"),
        ({"measured": ("a",)}, "valid.auc"),
        ({"round": -1}, "'server-round'"),
    ],
)
def test_a_report_with_wrong_fields_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(MessageError, match=said):
        CrowdReport.from_record(report(**changes).to_record(), 2)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("valid.places", torch.tensor([0, 0, 1])),
        ("valid.places", torch.tensor([0, 1, 2 * 2 * STEPS])),
        ("valid.rows", torch.tensor([1, 1, -1])),
        ("valid.rows", torch.tensor([1.0, 1.0, 1.0])),
        ("valid.loss", torch.tensor([float("nan"), 0.0], dtype=torch.float64)),
        ("valid.loss", torch.zeros(3, dtype=torch.float64)),
    ],
)
def test_counts_outside_their_range_are_refused(name: str, tensor: torch.Tensor) -> None:
    record = report().to_record()
    arrays = record.array_records["counts"].to_torch_state_dict()
    arrays[name] = tensor
    record["counts"] = type(record.array_records["counts"])(arrays)
    with pytest.raises(MessageError, match="counts of part 'valid'"):
        CrowdReport.from_record(record, 2)


def test_missing_records_are_named() -> None:
    with pytest.raises(MessageError, match="'config'"):
        CrowdTask.from_record(RecordDict({}))
    record = report().to_record()
    del record["metrics"]
    with pytest.raises(MessageError, match="'metrics'"):
        CrowdReport.from_record(record, 2)


def test_the_size_of_a_message_grows_with_what_is_in_it() -> None:
    small, large = (message_bytes(report(upload={"x": torch.ones(2, width)}).to_record()) for width in (3, 1003))
    assert large - small == pytest.approx(2 * 1000 * 4, abs=8)
