"""What a training run was made with: the commit of the user's code, Python, and the installed packages."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path


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
