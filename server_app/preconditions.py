"""Runs that would train to their end for nothing, refused once it is known who takes part."""

from __future__ import annotations

from common.config import RunConfig
from common.errors import RunError
from server_app.members import Members
from server_app.strategies import Plan

MOST_PRODUCTS = 100
"""Clients that adapters are mixed or compared as products of, at most."""


def refuse_in_vain(config: RunConfig, plan: Plan, members: Members) -> None:
    """Refuses a run that pools real data, has nobody to test, or mixes products of more clients than can be.

    Raises
    ------
    RunError : naming what stands against it.
    """
    if plan.pooled and not members.simulated:
        raise RunError("'strategy.name' = 'centralised' pools data, and these nodes are real", "simulate it instead")
    joint = config.fellrec.merge == "product" or config.fellrec.similarity == "product"
    if config.strategy.name == "fellrec" and joint and len(members) > MOST_PRODUCTS:
        raise RunError(
            f"{len(members)} clients, and the cost of 'fellrec.merge' and 'fellrec.similarity' = 'product' grows with the"
            f" fourth power of their number: {MOST_PRODUCTS} is the most",
            "set them to 'factors' and 'update'",
        )
    facts = [member.facts for _, member in members]
    if not any(fact.test_users for fact in facts):
        met_before = sum(fact.met_before for fact in facts)
        untried = sum(fact.users for fact in facts) - met_before
        raise RunError(
            f"no client has a user that can be tested: {met_before} users had their test items before,"
            f" {untried} have no history or no test item",
            "prepare longer histories, or choose another 'data.split'",
        )
