"""Servers, writers, models and the registry that do not agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.quality.configuration import Configuration, ModelFacts, ServerFacts, WriterFacts, configuration_drift

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIBRARIES = {"featurestore": "0.1.0", "polars": "2.1.0", "pyarrow": "21.0.0", "protobuf": "7.35.1", "numpy": "2.1.0"}


def server(name: str = "pid 1 on a", **settings: Any) -> ServerFacts:
    values = {
        "services": {"svc@1": "h1", "svc@2": "h2"},
        "names": {"svc": "svc@2"},
        "revision": 7,
        "current_at": NOW,
        "libraries": LIBRARIES,
    }
    return ServerFacts(name=name, **values | settings)


def model(**settings: Any) -> ModelFacts:
    return ModelFacts(**{"model": "m@1", "service": "svc@2", "known": True, "libraries": LIBRARIES} | settings)


def writer(**libraries: str) -> WriterFacts:
    known = LIBRARIES | libraries
    return WriterFacts(view="weather", load="load-7", author="ann", published_at=NOW, libraries=known)


def told(*servers: ServerFacts, **others: Any) -> list[tuple[str, str, str]]:
    facts = Configuration(
        revision=7, services={"svc@1": "h1", "svc@2": "h2"}, names={"svc": "svc@2"}, servers=servers, **others
    )
    found = configuration_drift(facts, lag=timedelta(seconds=60), now=NOW)
    return [(one.subject, one.verdict, one.sentence) for one in found]


def test_all_alike_is_ok_and_no_server_is_not_enough_data() -> None:
    agreed = told(server(), server("pid 2 on a"), writers=(writer(),), models=(model(),))
    assert [one[:2] for one in agreed] == [("servers", "ok")]
    assert [one[:2] for one in told()] == [("servers", "not enough data")]


@pytest.mark.parametrize(
    ("facts", "subject", "verdict", "words"),
    [
        ({"revision": 6, "current_at": NOW - timedelta(seconds=61)}, "pid 1 on a", "drift", "behind for 61 s"),
        (
            {"revision": 6, "current_at": NOW - timedelta(hours=1), "names": {"svc": "svc@1"}},
            "pid 1 on a",
            "severe",
            "svc is svc@1 there and svc@2 in the registry",
        ),
        ({"services": {"svc@2": "other"}}, "pid 1 on a", "severe", "another definition as svc@2"),
        ({"revision": 6, "current_at": NOW - timedelta(seconds=59)}, "servers", "ok", ""),
        ({"revision": 7, "current_at": NOW - timedelta(hours=1)}, "servers", "ok", ""),
    ],
)
def test_a_server_that_runs_something_else(facts: Any, subject: str, verdict: str, words: str) -> None:
    ((found, said, sentence),) = told(server(**facts))
    assert (found, said) == (subject, verdict)
    assert words in sentence


def test_servers_with_other_packages_than_most() -> None:
    odd = server("pid 3 on b", libraries=LIBRARIES | {"polars": "2.0.0"})
    ((subject, verdict, sentence),) = told(server(), server("pid 2 on a"), odd)
    assert (subject, verdict) == ("pid 3 on b", "drift")
    assert "polars 2.0.0" in sentence


def test_rows_that_were_written_with_other_packages_than_they_are_served_with() -> None:
    ((subject, verdict, sentence),) = told(server(), writers=(writer(), writer(polars="1.9.0")))
    assert (subject, verdict) == ("weather/load-7", "drift")
    assert "polars 1.9.0 (load load-7, by ann), and servers run 2.1.0" in sentence
    assert [one[1] for one in told(server(), writers=(writer(polars="2.0.7", torch="1.0"),))] == ["ok"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"service": "gone@1", "known": False}, "which the registry has no more"),
        ({"service": "svc@1"}, '"svc" stands for svc@2'),
        ({"libraries": LIBRARIES | {"polars": "1.9.0"}}, "polars 1.9.0, and servers run 2.1.0"),
        ({"libraries": LIBRARIES | {"featurestore": "0.2.0"}}, "featurestore 0.2.0"),
    ],
)
def test_a_model_of_something_else(facts: Any, words: str) -> None:
    ((subject, verdict, sentence),) = told(server(), models=(model(**facts),))
    assert (subject, verdict) == ("m@1", "drift")
    assert words in sentence


@pytest.mark.parametrize("libraries", [{}, {"polars": "2.9.1"}, {"featurestore": "0.1.7"}, {"torch": "1.0"}])
def test_minor_versions_and_unknown_ones_are_let_pass(libraries: dict[str, str]) -> None:
    assert [one[1] for one in told(server(), models=(model(libraries=libraries),))] == ["ok"]
