"""The face of fellrec: the ``fellrec`` command, and the door for Python. It imports everyone; no one imports it.

``import fellrec`` is cheap and changes nothing: a name is imported when it is first asked for (``docs/python.md``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.data.readers.collect import Collector as Collector
    from common.data.readers.reader import reader as reader
    from common.errors import ConfigError as ConfigError
    from common.errors import DataError as DataError
    from common.errors import FellrecError as FellrecError
    from common.errors import GuardError as GuardError
    from common.errors import MessageError as MessageError
    from common.errors import ModelError as ModelError
    from common.errors import OutboxError as OutboxError
    from common.errors import RequestError as RequestError
    from common.errors import RunError as RunError
    from common.errors import SplitError as SplitError
    from common.version import VERSION as __version__
    from fellrec.python.comparing import Compared as Compared
    from fellrec.python.comparing import compare as compare
    from fellrec.python.data import prepare as prepare
    from fellrec.python.data import sets as sets
    from fellrec.python.recommender import Recommender as Recommender
    from fellrec.python.rules import Scope as Scope
    from fellrec.python.rules import Updates as Updates
    from fellrec.python.rules import rule as rule
    from fellrec.python.run import Run as Run
    from fellrec.python.run import load as load
    from fellrec.python.running import run as run

__all__ = [
    "Collector",
    "Compared",
    "ConfigError",
    "DataError",
    "FellrecError",
    "GuardError",
    "MessageError",
    "ModelError",
    "OutboxError",
    "Recommender",
    "RequestError",
    "Run",
    "RunError",
    "Scope",
    "SplitError",
    "Updates",
    "__version__",
    "compare",
    "load",
    "prepare",
    "reader",
    "rule",
    "run",
    "sets",
]

_MODULES = {
    "Collector": "common.data.readers.collect",
    "Compared": "fellrec.python.comparing",
    "Recommender": "fellrec.python.recommender",
    "Run": "fellrec.python.run",
    "Scope": "fellrec.python.rules",
    "Updates": "fellrec.python.rules",
    "compare": "fellrec.python.comparing",
    "load": "fellrec.python.run",
    "prepare": "fellrec.python.data",
    "reader": "common.data.readers.reader",
    "rule": "fellrec.python.rules",
    "run": "fellrec.python.running",
    "sets": "fellrec.python.data",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value = import_module("common.version").VERSION
    else:
        value = getattr(import_module(_MODULES.get(name, "common.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
