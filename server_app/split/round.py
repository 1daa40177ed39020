"""A client's round on the service: a transaction over its adapter, in which every step is applied exactly once.

A round stands at ``step`` s: so many optimiser steps are applied. It holds the micro-batches of step s, each under the
number of its forward. Numbers rise with every new request of the client and stay when a request is repeated. ::

    request                  where the round stands                       what happens
    -----------------------  -------------------------------------------  ------------------------------------------
    any                      no round is open                             FAILED_PRECONDITION
    any                      a newer training session took over           ABORTED
    any                      an optimiser step failed half-way            INTERNAL, until the round is rolled back
    any                      its step is not s                            FAILED_PRECONDITION: the client reads s
    FORWARD  (id, n)         id unknown, or known with a lower number     run; replaces the micro-batch
    FORWARD  (id, n)         id known with n                              the reply again; the micro-batch stays
    FORWARD  (id, n)         id known with a higher number                FAILED_PRECONDITION (it is a late copy)
    BACKWARD (id, n)         with the input                               recompute; gradients replace those there
    BACKWARD (id, n)         done by this very request                    the reply again, or INPUT_WANTED
    BACKWARD (id, n)         id known with n; graph held                  differentiate it
    BACKWARD (id, n)         id known with n; input kept                  recompute
    BACKWARD (id, n)         id unknown, or neither is held               INPUT_WANTED
    BACKWARD (id, n)         id known with a higher number                FAILED_PRECONDITION (it is a late copy)
    STEP     [(id, n), ...]  step s, gradients of every one are here      AdamW once; s + 1; micro-batches are gone
    STEP     [(id, n), ...]  step s, some are not                         FAILED_PRECONDITION: the client replays
    STEP                     step s - 1, the very request that made s     the reply again
    (session ends)           it was the training session                  micro-batches are gone; s stays

A forward of step s is never differentiated after step s: its micro-batch is gone. What a lost reply, a cut connection
or a crash undoes, the client replays from what it sent; replaying gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from common.pb import split_pb2 as pb
from common.wire import CREDITS, Refused, Rows
from server_app.split.adapter import Gradients, HostedAdapter
from server_app.split.answer import Answer
from server_app.split.memory import Held
from server_app.split.micro import Micro


@dataclass
class Round:
    """One client's open round.

    Attributes
    ----------
    version : of the committed adapter that it began with.
    adapter : the working copy. learning_rate : where a step brings none.
    step, number, durable, stepped : steps applied; highest request number seen; steps on disk; number of the request
        that made the last step.
    spoilt : whether an optimiser step failed half-way, so that the working copy is good for nothing.
    owner : the training session that may speak for the client.
    """

    round: int
    version: int
    adapter: HostedAdapter
    learning_rate: float
    max_micros: int
    step: int = 0
    number: int = 0
    durable: int = 0
    stepped: int = 0
    spoilt: bool = False
    owner: Hashable = None
    micros: dict[int, Micro] = field(default_factory=dict)
    _answers: dict[int, tuple[Answer, Held | None]] = field(default_factory=dict)

    def admit(self, request: pb.Request, session: Hashable) -> Answer | None:
        """Lets a training request in, or answers it again.

        Raises
        ------
        Refused : as the table says.
        """
        if session is not self.owner:
            raise Refused("another training session of this client took over", "use one at a time", "ABORTED")
        if self.spoilt:
            raise Refused("an optimiser step failed half-way", "begin the round anew", "INTERNAL")
        if request.op == pb.OP_STEP and request.step == self.step - 1 and request.number == self.stepped:
            return Answer()
        if request.step != self.step:
            raise Refused(f"step is {request.step!r}, the round stands at {self.step!r}", "", "FAILED_PRECONDITION")
        if request.number in self._answers:
            return self._answers[request.number][0]
        if request.op != pb.OP_STEP:
            self._check_order(request)
        self.number = max(self.number, request.number)
        return None

    def is_repeated(self, request: pb.Request) -> bool:
        """Whether a forward that was let in has been run before."""
        known = self.micros.get(request.micros[0].id)
        return known is not None and known.forward == request.number

    def source(self, request: pb.Request, rows: Rows, brought: bool) -> Micro | None:
        """The micro-batch that a backward differentiates; None where its input is wanted.

        Raises
        ------
        Refused : its rows are not those of its forward.
        """
        named = request.micros[0]
        known = self.micros.get(named.id)
        if brought:
            return Micro(named.forward, rows)
        if known is None or known.forward != named.forward or (known.graph is None and known.tokens is None):
            return None
        if known.rows != rows:
            raise Refused(f"the rows of micro-batch {named.id!r} are not those of its forward")
        return known

    def put(self, identity: int, micro: Micro) -> None:
        """Keeps a micro-batch in the place of the one with the same id."""
        old = self.micros.get(identity)
        if old is not None and old is not micro:
            old.release()
        self.micros[identity] = micro

    def apply(self, request: pb.Request) -> None:
        """The optimiser step; the micro-batches are gone after it.

        Raises
        ------
        Refused : a learning rate that is no number from 0 up; no micro-batches; gradients that are not here.
        """
        rate = request.learning_rate if request.HasField("learning_rate") else self.learning_rate
        if not (math.isfinite(rate) and rate >= 0):
            raise Refused(f"learning_rate is {rate!r}", "give a number from 0 up")
        if len({named.id for named in request.micros}) != len(request.micros) or not request.micros:
            raise Refused("a step names no micro-batch, or one twice")
        gradients: list[Gradients] = []
        for named in request.micros:
            micro = self.micros.get(named.id)
            if micro is None or micro.forward != named.forward or micro.gradients is None:
                raise Refused(
                    f"no gradients are here for micro-batch {named.id!r}", "send it again", "FAILED_PRECONDITION"
                )
            gradients.append(micro.gradients)
        self.spoilt = True
        self.adapter.step(gradients, rate)
        self.spoilt = False
        self.step += 1
        self.stepped = request.number
        self.forget()

    def remember(self, number: int, answer: Answer, share: Held | None) -> None:
        """Keeps the last answers, in case they were lost on their way."""
        if number in self._answers:
            self._forget_answer(number)
        self._answers[number] = answer, share
        while len(self._answers) > CREDITS:
            self._forget_answer(next(iter(self._answers)))

    def forget(self) -> None:
        """Gives up everything of the current step, and all memory."""
        for micro in self.micros.values():
            micro.release()
        self.micros.clear()
        for number in list(self._answers):
            self._forget_answer(number)

    def _forget_answer(self, number: int) -> None:
        _, share = self._answers.pop(number)
        if share is not None:
            share.release()

    def _check_order(self, request: pb.Request) -> None:
        named = request.micros[0]
        known = self.micros.get(named.id)
        if known is None:
            if len(self.micros) >= self.max_micros:
                raise Refused(
                    f"a step has more than 'split.limits.micro-batches' = {self.max_micros!r}",
                    "send larger ones, or raise it",
                    "RESOURCE_EXHAUSTED",
                )
            return
        forward = request.number if request.op == pb.OP_FORWARD else named.forward
        if known.forward > forward or (request.op == pb.OP_BACKWARD and known.backward > request.number):
            raise Refused(
                f"request {request.number!r} on micro-batch {named.id!r} is overtaken", "", "FAILED_PRECONDITION"
            )
