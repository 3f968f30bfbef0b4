"""docs/delivery.md: its commands print what it says, of a page that its channel does not take."""

from __future__ import annotations

import random
import re
import shlex
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import CliRunner

from featurestore import FeatureStore, config
from featurestore.cli.app import build
from monitor.alerts.base import Kind
from monitor.alerts.channels import open_channels
from monitor.alerts.fallbacks import fallbacks
from monitor.alerts.outbox import Courier, enqueue
from monitor.history import History

DOCUMENT = Path(__file__).parents[3] / "docs" / "delivery.md"
BEGUN = datetime(2026, 5, 1, 3, 12, 40, tzinfo=UTC)
_KEY = re.compile(r"msg_[0-9a-f]{4,12}\b")


class _NoJitter(random.Random):
    def random(self) -> float:
        return 0.0


def test_its_commands_print_what_it_says(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and answers nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / config.FILE_NAME).write_text(
            f"""
[channels.ops]
kind = "webhook"
url = "{url}"
secret = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ="
allow_private_addresses = true
timeout_seconds = 0.2
fallback = "mail"

[channels.mail]
kind = "console"
"""
        )
        FeatureStore(tmp_path).close()
        settings, now = config.load(tmp_path), [BEGUN]
        with History(settings.database_url(settings.monitor.database)) as history:
            with history.write() as connection:
                enqueue(
                    connection,
                    instance=history.instance,
                    channel="ops",
                    kind=Kind.FIRING,
                    project="default",
                    service="flight_delay@3",
                    incident="i-1",
                    sequence="1",
                    severity="page",
                    payload={},
                    now=BEGUN,
                )
            with Courier(
                history,
                open_channels(settings),
                fallbacks=fallbacks(settings),
                clock=lambda: now[0],
                chance=_NoJitter(),
            ) as courier:
                for seconds in (0, 6, 301):
                    now[0] = BEGUN + timedelta(seconds=seconds)
                    courier.deliver_due()
        (block,) = re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
        keys: dict[str, str] = {}
        ran = 0
        for command, shown in re.findall(r"^\$ featurestore (.*)\n((?:(?!\$).*\n)*)", block, re.MULTILINE):
            for short, key in keys.items():
                command = re.sub(rf"\b{short}\b", key, command)
            said = CliRunner().invoke(build(), [*shlex.split(command), "-C", str(tmp_path)]).output
            theirs, ours = _KEY.findall(shown), _KEY.findall(said)
            keys |= {one[:8]: other for one, other in zip(theirs, ours, strict=True)}
            said = said.replace(url, "https://hooks.example.com").replace("in 0.2 s", "in 10 s")
            assert _KEY.sub("KEY", said) == _KEY.sub("KEY", shown)
            ran += 1
        assert ran == 4
