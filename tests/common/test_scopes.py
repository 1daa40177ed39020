from __future__ import annotations

import subprocess
import sys

import pytest

from common.config import from_flat
from common.errors import ConfigError
from common.recommenders.click.model import ITEM_ID, ClickModel, ClickShape
from common.scopes import SCOPES, Owner, Scope, scopes_of

PLAIN = ClickModel(ClickShape({"age": 3}, {"colour": 3, ITEM_ID: 9}), seed=0)


def test_only_mirrored_scopes_may_leave() -> None:
    assert {scope for scope in Scope if scope.may_leave} == {Scope.PERSONAL, Scope.GROUP, Scope.SHARED}


def test_every_strategy_says_what_becomes_of_every_owner_and_what_is_nobody_s_is_frozen() -> None:
    for row in SCOPES.values():
        assert set(row) == set(Owner) and row[Owner.NOBODY] is Scope.FROZEN


def test_nothing_leaves_under_local_and_nothing_private_under_any_strategy_that_adapts() -> None:
    assert not any(scope.may_leave for scope in SCOPES["local"].values())
    for strategy in ("fedpa", "fellrec", "fellrec-paper"):
        assert SCOPES[strategy][Owner.CLIENT] is Scope.PRIVATE and SCOPES[strategy][Owner.GROUP] is Scope.GROUP
    assert SCOPES["fedpa"][Owner.ALL] is Scope.SHARED and SCOPES["fellrec"][Owner.ALL] is Scope.PERSONAL


@pytest.mark.parametrize("strategy", sorted(SCOPES))
def test_the_row_of_every_item_stays_under_every_strategy(strategy: str) -> None:
    scopes = scopes_of(strategy, PLAIN.plain().owners())
    assert scopes[f"item_embeddings.{ITEM_ID}.weight"] is Scope.FROZEN


def test_fedavg_shares_all_that_is_trained() -> None:
    scopes = scopes_of("fedavg", PLAIN.owners())
    assert set(scopes.values()) == {Scope.SHARED}


def test_a_strategy_is_chosen_from_the_table() -> None:
    for name in SCOPES:
        if name not in ("fedpa", "fedprox"):
            assert from_flat({"strategy.name": name}).strategy.name == name
    with pytest.raises(ConfigError, match="did you mean 'fellrec'"):
        from_flat({"strategy.name": "felrec"})


def test_the_configuration_is_read_without_torch() -> None:
    asked = "import sys, common.config; common.config.from_flat({}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked]).returncode == 0
