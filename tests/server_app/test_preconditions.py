"""server_app/preconditions.py: runs that would train for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import from_flat
from common.errors import RunError
from common.events import EventLog
from common.messages import ClientFacts, Roster, SetFacts
from common.recommenders.federated import federated_model
from common.version import app_identity
from server_app.members import Members
from server_app.preconditions import MOST_PRODUCTS, refuse_in_vain
from server_app.strategies import plan
from tests.federation import tiny_settings

SET = SetFacts("shop", "c" * 64, 4, True, "leave-last-out")


def refuse(home: Path, clients: int, simulated: bool = True, test_users: int = 1, **settings: object) -> None:
    config = from_flat(tiny_settings(home, **settings))
    members = Members(lambda facts: None, dict, EventLog(home / "log"), people=True)
    facts = tuple(ClientFacts(f"c{n}", SET, "d" * 64, 3, 5, 2, test_users, 1) for n in range(clients))
    members.admit(1, Roster(app_identity(), simulated, facts).to_record())
    refuse_in_vain(config, plan(config, federated_model(config)), members)


def test_products_of_many_clients_are_refused_and_of_some_are_not(fellrec_home: Path) -> None:
    for chosen in ({"fellrec__merge": "product"}, {"fellrec__similarity": "product"}):
        refuse(fellrec_home, MOST_PRODUCTS, **chosen)
        with pytest.raises(RunError, match=f"{MOST_PRODUCTS + 1} clients.*fourth power"):
            refuse(fellrec_home, MOST_PRODUCTS + 1, **chosen)
    refuse(fellrec_home, MOST_PRODUCTS + 1)


def test_real_data_are_not_pooled_and_somebody_must_be_tested(fellrec_home: Path) -> None:
    refuse(fellrec_home, 2, strategy__name="centralised")
    with pytest.raises(RunError, match="these nodes are real"):
        refuse(fellrec_home, 2, simulated=False, strategy__name="centralised")
    with pytest.raises(RunError, match="2 users had their test items before, 4 have no history"):
        refuse(fellrec_home, 2, test_users=0)
