"""The table in ``server_app.split.round``, line by line."""

from __future__ import annotations

import pytest
import torch

from common.pb import split_pb2 as pb
from common.wire import Refused, Rows
from server_app.split.adapter import HostedAdapter, initial
from server_app.split.answer import Answer
from server_app.split.memory import HeldMemory, Kind
from server_app.split.micro import Micro
from server_app.split.round import Round
from server_app.split.settings import AdamW

SESSION = object()
ROWS = Rows.of(torch.zeros(1, 2, 4), None, None)


@pytest.fixture
def opened() -> Round:
    adapter = HostedAdapter(initial({"layer": (4, 4)}, 2, seed=1), AdamW(), torch.device("cpu"))
    return Round(1, 0, adapter, learning_rate=0.1, max_micros=2, owner=SESSION)


def request(op: int, number: int, step: int = 0, micro: int = 1, forward: int = 1) -> pb.Request:
    return pb.Request(op=op, number=number, step=step, micros=[pb.Micro(id=micro, forward=forward)])


def forward(number: int, micro: int = 1, step: int = 0) -> pb.Request:
    return request(pb.OP_FORWARD, number, step, micro, forward=0)


def backward(number: int, of: int, micro: int = 1, step: int = 0) -> pb.Request:
    return request(pb.OP_BACKWARD, number, step, micro, forward=of)


def put(opened: Round, number: int, micro: int = 1, value: float | None = None) -> Micro:
    """A micro-batch whose forward was run, or whose gradients (all ``value``) are there."""
    made = Micro(number, ROWS, tokens=torch.zeros(2, 4))
    if value is not None:
        made.gradients = [torch.full_like(one, value) for one in opened.adapter.parameters.values()]
        made.backward = number + 1
    opened.put(micro, made)
    return made


def refusal(opened: Round, asked: pb.Request, session: object = SESSION) -> str:
    with pytest.raises(Refused) as caught:
        opened.admit(asked, session)
    return caught.value.status


def test_only_the_training_session_may_ask(opened: Round) -> None:
    assert refusal(opened, forward(1), session=object()) == "ABORTED"
    assert opened.admit(forward(1), SESSION) is None


@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_another_step_is_refused(opened: Round, step: int) -> None:
    opened.step, opened.stepped = 2, 7
    for op in (pb.OP_FORWARD, pb.OP_BACKWARD, pb.OP_STEP):
        assert refusal(opened, request(op, 8, step)) == "FAILED_PRECONDITION"


def test_forward_of_a_new_micro_batch_runs(opened: Round) -> None:
    assert opened.admit(forward(1), SESSION) is None
    assert not opened.is_repeated(forward(1))
    assert opened.number == 1


def test_forward_with_a_higher_number_replaces(opened: Round) -> None:
    memory = HeldMemory(100, {})
    old = put(opened, 1)
    old.shares = [memory.take("ann", Kind.INPUT, 10)]
    assert opened.admit(forward(2), SESSION) is None
    assert not opened.is_repeated(forward(2))
    put(opened, 2)
    assert memory.nbytes == 0


def test_forward_again_gets_the_reply_again(opened: Round) -> None:
    put(opened, 1)
    assert opened.admit(forward(1), SESSION) is None
    assert opened.is_repeated(forward(1))
    answer = Answer(torch.ones(2, 4))
    opened.remember(1, answer, None)
    assert opened.admit(forward(1), SESSION) is answer


def test_overtaken_requests_are_refused(opened: Round) -> None:
    put(opened, 5, value=1.0)
    assert refusal(opened, forward(4)) == "FAILED_PRECONDITION"
    assert refusal(opened, backward(9, of=4)) == "FAILED_PRECONDITION"
    assert refusal(opened, backward(5, of=5)) == "FAILED_PRECONDITION"


def test_backward_runs_from_what_is_held(opened: Round) -> None:
    assert opened.source(backward(2, of=1), ROWS, brought=False) is None
    kept = put(opened, 1)
    assert opened.source(backward(2, of=1), ROWS, brought=False) is kept
    assert opened.source(backward(2, of=3), ROWS, brought=False) is None
    kept.tokens = None
    assert opened.source(backward(2, of=1), ROWS, brought=False) is None
    assert opened.source(backward(2, of=1), ROWS, brought=True).forward == 1


def test_backward_with_other_rows_is_refused(opened: Round) -> None:
    put(opened, 1)
    with pytest.raises(Refused, match="rows"):
        opened.source(backward(2, of=1), Rows.of(torch.zeros(2, 1, 4), None, None), brought=False)


def test_more_micro_batches_than_allowed_are_refused(opened: Round) -> None:
    put(opened, 1, micro=1)
    put(opened, 2, micro=2)
    assert refusal(opened, forward(3, micro=3)) == "RESOURCE_EXHAUSTED"


def test_step_applies_the_sum_once_and_a_repetition_nothing(opened: Round) -> None:
    expected = [torch.nn.Parameter(tensor) for tensor in opened.adapter.tensors().values()]
    put(opened, 1, micro=1, value=0.25)
    put(opened, 3, micro=2, value=0.5)
    step = pb.Request(op=pb.OP_STEP, number=5, micros=[pb.Micro(id=1, forward=1), pb.Micro(id=2, forward=3)])
    assert opened.admit(step, SESSION) is None
    opened.apply(step)
    assert (opened.step, opened.stepped, opened.micros) == (1, 5, {})
    reference = torch.optim.AdamW(expected, lr=0.1, weight_decay=0.01)
    for parameter in expected:
        parameter.grad = torch.full_like(parameter, 0.75)
    reference.step()
    after = list(opened.adapter.tensors().values())
    assert all(torch.equal(found, wanted) for found, wanted in zip(after, expected, strict=True))
    assert opened.admit(step, SESSION) == Answer()
    assert all(
        torch.equal(found, wanted) for found, wanted in zip(opened.adapter.tensors().values(), after, strict=True)
    )
    step.number = 6
    assert refusal(opened, step) == "FAILED_PRECONDITION"


@pytest.mark.parametrize("missing", ["the micro-batch", "its gradients", "this forward"])
def test_step_without_all_gradients_changes_nothing(opened: Round, missing: str) -> None:
    before = opened.adapter.tensors()
    put(opened, 1, micro=1, value=1.0)
    if missing == "its gradients":
        put(opened, 2, micro=2)
    if missing == "this forward":
        put(opened, 4, micro=2, value=1.0)
    step = pb.Request(op=pb.OP_STEP, number=5, micros=[pb.Micro(id=1, forward=1), pb.Micro(id=2, forward=2)])
    with pytest.raises(Refused) as caught:
        opened.apply(step)
    assert caught.value.status == "FAILED_PRECONDITION"
    assert opened.step == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in opened.adapter.tensors().items())


def test_a_micro_batch_named_twice_is_refused(opened: Round) -> None:
    put(opened, 1, value=1.0)
    step = pb.Request(op=pb.OP_STEP, number=5, micros=[pb.Micro(id=1, forward=1)] * 2)
    with pytest.raises(Refused, match="twice"):
        opened.apply(step)


def test_answers_are_kept_for_as_many_as_may_be_under_way(opened: Round) -> None:
    memory = HeldMemory(100, {})
    for number in (1, 2, 3, 3):
        opened.remember(number, Answer(), memory.take("ann", Kind.MESSAGE, 10))
    assert memory.nbytes == 20
    opened.forget()
    assert memory.nbytes == 0
