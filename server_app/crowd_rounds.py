"""The run where one user is one client: one message for each node and round, a checkpoint after each, the test at the end."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from common.config import RunConfig
from common.crowd_messages import CrowdTask
from common.errors import RunError
from common.events import EventLog
from common.metrics import balance
from common.privacy.budget import accountant, release_settings
from common.recommenders.click_build import ClickRun
from common.record_fields import message_bytes
from common.run_folder import CHECKPOINT_SCHEMA, RunFolder
from common.version import app_identity
from server_app.course import Course
from server_app.crowd_inbox import CrowdInbox, Harvest
from server_app.crowd_members import CrowdMembers
from server_app.crowd_state import CrowdState
from server_app.exchange import Stragglers, exchange
from server_app.roll_call import RollCall


class CrowdRounds:
    """Runs a click model's federation from the first round, or from the last checkpoint on, to the final measurement.

    Attributes
    ----------
    course : what happened so far.
    traffic : per round the bytes to and from one client in the mean, and to one that had its node for itself.
    measured : the final measurement.
    told_epsilon : the most that any client said its releases have cost; 0 without noise.
    """

    def __init__(
        self, config: RunConfig, grid: Grid, click: ClickRun, folder: RunFolder, log: EventLog, began: float
    ) -> None:
        self._config, self._grid, self.click, self._folder, self._log = config, grid, click, folder, log
        self.members = CrowdMembers(click, log)
        self._roll_call = RollCall(grid, self.members, config.federation, log)
        self.state = CrowdState(click, config.fedpa)
        self._inbox = CrowdInbox(self.state, list(click.groups.values()), self.members.facts_of, config.guard, log)
        self.course = Course("auc", config.federation.patience, log, began)
        self.traffic: dict[str, list[float]] = {"up": [], "down": [], "down_alone": []}
        self.measured = Harvest()
        self.told_epsilon = 0.0
        # found here, so that noise without a scale is refused before any client is asked
        self.release = release_settings(config.privacy, config.num_server_rounds)

    def run(self) -> None:
        """All rounds, then the final measurement.

        Raises
        ------
        RunError : nobody takes part, or too few answered in two rounds in a row.
        """
        self._resume()
        self._roll_call.first()
        self._summary()
        course = self.course
        while len(course) < self._config.num_server_rounds and not course.settled():
            if len(course):
                self._roll_call.again()
            self._round(len(course) + 1)
            self._save()
            course.stop_if_void()
        self._measure()

    @property
    def epsilon(self) -> float:
        """The most that any client's releases have cost together, 0 without noise: what clients say, or what they were asked for.

        Asked counts: a client charges a release before it leaves, whether the reply is late, lost, or the round void. None passes
        its budget.
        """
        if self.release is None:
            return 0.0
        account = accountant(self._config.privacy)
        asked = account.epsilon_after(self.release, self.members.most_releases())
        return max(self.told_epsilon, min(asked, account.max_epsilon))

    def quorum(self, invited: int) -> int:
        """How many of the invited must answer: at least one."""
        return max(1, math.ceil(self._config.federation.quorum * invited))

    def _summary(self) -> None:
        scopes: dict[str, list[str]] = {}
        for name, scope in self.click.scopes.items():
            scopes.setdefault(scope.value, []).append(name)
        self._log.write(
            "strategy", name=self._config.strategy.name, scopes=scopes, groups=self.click.groups, guard=self._guard(),
            release=self.release and {
                "mechanism": self.release.mechanism.value, "epsilon": self.release.epsilon, "clip": self.release.clip,
                "scale": self.release.scale,
            },
        )  # fmt: skip

    def _guard(self) -> dict[str, float] | None:
        """How far an upload may be out of proportion; None where nobody is guarded."""
        guard = self._config.guard
        return {"factor": guard.gradient_factor} if guard.on and self.state.mixes else None

    def _resume(self) -> None:
        kept = self._folder.last_checkpoint() if self._config.resume else None
        if kept is None:
            return
        manifest, tensors = kept
        if manifest.get("schema") != CHECKPOINT_SCHEMA or "crowd" not in manifest:
            raise RunError("the checkpoint is of another kind of run", "resume with the fellrec that wrote it")
        self.members.restore(manifest["crowd"])
        self.state.restore(tensors)
        self.traffic, self.told_epsilon = manifest["traffic"], manifest["epsilon"]
        self.course.resume(manifest["rounds"], manifest["seconds"])

    def _save(self) -> None:
        manifest = {
            "crowd": self.members.state(), "rounds": self.course.done, "traffic": self.traffic,
            "epsilon": self.told_epsilon, "seconds": self.course.seconds(),
        }  # fmt: skip
        self._folder.save_checkpoint(len(self.course), manifest, self.state.tensors())

    def _round(self, number: int) -> None:
        nodes = self.members.by_node()
        invited = sorted(client for clients in nodes.values() for client in clients)
        quorum = self.quorum(len(invited))
        self._log.write(
            "round_started", round=number, of=self._config.num_server_rounds, clients=invited, quorum=quorum,
            answers=len(nodes),
        )  # fmt: skip
        clock = time.monotonic()
        harvest = self._ask(number, MessageType.TRAIN, nodes, ("valid",))
        answered = time.monotonic()
        void = len(harvest.clients) < quorum
        self.told_epsilon = max([self.told_epsilon, *harvest.epsilons])
        participants: dict[str, list[int]] = {}
        if not void:
            codes = [self.members[client].codes for client in harvest.clients]
            participants = self.state.step(harvest.upload, codes, harvest.weights)
        evaluating = harvest.seconds.get("evaluate", 0.0)
        # Clients measured before they trained: that is the quality of the round before this one.
        self._note_validation(harvest)
        record = {
            "round": number,
            "seconds": {
                "train": round(answered - clock - evaluating, 3), "aggregate": round(time.monotonic() - answered, 3),
                "evaluate": round(evaluating, 3),
            },
            "loss": float(np.average(harvest.losses, weights=harvest.weights)) if harvest.losses else None,
            "auc": None,
            "clients_ok": len(harvest.clients),
            "clients_failed": harvest.failed,
            "void": void,
        }  # fmt: skip
        self.course.done.append(record)
        self._log.write("round_ended", **record, participants=participants, node_seconds=harvest.seconds)

    def _ask(self, number: int, kind: str, nodes: dict[int, list[str]], parts: tuple[str, ...]) -> Harvest:
        """One message for each node, for all its clients; what they answer."""
        config, sent, down, alone = self._config.federation, [], 0, 0
        for node, clients in nodes.items():
            record = self._task(number, clients).to_record()
            down += message_bytes(record)
            alone = alone or message_bytes(self._task(number, clients[:1]).to_record())
            sent.append((clients, Message(record, node, kind, ttl=config.timeout, group_id=str(number))))
        self._inbox.expect(sent)
        stragglers = None
        if config.stragglers and not self.members.simulated:
            stragglers = Stragglers(self.quorum(len(sent)), config.stragglers)
        replies = exchange(
            self._grid, [message for _, message in sent], config.timeout,
            lambda reply: self._arrived(number, reply), stragglers,
        )  # fmt: skip
        harvest = self._inbox.take_in(replies, number, parts)
        if kind == MessageType.TRAIN:
            self.members.count_release(client for clients in nodes.values() for client in clients)
            invited = sum(map(len, nodes.values()))
            self.traffic["down"].append(down / invited)
            self.traffic["down_alone"].append(float(alone))
            if harvest.clients:
                self.traffic["up"].append(harvest.bytes_up / len(harvest.clients))
        return harvest

    def _task(self, number: int, clients: list[str]) -> CrowdTask:
        codes = [self.members[client].codes for client in clients]
        return CrowdTask(app_identity(), self._folder.name, number, tuple(clients), *self.state.for_clients(codes))

    def _arrived(self, number: int, reply: Message) -> None:
        clients = self._inbox.clients_of(reply)
        who = clients[0] if len(clients) == 1 else f"a node of {len(clients)} clients"
        self._log.write("reply", round=number, client=who, ok=not reply.has_error())

    def _note_validation(self, harvest: Harvest) -> None:
        """Completes the record of the last whole round by what its tensors achieve on validation rows."""
        found = self.pooled(harvest, "valid")
        own = {client: row["auc"] for client, row in harvest.own.get("valid", {}).items() if row["auc"] >= 0}
        if not found or found["auc"] is None or not own:
            return
        self.course.validated(found["auc"])
        self._log.write("validated", round=len(self.course), **found, user_auc=float(np.mean(list(own.values()))),
                        balance=balance(own))  # fmt: skip

    def pooled(self, harvest: Harvest, part: str) -> dict[str, Any] | None:
        """The metrics of all clients' rows of a part together; None where there are none."""
        first = next(iter(self.click.groups.values()))
        return harvest.counts[part].of(slice(0, first)) if part in harvest.counts else None

    def _measure(self) -> None:
        nodes = self.members.by_node()
        self._log.write("measuring", clients=sorted(client for clients in nodes.values() for client in clients))
        self.measured = self._ask(len(self.course), MessageType.EVALUATE, nodes, ("valid", "test", "warm"))
        if self.pooled(self.measured, "test") is None:
            raise RunError(
                f"no client measured a test row: {list(self.measured.failed.items())[:3]!r}", "see their logs"
            )
        self._note_validation(self.measured)
