"""server_app/transport.py: replies as they arrive, and no longer than the time-out."""

from __future__ import annotations

import time

from flwr.app import Message, RecordDict

from server_app.transport import FlowerTransport, Stragglers
from tests.federation import InProcessGrid


class SlowGrid(InProcessGrid):
    """Answers message n at the n-th look; never answers those in ``mute``."""

    def __init__(self, mute: set[int]) -> None:
        super().__init__({}, 1)
        self._mute, self._looks, self._waiting = mute, 0, {}

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"m{number}"
            if number not in self._mute:
                reply = Message(RecordDict(), reply_to=message)
                reply.metadata.__dict__["_reply_to_message_id"] = f"m{number}"
                self._waiting[f"m{number}"] = (number, reply)
        return [f"m{number}" for number in range(len(messages))]

    def pull_messages(self, message_ids):
        self._looks += 1
        ready = [key for key in message_ids if key in self._waiting and self._waiting[key][0] < self._looks]
        return [self._waiting.pop(key)[1] for key in ready]


def messages(count: int) -> list[Message]:
    return [Message(RecordDict(), 1, "query") for _ in range(count)]


def test_replies_come_in_the_order_of_their_arrival() -> None:
    heard: list[str] = []
    replies = FlowerTransport(SlowGrid(set())).ask(
        messages(3), 10.0, lambda reply: heard.append(reply.metadata.reply_to_message_id)
    )
    assert heard == [reply.metadata.reply_to_message_id for reply in replies] == ["m0", "m1", "m2"]


def test_a_silent_node_costs_the_time_out_and_nothing_else() -> None:
    began = time.monotonic()
    replies = FlowerTransport(SlowGrid({1})).ask(messages(3), 1.0)
    assert {reply.metadata.reply_to_message_id for reply in replies} == {"m0", "m2"}
    assert 1.0 <= time.monotonic() - began < 30


def test_nothing_to_send_is_no_wait() -> None:
    assert FlowerTransport(SlowGrid(set())).ask([], 60.0) == []


def test_once_enough_have_answered_the_rest_get_a_limited_time() -> None:
    began = time.monotonic()
    replies = FlowerTransport(SlowGrid({1})).ask(messages(3), 60.0, stragglers=Stragglers(2, 1.0, 0.5))
    assert len(replies) == 2 and time.monotonic() - began < 30


def test_too_few_answers_have_the_whole_time() -> None:
    began = time.monotonic()
    replies = FlowerTransport(SlowGrid({1, 2})).ask(messages(3), 1.0, stragglers=Stragglers(2, 0.0, 0.0))
    assert len(replies) == 1 and time.monotonic() - began >= 1.0
