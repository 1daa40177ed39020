"""What the node holds: data as the client reads them, the model with the right weights, memory for its side of the cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from client_app.holding import Holding
from common.cut import Cut, config_digest, cost, digest, read_config, read_manifest
from common.cut.manifests import check_folder
from common.errors import FellrecError, ModelError
from common.models import resolve
from fellrec.preflight.finding import Finding
from fellrec.preflight.node import Node

PROCESS_BYTES = 700 << 20
"""Python with torch, transformers and Flower, before any model."""
WORKING = 3
"""Memory at work over the memory of the weights: weights, activations, and the copy that loading makes."""
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def data(node: Node) -> Iterator[Finding]:
    """The client's folder, read and split as in a run. The counts stay here: this command sends nothing of them."""
    if node.data_path is None:
        yield Finding("data", "warn", "not given", "name the client's folder in FELLREC_DATA_PATH")
        return
    try:
        facts = Holding.load(node.name or node.data_path.name, node.data_path, node.data_split).facts()
    except FellrecError as error:
        yield Finding("data", "fail", error.message, error.hint)
        return
    made_up = ", generated" if facts.set.generated else ""
    yield Finding(
        "data",
        "ok",
        f"{facts.set.dataset}: {facts.users} users, {facts.set.items} items, {facts.interactions} interactions{made_up}",
    )


def model(node: Node) -> Iterator[Finding]:
    """The model's folder: the whole model, or the client's side of the right cut, and the one that the federation uses."""
    if not node.model:
        yield Finding("model", "warn", "not given", "name it in FELLREC_MODEL, or provision with --recipe")
        return
    try:
        folder = resolve(node.model)
        if (cut := _cut(node)) is not None:
            check_folder(folder, cut, "client")
        side = read_manifest(folder)
        found = side.digest if side is not None else digest(folder)
        computes = config_digest(folder) if node.config else ""
    except FellrecError as error:
        yield Finding("model", "fail", error.message, error.hint)
        return
    if node.digest and found != node.digest:
        yield Finding(
            "model",
            "fail",
            f"{folder} has digest {found[:12]}..., the federation uses {node.digest[:12]}...",
            "fetch the model that the server uses, or ask its operator for the client's side",
        )
        return
    if computes != node.config:
        yield Finding(
            "model",
            "fail",
            f"config.json in {folder} has digest {computes[:12]}..., the federation uses {node.config[:12]}...",
            "fetch the model that the server uses: the weights are the same, config.json is not",
        )
        return
    yield Finding("model", "ok", f"{'client side' if side is not None else 'whole model'}, digest {found[:12]}...")


def memory(node: Node) -> Iterator[Finding]:
    """Whether the client's layers, and work on them, fit beside what runs here already."""
    if not node.model:
        return
    try:
        folder, cut = resolve(node.model), _cut(node)
        # Without a split all layers run here; any cut tells the size of the whole.
        held = cost(folder, cut or Cut(1, 0))["client" if cut else "whole"]["bytes"]
        layers = read_config(folder).num_hidden_layers
    except ModelError as error:
        yield Finding("memory", "fail", f"the model cannot be measured: {error.message}", error.hint)
        return
    free = available_memory()
    if free is None:
        yield Finding("memory", "warn", "this system does not tell how much memory is free")
        return
    need = PROCESS_BYTES + held * WORKING
    told = f"{free / 2**20:.0f} MiB free, about {need / 2**20:.0f} MiB needed"
    kept = f"{cut.k + cut.m} of {layers}" if cut else "all"
    if free < PROCESS_BYTES + held:
        yield Finding("memory", "fail", told, f"{kept} layers run here: end other programs, or keep fewer layers")
    elif free < need:
        yield Finding("memory", "warn", told, "use smaller batches, or end other programs")
    else:
        yield Finding("memory", "ok", told)


def available_memory() -> int | None:
    """Bytes that a new process can have: the machine's, or what is left of this control group's limit; None if unknown."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    for limit, used in CGROUPS:
        try:
            most = Path(limit).read_text(encoding="ascii").strip()
            if most != "max":
                found.append(int(most) - int(Path(used).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(found, default=None)


def _cut(node: Node) -> Cut | None:
    return None if node.k is None or node.m is None else Cut(node.k, node.m)
