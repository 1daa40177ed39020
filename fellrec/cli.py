"""The ``fellrec`` command: its table of contents. A command's module is imported when that command is called."""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from common.errors import FellrecError
from common.files import REMEDIES, disk_failure
from common.printable import printable
from fellrec.lazy_command import LazyCommand

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "fellrec.commands.demo:demo_command",
        "Train on the generated sample set, then recommend for one user (two and a half minutes on two cores).",
    ),
    "data": ("fellrec.commands.data:app", "Prepare data sets, list them, look at one."),
    "pretrain": (
        "fellrec.commands.pretrain:pretrain_command",
        "Learn a small base language model from the items of data sets: from their text alone, never from histories.",
    ),
    "distil": (
        "fellrec.commands.distil:distil_command",
        "Distil a click model into one of a quarter of its parameters or fewer, on the open users' rows.",
    ),
    "check": (
        "fellrec.commands.check:check_command",
        "Check a recipe without starting anything; prints every setting that it leads to.",
    ),
    "run": (
        "fellrec.commands.run:run_command",
        "Run a federation with Flower, from start to result: simulated here, or on the nodes of a SuperLink.",
    ),
    "compare": (
        "fellrec.commands.compare:compare_command",
        "Run variants of a recipe with the same seeds and tell them apart, with 95 % intervals.",
    ),
    "show": ("fellrec.commands.show:show_command", "Show a run's result: per client, beside the baselines."),
    "report": (
        "fellrec.commands.report:report_command",
        "Write a run as one HTML file: curves, balance, attention, cost, privacy, failures, how to run it again.",
    ),
    "live": (
        "fellrec.commands.live:live_command",
        "Show a run while it goes on: rounds, clients, who learns from whom, warnings. Ctrl-C ends it.",
    ),
    "track": (
        "fellrec.commands.track:track_command",
        "Write a run's curves from its event log into TensorBoard, MLflow or Weights & Biases, during the run or after it.",
    ),
    "recommend": (
        "fellrec.commands.recommend:recommend_command",
        "Recommend items with a client's own layers and data, and say which of the history each is alike.",
    ),
    "api": (
        "fellrec.commands.api:api_command",
        "Answer recommendation requests over HTTP on this machine; the model is loaded once.",
    ),
    "serve": (
        "fellrec.commands.serve:serve_command",
        "Serve a run's hosted middle layers, so that its clients can go on recommending after the training.",
    ),
    "export": (
        "fellrec.commands.export:export_command",
        "Write a client's adapter as a folder that PEFT loads on the base model, or its whole click model, with a card.",
    ),
    "split": (
        "fellrec.commands.split:split_command",
        "Cut a model into two folders that can be shipped: the client's layers, and the middle ones for the server.",
    ),
    "provision": (
        "fellrec.commands.provision:provision_command",
        "Make certificates, keys and one folder per node for a federation on real machines.",
    ),
    "preflight": (
        "fellrec.commands.preflight:preflight_command",
        "Check a node before it joins: versions, certificates, clock, both ports, data, model, memory. Exit 1 on a failure.",
    ),
    "join": (
        "fellrec.commands.join:join_command",
        "Start a node's SuperNode, and try again for 90 seconds while the SuperLink holds one that was killed for online.",
    ),
    "gateway": (
        "fellrec.commands.gateway:gateway_command",
        "Let nodes reach a SuperLink's nodes' paths, and nothing else of it.",
    ),
}
"""Where each command is, and the first line of its help (a test holds the two together)."""


class Commands(TyperGroup):
    """The table as a group."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": {name: LazyCommand(name, *row) for name, row in COMMANDS.items()}})


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    # click suggests already
    suggest_commands=False,
    # Typer's tracebacks show local variables, and those hold people's data.
    pretty_exceptions_enable=False,
)


@app.callback(epilog="fellrec COMMAND --help says more, with an example.")
def fellrec() -> None:
    """Federated recommendation with language models, on Flower."""


def main() -> None:
    """Entry point: an error that fellrec foresaw is one line with a remedy, not a traceback.

    What the operating system says of files is foreseen wherever it arises.
    """
    # whatever a command has started ends with it, by kill as by Ctrl-C
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except FellrecError as error:
        _end(error)
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        _end(disk_failure(error))


def _end(error: FellrecError) -> NoReturn:
    remedy = f" ({error.hint})" if error.hint else ""
    print(printable(f"fellrec: {error.message}{remedy} [{error.code}]"), file=sys.stderr)
    sys.exit(1)
