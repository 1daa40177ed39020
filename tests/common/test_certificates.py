from __future__ import annotations

from pathlib import Path

import pytest

from common.certificates import read_authorities, read_pair
from common.errors import ConfigError
from tests.authority import Authority

FIELDS = ("certificate", "key")


def test_good_files_are_read_as_they_are(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair("ann")
    assert read_pair(certificate, key, FIELDS) == (certificate.read_bytes(), key.read_bytes())
    assert read_authorities(authority.path, "root") == authority.path.read_bytes()


def test_a_chain_begins_with_its_owner(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair("ann")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificate.read_bytes() + authority.path.read_bytes())
    assert read_pair(chain, key, FIELDS)[0] == chain.read_bytes()
    chain.write_bytes(authority.path.read_bytes() + certificate.read_bytes())
    with pytest.raises(ConfigError, match="'key' = .* does not belong to 'certificate'"):
        read_pair(chain, key, FIELDS)


@pytest.mark.parametrize(("begins", "ends"), [(-3, -1), (1, 3)])
def test_a_certificate_that_is_not_valid_today_is_refused_with_its_dates(
    tmp_path: Path, begins: int, ends: int
) -> None:
    certificate, key = Authority(tmp_path).pair("ann", begins, ends)
    for read in (lambda: read_pair(certificate, key, FIELDS), lambda: read_authorities(certificate, "certificate")):
        with pytest.raises(ConfigError, match=r"'certificate' = .* valid from 20\d\d-.*T.* to 20\d\d-.*T"):
            read()


def test_an_authority_that_has_ended_may_stand_beside_one_that_has_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(authority.pair("old", -3, -1)[0].read_bytes() + authority.path.read_bytes())
    assert read_authorities(both, "root") == both.read_bytes()


def test_files_that_are_missing_or_something_else_are_refused_by_their_field(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair("ann")
    other, gone = authority.pair("bob")[1], tmp_path / "gone.pem"
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for pair, said in (
        ((gone, key), "'certificate' = .*gone.pem.*cannot be read"),
        ((certificate, gone), "'key' = .*gone.pem.*cannot be read"),
        ((empty, key), "'certificate' = .*holds no certificate"),
        ((key, key), "'certificate' = .*holds no certificate"),
        ((certificate, certificate), "'key' = .*holds no private key"),
        ((certificate, other), "'key' = .* does not belong to"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_pair(*pair, FIELDS)
    for path, said in ((gone, "cannot be read"), (key, "holds no certificate")):
        with pytest.raises(ConfigError, match=f"'root' = .*{said}"):
            read_authorities(path, "root")


def test_what_is_refused_is_never_quoted(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).pair("ann")
    secret = key.read_text().splitlines()[1]
    key.write_text(key.read_text().replace(secret, secret[::-1]))
    with pytest.raises(ConfigError) as caught:
        read_pair(certificate, key, FIELDS)
    assert secret[:12] not in str(caught.value) and secret[::-1][:12] not in str(caught.value)
