from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from common.errors import SplitError
from common.wire import Refused
from server_app.split.tokens import Mint


def refusal(mint: Mint, token: str) -> str:
    with pytest.raises(Refused) as caught:
        mint.check(token)
    return caught.value.status


def test_a_token_says_who_its_bearer_is(tmp_path: Path) -> None:
    mint = Mint("run", tmp_path)
    claims = mint.check(mint.mint("ann", 60))
    assert (claims.client, claims.run, claims.training) == ("ann", "run", True)
    assert mint.check(mint.mint("bob", 60, training=False)).training is False


def test_tokens_and_revocations_outlive_a_restart(tmp_path: Path) -> None:
    mint = Mint("run", tmp_path)
    revoked, other = mint.mint("ann", 60), mint.mint("bob", 60)
    mint.revoke("ann")
    again = Mint("run", tmp_path)
    assert refusal(again, revoked) == "UNAUTHENTICATED"
    assert again.check(other).client == "bob"
    assert again.check(again.mint("ann", 60)).client == "ann"


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    mint = Mint("run", tmp_path)
    token = mint.mint("ann", 0.001)
    time.sleep(0.002)
    assert refusal(mint, token) == "UNAUTHENTICATED"


def test_a_token_of_another_run_is_refused(tmp_path: Path) -> None:
    token = Mint("run", tmp_path).mint("ann", 60)
    assert refusal(Mint("other", tmp_path), token) == "PERMISSION_DENIED"


def test_any_change_makes_a_token_void(tmp_path: Path) -> None:
    mint = Mint("run", tmp_path)
    token = mint.mint("ann", 60)
    for at in range(0, len(token), 7):
        assert refusal(mint, token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]) == "UNAUTHENTICATED"


def test_only_the_owner_may_read_the_secret(tmp_path: Path) -> None:
    Mint("run", tmp_path)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("client", "ttl"), [("", 60), ("ann", 0), ("ann", -1), ("ann", float("nan")), ("ann", float("inf"))]
)
def test_a_token_needs_a_client_and_a_lifetime(tmp_path: Path, client: str, ttl: float) -> None:
    with pytest.raises(SplitError):
        Mint("run", tmp_path).mint(client, ttl)
