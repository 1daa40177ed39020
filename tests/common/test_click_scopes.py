from __future__ import annotations

import pytest

from common.adapters.gated import GatedSettings
from common.click_scopes import CLICK_SCOPE, ITEM_IDS, click_scope
from common.owners import Owner
from common.recommenders.click import ClickModel, ClickShape
from common.scopes import ADAPTER_SCOPE, Scope

MODEL = ClickModel(ClickShape({"age": 3}, {"kind": 4, "item_id": 9}), seed=0)


def test_every_owner_has_a_scope_under_every_strategy() -> None:
    assert all(set(scopes) == set(Owner) for scopes in CLICK_SCOPE.values())
    assert set(CLICK_SCOPE) - set(ADAPTER_SCOPE) == {"fedpa"}


def test_what_is_the_clients_own_never_leaves_under_fedpa() -> None:
    names = MODEL.adapt(("age",), GatedSettings(), seed=0).state_dict()
    leaving = {name for name in names if click_scope("fedpa", name).may_leave}
    assert not any(".user." in name or "embeddings" in name or ".common." in name for name in leaving)
    assert {name for name in names if ".groups." in name or ".gate." in name or name[:7] == "output."} == leaving
    assert not any(click_scope("local", name).may_leave for name in names)


@pytest.mark.parametrize("strategy", sorted(CLICK_SCOPE))
def test_the_table_of_items_is_frozen_everywhere(strategy: str) -> None:
    assert ITEM_IDS in MODEL.state_dict() and click_scope(strategy, ITEM_IDS) is Scope.FROZEN


def test_fedavg_shares_the_plain_model() -> None:
    assert {click_scope("fedavg", name) for name in MODEL.state_dict() if name != ITEM_IDS} == {Scope.SHARED}
