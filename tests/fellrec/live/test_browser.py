"""The live page of a real run in a real browser: it follows the log, and after a lost connection goes on by itself."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from common.run_folder import RunFolder
from fellrec.live.app import live
from fellrec.live.feed import Feed
from tests.federation import broken, federate, tiny_settings
from tests.fellrec.report.browser import DESK, PHONE, SECONDS, browsing, needs_browser

TOKEN = "t" * 43


@contextmanager
def serving(log: Path, port: int, token: str = TOKEN) -> Iterator[int]:
    """The live page's server on a port, 0 for a free one."""
    app = live(Feed(lambda: log), token, every=0.05, ended=lambda: server.should_exit)
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()


@pytest.mark.slow
@needs_browser
def test_the_page_follows_a_run_and_comes_back_after_a_lost_connection(fellrec_home: Path, tmp_path: Path) -> None:
    federate(tiny_settings(fellrec_home, run_name="one"), faults={("toy-1", 2): broken})
    events = RunFolder.find("one").events_path.read_text().splitlines(keepends=True)
    middle = next(place for place, line in enumerate(events) if json.loads(line)["event"] == "round_ended") + 1
    log = tmp_path / "log"
    log.write_text("".join(events[:2]))
    (tmp_path / "browser").mkdir()
    with browsing(tmp_path / "browser") as browser:
        with serving(log, 0) as port:
            address = f"http://127.0.0.1:{port}/?token={TOKEN}"
            browser.open(address, PHONE)
            browser.until("document.body.dataset.stream === 'open'")
            assert browser.value("document.querySelectorAll('svg').length") == 0
            with log.open("a") as file:
                file.write("".join(events[2:middle]))
            browser.until("document.querySelectorAll('svg').length > 2")
            browser.fits()
            assert browser.complaints == []
        browser.until("document.body.dataset.stream === 'lost'")
        assert "connecting again" in browser.value("document.getElementById('stream').textContent")
        browser.fits()
        with log.open("a") as file:
            file.write("".join(events[middle:]))
        with serving(log, port):
            browser.until("document.body.dataset.stream === 'open'")
            browser.until("document.querySelector('h1 + p').textContent.includes('has ended')")
            assert "boom" in browser.value("document.getElementById('troubles').textContent")
            browser.complaints.clear()
            browser.open(address, DESK)
            browser.until("document.body.dataset.stream === 'open'")
            browser.fits()
            assert browser.complaints == []
            assert all(asked.startswith(f"http://127.0.0.1:{port}/") for asked in browser.asked)
        with serving(log, port, token="u" * 43):
            browser.until("document.getElementById('stream').textContent.startsWith('refused')")
