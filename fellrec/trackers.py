"""TensorBoard, MLflow and Weights & Biases as trackers; each is an extra of the installation."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from common.errors import ConfigError
from fellrec.tracking import Point, Tracker

EXPERIMENT = "fellrec"
_NOT_IN_MLFLOW = re.compile(r"[^\w./ -]")


class TensorBoard:
    """Event files under ``folder/run``; ``tensorboard --logdir folder`` shows them."""

    def __init__(self, folder: Path, run: str) -> None:
        _needed("tensorboard", "tensorboard")
        # torch's own door to the format; it imports the package above
        self._writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / run))

    def settings(self, values: Mapping[str, Any]) -> None:
        lines = ["| setting | value |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in values.items())]
        self._writer.add_text("configuration", "\n".join(lines))

    def point(self, point: Point) -> None:
        for name, value in point.values.items():
            self._writer.add_scalar(name, value, point.round, walltime=point.time)

    def close(self) -> None:
        self._writer.close()


class MLflow:
    """A run of the experiment ``fellrec`` in a database under ``folder``, or where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self, folder: Path, run: str) -> None:
        mlflow = _needed("mlflow", "mlflow")
        folder.mkdir(parents=True, exist_ok=True)
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = mlflow.MlflowClient(given or f"sqlite:///{(folder / 'mlflow.db').absolute()}")
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(experiment, run_name=run).info.run_id

    def settings(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self._client.log_param(self._run, key, value)

    def point(self, point: Point) -> None:
        for name, value in point.values.items():
            allowed = _NOT_IN_MLFLOW.sub("_", name.replace("@", "_at_"))
            self._client.log_metric(self._run, allowed, value, timestamp=int(point.time * 1000), step=point.round)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class WandB:
    """A run of the project ``fellrec`` under ``folder``; it stays there unless ``WANDB_MODE`` is set to ``online``."""

    def __init__(self, folder: Path, run: str) -> None:
        wandb = _needed("wandb", "wandb")
        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(project=EXPERIMENT, name=run, dir=str(folder), mode=mode)

    def settings(self, values: Mapping[str, Any]) -> None:
        self._run.config.update(dict(values))

    def point(self, point: Point) -> None:
        self._run.log(dict(point.values), step=point.round)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, str], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
"""By the name of the extra that brings the package."""


def _needed(package: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"--to {extra} needs the package {error.name or package!r}", f"pip install 'fellrec[{extra}]'"
        ) from error
