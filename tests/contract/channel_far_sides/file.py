"""A file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.settings.channels import FileConfig
from monitor.alerts.channels.file import File
from tests.contract.channel_far_sides.base import SETTINGS, FarSide


@contextmanager
def far_side(folder: Path) -> Iterator[FarSide]:
    path = folder / "below" / "alerts.jsonl"
    section = FileConfig.model_validate({"kind": "file", "path": str(path)} | SETTINGS)

    def received() -> str:
        return path.read_text() if path.is_file() else ""

    def stop() -> None:
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)

    yield FarSide(
        channel=File("c", section),
        arrived=lambda: len([json.loads(line) for line in received().splitlines()]),
        received=received,
        stop=stop,
    )
