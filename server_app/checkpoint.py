"""The state of a run after a round, to and from tensors and a manifest: a resumed run gives the numbers of the unbroken one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.errors import RunError
from common.messages.facts import from_columns, to_columns
from common.run_folder import CHECKPOINT_SCHEMA as SCHEMA
from server_app.members import Contribution, Member, Traffic
from server_app.state import under

if TYPE_CHECKING:
    from server_app.strategy import FederatedRecommenders


def to_checkpoint(strategy: FederatedRecommenders) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Manifest (JSON) and tensors of everything that the next round depends on."""
    members = dict(strategy.everybody())
    known = [member for _, member in members.items()]
    tensors = strategy.state.tensors()
    tensors |= {
        f"personal/{name}": torch.stack([member.personal[name] for member in known]) for name in strategy.state.personal
    }
    sent = [member for member in known if member.last is not None]
    tensors |= {
        f"last/{name}": torch.stack([member.last.adapter[name] for member in sent if member.last])
        for name in strategy.state.personal
        if sent
    }
    manifest = {
        "clients": list(members),
        "facts": to_columns([member.facts for _, member in strategy.members]),
        "heats": [member.heat for member in known],
        "shares": [member.share for member in known],
        "releases": [member.releases for member in known],
        "traffic": [list(asdict(member.traffic).values()) for member in known],
        "last": [
            None if member.last is None else [member.last.loss, member.last.size, member.last.round, member.last.share]
            for member in known
        ],
        "rounds": strategy.history.done,
        "seconds": strategy.history.seconds(),
        "alone": strategy.alone,
        "epsilon": strategy.reported_epsilon,
    }
    return manifest, tensors


def from_checkpoint(
    strategy: FederatedRecommenders, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Puts the state back into a fresh strategy.

    Raises
    ------
    RunError : the checkpoint is of another schema, or its tensors do not fit this run's model.
    """
    if manifest.get("schema") != SCHEMA:
        raise RunError(
            f"checkpoint has schema {manifest.get('schema')!r}, not {SCHEMA}", "resume with the fellrec that wrote it"
        )
    personal, last = under(tensors, "personal/"), under(tensors, "last/")
    if personal.keys() != set(strategy.state.personal):
        raise RunError("checkpoint's personal tensors do not fit the model", "resume with the same configuration")
    facts = {one.client: one for one in from_columns(manifest["facts"])}
    first, sent, members = next(iter(facts.values())), 0, {}
    for place, client in enumerate(manifest["clients"]):
        told = manifest["last"][place]
        member = Member(facts.get(client, first), None, {name: tensor[place] for name, tensor in personal.items()})
        member.heat, member.share = manifest["heats"][place], manifest["shares"][place]
        member.releases, member.traffic = manifest["releases"][place], Traffic(*manifest["traffic"][place])
        if told is not None:
            loss, size, number, share = told
            member.last = Contribution({name: tensor[sent] for name, tensor in last.items()}, loss, size, number, share)
            sent += 1
        members[client] = member
    strategy.restore(members)
    strategy.state.restore(tensors)
    strategy.alone, strategy.reported_epsilon = list(manifest["alone"]), manifest["epsilon"]
    strategy.history.resume(manifest["rounds"], manifest["seconds"])
