"""``fellrec pretrain``: a small base language model from the text of prepared data sets, or a click model from a click log."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from common.data.dataset import Dataset
from common.data.prepare import ensure
from common.data.sets import check_name
from common.errors import ConfigError
from common.home import data_home, models_home
from common.recommenders.generative.prompt import INSTRUCTION
from fellrec.click_pretraining import ClickPretraining
from fellrec.commands.distil import is_click_log, layer_widths, pretrain_click_log
from fellrec.learning import Learning
from fellrec.pretraining import PretrainSettings, pretrain
from fellrec.terminal import Terminal

console = Terminal()
SHAPE, CLICKS = PretrainSettings(), ClickPretraining()


def pretrain_command(
    sets: Annotated[
        list[str], typer.Argument(metavar="SET [SET ...]", help="Prepared data sets; only their items are read.")
    ],
    called: Annotated[str, typer.Option("--as", help="The model's name: recipes say model.name = 'home:NAME'.")],
    layers: Annotated[int, typer.Option(min=1, help="Layers.")] = SHAPE.layers,
    width: Annotated[int, typer.Option(min=8, help="Width of the hidden states.")] = SHAPE.width,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = SHAPE.heads,
    vocabulary: Annotated[int, typer.Option(help="Tokens of the vocabulary at most.")] = SHAPE.vocabulary,
    minutes: Annotated[float, typer.Option(help="How long it learns.")] = SHAPE.minutes,
    steps: Annotated[int, typer.Option(min=0, help="Learn exactly so many steps instead; 0 goes by --minutes.")] = 0,
    context: Annotated[int, typer.Option(help="Tokens of a prompt at most, as model.max-tokens.")] = SHAPE.context,
    instruction: Annotated[str, typer.Option(help="The prompt's task, as model.instruction.")] = INSTRUCTION,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the weights and the order of the text or rows.")
    ] = 0,
    open_share: Annotated[
        float, typer.Option("--open", help="Click log: share of the users to learn from; they are no clients.")
    ] = CLICKS.open_share,
    division: Annotated[int, typer.Option(min=0, help="Click log: seed of who is open.")] = CLICKS.division,
    embedding: Annotated[int, typer.Option(min=1, help="Click log: width of an attribute's embedding.")] = CLICKS.width,
    hidden: Annotated[str, typer.Option(help="Click log: widths of the hidden layers.")] = "32,8",
    item_ids: Annotated[bool, typer.Option(help="Click log: a row for every item.")] = CLICKS.item_ids,
    epochs: Annotated[int, typer.Option(min=1, help="Click log: passes over the rows.")] = CLICKS.epochs,
) -> None:
    """Learn a small base language model from the items of data sets: from their text alone, never from histories.

    Of a click log, learn a click model from the rows of open users: the warm start of FedPA.

    A model of the same text and settings is made once. Copy its folder to every machine of a federation.

    Example: fellrec pretrain amazon-games-1000 --as games-1000
    """
    if not called:
        raise ConfigError("--as is empty", "name the model")
    if any(is_click_log(name) for name in sets):
        if len(sets) > 1:
            raise ConfigError(f"sets are {sets!r}", "a click model is made from one click log")
        shape = ClickPretraining(open_share, division, embedding, layer_widths(hidden), item_ids, epochs, seed=seed)
        pretrain_click_log(sets[0], called, shape)
        return
    folder = models_home() / check_name(called)
    settings = PretrainSettings(
        layers=layers,
        width=width,
        heads=heads,
        vocabulary=vocabulary,
        context=context,
        minutes=minutes,
        steps=steps,
        instruction=instruction,
        seed=seed,
    )
    catalogues = [Dataset.load(ensure(name, data_home())).catalogue for name in sets]
    with _bar() as bar:
        task = bar.add_task("reading", total=1.0, said="")

        def told(learning: Learning) -> None:
            said = f"step {learning.steps}, loss {learning.loss:.3f}"
            bar.update(task, completed=learning.share, description="learning", said=said)

        record = pretrain(catalogues, settings, folder, told)
        bar.remove_task(task)
    state = "made" if record["made"] else "there already"
    console.print(
        f"{called}: {record['parameters']:,} parameters, {record['titles']:,} titles, {record['steps']:,} steps, "
        f"loss {record['loss']:.3f} ({state})",
        markup=False,
    )
    console.print(f"model: {folder}", markup=False)
    console.print(f"in a recipe: model.name = 'home:{called}'", markup=False)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
        console=console,
        transient=True,
    )
