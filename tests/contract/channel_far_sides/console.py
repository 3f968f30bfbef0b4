"""A terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console as Terminal

from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.channels.console import Console
from tests.contract.channel_far_sides.base import SETTINGS, FarSide


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    stream = io.StringIO()
    section = ConsoleConfig.model_validate({"kind": "console"} | SETTINGS)
    shown: list[str] = []

    def received() -> str:
        if not stream.closed:
            shown[:] = [stream.getvalue()]
        return shown[0]

    def arrived() -> int:
        return sum(bool(line) and not line.startswith(" ") for line in received().splitlines())

    def stop() -> None:
        received()
        stream.close()

    yield FarSide(
        channel=Console("c", section, Terminal(file=stream, width=200)), arrived=arrived, received=received, stop=stop
    )
