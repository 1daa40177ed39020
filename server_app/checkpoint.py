"""The state of a run after a round, to and from tensors and a manifest: a resumed run gives the numbers of the unbroken one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from common.errors import RunError
from common.messages import ClientFacts
from common.run_folder import CHECKPOINT_SCHEMA as SCHEMA
from server_app.clients import Member
from server_app.course import Course
from server_app.strategy import FederatedRecommenders

KINDS = ("mixed", "own")


def to_checkpoint(strategy: FederatedRecommenders, course: Course) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Manifest (JSON) and tensors of everything that the next round depends on."""
    tensors: dict[str, Tensor] = {}
    members = dict(strategy.everybody())
    for client, member in members.items():
        for kind in KINDS:
            for name, tensor in (getattr(member, kind) or {}).items():
                tensors[f"{kind}/{client}/{name}"] = tensor
    for kind, average in (("mixed", strategy.mixed_average), ("own", strategy.own_average)):
        tensors |= {f"average-{kind}/{key}": tensor for key, tensor in average.state_dict().items()}
    manifest = {
        "members": {
            client: {
                "facts": asdict(member.facts), "heat": member.heat, "share": member.share,
                "bytes_down": member.bytes_down, "bytes_up": member.bytes_up,
            }
            for client, member in members.items()
        },
        "rounds": course.done,
        "seconds": course.seconds(),
    }  # fmt: skip
    return manifest, tensors


def from_checkpoint(
    strategy: FederatedRecommenders, course: Course, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Puts the state back into a fresh strategy and a fresh course.

    Raises
    ------
    RunError : the checkpoint is of another schema, or its adapters do not fit this run's model.
    """
    if manifest.get("schema") != SCHEMA:
        raise RunError(
            f"checkpoint has schema {manifest.get('schema')!r}, not {SCHEMA}", "resume with the fellrec that wrote it"
        )
    for client, kept in manifest["members"].items():
        adapters = {kind: _under(tensors, f"{kind}/{client}/") for kind in KINDS}
        if adapters["mixed"].keys() != strategy.origin.keys():
            raise RunError(
                f"checkpoint's adapter of client {client!r} does not fit the model",
                "resume with the same configuration",
            )
        member = Member(ClientFacts(**kept["facts"]), None, adapters["mixed"], adapters["own"] or None)
        member.heat, member.share = kept["heat"], kept["share"]
        member.bytes_down, member.bytes_up = kept["bytes_down"], kept["bytes_up"]
        strategy.restore(client, member)
    strategy.mixed_average.load_state(_under(tensors, "average-mixed/"))
    strategy.own_average.load_state(_under(tensors, "average-own/"))
    course.resume(manifest["rounds"], manifest["seconds"])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
