"""Python and packages, against what fellrec's own metadata asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fellrec.preflight.finding import Finding
from fellrec.preflight.node import Node

PACKAGE = "fellrec"


def versions(node: Node) -> Iterator[Finding]:
    """Python, then every package that fellrec needs: Flower speaks to another minor version badly or not at all."""
    try:
        own = metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError:
        yield Finding("versions", "warn", "fellrec is not installed as a package", "pip install it, as the server did")
        return
    python, wanted = platform.python_version(), SpecifierSet(own["Requires-Python"] or "")
    if python not in wanted:
        yield Finding("python", "fail", f"Python {python}, wanted {wanted}", "make the environment with another Python")
    else:
        yield Finding("python", "ok", python)
    wrong = list(_wrong(own.get_all("Requires-Dist") or []))
    yield from wrong
    if not wrong:
        told = ", ".join(f"{name} {metadata.version(name)}" for name in (PACKAGE, "flwr", "torch", "transformers"))
        yield Finding("packages", "ok", told)


def _wrong(requirements: list[str]) -> Iterator[Finding]:
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "fail", f"{name} is missing", f"pip install '{name}{requirement.specifier}'")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield Finding(
                name,
                "fail",
                f"{name} {found}, wanted {requirement.specifier}",
                f"pip install '{name}{requirement.specifier}', the same on all machines",
            )
