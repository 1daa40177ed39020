"""server_app/split/micro.py: a held graph is freed once, however often it is given up."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from common.wire import Rows
from server_app.split.memory import HeldMemory, Kind
from server_app.split.micro import HeldGraph, Micro


def test_a_graph_given_up_twice_gives_its_memory_back_once() -> None:
    memory = HeldMemory(1000, {})
    rows = Rows.of(torch.zeros(1, 2, 1), None, None)
    micros = [Micro(number, rows) for number in (1, 2)]
    graph = HeldGraph(SimpleNamespace(seconds=0.0), micros, [memory.take("ann", Kind.GRAPH, 100)])
    assert memory.nbytes == 100 and all(micro.graph is graph for micro in micros)
    graph.drop()
    graph.drop()
    assert memory.nbytes == 0 and all(micro.graph is None for micro in micros)
