"""Old messages: what goes, what stays for whom, by the daemon's hand and by ``featurestore gc``."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from featurestore import FeatureStore
from featurestore.cli.app import build
from featurestore.config import Config
from featurestore.settings.retention import RetentionConfig
from featurestore.store import tables
from monitor import retention, schema
from monitor.alerts.base import Kind, Outcome, Status
from monitor.alerts.incident_state import Incident, Told
from monitor.alerts.outbox import Courier
from monitor.history import History

KEPT = timedelta(days=90)
ROOT = Path(__file__).parents[4]


def config(**settings: Any) -> Config:
    return Config(root=Path(), retention=RetentionConfig(**settings))


def incident(box: Any, group: str, *, over: bool, settled: bool) -> str:
    """Keep an incident of which ops was told."""
    told = Told(channel="ops", last_at=box.clock(), messages=1, members=(), severity="page", resolved=settled)
    one = Incident(
        group=group,
        episode=1,
        cause=group,
        opened_at=box.clock(),
        resolved_at=box.clock() if over else None,
        told=(told,),
    )
    with box.history.write() as connection:
        return box.history.open_new_incident(connection, one).key


def left(box: Any) -> list[str]:
    return list(dict.fromkeys(one.incident for one in box.entries()))


def test_what_is_over_goes_after_its_last_message_and_nothing_else_does(
    box: Any, clock: Any, scripted: Callable[..., Any]
) -> None:
    over = incident(box, "over", over=True, settled=True)
    going_on = incident(box, "going on", over=False, settled=False)
    untold = incident(box, "its end is not told yet", over=True, settled=False)
    ops = scripted()
    with Courier(box.history, {"ops": ops}, clock=clock) as courier:
        for one, outcome in {
            over: Outcome(Status.DELIVERED),
            going_on: Outcome(Status.DELIVERED),
            untold: Outcome(Status.DELIVERED),
            "": Outcome(Status.DELIVERED),
            "action-7": Outcome(Status.DELIVERED),
            "dead": Outcome(Status.REFUSED, "no"),
            "waits": Outcome(Status.RETRY, "later", 10 * 86_400.0),
        }.items():
            box.put(Kind.FIRING, incident=one)
            ops.script = [outcome]
            courier.deliver_due()
        clock.forward(hours=1)
        with box.history.write() as connection:
            connection.execute(schema.receivers.delete())
        box.put(Kind.RESOLVED, incident=over, sequence="2")
        courier.deliver_due()
    everything = left(box)
    assert retention.prune_all(box.history, config(), now=clock() + KEPT - timedelta(seconds=1)) == 2  # "" and action-7
    assert left(box) == [one for one in everything if one not in ("", "action-7")]
    with box.history.read() as connection:
        found = retention.find_old(connection, before=clock() + timedelta(seconds=1))
    assert (found.messages, found.bytes) == (2, sum(len(f'{{"summary": "{kind} of {over}"}}') for kind in _LIFE))
    assert sorted(found.kept.items()) == [
        ("a dead letter: featurestore monitor outbox replay --dead", (1, found.kept[_DEAD][1])),
        ("an incident that is not over", (2, found.kept["an incident that is not over"][1])),
    ]
    assert retention.prune_all(box.history, config(), now=clock() + KEPT + timedelta(seconds=1)) == 2
    assert left(box) == [going_on, untold, "dead", "waits"]
    # What happened stays: only messages went.
    with box.history.read() as connection:
        assert box.history.incident_by_key(connection, over) is not None


_LIFE = (Kind.FIRING, Kind.RESOLVED)
_DEAD = "a dead letter: featurestore monitor outbox replay --dead"


@pytest.mark.parametrize(("table", "state", "stays"), [("signals", "approved", True), ("signals", "done", False)])
def test_signals_keep_their_messages_until_they_are_over(
    box: Any, clock: Any, scripted: Callable[..., Any], table: str, state: str, stays: bool
) -> None:
    texts = ["id", "policy", "service", "slice", "cause", "subject", "baseline", "model", "incident", "asked_by"]
    values: dict[str, Any] = dict.fromkeys(texts, "s-1")
    values |= {"policy_version": 1, "approved_by": "", "held": "", "payload": "{}", "attempt": 1}
    with box.history.write() as connection:
        connection.execute(getattr(schema, table).insert().values(**values, state=state, created_at=0))
    box.put(Kind.RETRAINING, incident="s-1")
    with Courier(box.history, {"ops": scripted()}, clock=clock) as courier:
        courier.deliver_due()
    assert retention.prune_all(box.history, config(), now=clock() + 2 * KEPT) == int(not stays)


def test_many_go_in_turns_and_a_setting_keeps_all(
    box: Any, clock: Any, scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for number in range(5):
        box.put(Kind.ACTION, incident=f"action-{number}")
    with Courier(box.history, {"ops": scripted()}, clock=clock) as courier:
        courier.deliver_due()
    late = clock() + 2 * KEPT
    assert retention.prune_all(box.history, config(messages=None), now=late) == 0
    assert retention.prune_all(box.history, config(), now=late, stop=iter([False, True]).__next__) == 2
    assert retention.prune_all(box.history, config(), now=late) == 3


def test_gc_says_what_goes_and_what_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore.init(tmp_path / "store", project="shop")
    monkeypatch.setattr(tables, "collectors_of", lambda config: [retention.collector(config)])
    typed, app = CliRunner(), build()
    asked = ["gc", "--repo", str(tmp_path / "store"), "--dry-run"]
    assert typed.invoke(app, asked).output == "0 bytes would go.\n"
    url = store.config.database_url(store.config.monitor.database)
    assert not Path(url.removeprefix("sqlite:///")).exists()  # looking makes no database
    with History(url) as history, history.write() as connection:
        outbox = schema.outbox
        for number, state in enumerate(["delivered", "overtaken", "dead"]):
            texts = dict.fromkeys(
                ["project", "service", "sequence", "severity", "last_error", "reference", "overtaken_by"], "x"
            )
            numbers = dict.fromkeys(["urgency", "created_at", "attempts", "next_at", "doubtful"], 0)
            connection.execute(
                outbox.insert().values(
                    key=f"k{number}",
                    channel="ops",
                    kind=str(Kind.ACTION),
                    incident=f"action-{number}",
                    payload="{}",
                    state=state,
                    stands_in_for="",
                    **texts,
                    **numbers,
                )
            )
        connection.execute(update(outbox).values(settled_at=0))
    said = typed.invoke(app, asked).output
    assert said.splitlines() == [
        f"  would go  message          {'of the monitor':40} {4:>15,} bytes in 2 row(s)",
        f"  kept      message          {'of the monitor':40} {2:>15,} bytes, needed by {_DEAD}",
        "4 bytes would go.",
    ]
    assert "removed   message" in typed.invoke(app, asked[:-1]).output
    assert typed.invoke(app, asked[:-1]).output.endswith("0 bytes removed.\n")
    store.close()


def test_gc_finds_it() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    module, _, name = groups["featurestore.collectors"]["monitor"].partition(":")
    assert getattr(import_module(module), name) is retention.collector
