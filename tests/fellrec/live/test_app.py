"""fellrec/live/app.py: who has the token may read, nobody may do anything, and a lost stream goes on where it was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from fellrec.live.app import live
from fellrec.live.board import NAMES
from fellrec.live.feed import Feed
from fellrec.live.page import SCRIPT
from fellrec.report.style import STYLE, allowed
from tests.fellrec.live.test_feed import append
from tests.fellrec.report.logs import log
from tests.fellrec.report.reading import sound

TOKEN = "t" * 43


def client(path: Path, looks: int = 3) -> TestClient:
    """The app, whose streams end after so many looks at the log."""
    counted = count()
    app = live(Feed(lambda: path), TOKEN, every=0.0, ended=lambda: next(counted) >= looks)
    return TestClient(app, base_url="http://127.0.0.1:8123")


def messages(stream: str) -> list[tuple[str, dict[str, str]]]:
    """Id and parts of each message of a stream."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["id"], json.loads(fields["data"])))
    return found


def test_the_page_is_whole_without_its_script(tmp_path: Path) -> None:
    append(tmp_path / "log", log())
    answer = client(tmp_path / "log").get("/", params={"token": TOKEN})
    page = sound(answer.text)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert [name for name in page.values("id") if name in NAMES] == list(NAMES)
    assert "Mixing weights" in page.said and TOKEN not in answer.text


@pytest.mark.parametrize("path", ["/", "/events"])
@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "t", "\u00e4" * 43, "\x00"])
def test_without_the_token_nothing_is_told(tmp_path: Path, path: str, token: str | None) -> None:
    append(tmp_path / "log", log())
    answer = client(tmp_path / "log").get(path, params={} if token is None else {"token": token})
    assert answer.status_code == 403 and "north" not in answer.text and "one" not in answer.text.split()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/events"])
def test_nothing_can_be_done(tmp_path: Path, method: str, path: str) -> None:
    answer = client(tmp_path / "log").request(method, path, params={"token": TOKEN})
    assert answer.status_code == 405


def test_there_is_nothing_else(tmp_path: Path) -> None:
    for path in ("/docs", "/openapi.json", "/events.jsonl", "/../config.json", "/events/"):
        assert client(tmp_path / "log").get(path, params={"token": TOKEN}).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "", "localhost.", "0.0.0.0"]
)
def test_another_sites_name_is_refused(tmp_path: Path, host: str) -> None:
    assert client(tmp_path / "log").get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 400


def test_names_of_this_machine_are_taken_through_any_port(tmp_path: Path) -> None:
    for host in ("127.0.0.1:1", "localhost:8123", "localhost"):
        assert client(tmp_path / "log").get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 200


def test_the_policy_allows_this_pages_own_script_and_style_only(tmp_path: Path) -> None:
    answer = client(tmp_path / "log").get("/", params={"token": TOKEN})
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == allowed(SCRIPT) and policy["style-src"] == allowed(STYLE)
    assert policy["connect-src"] == "'self'"
    assert f"<script>{SCRIPT}</script>" in answer.text and f"<style>{STYLE}</style>" in answer.text
    assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers and "access-control-allow-origin" not in answer.headers


def test_hostile_names_stay_text_on_the_page_and_in_the_stream(tmp_path: Path) -> None:
    name = '"><script>alert(1)</script>\n\ndata: x'
    append(tmp_path / "log", log([name, "north"]))
    page = sound(client(tmp_path / "log").get("/", params={"token": TOKEN}).text)
    assert page.tags().count("script") == 1 and name.split("\n")[0] in page.said
    stream = client(tmp_path / "log").get("/events", params={"token": TOKEN}).text
    [(_, parts)] = messages(stream)
    assert "<script" not in "".join(parts.values())


def test_a_lost_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    path, events = tmp_path / "log", log(rounds=2)
    append(path, events[:6])
    browser = client(path, looks=10_000)
    feed_of_page = sound(browser.get("/", params={"token": TOKEN}).text).values("data-position")[0]
    assert feed_of_page == "1.6"
    append(path, events[6:8])
    app = live(Feed(lambda: path), TOKEN, every=0.0, ended=iter([False, True] * 9).__next__)
    browser = TestClient(app, base_url="http://localhost")

    def read(after: str, header: bool = False) -> list[tuple[str, dict[str, str]]]:
        query = {"token": TOKEN} | ({} if header else {"after": after})
        answer = browser.get("/events", params=query, headers={"last-event-id": after} if header else {})
        assert answer.headers["content-type"].startswith("text/event-stream") and answer.text.startswith("retry: ")
        return messages(answer.text)

    [(here, parts)] = read(feed_of_page)
    assert here == "1.8" and set(parts) == {"status", "clients"}
    assert read(here, header=True) == []
    append(path, events[8:])
    [(end, parts)] = read(here, header=True)
    assert end == f"1.{len(events)}" and "curves" in parts
    assert set(read("nonsense", header=True)[0][1]) == set(NAMES)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of its own, on a port of its own."""
    append(tmp_path / "log", log()[:6])
    app = live(Feed(lambda: tmp_path / "log"), TOKEN, every=0.02, alive=0.05, ended=lambda: server.should_exit)
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


def test_over_a_socket_events_arrive_as_they_are_written(address: str, tmp_path: Path) -> None:
    arrived = []
    with httpx.stream("GET", f"{address}/events?token={TOKEN}&after=1.6", timeout=30, trust_env=False) as stream:
        for line in stream.iter_lines():
            if line == ": alive" and not arrived:
                arrived.append(line)
                append(tmp_path / "log", log()[6:])
            elif line.startswith("data: "):
                arrived.append(line)
                break
    assert arrived[0] == ": alive" and "curves" in json.loads(arrived[1][6:])
