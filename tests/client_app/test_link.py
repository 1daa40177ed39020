from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
import torch

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, METHOD, Codec, announce, parse
from server_app.split.settings import Limits
from tests.server_app.split.conftest import folders, make_host  # noqa: F401
from tests.server_app.split.raw import hidden
from tests.server_app.split.tiny import WIDTH, link_settings

CUT = Cut(1, 1)
SETTINGS = link_settings("bert", CUT)
HASTY = link_settings("bert", CUT, attempts=3, first_wait=0.001, reply_seconds=5.0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"digest": "other"}, "digest is 'other', the service has 'bert'"),
        ({"k": 2}, "k is 2"),
        ({"m": 0}, "m is 0"),
        ({"hidden_size": 64}, "hidden_size is 64"),
        ({"codec": Codec.INT8}, "'int8' is not allowed"),
    ],
)
def test_another_model_or_cut_is_refused_with_the_reason(make_host, changes: dict, match: str) -> None:  # noqa: F811
    host = make_host(codecs=(Codec.FP32,))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with pytest.raises(SplitError, match=match):
        SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT, **changes)).connect()


def test_a_refusal_is_not_tried_again(make_host) -> None:  # noqa: F811
    host = make_host()
    link = SplitLink(host.start(), "no token", SETTINGS)
    with pytest.raises(SplitError, match="UNAUTHENTICATED"):
        link.connect()


def test_an_absent_service_is_tried_so_often_and_no_more() -> None:
    with pytest.raises(SplitError, match="in 3 attempts"):
        SplitLink("127.0.0.1:1", "token", HASTY).infer(hidden())


def test_a_link_without_attempts_says_so() -> None:
    with pytest.raises(SplitError, match="in 0 attempts; the last: none was made"):
        SplitLink("127.0.0.1:1", "token", replace(HASTY, attempts=0)).infer(hidden())


@pytest.mark.parametrize("codec", list(Codec))
def test_bytes_are_counted_and_padding_does_not_travel(make_host, codec: Codec) -> None:  # noqa: F811
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    x = torch.randn(4, 8, WIDTH, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 8, dtype=torch.long)
    mask[1:, 2:] = 0
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT, codec=codec)) as link:
        link.infer(x, mask)
        seen = link.bytes_up, link.bytes_down
        output = link.infer(x, mask)
        up, down = link.bytes_up - seen[0], link.bytes_down - seen[1]
    payload = codec.nbytes(14, WIDTH)
    assert payload < up < payload + 100 and payload < down < payload + 100
    assert (output[1:, 2:] == 0).all()


@pytest.mark.parametrize("codec", list(Codec))
def test_large_tensors_travel_in_chunks(make_host, codec: Codec) -> None:  # noqa: F811
    host = make_host()
    address = host.start()
    x = torch.randn(300, 40, WIDTH, generator=torch.Generator().manual_seed(0))
    outputs = []
    for client, rows in (("ann", 300), ("bob", 3)):
        host.begin(client, 1, 0.1, adapter_seed=1)
        with SplitLink(address, host.mint(client, 60), link_settings("bert", CUT, codec=codec)) as link:
            part = x[:rows].clone().requires_grad_()
            output = RemoteTrunk(link)(part)
            output[:3].sum().backward()
            assert part.grad.isfinite().all()
            assert link.step() == 1
            outputs.append(output[:3].detach())
    assert torch.allclose(*outputs, atol=1e-4)


def test_a_batch_that_is_too_large_is_not_sent(make_host) -> None:  # noqa: F811
    host = make_host(limits=Limits(tokens=11))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with SplitLink(address, host.mint("ann", 60), SETTINGS) as link:
        for ask in (link.infer, link.forward):
            with pytest.raises(SplitError, match="4 rows of width 3 are more than the service's 11 tokens"):
                ask(hidden(4, 3))
        assert link.infer(hidden(3, 3)).isfinite().all()


def test_two_micro_batches_are_under_way_at_once(make_host) -> None:  # noqa: F811
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with SplitLink(address, host.mint("ann", 60), SETTINGS) as link:
        trunk = RemoteTrunk(link)
        both = threading.Barrier(2, timeout=5)

        def micro(seed: int) -> None:
            output = trunk(hidden() + seed)
            both.wait()
            output.sum().backward()

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(micro, seed) for seed in range(2)]:
                done.result()
        assert link.step() == 1


