"""What every channel must do, whatever it is: each kind against a counterpart of ``channel_far_sides``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore.settings import channels as settings
from monitor.alerts.base import Kind, Status
from monitor.alerts.channels import KINDS
from monitor.alerts.fitting import LARGEST, fitted
from tests.contract.channel_far_sides.base import FarSide, finding, message

_STORY = (Kind.FIRING, Kind.UPDATED, Kind.ACKNOWLEDGED, Kind.RESOLVED)


def _now() -> datetime:
    return datetime.now(UTC)


def test_every_kind_of_the_settings_can_be_opened_and_no_other() -> None:
    assert sorted(KINDS) == sorted(settings.KINDS)


@pytest.fixture(params=sorted(KINDS))
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FarSide]:
    home = importlib.import_module(f"tests.contract.channel_far_sides.{request.param}")
    with home.far_side(tmp_path) as found:
        yield found
        found.channel.close()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_message_arrives(far: FarSide, kind: Kind) -> None:
    outcome = far.channel.deliver(message(kind), now=_now())
    assert (outcome.status, outcome.reason) == (Status.DELIVERED, "")
    assert far.arrived() == 1


def test_an_incident_is_told_from_its_beginning_to_its_end(far: FarSide) -> None:
    thread = ""
    for number, kind in enumerate(_STORY, 1):
        outcome = far.channel.deliver(message(kind, key=f"msg_{number}", thread=thread), now=_now())
        assert outcome.status is Status.DELIVERED
        thread = thread or outcome.reference
        assert far.arrived() == number


def test_a_message_that_is_sent_again_is_taken_again(far: FarSide) -> None:
    # Its answer was lost, so the outbox does not know that it arrived.
    for _ in range(2):
        assert far.channel.deliver(message(Kind.FIRING), now=_now()).status is Status.DELIVERED


def test_a_probe_says_that_all_is_well_and_nobody_sees_it(far: FarSide) -> None:
    assert far.channel.probe(now=_now()).status is Status.DELIVERED
    assert far.arrived() == 0


def test_a_far_side_that_is_gone_is_an_outcome_and_not_an_exception(far: FarSide) -> None:
    far.stop()
    for outcome in (far.channel.deliver(message(Kind.FIRING), now=_now()), far.channel.probe(now=_now())):
        assert outcome.status is Status.RETRY
        assert outcome.reason
        assert outcome.reason.isprintable()
        assert not [secret for secret in far.secrets if secret in outcome.reason]
    assert far.arrived() == 0


def test_a_far_side_that_is_busy_is_given_the_time_that_it_asks_for(far: FarSide) -> None:
    if far.busy is None:
        return  # nothing of this kind can say so
    far.busy(120)
    outcome = far.channel.deliver(message(Kind.FIRING), now=_now())
    assert (outcome.status, outcome.retry_after, outcome.untaken) == (Status.RETRY, 120.0, True)
    assert far.arrived() == 0 or far.channel.deliver(message(Kind.FIRING), now=_now()).status is Status.DELIVERED


@pytest.mark.parametrize("count", [1, 10_000])
def test_the_largest_message_of_the_outbox_fits(far: FarSide, count: int) -> None:
    features = [finding(f"feature_{number}") for number in range(count)]
    reasons = [f"feature_{number}: {'long ' * 40}" for number in range(count)]
    storm = fitted(message(Kind.FIRING, features=features, reasons=reasons).payload, LARGEST)
    outcome = far.channel.deliver(message(Kind.FIRING, **storm), now=_now())
    assert (outcome.status, outcome.reason) == (Status.DELIVERED, "")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_message_that_says_nothing_arrives_too(far: FarSide, kind: Kind) -> None:
    empty = message(kind)
    sparse = type(empty)(**{**vars(empty), "payload": {}})
    assert far.channel.deliver(sparse, now=_now()).status is Status.DELIVERED


@pytest.mark.parametrize(
    "text",
    [
        "temp [bold red]x[/]",
        "<!channel> <https://evil.example|here> &amp;",
        "line\nbreak\r\n.\r\nSubject: forged",
        "\x00\x1b[2J\x07",
        "\u202egnp.exe \u2028",
        "\N{FIRE}" * 2_000,
        "**[a](https://evil.example)** `b` _c_",
        "{summary} {0} %s",
        "\ud800 alone",
        "x" * 5_000,
    ],
)
def test_whatever_a_name_holds_it_arrives(far: FarSide, text: str) -> None:
    said = message(Kind.FIRING, summary=text, features=[finding(text)], reasons=[text], cause=text, rule=text)
    assert far.channel.deliver(said, now=_now()).status is Status.DELIVERED
    assert far.arrived() == 1


def test_no_secret_of_the_section_is_in_what_is_shown(far: FarSide) -> None:
    for kind in Kind:
        far.channel.deliver(message(kind, key=f"msg_{kind}"), now=_now())
    assert not [secret for secret in far.secrets if secret in far.received()]


def test_it_knows_its_name_and_whether_it_takes_rehearsals(far: FarSide) -> None:
    assert (far.channel.name, far.channel.rehearsals) == ("c", True)
