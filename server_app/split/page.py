"""The metrics as a page for Prometheus, on loopback only: they say who works when."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from common.errors import ConfigError


class MetricsPage:
    """Serves ``http://127.0.0.1:port/metrics`` until it is closed.

    Raises
    ------
    ConfigError : the port is taken.
    """

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        try:
            self._server, self._thread = start_http_server(port, "127.0.0.1", registry)
        except OSError as error:
            raise ConfigError(
                f"'split.metrics-port' = {port!r} cannot be listened on: {error}", "choose another port, or 0 for none"
            ) from error

    def close(self) -> None:
        """Ends the page."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
