"""How the server mixes what the clients of a round have trained: pure mathematics, no Flower, no gRPC.

Every strategy is, per scope, two things:

- a **mixing matrix** W [n, n] over the round's clients: non-negative, rows summing to one; row i says how much of each
  sender j goes into receiver i (:mod:`~server_app.aggregation.mixing`);
- a **merge**: whether adapters are mixed tensor by tensor or as the products BA of their LoRA pairs
  (:mod:`~server_app.aggregation.merge`).

FedAvg's rows all hold the clients' sizes, local training's matrix is the identity, FELLRec's comes from how similar
the clients' updates are (:mod:`~server_app.aggregation.similarity`) and how hard each client's data still is
(:mod:`~server_app.aggregation.heating`). A rule is a frozen dataclass of its settings with one method, ``weights``; a
new one is a file here and a line in :data:`RULES`.
"""

from __future__ import annotations

from server_app.aggregation.fedavg import FedAvg, FedAvgUniform
from server_app.aggregation.fellrec import Fellrec, FellrecPaper
from server_app.aggregation.local import Local
from server_app.aggregation.rule import Rule

RULES: dict[str, type[Rule]] = {
    "fellrec": Fellrec,
    "fellrec-paper": FellrecPaper,
    "fedavg": FedAvg,
    "fedavg-uniform": FedAvgUniform,
    "local": Local,
}
