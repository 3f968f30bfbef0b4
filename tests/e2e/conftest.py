"""The programs as a user has them: processes, in folders of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forking

DEFINITIONS = """
from datetime import timedelta
from featurestore import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.types import Float64, Int64

user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
spending = FeatureView(
    name="spending",
    entities=[user],
    ttl=timedelta(days=36500),
    schema=[Field(name="total", dtype=Float64, ge=0), Field(name="orders", dtype=Int64)],
)
share = OnDemandFeatureView(
    name="share",
    inputs=[spending],
    request=[Field(name="basket", dtype=Float64)],
    schema=[Field(name="basket_share", dtype=Float64)],
    expressions={"basket_share": "basket / total"},
)
scoring = FeatureService(name="scoring", features=[spending, share])
"""

ROWS = "user_id,total,orders,event_timestamp\n1,10.5,2,2024-01-01T00:00:00Z\n2,4,1,2024-01-02T00:00:00Z\n"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``featurestore`` as a process in the test's folder; no traceback is ever shown unasked."""

    def call(*arguments: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return featurestore(*arguments, cwd=cwd)

    return call


def featurestore(*arguments: str, cwd: Path, afresh: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command to its end: by a fork, or afresh as a user does."""
    ran = (subprocess.run if afresh else forking.run)(
        [sys.executable, "-m", "featurestore", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    if "--debug" not in arguments:
        assert "Traceback" not in ran.stderr
    return ran


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature store with one service and two rows offline and online, made by the commands that a user types."""
    parent = tmp_path_factory.mktemp("template")
    assert featurestore("init", "shop", cwd=parent, afresh=True).returncode == 0
    folder = parent / "shop"
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "rows.csv").write_text(ROWS)
    for arguments in (["apply"], ["ingest", "spending", "rows.csv"], ["materialize"]):
        ran = featurestore(*arguments, cwd=folder, afresh=True)
        assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture
def repo(tmp_path: Path, template: Path) -> Path:
    """A copy of the template: a feature store is a folder, and may be copied while nothing writes."""
    return Path(shutil.copytree(template, tmp_path / "shop"))
