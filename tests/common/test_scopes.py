from __future__ import annotations

import subprocess
import sys
from typing import get_args

from common.config import StrategyConfig
from common.scopes import ADAPTER_SCOPE, Scope


def test_only_mirrored_scopes_may_leave() -> None:
    assert {scope for scope in Scope if scope.may_leave} == {Scope.PERSONAL, Scope.GROUP, Scope.SHARED}


def test_a_strategy_is_chosen_from_the_table_and_what_click_models_add() -> None:
    assert get_args(StrategyConfig.model_fields["name"].annotation) == (*ADAPTER_SCOPE, "fedpa")


def test_the_configuration_is_read_without_torch() -> None:
    asked = "import sys, common.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked]).returncode == 0
