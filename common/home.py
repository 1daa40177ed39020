"""Where fellrec keeps things: ``$FELLREC_HOME``, by default ``~/.fellrec``.

Apps run from a bundle in some directory, so nothing is found relative to the current one.
"""

from __future__ import annotations

import os
from pathlib import Path

HOME_PREFIX = "home:"
"""``model.name`` begins so where it names a folder of :func:`models_home`."""


def home(setting: str = "") -> Path:
    """The home folder: the setting when given, else ``$FELLREC_HOME``, else ``~/.fellrec``."""
    chosen = setting or os.environ.get("FELLREC_HOME", "") or "~/.fellrec"
    return Path(chosen).expanduser().absolute()


def data_home(setting: str = "") -> Path:
    """Prepared data sets, one folder each, and their partitions."""
    return home(setting) / "data"


def models_home(setting: str = "") -> Path:
    """Models that fellrec made or cut."""
    return home(setting) / "models"


def runs_home(setting: str = "") -> Path:
    """Run folders; ``latest`` points to the newest."""
    return home(setting) / "runs"


def clients_home(setting: str = "") -> Path:
    """What simulated clients remember between messages, one folder per run and client."""
    return home(setting) / "clients"
