"""fellrec/report/chapters/privacy.py: what the configuration lets out is named, and no protection that is not there."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import RunConfig, flatten
from fellrec.report.chapters.privacy import privacy
from fellrec.report.history import History
from fellrec.report.record import Record
from tests.fellrec.report.logs import result


def told(ended: dict[str, Any] | None = None, **settings: Any) -> str:
    config = dict(flatten(RunConfig())) | {key.replace("__", "."): value for key, value in settings.items()}
    return privacy(Record("one", config, History(), ended)).body


def test_without_noise_it_says_none() -> None:
    page = told(result())
    assert "No noise is added." in page and "none: as it is" in page and "no bound" in page


def test_noise_is_named_with_what_the_result_says() -> None:
    noise = {"mechanism": "gaussian", "epsilon": 3.5, "delta": 1e-5, "leak": None, "assumptions": "x", "clip": 0.25}
    page = told(result(privacy=noise))
    assert "clipped, with gaussian noise" in page and "3.5" in page and "clip" in page and "0.25" in page


@pytest.mark.parametrize(
    ("settings", "wire"),
    [
        ({}, "plaintext on loopback"),
        ({"split__host": "10.0.0.1"}, "plaintext on 10.0.0.1"),
        ({"split__certificate": "a.pem"}, "TLS"),
    ],
)
def test_hidden_states_are_named_with_what_guards_the_wire(settings: dict[str, str], wire: str) -> None:
    page = told(result(), **settings)
    assert "hidden states" in page and wire in page


def test_without_the_split_no_hidden_state_leaves_and_evidence_weights_leave_where_it_is_on() -> None:
    page = told(result(), split__on=False)
    assert "hidden states" not in page and "evidence, two numbers" not in page
    assert "evidence, two numbers" in told(result(), evaluate__evidence="neighbours")
    assert "training examples" in told(result(), strategy__name="centralised")
