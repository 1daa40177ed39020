"""The split service as the server app sees it: start it, hand out tokens, open and close rounds, mix adapters."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2
from prometheus_client import CollectorRegistry
from torch import Tensor, nn

from common.config import LOOPBACK
from common.errors import ConfigError, SplitError
from common.wire import CHANNEL_OPTIONS, METHOD, Refused
from server_app.split.clients import Clients
from server_app.split.engine import Engine
from server_app.split.idle import few_arenas, give_back
from server_app.split.log_lines import LogLines
from server_app.split.lora import HostedTrunk
from server_app.split.memory import HeldMemory
from server_app.split.metrics import Metrics
from server_app.split.rate import Rate
from server_app.split.refusals import Refusals
from server_app.split.session import TICK, Session
from server_app.split.settings import HostSettings, TlsFiles
from server_app.split.snapshots import SnapshotStore
from server_app.split.tokens import Claims, Mint

log = logging.getLogger("fellrec.split")
SPARE_THREADS = 16
"""For health checks, and for refusing sessions beyond the limit."""


class SplitHost:
    """Hosts the middle layers of one model, with an adapter per client.

    Parameters
    ----------
    trunk : called as ``trunk(hidden [B,T,H], attention_mask, position_ids) -> hidden [B,T,H]``; frozen and given LoRA
        places here.
    state_dir : snapshots and the secret; what is there is taken up again.
    tls : the server's certificate and key; None only on a loopback address. With ``client_ca`` every caller shows a
        certificate of its own, and a token is good only beside that of its owner.
    whole_name : from a layer's path in ``trunk`` to its path in the whole model, for the adapters' names.

    Raises
    ------
    ConfigError : the settings do not fit the trunk, or ask for plain text on a network.
    SplitError : the state folder belongs to another model or to other LoRA settings.
    """

    def __init__(
        self,
        trunk: nn.Module,
        settings: HostSettings,
        state_dir: Path,
        tls: TlsFiles | None = None,
        whole_name: Callable[[str], str] = str,
    ) -> None:
        if tls is None and settings.address not in LOOPBACK:
            raise ConfigError(
                f"'address' = {settings.address!r} without TLS", "give a certificate, or listen on 127.0.0.1"
            )
        self._settings, self._tls = settings, tls
        self._hosted = HostedTrunk(trunk, settings.lora, whole_name)
        self._metrics = Metrics()
        limits = settings.limits
        cell_bytes = settings.hidden_size * self._hosted.dtype.itemsize
        self._memory = HeldMemory(limits.held_bytes, limits.per_client(cell_bytes), limits.per_kind(cell_bytes))
        self._lines = LogLines()
        self._mint = Mint(settings.run, state_dir)
        identity = {
            "digest": settings.digest,
            "config": settings.config,
            "k": settings.k,
            "m": settings.m,
            "rank": settings.lora.rank,
            "alpha": settings.lora.alpha,
            "layers": sorted(self._hosted.shapes),
        }
        self._snapshots = SnapshotStore(state_dir, identity)
        self._clients = Clients(self._hosted, settings, self._snapshots)
        self._engine = Engine(
            self._hosted, self._clients, self._memory, self._metrics, settings, self._active, self._lines
        )
        self._sessions: list[Session] = []
        self._rate = Rate(limits.tokens_per_second, self._engine.cost.most(limits.tokens, limits.width))
        self._refusals = Refusals(lines=self._lines)
        self._lock = Lock()
        self._draining = False
        self._over = Event()
        self._health = health.HealthServicer()
        self._server: grpc.Server | None = None
        self._engine.start()
        self._metrics.watch(lambda: len(self._sessions), lambda: len(self._engine), lambda: self._memory.nbytes)

    @property
    def metrics(self) -> CollectorRegistry:
        """The registry for Prometheus."""
        return self._metrics.registry

    @property
    def held_bytes(self) -> int:
        """Memory held for clients at present; 0 once all sessions have ended."""
        return self._memory.nbytes

    @property
    def alive(self) -> bool:
        """Whether requests are computed; False once it has stopped, or its compute thread has died."""
        return self._engine.alive

    def start(self) -> str:
        """Starts to serve; returns ``host:port``.

        Raises
        ------
        ConfigError : the port is taken, or a certificate cannot be read or is not valid today.
        """
        limits, address = self._settings.limits, self._settings.address
        credentials = self._tls.read() if self._tls else None
        few_arenas()
        most = limits.sessions + SPARE_THREADS
        threads = ThreadPoolExecutor(most, thread_name_prefix="fellrec-split-grpc")
        options = [*CHANNEL_OPTIONS, ("grpc.http2.min_ping_interval_without_data_ms", 10_000), ("grpc.so_reuseport", 0)]
        # what is beyond them is refused, rather than to wait without end
        server = grpc.server(threads, options=options, maximum_concurrent_rpcs=most)
        service, method = METHOD.strip("/").split("/")
        # no serialisers: chunks are cut from messages and put into them without protobuf's copies
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            method: grpc.stream_stream_rpc_method_handler(self._serve)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_generic_rpc_handlers((self._health_handler(),))
        place = f"{f'[{address}]' if ':' in address else address}:{self._settings.port}"
        try:
            port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"the split service cannot listen on {place!r}: {error}", "choose another port"
            ) from error
        self._server = server
        server.start()
        Thread(target=self._watch, name="fellrec-split-clock", daemon=True).start()
        self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        log.info(
            "serving %s on %s:%d, %d hosted layers", self._settings.digest[:12], address, port, len(self._hosted.shapes)
        )
        return f"{place.rsplit(':', 1)[0]}:{port}"

    def stop(self, grace: float = 5.0) -> None:
        """Takes no new sessions, lets those there finish for ``grace`` seconds, saves everything and ends; once."""
        with self._lock:
            draining, self._draining = self._draining, True
        if draining:
            return
        self._health.enter_graceful_shutdown()
        self._over.set()
        if self._server is not None:
            self._server.stop(grace).wait()
        self._engine.call(self._clients.snapshot)
        self._engine.stop()
        self._snapshots.close()
        log.info("stopped")

    def abandon(self) -> None:
        """Ends what is left of a service that died: cuts all connections, and lets the disk have what was on its way."""
        with self._lock:
            self._draining = True
        self._over.set()
        if self._server is not None:
            self._server.stop(None).wait()
        self._engine.stop()
        self._snapshots.close()

    def mint(self, client: str, ttl_s: float, training: bool = True, owner: str = "") -> str:
        """A token for ``client``, good for ``ttl_s`` seconds at most and until its round ends.

        Parameters
        ----------
        owner : the common name of the certificate that a bearer must show where clients have certificates; '' is
            ``client``.
        """
        return self._mint.mint(client, ttl_s, training, owner)

    def begin(
        self, client: str, round: int, learning_rate: float, adapter_seed: int, fresh_optimiser: bool = False
    ) -> int:
        """Opens a client's round on its committed adapter; one that is open already is rolled back.

        Parameters
        ----------
        learning_rate : where a step brings none of its own.
        adapter_seed : for a client that has no adapter yet.
        fresh_optimiser : whether AdamW starts anew, instead of going on from the last committed round.

        Returns
        -------
        The version of the adapter that the round begins with.

        Raises
        ------
        SplitError : the learning rate is no number from 0 up.
        """
        if not (math.isfinite(learning_rate) and learning_rate >= 0):
            raise SplitError(f"learning_rate is {learning_rate!r}", "give a number from 0 up")
        self.rollback(client)
        return self._engine.call(
            lambda: self._clients.begin(client, round, learning_rate, adapter_seed, fresh_optimiser)
        )

    def commit(self, client: str, round: int, steps: int | None = None) -> int:
        """Makes what a client trained in a round its adapter; its tokens end. Returns the new version.

        Parameters
        ----------
        steps : how many the client says that it made; None does not ask. A crash after the client left may have undone
            some that nobody would replay.

        Raises
        ------
        SplitError : no such round is open, the adapter is not finite, or the round has made another number of steps.
        """
        version = self._engine.call(lambda: self._clients.commit(client, round, steps))
        self._end(client)
        return version

    def rollback(self, client: str, round: int | None = None) -> None:
        """Forgets what a client trained in a round, to the bit; its tokens end. Without an open round: nothing."""
        if self._engine.call(lambda: self._clients.rollback(client, round)):
            self._end(client)

    def clients(self) -> list[str]:
        """Every client that has an adapter here."""
        return self._engine.call(self._clients.names)

    def adapter(self, client: str) -> dict[str, Tensor]:
        """A client's committed adapter, float32, by PEFT's names in the whole model.

        Raises
        ------
        SplitError : the client is unknown.
        """
        return self._engine.call(lambda: self._clients.adapter(client))

    def load_adapter(self, client: str, state: Mapping[str, Tensor]) -> int:
        """Puts a mixed adapter in the place of a client's committed one. Returns the new version.

        Raises
        ------
        SplitError : a round is open, or the tensors do not fit.
        """
        return self._engine.call(lambda: self._clients.load_adapter(client, state))

    def snapshot(self) -> None:
        """Returns once everything is on the disk; a start on the same state folder restores it."""
        self._engine.call(self._clients.snapshot)

    def _serve(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The stream's handler: who calls, is there room, then the session."""
        session: Session | None = None
        try:
            claims = self._mint.check(_bearer(context))
            if self._tls is not None and self._tls.client_ca is not None:
                _check_owner(claims, context)
            session = Session(
                claims,
                self._settings,
                self._hosted.dtype,
                self._engine,
                self._clients,
                self._mint,
                self._memory,
                self._rate,
                self._metrics,
                context.cancel,
                self._lines,
            )
            self._enter(session)
            if not context.add_callback(session.close):
                return
            begun = time.monotonic()
            self._tell(claims.client, "session opened")
            yield from session.replies(messages)
            self._tell(claims.client, f"session closed after {time.monotonic() - begun:.1f} s")
        except Refused as refused:
            self._refusals.note(context.peer(), refused)
            context.abort(grpc.StatusCode[refused.status], str(refused))
        finally:
            with self._lock:
                last = self._sessions == [session]
                if session in self._sessions:
                    self._sessions.remove(session)
            if last:
                self._engine.post(give_back)

    def _enter(self, session: Session) -> None:
        limits = self._settings.limits
        with self._lock:
            if self._draining:
                raise Refused("the service is about to stop", "try again later", "UNAVAILABLE")
            alive = [other for other in self._sessions if not other.closing]
            own = [other for other in alive if other.owner == session.owner]
            now = time.monotonic()
            if len(own) >= limits.sessions_per_client:
                own = [other for other in own if not other.give_way(now)]
            for count, name in ((len(own), "sessions_per_client"), (len(alive), "sessions")):
                if count >= (limit := getattr(limits, name)):
                    raise Refused(
                        f"{count!r} sessions are open: 'split.limits.{name.replace('_', '-')}' = {limit!r}",
                        "close one first, or raise it",
                        "RESOURCE_EXHAUSTED",
                    )
            self._sessions.append(session)

    def _end(self, client: str) -> None:
        self._mint.revoke(client)
        with self._lock:
            sessions = [session for session in self._sessions if session.client == client]
        for session in sessions:
            session.close(Refused("the round is over", "wait for the next one", "UNAUTHENTICATED"))

    def _tell(self, client: str, what: str) -> None:
        left_out = self._lines.allow(client)
        if left_out is not None:
            log.info("client %s: %s%s", client, what, left_out)

    def _watch(self) -> None:
        """Cuts the streams whose callers do not take what is sent."""
        while not self._over.wait(TICK):
            with self._lock:
                sessions = list(self._sessions)
            now = time.monotonic()
            for session in sessions:
                session.watch(now)

    def _health_handler(self) -> grpc.GenericRpcHandler:
        """Answers health checks, and leaves out the protocol's watch: a stream that anyone could hold open."""
        check = grpc.unary_unary_rpc_method_handler(
            self._health.Check,
            health_pb2.HealthCheckRequest.FromString,
            health_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check})

    def _active(self) -> int:
        with self._lock:
            return len({session.client for session in self._sessions})


def _bearer(context: grpc.ServicerContext) -> str:
    metadata = dict(context.invocation_metadata())
    kind, _, token = str(metadata.get("authorization", "")).partition(" ")
    if kind != "Bearer" or not token:
        raise Refused("there is no token", "send it as metadata 'authorization: Bearer ...'", "UNAUTHENTICATED")
    return token


def _check_owner(claims: Claims, context: grpc.ServicerContext) -> None:
    """Refuses a token beside another's certificate: a token that was stolen is worth nothing."""
    # lists, whatever the stubs say
    told = cast("Mapping[str, Sequence[bytes]]", context.auth_context())
    names = [name.decode(errors="replace") for name in told.get("x509_common_name", ())]
    if names != [claims.owner]:
        raise Refused(
            f"the token is {claims.owner!r}'s, the certificate is for {names!r}",
            "make the certificate's common name the client's name",
            "PERMISSION_DENIED",
        )
