from __future__ import annotations

import pytest
import torch

from client_app.journal import Journal, Sent
from common.errors import SplitError
from common.wire import Codec, Rows, announce


def sent(identity: int) -> Sent:
    tokens = torch.zeros(2, 4)
    return Sent(identity, 10 * identity, Rows(2, (0,), (2,)), announce(tokens, Codec.FP32), tokens)


def journal_of(steps: int) -> Journal:
    journal = Journal()
    for step in range(steps):
        journal.done = [sent(2 * step), sent(2 * step + 1)]
        journal.ask(100 + step, 0.5)
    return journal


def test_a_step_that_is_asked_for_takes_what_is_done_in_its_order() -> None:
    journal = Journal()
    first, second = sent(1), sent(2)
    journal.done = [second, first]
    asked = journal.ask(7, None)
    assert (asked.step, asked.number, asked.learning_rate, asked.micros) == (0, 7, None, (second, first))
    assert (journal.step, journal.done, journal.past) == (1, [], [asked])


@pytest.mark.parametrize("stands", range(4))
def test_the_steps_that_the_service_lacks_are_made_again_in_order(stands: int) -> None:
    assert [past.step for past in journal_of(3).since(stands)] == list(range(stands, 3))


def test_what_outlives_a_crash_is_forgotten() -> None:
    journal = journal_of(3)
    journal.keep(0)
    assert [past.step for past in journal.past] == [0, 1, 2]
    journal.keep(2)
    assert [past.step for past in journal.past] == [2]
    journal.keep(1)
    assert [past.step for past in journal.past] == [2]
    assert journal.since(3) == []
    with pytest.raises(SplitError, match="stands at step 1 of the round, the client at 3"):
        journal.since(1)


def test_a_service_ahead_of_its_client_is_not_believed() -> None:
    with pytest.raises(SplitError, match="stands at step 3 of the round, the client at 2"):
        journal_of(2).since(3)
