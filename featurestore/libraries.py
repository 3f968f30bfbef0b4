"""The packages that can change a value between a source and a response, as they are installed here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("featurestore", "numpy", "polars", "protobuf", "pyarrow")


def libraries() -> dict[str, str]:
    """Return the versions of :data:`LIBRARIES` that are installed here, and Python's."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # it runs from a checkout
            continue
    return found
