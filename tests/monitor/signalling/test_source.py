"""Events and acknowledgements over the monitor's database: who says what, what is kept, and what cannot be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.definitions import Model
from featurestore.errors import InvalidRequestError, ObjectNotFoundError, PermissionDeniedError, SignalStateError
from featurestore.registry import Token
from featurestore.serving.tokens import Caller, KnownTokens
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import Cause, find_signal, move, record_cause, signal_events
from monitor.signalling.opening import own_channels
from monitor.signalling.source import SignalSource
from monitor.signalling.timeline import SignalTimeline

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ID = "0123456789abcdef0123456789abcdef"

Signal = Callable[..., str]


@pytest.fixture
def history(scene: Any) -> Any:
    with scene.history() as history:
        yield history


@pytest.fixture
def signal(history: History) -> Signal:
    """Make a signal and bring it to a state."""

    def make(state: SignalState = SignalState.APPROVED, *, id: str = ID, service: str = "flight_delay@1") -> str:  # noqa: A002
        payload = {"id": id, "project": "default", "service": service, "reason": "drift", "cause": "drift"}
        cause = Cause(
            id=id,
            policy="flight_drift",
            policy_version=1,
            service=service,
            cause="drift",
            subject="alert",
            baseline="delays@1",
            model="ridge@1",
            incident="12",
            payload=payload,
        )
        with history.write() as connection:
            record_cause(connection, cause, reason="not looked at yet", now=NOW)
            if state is not SignalState.HELD:
                move(connection, find_signal(connection, id), state, reason="it drifts", now=NOW)
        return id

    return make


@pytest.fixture
def source(scene: Any, history: History) -> SignalSource:
    scene.train()
    scene.registry.record_model(Model(name="ridge", service="flight_delay@1", dataset="delays@1"), who="test")
    return SignalSource(history, scene.registry, clock=lambda: NOW + timedelta(hours=1))


def say(source: SignalSource, state: str, who: Caller | None = None, **about: Any) -> tuple[str, int]:
    said = pb.AcknowledgeSignalRequest(**{"id": ID} | about, state=f"SIGNAL_STATE_{state}")
    answer = source.answer(said, who)
    return pb.SignalState.Name(answer.state).removeprefix("SIGNAL_STATE_"), answer.cursor


def events(source: SignalSource, after: int = 0) -> list[pb.WatchSignalsResponse]:
    return [pb.WatchSignalsResponse.FromString(one.data) for one in source.read(after, 1_000)]


def test_the_life_of_a_signal_as_a_receiver_tells_it(source: SignalSource, signal: Signal) -> None:
    signal()
    assert source.newest() == 2
    assert say(source, "ACCEPTED") == ("ACCEPTED", 3)
    assert say(source, "RUNNING", reason="epoch 1\n of  10") == ("RUNNING", 4)
    assert say(source, "DONE", dataset="delays@1", model="ridge@1") == ("DONE", 5)
    seen = events(source)
    # Why it waited before it was sent is no receiver's business.
    assert [one.cursor for one in seen] == [2, 3, 4, 5]
    assert [pb.SignalState.Name(one.signal.state) for one in seen] == [
        f"SIGNAL_STATE_{name}" for name in ("APPROVED", "ACCEPTED", "RUNNING", "DONE")
    ]
    last = seen[-1]
    assert (last.dataset, last.model, last.who) == ("delays@1", "ridge@1", "a receiver (unverified)")
    assert last.at.ToDatetime(UTC) == NOW + timedelta(hours=1)
    assert (last.signal.id, last.signal.service, last.signal.reason) == (ID, "flight_delay@1", "drift")
    assert seen[2].reason == "epoch 1 of 10"
    assert [one.cursor for one in events(source, 3)] == [4, 5]
    assert [one.service for one in source.read(0, 1)] == ["flight_delay@1"]


def test_saying_the_same_twice_is_saying_it_once(source: SignalSource, signal: Signal) -> None:
    signal()
    first = [say(source, state) for state in ("ACCEPTED", "RUNNING")]
    assert [say(source, state) for state in ("RUNNING", "ACCEPTED")] == [("RUNNING", 4), ("RUNNING", 3)]
    assert first == [("ACCEPTED", 3), ("RUNNING", 4)]
    done = say(source, "DONE", model="ridge@1")
    assert [say(source, "DONE", model="ridge@1") for _ in range(3)] == [done] * 3
    # An answer that was lost on its way is asked for again, after the next one has come: it goes on being known.
    assert say(source, "RUNNING") == ("DONE", 4)
    assert source.newest() == done[1]


def test_a_training_that_failed_may_be_tried_again(source: SignalSource, signal: Signal) -> None:
    signal()
    for state in ("RUNNING", "FAILED", "RUNNING", "DONE"):
        assert say(source, state)[0] == state
    assert len(events(source)) == 5


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (SignalState.HELD, "is held, and cannot become running"),
        (SignalState.PENDING, "is pending, and cannot become running"),
        (SignalState.REJECTED, "is rejected, and cannot become running"),
        (SignalState.EXPIRED, "is expired, and cannot become running"),
    ],
)
def test_what_was_never_sent_cannot_be_at_work(
    source: SignalSource, signal: Signal, history: History, state: SignalState, said: str
) -> None:
    signal(SignalState.PENDING if state is not SignalState.HELD else state)
    if state in (SignalState.REJECTED, SignalState.EXPIRED):
        with history.write() as connection:
            move(connection, find_signal(connection, ID), state, reason="no", now=NOW)
    before = source.newest()
    with pytest.raises(SignalStateError, match=said) as refused:
        say(source, "RUNNING")
    assert refused.value.hint.startswith("See what became of it: featurestore monitor signal ")
    assert source.newest() == before


def test_a_character_that_postgresql_cannot_keep_is_in_no_text(either_scene: Any) -> None:
    payload = {"id": ID, "project": "default", "service": "flight_delay@1", "reason": "drift"}
    cause = Cause(
        id=ID, policy="p", policy_version=1, service="flight_delay@1", cause="drift", subject="alert",
        baseline="", model="", incident="", payload=payload,
    )  # fmt: skip
    with either_scene.history() as history:
        with history.write() as connection:
            record_cause(connection, cause, reason="new", now=NOW)
            move(connection, find_signal(connection, ID), SignalState.APPROVED, reason="it drifts", now=NOW)
        source = SignalSource(history, either_scene.registry, clock=lambda: NOW)
        assert say(source, "FAILED", reason="out of\x00 memory")[0] == "FAILED"
        assert events(source)[-1].reason == "out of memory"
        for field in ("id", "dataset", "model"):
            with pytest.raises(InvalidRequestError, match="is NUL"):
                say(source, "FAILED", **{field: "a\x00@1"})


def test_what_is_done_stays_so(source: SignalSource, signal: Signal) -> None:
    signal()
    say(source, "DONE")
    with pytest.raises(SignalStateError, match="is done, and cannot become failed"):
        say(source, "FAILED")


def test_what_cannot_be_said(source: SignalSource, signal: Signal) -> None:
    signal()
    for about, field, match in (
        ({"id": ""}, "id", "No signal is named"),
        ({"model": "ridge"}, "model", "names no version of the model"),
        ({"dataset": "delays"}, "dataset", "names no version of the dataset"),
        ({"model": "rigde@1"}, "model", 'no model "rigde@1"'),
        ({"dataset": "delays@7"}, "dataset", "delays"),
    ):
        with pytest.raises(InvalidRequestError, match=match) as refused:
            say(source, "DONE", **about)
        assert refused.value.field == field
        assert refused.value.hint
    for state in ("APPROVED", "PENDING", "UNSPECIFIED"):
        with pytest.raises(InvalidRequestError, match="ACCEPTED, RUNNING, DONE or FAILED") as refused:
            say(source, state)
        assert "featurestore monitor approve" in refused.value.hint
    with pytest.raises(ObjectNotFoundError, match='no retraining signal "ffffffff"'):
        say(source, "DONE", id="ffffffff")
    assert len(events(source)) == 1


def test_whose_token_is_limited_answers_for_its_services_alone(source: SignalSource, signal: Signal) -> None:
    signal()
    assert say(source, "ACCEPTED", caller("trainer"))[0] == "ACCEPTED"
    assert say(source, "RUNNING", caller("mine", "flight_delay"))[0] == "RUNNING"
    with pytest.raises(PermissionDeniedError, match="not for signals of"):
        say(source, "DONE", caller("other", "churn"))
    assert [one.who for one in events(source)] == ["", "token trainer", "token mine"]


def caller(name: str, *services: str) -> Caller:
    token = Token(
        name=name,
        id=name,
        digest="",
        scopes=("signals",),
        services=services,
        views=(),
        created_at=NOW,
        created_by="ada",
        expires_at=None,
        revoked_at=None,
    )
    return Caller(token, KnownTokens())


IDS = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(says=st.lists(st.sampled_from(["ACCEPTED", "RUNNING", "DONE", "FAILED"]), max_size=12))
def test_whatever_receivers_say_only_allowed_ways_are_gone_and_nothing_is_kept_twice(
    history: History, source: SignalSource, signal: Signal, says: list[str]
) -> None:
    allowed = {
        ("APPROVED", "ACCEPTED"),
        ("APPROVED", "RUNNING"),
        ("APPROVED", "DONE"),
        ("APPROVED", "FAILED"),
        ("ACCEPTED", "RUNNING"),
        ("ACCEPTED", "DONE"),
        ("ACCEPTED", "FAILED"),
        ("RUNNING", "DONE"),
        ("RUNNING", "FAILED"),
        ("FAILED", "ACCEPTED"),
        ("FAILED", "RUNNING"),
        ("FAILED", "DONE"),
    }
    name = f"{next(IDS):032x}"
    signal(id=name)
    stands = "APPROVED"
    for one in says:
        try:
            state, cursor = say(source, one, id=name)
        except SignalStateError:
            assert (stands, one) not in allowed
            continue
        assert cursor <= source.newest()
        if (stands, one) in allowed:
            assert state == one
        else:
            assert state == stands, "it was said before, and nothing comes of it"
        stands = state
    with history.read() as connection:
        kept = [str(one.state).upper() for one in signal_events(connection, signal=name)]
    assert all(pair in allowed for pair in itertools.pairwise(kept))
    assert kept[-1] == stands


def test_the_timeline_of_a_command(source: SignalSource, scene: Any, history: History, signal: Signal) -> None:
    signal()
    timeline = SignalTimeline(history, scene.registry, clock=lambda: NOW)
    assert timeline.wanted(ID)
    timeline.acknowledge(ID, {"state": "running", "reason": "it begins"})
    timeline.note(ID, "exit code 3")
    for said in ({"state": "WORKING"}, {"state": ""}, {"state": "DONE", "model": "rigde@1"}, {"state": ["DONE"]}):
        with pytest.raises(InvalidRequestError):
            timeline.acknowledge(ID, said)
    timeline.acknowledge(ID, {"state": "SIGNAL_STATE_DONE", "dataset": "delays@1", "model": "ridge@1", "loss": 0.5})
    assert not timeline.wanted(ID)
    assert [(one.who, one.reason, one.model) for one in events(source)][1:] == [
        ("command", "it begins", ""),
        ("command", "exit code 3", ""),
        ("command", "", "ridge@1"),
    ]


def test_the_command_of_the_settings_is_a_channel_of_its_own(scene: Any, history: History) -> None:
    from featurestore.errors import ConfigError
    from featurestore.settings.channels import ConsoleConfig
    from featurestore.settings.signals import SignalsConfig
    from monitor.signalling.routing import NAME, own_routes

    config = scene.config
    assert (own_routes(config), own_channels(config, history, scene.registry)) == ((), {})
    config = config.model_copy(update={"signals": SignalsConfig(command=("true",))})
    assert own_routes(config) == (NAME,)
    (channel,) = own_channels(config, history, scene.registry).values()
    assert (channel.name, channel.rehearsals) == (NAME, False)
    rehearsal = config.for_replay("july")
    assert (own_routes(rehearsal), own_channels(rehearsal, history, scene.registry)) == ((), {})
    taken = config.model_copy(update={"channels": {NAME: ConsoleConfig()}})
    with pytest.raises(ConfigError, match=r'There is a channel "signals\.command"'):
        own_channels(taken, history, scene.registry)
