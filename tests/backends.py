"""The contract matrix: how many tests a run has put to each backend, of those that ask the same of several.

A test, or a parameter of it, says what it runs on by the marker ``backend(layer, name)``; the table at the end of a run
counts what ran, and only that. A backend that has no test in a run has no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

#: By layer and value of a parameter, what the matrix calls it: in this order.
NAMES = {
    "registry": {"sqlite": "SQLite", "postgresql": "PostgreSQL"},
    "monitor": {"sqlite": "SQLite", "postgresql": "PostgreSQL"},
    "online": {"memory": "memory", "lmdb": "LMDB", "redis": "Redis", "cluster": "Redis Cluster", "valkey": "Valkey"},
    "offline": {
        "disk": "DuckDB on disk",
        "s3": "DuckDB on S3",
        "spark-disk": "Spark on disk",
        "spark-s3": "Spark on S3",
    },
    "storage": {"disk": "disk", "s3": "S3"},
}
_PROPERTY = "backend"
_OUTCOMES = ("passed", "failed", "skipped")


def marks(layer: str, *kinds: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that runs on each of some backends at once."""
    return [pytest.mark.backend(layer, NAMES[layer][kind]) for kind in kinds]


def params(layer: str, *kinds: str) -> list[Any]:
    """Return parameters of a fixture or test, each with the mark of its backend."""
    return [pytest.param(kind, marks=marks(layer, kind)) for kind in kinds]


def note(item: pytest.Item) -> None:
    """Have a test's reports say which backends it runs on, so that they say it from another process too."""
    for mark in item.iter_markers("backend"):
        layer, name = mark.args
        item.user_properties.append((_PROPERTY, f"{layer}|{name}"))


class Matrix:
    """Counts, and prints the table when the run has ended."""

    def __init__(self) -> None:
        self._outcomes: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            for name, value in report.user_properties:
                if name == _PROPERTY:
                    tests = self._outcomes.setdefault(str(value), {})
                    if tests.get(report.nodeid) != "failed":
                        tests[report.nodeid] = report.outcome

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = list(self.lines())
        if lines:
            terminalreporter.write_sep("=", "contract matrix")
            for line in lines:
                terminalreporter.write_line(line)

    def lines(self) -> Iterator[str]:
        """Yield the table's lines; none where no such test ran."""
        if not self._outcomes:
            return
        yield _line("layer", "backend", _OUTCOMES)
        order = [f"{layer}|{name}" for layer, kinds in NAMES.items() for name in kinds.values()]
        for key in sorted(self._outcomes, key=lambda one: (order.index(one) if one in order else len(order), one)):
            counted = list(self._outcomes[key].values())
            layer, name = key.split("|")
            yield _line(layer, name, [str(counted.count(one)) for one in _OUTCOMES])


def _line(layer: str, name: str, counts: Sequence[str]) -> str:
    return f"{layer:10}{name:18}" + "".join(f"{one:>9}" for one in counts)
