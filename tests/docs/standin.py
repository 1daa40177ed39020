"""Flower's place taken: the real ServerApp and ClientApp over nodes in this process (``tests.federation``)."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping

from flwr.supercore.task_identity import TaskIdentity
from rich.console import Console

import fellrec.simulation
from common.config import RunConfig, Value, flatten
from common.run_folder import RunFolder
from common.table import result_table
from fellrec.cli import main
from tests.federation import federate


def simulate(
    settings: Mapping[str, Value], config: RunConfig, nodes: int, cpus: int, console: Console, flower: object = None
) -> RunFolder:
    """As ``fellrec.simulation.simulate``, without Flower's processes."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    name = config.run_name or f"{config.recipe or 'run'}-{secrets.token_hex(4)}"
    federate({**dict(flatten(config)), "run-name": name}, nodes)
    folder = RunFolder.find(name, config.home)
    for line in result_table(folder.result()):
        console.print(line, markup=False)
    return folder


if __name__ == "__main__":
    fellrec.simulation.simulate = simulate
    sys.argv[0] = "fellrec"
    main()
