"""Chromium, driven over its own pipe: what a page asks for, what it complains of, and how wide it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)

needs_browser = pytest.mark.skipif(FOUND is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-pipe",
)
PHONE, DESK = 360, 1280
SECONDS = 60.0
"""That a command, or a condition on a page, may take."""

BEYOND = """[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre")
 && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName + " " + e.textContent)"""
"""Elements that reach beyond the right edge, but for those that scroll by themselves."""


class Browser:
    """A browser with one page.

    Attributes
    ----------
    complaints : errors of scripts, of the console and of the network. asked : addresses that the page asked for.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to, self._number, self._answers = to, 0, Queue[dict[str, Any]]()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._session: str | None = None
        threading.Thread(target=self._listen, args=(back,), daemon=True).start()
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol and its result."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        try:
            answer = self._answers.get(timeout=SECONDS)
        except Empty:
            raise AssertionError(f"the browser did not answer {method}") from None
        assert answer["id"] == self._number and "error" not in answer, answer
        return answer["result"]

    def open(self, address: str, width: int) -> None:
        """Loads a page as wide as a phone's screen, or a desk's."""
        self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width == PHONE
        )
        assert "errorText" not in self.tell("Page.navigate", url=address)
        self.until(f'location.href === {json.dumps(address)} && document.readyState === "complete"')

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives on the page."""
        found = self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits for a condition to hold on the page."""
        end = time.monotonic() + SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.1)

    def fits(self) -> None:
        """Nothing reaches beyond the page's right edge."""
        wide, room = self.value("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room and self.value(BEYOND) == []

    def _listen(self, back: int) -> None:
        rest = b""
        while read := os.read(back, 1 << 16):
            *messages, rest = (rest + read).split(b"\0")
            for message in messages:
                self._hear(json.loads(message))

    def _hear(self, message: dict[str, Any]) -> None:
        told, method = message.get("params", {}), message.get("method", "")
        if "id" in message:
            self._answers.put(message)
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(json.dumps(told["entry"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])


@contextmanager
def browsing(folder: Path, flags: Sequence[str] = FLAGS) -> Iterator[Browser]:
    """A browser with a fresh profile in an empty folder, ended afterwards."""
    to, back = folder / "to", folder / "back"
    os.mkfifo(to)
    os.mkfifo(back)
    # Chromium reads commands from descriptor 3 and answers on 4
    process = subprocess.Popen(
        [
            "sh",
            "-c",
            'exec "$@" 3<"$0/to" 4>"$0/back"',
            str(folder),
            str(FOUND),
            *flags,
            f"--user-data-dir={folder / 'profile'}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ends = os.open(to, os.O_WRONLY), os.open(back, os.O_RDONLY)
    try:
        yield Browser(*ends)
    finally:
        process.terminate()
        process.wait(SECONDS)
        for end in ends:
            os.close(end)
