"""fellrec/provision.py: who gets which file, with which mode; what a second run may change."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key, load_ssh_public_key
from typer.testing import CliRunner

from common.errors import ConfigError
from fellrec.cli import app

SECRETS = ("ca.key", "tls.key", "split.key", "supernode.key")


def say(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["provision", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def made(tmp_path: Path) -> Path:
    out = tmp_path / "federation"
    say("--out", out, "--server", "rec.example.org,10.1.2.3", "--nodes", "shop-a,shop_b")
    return out


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_each_node_gets_its_own_files_and_no_other(made: Path) -> None:
    for name in ("shop-a", "shop_b"):
        node = made / "nodes" / name
        assert {path.name for path in node.iterdir()} == {
            "ca.crt",
            "split.crt",
            "split.key",
            "supernode.key",
            "node.env",
            "start.sh",
        }
        own = read(node / "split.crt")
        own.verify_directly_issued_by(read(node / "ca.crt"))
        assert load_pem_private_key((node / "split.key").read_bytes(), None).public_key() == own.public_key()
        key = load_ssh_private_key((node / "supernode.key").read_bytes(), None)
        public = load_ssh_public_key((made / "server" / "supernodes" / f"{name}.pub").read_bytes())
        assert key.public_key() == public
        assert own.subject.rfc4514_string() == f"CN={name}"


def test_no_private_key_stands_in_two_files_and_none_is_readable_by_others(made: Path) -> None:
    keys = [path for path in made.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in keys} == set(SECRETS) and len(keys) == 1 + 3 + 2 * 2
    assert len({path.read_bytes() for path in keys}) == len(keys)
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in [made, *made.rglob("*")] if path.is_dir()} == {0o700}
    assert not [path for path in keys if path.parent.name in ("supernodes", "federation", "nodes", "server")]


def test_the_servers_certificates_name_every_way_to_reach_them(made: Path) -> None:
    for name in ("superlink", "gateway", "split"):
        certificate = read(made / "server" / name / "tls.crt")
        certificate.verify_directly_issued_by(read(made / "ca" / "ca.crt"))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"rec.example.org", name, "localhost"} == set(names.get_values_for_type(x509.DNSName))
        assert {"10.1.2.3", "127.0.0.1", "::1"} == {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}


def test_more_nodes_leave_everything_else_as_it_is(made: Path) -> None:
    before = contents(made)
    say("--out", made, "--add", "--nodes", "shop-c")
    after = contents(made)
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[:2] for name in after.keys() - before.keys()} == {
        ("nodes", "shop-c"),
        ("server", "supernodes"),
    }
    read(made / "nodes/shop-c/split.crt").verify_directly_issued_by(read(made / "ca/ca.crt"))
    with pytest.raises(ConfigError, match="shop-a"):
        say("--out", made, "--add", "--nodes", "shop-d,shop-a")
    assert contents(made) == after, "a refused addition adds nothing"


def test_nothing_is_overwritten(made: Path) -> None:
    before = contents(made)
    with pytest.raises(ConfigError, match="--add"):
        say("--out", made, "--server", "other", "--nodes", "x")
    assert contents(made) == before


def test_renewing_changes_certificates_that_end_soon_and_no_key(made: Path) -> None:
    say("--out", made, "--add", "--nodes", "shop-c", "--days", 20)
    before = contents(made)
    (made / "nodes/shop-c/split.key").unlink()  # it went to its owner; renewing does not need it
    said = say("--out", made, "--renew", "--within", 30)
    after = contents(made)
    assert "1 certificates" in said and "shop-c" in said
    assert {name for name in after if after[name] != before[name]} == {"nodes/shop-c/split.crt"}
    certificate = read(made / "nodes/shop-c/split.crt")
    certificate.verify_directly_issued_by(read(made / "ca/ca.crt"))
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=360)
    assert load_pem_private_key(before["nodes/shop-c/split.key"], None).public_key() == certificate.public_key()


def test_an_authority_near_its_end_is_renewed_everywhere(made: Path) -> None:
    before = contents(made)
    said = say("--out", made, "--renew", "--within", 3700)
    root = (made / "ca" / "ca.crt").read_bytes()
    assert root != before["ca/ca.crt"] and said.count("ca.crt") == 1 + 3 + 2
    assert {path.read_bytes() for path in made.rglob("ca.crt")} == {root}
    x509.load_pem_x509_certificate(before["nodes/shop-a/split.crt"]).verify_directly_issued_by(read(made / "ca/ca.crt"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--server", "", "--nodes", "a"),
        ("--server", "https://rec.example", "--nodes", "a"),
        ("--server", "rec.example", "--nodes", ""),
        ("--server", "rec.example", "--nodes", "a,a"),
        ("--server", "rec.example", "--nodes", "../a"),
        ("--server", "rec.example", "--nodes", "a", "--split", "rec.example"),
        ("--server", "rec.example", "--nodes", "a", "--data-path", "$(reboot)"),
        ("--server", "rec.example", "--nodes", "a", "--add"),
        ("--nodes", "a", "--add"),
        ("--renew",),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        say("--out", tmp_path / "out", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_recipe_tells_the_node_which_model_to_look_for(tmp_path: Path, fellrec_home: Path) -> None:
    say("--out", tmp_path / "f", "--server", "10.0.0.1", "--nodes", "a", "--recipe", "demo", "--split", "[::1]:7000")
    env = (tmp_path / "f" / "nodes" / "a" / "node.env").read_text()
    assert "FELLREC_MODEL=embedded\n" in env and "FELLREC_SPLIT_K=1\n" in env and "FELLREC_SPLIT=[::1]:7000\n" in env
    for digest in ("FELLREC_MODEL_DIGEST=", "FELLREC_MODEL_CONFIG="):
        assert len(env.split(digest)[1].split("\n")[0]) == 64
    assert "split.advertise=[::1]:7000" in (tmp_path / "f" / "server" / "run.settings").read_text()


def test_the_start_script_hands_flower_this_folders_files(made: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    tool = tmp_path / "bin" / "fellrec"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {told}\n')
    tool.chmod(0o755)
    node = made / "nodes" / "shop-a"
    environment = {"PATH": f"{tool.parent}:/usr/bin:/bin", "FELLREC_ISOLATION": "process"}
    subprocess.run([node / "start.sh", "--max-retries", "3"], check=True, env=environment, cwd="/")
    words = told.read_text().splitlines()
    assert words[:2] == ["join", "--"], "it is tried again where the SuperLink still holds the node for online"
    words = words[2:]
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--superlink"] == "rec.example.org:8443" and options["--isolation"] == "process"
    assert options["--auth-supernode-private-key"] == str(node / "supernode.key") and options["--max-retries"] == "3"
    from flwr.common.config import parse_config_args

    assert parse_config_args([options["--node-config"]]) == {
        "client-key": "shop-a",
        "data-path": "/var/lib/fellrec/data",
        "split-root-certificate": str(node / "ca.crt"),
        "split-certificate": str(node / "split.crt"),
        "split-key": str(node / "split.key"),
    }
