"""What a training run was made with: the commit of the user's code, Python, and the installed packages."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any


def git_commit(folder: Path) -> str:
    """Return the commit of the repository that holds the folder, "-dirty" added when files differ; "" without git."""
    try:
        ran = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607 - git from PATH
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def packages() -> dict[str, str]:
    """Return the version of Python, and of every installed package, by name."""
    found = {one.metadata["Name"]: one.version for one in distributions()}
    return {"python": platform.python_version(), **dict(sorted(found.items(), key=lambda item: item[0].lower()))}


def environment() -> dict[str, object]:
    """Return Python's version, the platform, and every installed package with its version."""
    found = packages()
    return {"python": found.pop("python"), "platform": platform.platform(), "packages": found}


def changed_packages(then: Mapping[str, Any], used: Mapping[str, Iterable[str]]) -> list[str]:
    """Return what is computed with other versions of packages than it was, as sentences without their stops.

    Args:
        then: what :func:`environment` returned.
        used: the packages that compute each on-demand view.
    """
    before = {_plain(name): version for name, version in then["packages"].items()}
    now = {_plain(name): version for name, version in packages().items()}
    return [
        f'on-demand view "{view}" was computed with {name} {before.get(_plain(name), "none")}, '
        f"and here is {now.get(_plain(name), 'none')}"
        for view, names in used.items()
        for name in names
        if before.get(_plain(name)) != now.get(_plain(name))
    ]


def _plain(name: str) -> str:
    """Return the name by which an index knows a package: A_b.c is a-b-c."""
    return re.sub(r"[-_.]+", "-", name).lower()
