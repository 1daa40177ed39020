"""Modules that are imported when they are first used.

A command's file names what does its work in its first lines, as any file does; but torch, transformers and Flower take
seconds of CPU to import, and neither a help text, a completion nor a refused option needs them. ::

    if TYPE_CHECKING:
        from fellrec import simulation  # what a type checker sees
    else:
        simulation = Deferred("fellrec.simulation")
"""

from __future__ import annotations

from importlib import import_module


class Deferred:
    """Stands for a module by its full name; the first name that is asked of it imports it."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> object:
        return getattr(import_module(self._module), name)
