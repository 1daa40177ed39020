"""Where a client's round starts: the server's mix, or a step from it towards what the client itself sent last.

FELLRec's rule leaves a client little of its own (about 1 / n, whatever the attention says). Here the client may take a
larger own share, chosen on its validation users and only where the paired gain in log-likelihood stands out from noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from client_app.assignment import Assignment
from client_app.holding import Holding
from client_app.hosted import Middle, Whole
from client_app.items import Shelf, frozen_for, frozen_in, item_matrix
from client_app.memory import Memory
from client_app.ranking import judge, likelihoods, summary
from common.config import RunConfig
from common.data.split import Part
from common.low_rank import Adapter, Merge
from common.messages import Rankings
from common.own_share import SHARES, choose_share, interpolate
from common.recommenders.recommender import Index, Recommender
from common.recommenders.state import load_trained


@dataclass(frozen=True)
class Start:
    """A loaded recommender.

    Attributes
    ----------
    shelf : Shelf
        Client's data with this round's item matrix.
    share : float
        Own share that was chosen.
    validation : Rankings
        What the recommender achieves before any step.
    adapter : Adapter
        Trained tensors that it was loaded with.
    """

    shelf: Shelf
    share: float
    validation: Rankings
    adapter: Adapter


def start(
    recommender: Recommender,
    holding: Holding,
    texts: Index,
    task: Assignment,
    memory: Memory,
    config: RunConfig,
    middle: Middle | None = None,
    training: bool = True,
) -> Start:
    """Loads the adapter that the round starts from, into the middle layers too, and measures it on validation users.

    The shares are compared with the item matrix of the mix, on the user side alone: the matrix of every candidate would
    cost more than the training itself.

    Raises
    ------
    RunError : the client has lost its frozen item matrix.
    """
    middle, frozen = middle or Whole(), frozen_for(config, task.round, task.contributed, training)
    load_trained(recommender, task.adapter)
    middle.use(0.0)
    items = item_matrix(recommender, texts, holding, memory, config, task.round, middle.base, frozen)
    shelf = Shelf(holding, texts, items)
    cases = holding.cases(Part.VALID, config.evaluate.valid_users, config.seed)
    batch = config.evaluate.batch_size
    measured, base = judge(recommender, shelf, cases, batch)
    share, adapter = 0.0, task.adapter
    if task.own is not None and len(cases):
        merge: Merge = config.fellrec.merge
        gains = {}
        for candidate in SHARES:
            load_trained(recommender, interpolate(task.adapter, task.own, candidate, merge))
            middle.use(candidate)
            gains[candidate] = likelihoods(recommender, shelf, cases, batch) - base
        share = choose_share(gains, config.fellrec.own_margin)
        adapter = interpolate(task.adapter, task.own, share, merge)
        load_trained(recommender, adapter)
        middle.use(share)
        if share:
            if recommender.items_are_trained and not frozen_in(config, task.round):
                shelf.items = recommender.encode_items(texts, batch)
            measured, _ = judge(recommender, shelf, cases, batch)
    return Start(shelf, share, summary(task.client, measured, len(cases)), adapter)
