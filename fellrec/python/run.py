"""A run that is on disk: its settings, result, rounds, events, adapters, recommendations and report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.events import read_lines
from common.files import read_json
from common.run_folder import RunFolder
from common.table import result_table
from fellrec.deferred import Deferred
from fellrec.python.recommender import Recommender
from fellrec.python.rows import Rows, flat_row

if TYPE_CHECKING:
    from torch import Tensor

if TYPE_CHECKING:
    from fellrec import report_file as report_files
else:
    report_files = Deferred("fellrec.report_file")


BY_CLIENT = ("clients", "clients_failed")
"""What a round's record says by client, and so is no column of its row."""


def load(name: str | os.PathLike[str] = "latest", *, home: str | os.PathLike[str] = "") -> Run:
    """A run by its name, or by the path of its folder; ``latest`` is the newest.

    Parameters
    ----------
    home : where fellrec keeps things; '' takes ``$FELLREC_HOME``, by default ``~/.fellrec``.

    Raises
    ------
    RunError : there is no such run; the newest are named.
    """
    return Run(RunFolder.find(os.fspath(name), os.fspath(home)))


class Run:
    """A run, whether it has ended or not; what it says is read when it is asked for.

    Made by :func:`fellrec.run` and :func:`fellrec.load`.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self._folder.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._folder.path

    @property
    def ended(self) -> bool:
        """Whether it has come to its result."""
        return (self.path / "result.json").is_file()

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that it was started with, flat: ``run.settings["train.learning-rate"]``; raises RunError where damaged."""
        return read_json(self.path / "config.json")

    @property
    def result(self) -> dict[str, Any]:
        """``result.json``: what ran, on what data, metrics, rounds, cost, privacy.

        Raises
        ------
        RunError : the run has not ended well, or its result is damaged.
        """
        return self._folder.result()

    @property
    def metrics(self) -> dict[str, float]:
        """The mean over all test users, as ``{"recall@10": 0.17, ...}``; raises RunError as :attr:`result` does."""
        return {name: value for name, value in self.result["metrics"]["test"].items() if isinstance(value, float)}

    @property
    def rounds(self) -> Rows:
        """A row for each round so far: ``round``, ``loss``, the validation's metric, ``clients_ok``, ``void``, seconds.

        Raises
        ------
        RunError : the result or the event log is damaged.
        """
        if self.ended:
            return Rows(_round(record) for record in self.result["rounds"])
        keys = ("round", "seconds", "loss", "clients_ok", "clients_failed", "void")
        ended = {
            event["round"]: {key: event.get(key) for key in keys}
            for event in self.events
            if event["event"] == "round_ended"
        }
        return Rows(_round(record) for record in ended.values())

    @property
    def clients(self) -> Rows:
        """A row for each client: its name, test metrics, users and, beside them, the baselines' and the model's alone.

        Raises
        ------
        RunError : the run has not ended well, or its result is damaged.
        """
        found = self.result["metrics"]["clients"]
        return Rows({"client": client, **flat_row(record)} for client, record in found.items())

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event log so far: dicts with ``event``, ``time`` (seconds since the epoch) and fields of their own.

        Raises
        ------
        RunError : a line of the log is no event.
        """
        path = self._folder.events_path
        return list(read_lines(path)) if path.is_file() else []

    def adapter(self, client: str) -> dict[str, Tensor]:
        """The tensors, by name, that a client serves with: fp32, on the CPU.

        Raises
        ------
        RunError : the run has none for this client, or it is damaged.
        """
        return dict(self._folder.load_adapter(client))

    def recommender(
        self,
        client: str = "",
        *,
        data: str | os.PathLike[str] | None = None,
        service: str = "",
        token: str | os.PathLike[str] | None = None,
        root_certificate: str = "",
        certificate: str = "",
        key: str = "",
    ) -> Recommender:
        """A client's recommender, with its model loaded and its catalogue read once for all requests.

        Parameters
        ----------
        client : str
            Key of the client; '' takes the first.
        data : str or path, optional
            Folder of the client's data on its own machine; None takes the simulated client's.
        service : str
            host:port of ``fellrec serve``; '' runs all layers here.
        token : str or path, optional
            File with the client's token for the service.
        root_certificate, certificate, key : str
            PEM files for a service beyond loopback.

        Raises
        ------
        RunError : the run has not ended, has no such client, or the client's private tensors are not on this machine.
        ConfigError : a token without a service, or ``data`` without ``client``.
        """
        return Recommender(
            self._folder,
            client,
            data=data,
            service=service,
            token=token,
            root_certificate=root_certificate,
            certificate=certificate,
            key=key,
        )

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Writes the run as one HTML file, without ``path`` as ``report.html`` in its folder; returns where.

        Raises
        ------
        RunError : the file cannot be written, or the run is damaged.
        """
        written: Path = report_files.write_report(self._folder, None if path is None else Path(path))
        return written

    def table(self) -> str:
        """The result as text: per client and in the mean, beside the baselines; raises RunError as :attr:`result` does."""
        return "\n".join(result_table(self.result))

    def __repr__(self) -> str:
        if not self.ended:
            return f"<fellrec run {self.name!r}: has not ended>"
        return f"<fellrec run {self.name!r}: {', '.join(f'{key} {value}' for key, value in self._in_short().items())}>"

    def _repr_html_(self) -> str:
        where = f"<p><b>{escape(self.name)}</b> <code>{escape(str(self.path))}</code></p>"
        if not self.ended:
            return f"{where}<p>has not ended</p>{self.rounds._repr_html_()}"
        notes = "<p>generated data: no claim about real users</p>" if self.result["data"]["generated"] else ""
        return f"{where}{Rows([self._in_short()])._repr_html_()}{notes}"

    def _in_short(self) -> dict[str, Any]:
        facts: Mapping[str, Any] = self.result["run"]
        metrics = {name: f"{value:.4f}" for name, value in list(self.metrics.items())[:2]}
        return {"strategy": facts["strategy"], "clients": _count(self.result), "rounds": facts["rounds"], **metrics}


def _count(result: Mapping[str, Any]) -> int:
    return int(result["run"].get("clients") or len(result["metrics"]["clients"]))


def _round(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key not in BY_CLIENT}
    return flat_row(kept | {"clients_failed": len(record.get("clients_failed") or ())})
