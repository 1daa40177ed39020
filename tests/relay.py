"""A relay on loopback that keeps a copy of every byte that goes through it: a capture of a connection without rights."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Connections to ``port`` go on to ``target``; ``up`` holds what each caller sent, ``down`` what it was answered."""

    target: int
    port: int = 0
    up: list[bytearray] = field(default_factory=list)
    down: list[bytearray] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                for source, sink, copies in ((caller, server, self.up), (server, caller, self.down)):
                    copies.append(bytearray())
                    threading.Thread(target=_carry, args=(source, sink, copies[-1]), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            kept += piece
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    """A relay to a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Relay(target, listener.getsockname()[1])
        threading.Thread(target=found.serve, args=(listener,), daemon=True).start()
        yield found
