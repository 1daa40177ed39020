"""What a training step costs over a slow link (1 Mbit/s, 200 ms), by codec; see ``benchmarks.wan`` for what it needs."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.child import child, wait
from benchmarks.harness import Result, Size, main, result
from benchmarks.hosting import RATE, SEED, TOKEN_SECONDS, Hosted, Identity
from benchmarks.models import TARGETS
from benchmarks.wan import Ends, enter, missing, slow_link
from client_app.link import SplitLink
from common.wire import Codec
from fellrec.certificates import Authority, pem
from server_app.split.host import SplitHost
from server_app.split.settings import HostedLora, HostSettings, TlsFiles

CODECS = (Codec.FP32, Codec.BF16, Codec.INT8)
ROWS, TOKENS, WIDTH = 8, 32, 384
"""One micro-batch of MiniLM's width."""


def measure(size: Size) -> list[Result]:
    """Seconds and bytes of a step (forward, backward and the optimiser's), and how much of the link it filled."""
    if reason := missing():
        raise SystemExit(f"slow_link: {reason}")
    steps = size.pick(1, 2, 4)
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tls, ends = _certificates(folder), stack.enter_context(slow_link())
        _, (address, tokens) = stack.enter_context(child(_serve, ends, tls, folder))
        for codec in CODECS:
            root = tls.certificate.with_name("ca.crt").read_bytes()
            with child(_step, ends, address, tokens[codec.value], root, codec, steps) as (connection, _):
                if not connection.poll(600):
                    raise RuntimeError(f"no step with {codec.value!r} in ten minutes")
                seconds, up, down = connection.recv()
            found.append(
                result(
                    f"a step of {ROWS} rows of {TOKENS} tokens, width {WIDTH}, {codec.value}",
                    median(seconds),
                    None,
                    "lower",
                    "s",
                    bytes_up=up,
                    bytes_down=down,
                    steps=steps,
                    least_seconds=(up + down) * 8 / 1e6 + 0.4,
                )
            )
    return found


def _certificates(folder: Path) -> TlsFiles:
    authority, key = Authority.create("benchmark"), ec.generate_private_key(ec.SECP256R1())
    files = {
        "ca.crt": pem(authority.certificate),
        "tls.key": pem(key),
        "tls.crt": pem(authority.issue("split", key.public_key(), "server", [Ends("", "").server_address], 1)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return TlsFiles(folder / "tls.crt", folder / "tls.key")


def _serve(connection: Connection, ends: Ends, tls: TlsFiles, folder: Path) -> None:
    enter(ends.server)
    settings = HostSettings(
        run="benchmark",
        digest="",
        k=1,
        m=1,
        hidden_size=WIDTH,
        lora=HostedLora(TARGETS["bert"]),
        address=ends.server_address,
    )
    host = SplitHost(Identity(), settings, folder / "state", tls)
    address, tokens = host.start(), {}
    for codec in CODECS:
        host.begin(codec.value, 1, RATE, SEED)
        tokens[codec.value] = host.mint(codec.value, TOKEN_SECONDS)
    connection.send((address, tokens))
    wait(connection)
    host.stop(0)


def _step(connection: Connection, ends: Ends, address: str, token: str, root: bytes, codec: Codec, steps: int) -> None:
    enter(ends.client)
    generator = torch.Generator().manual_seed(0)
    settings = replace(Hosted(None, WIDTH).link_settings, digest="", codec=codec)
    seconds = []
    with SplitLink(address, token, settings, root) as link:
        link.connect()
        connection.send("connected")
        before = link.bytes_up, link.bytes_down
        for _ in range(steps):
            hidden = torch.randn(ROWS, TOKENS, WIDTH, generator=generator)
            began = time.monotonic()
            output, sent = link.forward(hidden)
            link.backward(sent, torch.ones_like(output))
            link.step(RATE)
            link.flush()
            seconds.append(time.monotonic() - began)
            print(f"slow_link: {codec.value}, {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
        up, down = link.bytes_up - before[0], link.bytes_down - before[1]
    connection.send((seconds, up / steps, down / steps))
    wait(connection)


if __name__ == "__main__":
    main("slow_link", __doc__, measure)