def test_a_busy_service_is_asked_again(make_host) -> None:  # noqa: F811
    host = make_host(limits=Limits(sessions_per_client=1))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    first = SplitLink(address, host.mint("ann", 60), SETTINGS)
    first.connect()
    second = SplitLink(address, host.mint("ann", 60), HASTY)
    with pytest.raises(SplitError, match="RESOURCE_EXHAUSTED"):
        second.connect()
    first.close()
    with SplitLink(address, host.mint("ann", 60), SETTINGS) as third:
        third.connect()


def test_a_service_that_lost_steps_is_not_believed(make_host, tmp_path) -> None:  # noqa: F811
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with SplitLink(address, host.mint("ann", 60), SETTINGS) as link:
        for _ in range(3):
            RemoteTrunk(link)(hidden()).sum().backward()
            link.step()
            link.flush()
            host.snapshot()
        RemoteTrunk(link)(hidden()).sum().backward()
        link.step()
        link.flush()
        # the same round begun anew: the client's token and steps are of one that is over
        token = host.mint("ann", 60)
        host.begin("ann", 1, 0.1, adapter_seed=1)
        link._token = host.mint("ann", 60)
        assert token != link._token
        link._drop()
        with pytest.raises(SplitError, match="stands at step 0 of the round, the client at 4"):
            RemoteTrunk(link)(hidden())


def test_a_new_link_goes_on_in_the_same_round(make_host) -> None:  # noqa: F811
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    token = host.mint("ann", 60)
    for expected in (1, 2):
        with SplitLink(address, token, SETTINGS) as link:
            RemoteTrunk(link)(hidden()).sum().backward()
            assert link.step() == expected == link.step_number


