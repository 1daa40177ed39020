"""The files in deploy/, as far as they can be read without an engine: what they name is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from fellrec.supernode import WAIT_FOR
from server_app.split.metrics import Metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yml").read_text())


def test_every_service_is_read_only_without_rights(compose: dict) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "user" not in service, name


def test_nodes_share_no_network_with_one_another_or_with_the_superlink(compose: dict) -> None:
    services = compose["services"]
    nodes = [set(services[f"supernode-{n}"]["networks"]) | set(services[f"clientapp-{n}"]["networks"]) for n in "abc"]
    assert not (nodes[0] & nodes[1] or nodes[1] & nodes[2] or nodes[0] & nodes[2])
    for networks in nodes:
        assert not networks & set(services["superlink"]["networks"])
        assert all(compose["networks"][name]["internal"] for name in networks)
    assert "ports" not in services["superlink"]


def test_only_the_executor_of_the_app_has_data_and_it_has_no_supernode_key(compose: dict) -> None:
    for letter in "abc":
        identity, work = (compose["services"][f"{kind}-{letter}"]["volumes"] for kind in ("supernode", "clientapp"))
        assert not [mount for mount in identity if "FELLREC_DATA" in mount]
        files = [mount for mount in work if "FELLREC_FEDERATION" in mount]
        assert {Path(mount.split(":")[-2]).name for mount in files} == {"ca.crt", "split.crt", "split.key"}


def test_a_node_is_healthy_only_once_it_is_in_and_has_the_time_for_it(compose: dict) -> None:
    for letter in "abc":
        service = compose["services"][f"supernode-{letter}"]
        mark = service["environment"]["FELLREC_JOINED"]
        assert f"os.stat('{mark}')" in service["healthcheck"]["test"][-1]
        assert mark.startswith("/tmp/") and any(mount.startswith("/tmp:") for mount in service["tmpfs"])
        assert float(service["healthcheck"]["start_period"].rstrip("s")) > WAIT_FOR
        assert service["command"] == ["/node/start.sh"]


def test_what_compose_mounts_from_this_folder_is_there(compose: dict) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    own = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert own and all((DEPLOY / path).is_file() for path in own)
    named = {mount.split(":")[0] for mount in mounts if re.match(r"[a-z]", mount)}
    assert named == set(compose["volumes"])


def test_the_dashboard_asks_for_metrics_that_the_service_has() -> None:
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
    known = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    known |= {
        f"{family.name}{end}"
        for family in Metrics().registry.collect()
        for end in ("", "_total", "_bucket", "_sum", "_count")
    }
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"fellrec_\w+", target["expr"])
    }
    assert len(asked) >= 8 and asked <= known
    source = yaml.safe_load((DEPLOY / "monitoring" / "datasource.yml").read_text())["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}


def test_the_image_gets_every_package_that_the_app_needs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for package in ("common", "client_app", "server_app", "fellrec", "recipes"):
        assert f"COPY {package} {package}" in text
        assert f"!{package}" in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert (
        text.split("FROM ")[-1].rstrip().splitlines()[-1].startswith("WORKDIR /var/lib/fellrec")
        and "USER fellrec" in text
    )


@pytest.mark.parametrize("unit", sorted(path.name for path in (DEPLOY / "systemd").glob("*.service")))
def test_units_run_as_a_user_without_rights(unit: str) -> None:
    lines = (DEPLOY / "systemd" / unit).read_text().splitlines()
    for wanted in ("User=fellrec", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert wanted in lines
