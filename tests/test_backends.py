"""The contract matrix counts what ran, each test once for each backend that it says it runs on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends import Matrix, marks, note


class Report:
    """What of a report the matrix looks at."""

    def __init__(self, nodeid: str, when: str, outcome: str, *backends: str) -> None:
        self.nodeid, self.when, self.outcome = nodeid, when, outcome
        self.user_properties = [("backend", one) for one in backends] + [("other", "x")]


def lines(*reports: Any) -> list[str]:
    matrix = Matrix()
    for one in reports:
        matrix.pytest_runtest_logreport(one)
    return [" ".join(line.split()) for line in matrix.lines()]


def test_a_run_without_contract_tests_has_no_table() -> None:
    assert lines(Report("a", "call", "passed")) == []


def test_tests_are_counted_by_what_became_of_them_and_a_backend_without_one_has_no_row() -> None:
    both = ("online|LMDB", "registry|SQLite")
    found = lines(
        Report("a", "setup", "passed", *both),
        Report("a", "call", "passed", *both),
        Report("a", "teardown", "passed", *both),
        Report("b", "setup", "skipped", "online|Valkey"),
        Report("c", "call", "passed", "online|LMDB"),
        Report("c", "teardown", "failed", "online|LMDB"),
        Report("d", "setup", "failed", "online|LMDB"),
        Report("e", "call", "passed", "offline|another engine"),
    )
    assert found == [
        "layer backend passed failed skipped",
        "registry SQLite 1 0 0",
        "online LMDB 1 2 0",
        "online Valkey 0 0 1",
        "offline another engine 1 0 0",
    ]


@pytest.mark.parametrize("layer", ["online"])
def test_a_test_says_in_its_reports_what_it_runs_on(request: pytest.FixtureRequest, layer: str) -> None:
    for mark in marks(layer, "redis"):
        request.node.add_marker(mark)
    note(request.node)
    request.node.own_markers = [one for one in request.node.own_markers if one.name != "backend"]
    assert request.node.user_properties.pop() == ("backend", "online|Redis")