class Impostor:
    """A service that answers every request in the same wrong way."""

    def __init__(self, answer: Callable[[pb.Request], list[bytes]]) -> None:
        self._answer = answer
        self._server = grpc.server(ThreadPoolExecutor(4), options=CHANNEL_OPTIONS)
        service, method = METHOD.strip("/").split("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(self._serve)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def _serve(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            frame = parse(message)
            if isinstance(frame, memoryview):
                continue
            if frame.WhichOneof("part") == "hello":
                yield pb.Frame(welcome=pb.Welcome(dtype=pb.DTYPE_FLOAT32, max_tokens=100)).SerializeToString()
            else:
                yield from self._answer(frame.request)


def reply(request: pb.Request, tensor: torch.Tensor, **changes: object) -> list[bytes]:
    """A reply, and its tensor in a chunk."""
    fields = {"number": request.number, "tensors": [announce(tensor, Codec.FP32)]}
    chunk = pb.Frame(chunk=tensor.numpy().tobytes())
    return [pb.Frame(reply=pb.Reply(**{**fields, **changes})).SerializeToString(), chunk.SerializeToString()]


WRONG = {
    "another shape": (lambda request: reply(request, torch.zeros(7, WIDTH)), "shape"),
    "too large": (
        lambda request: reply(request, torch.zeros(1, 1), tensors=[pb.Tensor(shape=[1 << 31, WIDTH])]),
        "shape",
    ),
    "not finite": (lambda request: reply(request, torch.full((6, WIDTH), float("nan"))), "finite"),
    "no tensor": (lambda request: reply(request, torch.zeros(6, WIDTH), tensors=[])[:1], "tensor"),
    "two tensors": (
        lambda request: reply(
            request, torch.zeros(6, WIDTH), tensors=[announce(torch.zeros(6, WIDTH), Codec.FP32)] * 2
        ),
        "tensors",
    ),
    "to nobody": (lambda request: reply(request, torch.zeros(6, WIDTH), number=99), "not sent"),
    "no frame": (lambda request: [b"\xff\xff"], "frame"),
    "chunk from nowhere": (lambda request: reply(request, torch.zeros(6, WIDTH))[1:], "chunk"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_answer_is_refused(fault: str) -> None:
    answer, match = WRONG[fault]
    impostor = Impostor(answer)
    with SplitLink(impostor.address, "token", link_settings("bert", CUT, training=False)) as link:
        with pytest.raises(SplitError, match=match):
            link.infer(hidden())
    impostor.stop()


def steps_answered(**changes: object) -> Callable[[pb.Request], list[bytes]]:
    """Passes answered as they should be, optimiser steps with ``changes``."""

    def answer(request: pb.Request) -> list[bytes]:
        if request.op != pb.OP_STEP:
            return reply(request, torch.zeros(6, WIDTH))
        return [pb.Frame(reply=pb.Reply(number=request.number, **changes)).SerializeToString()]

    return answer


def train_a_step(link: SplitLink) -> int:
    _, sent = link.forward(hidden())
    link.backward(sent, hidden())
    return link.step()


def test_a_step_is_not_waited_for_until_it_has_to_be() -> None:
    asked, answered = threading.Event(), threading.Event()
    step = steps_answered()

    def answer(request: pb.Request) -> list[bytes]:
        if request.op == pb.OP_STEP:
            asked.set()
            assert answered.wait(5)
        return step(request)

    impostor = Impostor(answer)
    with SplitLink(impostor.address, "token", SETTINGS) as link, ThreadPoolExecutor(1) as thread:
        assert train_a_step(link) == 1 == link.step_number
        assert asked.wait(5)
        flushed = thread.submit(link.flush)
        assert not flushed.done()
        answered.set()
        flushed.result(5)
    impostor.stop()


@pytest.mark.parametrize("wait", [SplitLink.flush, SplitLink.close, lambda link: link.infer(hidden())])
def test_a_refused_step_is_told_to_whoever_waits_for_it_and_once(wait: Callable[[SplitLink], object]) -> None:
    impostor = Impostor(steps_answered(status=pb.STATUS_INTERNAL, message="half-way"))
    with SplitLink(impostor.address, "token", SETTINGS) as link:
        train_a_step(link)
        with pytest.raises(SplitError, match="half-way: INTERNAL"):
            wait(link)
    impostor.stop()


def test_a_refused_step_is_told_at_the_end_but_hides_no_other_error() -> None:
    impostor = Impostor(steps_answered(status=pb.STATUS_INTERNAL, message="half-way"))
    with pytest.raises(SplitError, match="half-way"):
        with SplitLink(impostor.address, "token", SETTINGS) as link:
            train_a_step(link)
    with pytest.raises(ZeroDivisionError):
        with SplitLink(impostor.address, "token", SETTINGS) as link:
            train_a_step(link)
            raise ZeroDivisionError
    impostor.stop()


def test_a_step_that_cannot_be_made_again_is_not_tried_for_ever(make_host) -> None:  # noqa: F811
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT, first_wait=0.001)) as link:
        trunk = RemoteTrunk(link)
        trunk(hidden()).sum().backward()
        link.step(-1.0)
        with pytest.raises(SplitError, match="refused a repetition: learning_rate is -1.0.*INVALID_ARGUMENT"):
            trunk(hidden())


def test_a_guard_is_applied_to_all_that_goes_up_and_to_nothing_else(make_host) -> None:  # noqa: F811
    """Hidden states of a forward and of an inference, and gradients: each once, in the one place before encoding."""
    host = make_host()
    address = host.start()
    x, seen = hidden(), []

    def guard(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows.clone())
        return rows * 2

    plain: list[torch.Tensor] = []
    for client, settings, scale in (("ann", link_settings("bert", CUT, guard=guard), 1), ("bob", SETTINGS, 2)):
        host.begin(client, 1, 0.1, adapter_seed=1)
        with SplitLink(address, host.mint(client, 60), settings) as link:
            plain.append(link.infer(scale * x))
            given = (scale * x).clone().requires_grad_()
            output = RemoteTrunk(link)(given)
            (output.sum() * (1 if client == "ann" else 2)).backward()
            plain += [output.detach(), given.grad]
    assert all(torch.equal(one, other) for one, other in zip(plain[:3], plain[3:], strict=True))
    assert len(seen) == 3 and torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])
