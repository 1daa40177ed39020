"""``fellrec pretrain`` for click logs, and ``fellrec distil``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from common.data.click_folder import KIND, load_clicks
from common.data.manifest import read_manifest
from common.data.prepare import ensure
from common.data.sets import check_name
from common.errors import ConfigError
from common.home import data_home, models_home
from common.models import resolve
from common.recommenders.click.warm_start import ClickBase
from fellrec.click_distillation import Distillation, distil
from fellrec.click_pretraining import ClickPretraining, pretrain_clicks
from fellrec.terminal import Terminal

console = Terminal()
SHAPE = ClickPretraining()


def is_click_log(name: str) -> bool:
    """Whether the prepared data set of that name is a click log; raises DataError where there is none."""
    return read_manifest(ensure(name, data_home())).get("kind") == KIND


def pretrain_click_log(name: str, called: str, settings: ClickPretraining) -> None:
    """Make a warm start and say what came of it."""
    folder = models_home() / check_name(called)
    record = pretrain_clicks(load_clicks(ensure(name, data_home())), settings, folder)
    state = "made" if record["made"] else "there already"
    console.print(
        f"{called}: {record['parameters']:,} parameters from {len(record['division']['open'])} open users, epoch "
        f"{record['epoch']} of {settings.epochs}, {record['seconds']:.0f} s ({state})",
        markup=False,
    )
    console.print(f"open users: validation {_told(record['validation'])}; test {_told(record['test'])}", markup=False)
    console.print(f"model: {folder}", markup=False)
    console.print(
        f"in a recipe: model.name = 'home:{called}', click.open-share = {settings.open_share}, "
        f"click.division = {settings.division}",
        markup=False,
    )


def distil_command(
    big: Annotated[str, typer.Argument(help="A click model: home:NAME or a folder.")],
    called: Annotated[str, typer.Option("--as", help="The small model's name.")],
    name: Annotated[str, typer.Option("--set", help="The prepared click log that the model was made on.")],
    embedding: Annotated[int, typer.Option(min=1, help="Width of an attribute's embedding.")] = SHAPE.width,
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = "32,8",
    item_ids: Annotated[bool, typer.Option(help="A row for every item.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the open users' rows.")] = SHAPE.epochs,
    temperature: Annotated[float, typer.Option(help="Softens the teacher's probabilities.")] = 2.0,
    soft: Annotated[float, typer.Option(help="Weight of the teacher's word against the clicks.")] = 0.7,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the weights and the order of the rows.")] = 0,
) -> None:
    """Distil a click model into one of a quarter of its parameters or fewer, on the open users' rows.

    Example: fellrec distil home:kuaisar --set kuaisar-r --as kuaisar-small
    """
    teacher = ClickBase.load(resolve(big))
    division = teacher.record["division"]
    student = ClickPretraining(
        division["open_share"], division["seed"], embedding, layer_widths(hidden), item_ids, epochs, seed=seed
    )
    log = load_clicks(ensure(name, data_home()))
    folder = models_home() / check_name(called)
    record = distil(teacher, log, Distillation(student, temperature, soft), folder)
    for who in ("teacher", "student"):
        console.print(
            f"{who}: {record['parameters'][who]:,} parameters, open users' test {_told(record['test'][who])}, "
            f"{record['milliseconds'][who]:.2f} ms for 1,000 items",
            markup=False,
        )
    console.print(f"model: {folder}", markup=False)


def layer_widths(text: str) -> tuple[int, ...]:
    """``"32,8"`` as numbers; raises ConfigError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ConfigError(f"--hidden is {text!r}", "write widths of layers, as in 32,8")
    return tuple(map(int, parts))


def _told(metrics: dict[str, Any]) -> str:
    return f"AUC {metrics['auc']:.4f}, log-loss {metrics['logloss']:.4f}"
