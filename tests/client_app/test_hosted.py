"""What of a node's configuration leads to the hosted layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_app.hosted import CERTIFICATE, KEY, ROOT, _certificates
from common.errors import ConfigError
from tests.authority import Authority


def test_a_node_names_its_root_and_its_own_pair_or_neither(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair("ann")
    root, pair = authority.path.read_bytes(), (certificate.read_bytes(), key.read_bytes())
    assert _certificates({}) == (None, None)
    assert _certificates({ROOT: str(authority.path)}) == (root, None)
    node = {ROOT: str(authority.path), CERTIFICATE: str(certificate), KEY: str(key)}
    assert _certificates(node) == (root, pair)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({CERTIFICATE: "c.pem"}, "'split-certificate' = 'c.pem' and 'split-key' = ''.*give both"),
        ({KEY: "k.pem"}, "'split-certificate' = '' and 'split-key' = 'k.pem'.*give both"),
        ({CERTIFICATE: "c.pem", KEY: "k.pem"}, "'split-certificate' = 'c.pem', but 'split-root-certificate' = ''"),
        ({ROOT: "/nowhere/root.pem"}, "'split-root-certificate' = '/nowhere/root.pem' cannot be read"),
    ],
)
def test_a_pair_without_its_other_half_is_refused(node: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _certificates(node)
