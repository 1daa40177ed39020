"""How the server mixes what the clients of a round have trained: pure mathematics, no Flower, no gRPC.

Every strategy is, per scope, two things:

- a **mixing matrix** W [n, n] over the round's clients: non-negative, rows summing to one; row i says how much of each
  sender j goes into receiver i (:mod:`~server_app.aggregation.mixing`);
- a **merge**: whether adapters are mixed tensor by tensor or as the products BA of their LoRA pairs
  (:mod:`~server_app.aggregation.merge`).

FedAvg's rows all hold the clients' sizes, local training's matrix is the identity, FELLRec's comes from how similar
the clients' updates are (:mod:`~server_app.aggregation.similarity`) and how hard each client's data still is
(:mod:`~server_app.aggregation.heating`). A rule is a frozen dataclass of its settings with one method, ``weights``; a
new one is a file here, and a line in ``common/scopes.py`` that says what of a client it mixes (docs/own-rule.md).
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from server_app.aggregation.rule import RULES

# each file names its own rules
for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = ["RULES"]
