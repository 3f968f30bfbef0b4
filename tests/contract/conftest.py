"""What the contract tests need from outside Python."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of ``tests/contract/node``; without them a test is skipped, or fails if REQUIRE_SERVICES is set."""
    modules = ROOT / "build" / "node" / "node_modules"
    if shutil.which("node") is None:
        reason = "needs the program node (Debian's packages nodejs and npm)"
    elif not (modules.parent / ".installed").exists():
        reason = "needs packages for node: make node"
    else:
        return modules
    if os.environ.get("REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)
