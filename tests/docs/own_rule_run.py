"""Run inside a copy of the code: a tiny federation with its own rule, and every adapter that went out and came in.

``python -m tests.docs.own_rule_run HOME OUT.npz STRATEGY OPTIONS``; keys are ``out/ROUND/CLIENT`` and ``in/ROUND/CLIENT``,
float32 vectors of all tensors in the order of their names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from flwr.app import Message, MessageType
from flwr.supercore.task_identity import TaskIdentity

from tests.federation import federate, tiny_settings

CLIENTS, ROUNDS = [f"toy-{number}" for number in range(4)], 3


def vector(message: Message) -> np.ndarray:
    records = message.content.array_records
    tensors = {
        name: tensor
        for kind in ("arrays", "personal")
        if kind in records
        for name, tensor in records[kind].to_torch_state_dict().items()
    }
    return np.concatenate([tensors[name].numpy().ravel() for name in sorted(tensors)])


def main(home: Path, out: Path, strategy: str, options: str) -> None:
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    seen: dict[str, np.ndarray] = {}

    def keeps(client: str, number: int):
        def fault(reply: Message) -> Message:
            if reply.metadata.message_type == MessageType.TRAIN:
                seen[f"in/{number}/{client}"] = vector(reply)
            return reply

        return fault

    faults = {(client, number): keeps(client, number) for client in CLIENTS for number in range(1, ROUNDS + 1)}
    settings = tiny_settings(home, data__sets="toy:4", num_server_rounds=ROUNDS)
    settings |= {"strategy.name": strategy, "strategy.options": options}
    for message in federate(settings, faults=faults).sent:
        if message.metadata.message_type == MessageType.TRAIN:
            config = message.content.config_records["config"]
            seen[f"out/{config['server-round']}/{config['clients'][0]}"] = vector(message)
    np.savez(out, **seen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5])
