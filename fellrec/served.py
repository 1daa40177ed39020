"""The adapter that a client of a run serves with: what the server gave it, and what it kept for itself."""

from __future__ import annotations

from client_app.click_state import ClickState
from client_app.memory import Memory
from client_app.node import memory_folder
from common.adapters.many import pick
from common.config import RunConfig
from common.errors import RunError
from common.low_rank import Adapter, mean_adapter
from common.recommenders.build import origin
from common.recommenders.click.run import click_run
from common.recommenders.federated import text_scopes
from common.run_folder import RunFolder
from common.scopes import Scope


def served_adapter(run: RunFolder, client: str) -> Adapter:
    """All trained tensors of one client, as it was measured with them at the end.

    Raises
    ------
    RunError : the run has no result or no such client, or the client's private tensors are not on this machine.
    DataError : a click model's private tensors are damaged, or of another model.
    """
    config, rounds = run.config(), run.result()["run"]["rounds"]
    mixed = run.load_adapter(client)
    memory = Memory(memory_folder(config, {}, run.name, client))
    if config.model.recommender == "click":
        private = _of_click(config, memory, rounds)
    else:
        private = _of_text(config, memory, rounds, mixed)
    if private is None:
        raise RunError(
            f"the private tensors of client {client!r} of run {run.name!r} are not on this machine",
            "call this where the client trained: they lie in its own folder clients/RUN/CLIENT and never leave it",
        )
    return private | mixed


def _of_text(config: RunConfig, memory: Memory, rounds: int, mixed: Adapter) -> Adapter | None:
    """The private tensors of a language model; None where they are not here."""
    start = origin(config.model, config.seed, config.generate, config.fedpa)
    private = {name for name, scope in text_scopes(config, start).items() if scope is Scope.PRIVATE} - mixed.keys()
    if not private:
        return {}
    kept = memory.kept(rounds + 1, config.strategy.average_rounds)
    return mean_adapter(kept) if kept and kept[-1].keys() == private else None


def _of_click(config: RunConfig, memory: Memory, rounds: int) -> Adapter | None:
    """The same of a click model, whose clients keep them beside their optimiser's state, packed."""
    click, before = click_run(config), rounds + 1
    private = click.start(Scope.PRIVATE).keys()
    if private and not memory.kept(before):
        return None
    start = click.start(Scope.PRIVATE, Scope.PERSONAL)
    state = ClickState.load(start, [memory], before, config.strategy.average_rounds)
    return {name: tensor for name, tensor in pick(state.values, 0).items() if name in private}
