"""The command line in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from featurestore import FeatureStore
from featurestore.cli.app import run

DEFINITIONS = """\
from datetime import timedelta
from featurestore import Entity, FeatureService, FeatureView, Field
from featurestore.types import Float64, Int64

user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
spending = FeatureView(
    name="spending",
    entities=[user],
    ttl=timedelta(days=2),
    description="What a user spent",
    schema=[
        Field(name="total", dtype=Float64, ge=0, description="Euros", tags={"pii": "true"}),
        Field(name="orders", dtype=Int64),
    ],
)
scoring = FeatureService(name="scoring", features=[spending])
"""


@dataclass(frozen=True)
class Said:
    """What a command ended with and printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """A feature store's folder, with ``definitions.py``, and the command run in it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Said:
        self.capsys.readouterr()
        code = run([*arguments, "--repo", str(self.folder)], debug=False)
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    def define(self, change: Callable[[str], str]) -> None:
        file = self.folder / "definitions.py"
        file.write_text(change(file.read_text()))


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    FeatureStore.init(tmp_path / "shop", project="shop").close()
    (tmp_path / "shop" / "definitions.py").write_text(DEFINITIONS)
    return CommandLine(tmp_path / "shop", capsys)
