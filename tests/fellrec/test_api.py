"""fellrec/api.py: who is answered, what, and what the log says of it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from client_app.recommendations import Recommendations, Recommended, Recommends
from common.errors import ConfigError, DataError, SplitError
from fellrec.api import LARGEST, api, serve
from fellrec.commands.api import secret_at
from tests.fellrec.served import Runs

TOKEN = "t" * 40
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Answers(Recommends):
    """Answers without a model; ``fault`` is raised in place of an answer."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()

    client = "shop"

    def for_user(self, user: str = "", top: int = 10) -> Recommendations:
        assert self.hold.wait(10)
        if self.fault:
            raise self.fault
        return Recommendations("shop", user, ("b", "a"), (Recommended("k", "c", 1.0, ("a",)),) * min(top, 2))

    def for_history(self, titles: list[str], top: int = 10) -> Recommendations:
        return self.for_user("", top)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def client(answers: Answers) -> Iterator[TestClient]:
    with TestClient(api(answers, TOKEN), base_url="http://127.0.0.1:8080", headers=BEARER) as found:
        yield found


def test_a_user_or_a_history_is_answered(client: TestClient) -> None:
    found = client.post("/recommend", json={"user": "u1", "top": 1})
    assert found.status_code == 200 and found.json() == {
        "client": "shop",
        "user": "u1",
        "history": ["b", "a"],
        "notes": [],
        "recommended": [{"key": "k", "title": "c", "score": 1.0, "because": ["a"]}],
    }
    assert client.post("/recommend", json={"history": ["a", "b"]}).json()["user"] == ""


def test_health_needs_no_token_and_everything_else_does(client: TestClient) -> None:
    assert client.get("/health", headers={"Authorization": ""}).json() == {"status": "ok", "client": "shop"}
    for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \u00e9"):
        for method, path in (("POST", "/recommend"), ("GET", "/docs"), ("GET", "/nowhere")):
            found = client.request(method, path, headers={"Authorization": given.encode("latin-1")}, json={"user": "u"})
            assert found.status_code == 401 and found.json()["error"]["code"] == "FR800"


@pytest.mark.parametrize("host", ["shop.example", "127.0.0.1.example:80", "", "[::1]:80", "localhost.:80"])
def test_another_name_of_this_address_is_refused(client: TestClient, host: str) -> None:
    assert client.post("/recommend", json={"user": "u"}, headers={"Host": host}).status_code == 421


def test_localhost_is_a_name_of_it(client: TestClient) -> None:
    assert client.post("/recommend", json={"user": "u"}, headers={"Host": "localhost:8080"}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": "u", "history": ["a"]},
        {"user": ""},
        {"history": []},
        {"history": ["a"] * 201},
        {"history": ["a" * 501]},
        {"user": "u", "top": 0},
        {"user": "u", "top": 101},
        {"user": "u", "top": "5"},
        {"user": 5},
        {"user": "u", "x": 1},
        ["u"],
        "u",
        None,
    ],
)
def test_a_body_of_another_form_is_refused_with_a_code(client: TestClient, body: object) -> None:
    found = client.post("/recommend", json=body)
    assert found.status_code == 422 and found.json()["error"]["code"] == "FR800"


def test_no_json_and_no_such_path_and_another_method(client: TestClient) -> None:
    for found, status in (
        (client.post("/recommend", content=b"{", headers={"Content-Type": "application/json"}), 422),
        (client.get("/nowhere"), 404),
        (client.get("/recommend"), 405),
        (client.get("/openapi.json"), 404),
    ):
        assert found.status_code == status and found.json()["error"]["code"] == "FR800"


def test_a_body_over_the_limit_is_refused_said_or_not(client: TestClient) -> None:
    large = json.dumps({"user": "u" * LARGEST}).encode()

    def parts() -> Iterator[bytes]:
        yield large[:1000]
        yield large[1000:]

    for content in (large, parts()):
        found = client.post("/recommend", content=content, headers={"Content-Type": "application/json"})
        assert found.status_code == 413 and found.json()["error"]["code"] == "FR800"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (DataError("no user 'u'", "the first is 'a'"), 404, "FR200"),
        (ConfigError("wrong"), 422, "FR100"),
        (SplitError("out of reach"), 503, "FR700"),
        (ValueError("secret title"), 500, "FR999"),
    ],
)
def test_errors_are_json_and_the_unforeseen_tells_no_history(
    client: TestClient, answers: Answers, caplog: pytest.LogCaptureFixture, fault: Exception, status: int, code: str
) -> None:
    answers.fault = fault
    found = client.post("/recommend", json={"user": "u"})
    assert found.status_code == status and found.json()["error"]["code"] == code
    assert "secret title" not in found.text + caplog.text


def test_beyond_so_many_at_once_the_rest_is_turned_away(answers: Answers) -> None:
    app = api(answers, TOKEN, waiting=1)
    with TestClient(app, base_url="http://127.0.0.1", headers=BEARER) as client:
        answers.hold.clear()
        first: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: first.append(client.post("/recommend", json={"user": "u"})))
        asking.start()
        statuses = {503}
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            # once the first has its place
            if app.state.places._value == 0:
                statuses = {client.post("/recommend", json={"user": "u"}).status_code for _ in range(3)}
                break
            time.sleep(0.01)
        answers.hold.set()
        asking.join(10)
        assert statuses == {503} and first[0].status_code == 200
        assert client.post("/recommend", json={"user": "u"}).status_code == 200


def test_the_log_ends_with_p50_and_p95_and_names_nobody(answers: Answers, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fellrec.api"):
        with TestClient(api(answers, TOKEN), base_url="http://127.0.0.1", headers=BEARER) as client:
            for _ in range(3):
                client.post("/recommend", json={"user": "someone-7"})
    assert "3 recommendations: p50 " in caplog.text and "someone-7" not in caplog.text


def test_a_port_that_is_taken_is_refused(answers: Answers) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="--port"):
            serve(FastAPI(), other.getsockname()[1], print)


def test_a_token_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "clients" / "api.token"
    secret, made = secret_at(path, new=False)
    assert made and len(secret) >= 32 and path.stat().st_mode & 0o777 == 0o600
    assert secret_at(path, new=False) == (secret, False)
    other, made = secret_at(path, new=True)
    assert made and other != secret
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        secret_at(path, new=False)
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no token"):
        secret_at(path, new=False)


@pytest.mark.live
def test_the_command_answers_over_a_real_socket_and_ends_well(tmp_path: Path, fellrec_home: Path) -> None:
    run = Runs(tmp_path / "runs").get("encoder")
    command = [sys.executable, "-c", "from fellrec.cli import main; main()", "api", str(run.path), "--client", "toy-1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        address = process.stdout.readline().split(" on ")[1].split(";")[0]
        token = process.stdout.readline().removeprefix("token: ").split(" (told once")[0]
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}) as client:
            assert client.get("/health").json()["client"] == "toy-1"
            found = client.post("/recommend", json={"history": ["red fox"], "top": 3}).json()
            assert len(found["recommended"]) == 3
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert "1 recommendations: p50" in errors and "red fox" not in errors
