"""What the contract tests need from outside Python."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def node_modules(lacking: Callable[[str], NoReturn]) -> Path:
    """The packages of ``tests/contract/node``; without them a test is skipped, or fails if REQUIRE_SERVICES is set."""
    modules = ROOT / "build" / "node" / "node_modules"
    if shutil.which("node") is None:
        lacking("needs the program node (Debian's packages nodejs and npm)")
    if not (modules.parent / ".installed").exists():
        lacking("needs packages for node: make node")
    return modules
