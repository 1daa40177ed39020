"""The adapter that a client of a run serves with: what the server gave it, and what it kept for itself."""

from __future__ import annotations

from client_app.memory import Memory
from client_app.node import memory_folder
from common.config import RunConfig
from common.errors import RunError
from common.low_rank import Adapter, mean_adapter
from common.recommenders.build import origin
from common.recommenders.federated import text_scopes
from common.run_folder import RunFolder
from common.scopes import Scope


def served_adapter(run: RunFolder, client: str) -> Adapter:
    """All trained tensors of one client, as it was measured with them at the end.

    Raises
    ------
    RunError : the run has no result or no such client, or the client's private tensors are not on this machine.
    """
    config, rounds = run.config(), run.result()["run"]["rounds"]
    mixed = run.load_adapter(client)
    start = origin(config.model, config.seed, config.generate, config.fedpa)
    private = {name for name, scope in text_scopes(config, start).items() if scope is Scope.PRIVATE} - mixed.keys()
    if not private:
        return mixed
    kept = _memory(config, run, client).kept(rounds + 1, config.strategy.average_rounds)
    if not kept or kept[-1].keys() != private:
        raise RunError(
            f"the private tensors of client {client!r} of run {run.name!r} are not on this machine",
            "call this where the client trained: they lie in its own folder clients/RUN/CLIENT and never leave it",
        )
    return mixed | mean_adapter(kept)


def _memory(config: RunConfig, run: RunFolder, client: str) -> Memory:
    return Memory(memory_folder(config, {}, run.name, client))
