"""What every channel must do, whatever it is."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console as Terminal

from featurestore.settings.channels import ConsoleConfig, WebhookConfig
from monitor.alerts.base import Channel, Kind, Message, Status
from monitor.alerts.channels import KINDS
from monitor.alerts.channels.console import Console
from monitor.alerts.channels.webhook import Webhook

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
_SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ="


def _message(kind: Kind) -> Message:
    payload: dict[str, object] = {
        "evidence": {"logValue": 9.1, "logLimit": 7.7, "windows": 9},
        "features": [],
        "baseline": "delays@1",
    }
    said = {"reason": "f@1 drifted"} if kind is Kind.RETRAINING else {"summary": "f@1 drifted: temp [bold]"}
    return Message(
        key="msg_1",
        kind=kind,
        project="default",
        service="f@1",
        incident="abc",
        created_at=_NOW,
        payload=payload | said,
    )


@pytest.fixture(params=sorted(KINDS))
def channel(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, Callable[[], int], Callable[[], None]]]:
    """A channel, how many messages have arrived, and a way to break the far side."""
    if request.param == "console":
        stream = io.StringIO()
        terminal = Terminal(file=stream, width=80)
        console = Console("c", ConsoleConfig(rehearsals=True), terminal)
        yield console, lambda: stream.getvalue().count("incident  abc"), stream.close
        return
    arrived: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    config = WebhookConfig.model_validate(
        {
            "kind": "webhook",
            "url": f"http://127.0.0.1:{server.server_address[1]}/",
            "secret": _SECRET,
            "allow_private_addresses": True,
            "rehearsals": True,
        }
    )
    hook = Webhook("c", config)
    yield hook, lambda: len(arrived), stop
    hook.close()
    if thread.is_alive():
        stop()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_message_arrives(
    channel: tuple[Channel, Callable[[], int], Callable[[], None]], kind: Kind
) -> None:
    one, arrived, _ = channel
    assert one.deliver(_message(kind), now=_NOW).status is Status.DELIVERED
    assert arrived() == 1


def test_a_far_side_that_is_gone_is_an_outcome_and_not_an_exception(
    channel: tuple[Channel, Callable[[], int], Callable[[], None]],
) -> None:
    one, _, stop = channel
    stop()
    outcome = one.deliver(_message(Kind.FIRING), now=_NOW)
    assert outcome.status is Status.RETRY
    assert outcome.reason
    assert "\n" not in outcome.reason


def test_it_knows_its_name_and_whether_it_takes_rehearsals(
    channel: tuple[Channel, Callable[[], int], Callable[[], None]],
) -> None:
    one, _, _ = channel
    assert (one.name, one.rehearsals) == ("c", True)
