"""The layout's rules that import-linter cannot say: one home for each dependency, small modules, no drawer of odds."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path
    for package in ("featurestore", "monitor")
    for path in (ROOT / package).rglob("*.py")
    if "featurestore/v1/" not in path.as_posix()
)

#: Where a library may be imported. A backend is a file; a library with two homes is two backends in one.
HOMES = {
    # A channel that writes to a topic, and streams that read some.
    "aiokafka": (
        "featurestore/streaming/asking.py",
        "featurestore/streaming/kafka.py",
        "monitor/alerts/channels/kafka.py",
    ),
    "altair": ("featurestore/plots.py",),
    "anyio": ("monitor/dashboard/application.py",),
    "apprise": ("monitor/alerts/channels/apprise.py",),
    "adbc_driver_manager": ("featurestore/offline/sources/databases.py",),
    "apscheduler": ("monitor/daemon.py",),
    "alembic": ("featurestore/registry/",),
    # The one moves objects, the other is the interface by which DuckDB reads them.
    "obstore": ("featurestore/storage/",),
    "fsspec": ("featurestore/storage/filesystem.py",),
    "cryptography": ("featurestore/registry/signing.py", "featurestore/serving/certificates.py"),
    # Our own tables, and those of others as sources: the one is written load by load, the other read by version.
    # Results may be written as one too.
    "deltalake": tuple(
        f"featurestore/offline/{name}.py" for name in ("tables/table", "sources/delta_source", "join/writing")
    ),
    "duckdb": ("featurestore/offline/", "monitor/windows/"),
    "grpc": (
        "featurestore/serving/rpc/",
        "featurestore/client/",
        "featurestore/loadtest/sending.py",
        "monitor/signalling/",
    ),
    "certifi": ("featurestore/streaming/access.py", "monitor/alerts/channels/tls.py"),
    "httpcore": ("monitor/alerts/channels/http.py",),
    "opentelemetry": ("featurestore/serving/rpc/tracing.py",),
    # The one writes pages, the other reads them.
    "prometheus_client": tuple(f"featurestore/serving/metrics/{name}.py" for name in ("exposition", "parsing")),
    "lmdb": ("featurestore/online/lmdb.py", "featurestore/online/lmdb_files.py"),
    "itsdangerous": ("monitor/dashboard/sessions.py",),
    "jinja2": ("monitor/dashboard/rendering.py",),
    "markupsafe": ("monitor/dashboard/rendering.py",),
    "starlette": ("monitor/dashboard/",),
    "uvicorn": ("monitor/dashboard/server.py",),
    "hiredis": ("featurestore/online/redis/",),
    "redis": ("featurestore/online/redis/connecting.py",),
    # Settings; and what is known of an incident, which is kept as JSON and checked when it is read.
    "pydantic": (
        "featurestore/config.py",
        "featurestore/settings/",
        "monitor/alerts/about.py",
        "monitor/alerts/incident_state.py",
    ),
    "pytest": ("featurestore/testing/pytest_plugin.py",),
    "pyspark": ("featurestore/offline/spark/session.py",),
    "sqlglot": ("featurestore/queries.py", "featurestore/lineage/"),
    "scipy": ("featurestore/statistics/", "monitor/backtest/achieved.py", "monitor/detector/", "monitor/performance/"),
    "vl_convert": ("featurestore/plots.py",),
    "typer": (
        "featurestore/cli/",
        "monitor/alerts/check_commands.py",
        "monitor/alerts/commands.py",
        "monitor/alerts/outbox_commands.py",
        "monitor/cli.py",
        "monitor/dashboard/command.py",
        "monitor/performance/commands.py",
        "monitor/report_command.py",
        "monitor/retraining_commands.py",
        "monitor/rollback_commands.py",
    ),
}

#: Modules that read the environment or ask the operating system what the settings are; the server's command sets what
#: gRPC reads there, and keys for object storage are in no setting.
ENVIRONMENT_READERS = {
    "featurestore/config.py",
    "featurestore/cli/serving.py",
    "featurestore/doctor/spark.py",  # JAVA_HOME, which is Spark's own setting
    "featurestore/storage/credentials.py",
}


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache  # parsing them all takes a second, and each library asks for all
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return frozenset(names)


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_only_at_home(library: str) -> None:
    strangers = [
        _relative(path)
        for path in MODULES
        if any(name.split(".")[0] == library for name in _imports(path))
        and not _relative(path).startswith(HOMES[library])
    ]
    assert strangers == []


#: Distributions whose import name is another one.
IMPORTED_AS = {
    "googleapis-common-protos": "google",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
    "grpcio-reflection": "grpc_reflection",
    "prometheus-client": "prometheus_client",
    "protobuf": "google",
}


def test_every_library_that_is_imported_is_a_declared_dependency_and_the_other_way_round() -> None:
    """What a developer's environment brings along by chance is missing on a user's machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=!\[ ]", one)[0] for one in project["dependencies"]}
    # The standard library's zoneinfo reads tzdata where the system has no zones.
    declared = {IMPORTED_AS.get(one, one) for one in declared if one != "tzdata"}
    imported = {name.split(".")[0] for path in MODULES for name in _imports(path)}
    # pandas and pytest are met only where the user has them; ADBC, Apprise, the dashboard, Kafka, object storage,
    # OpenTelemetry, pictures, Redis and Spark are in extras.
    ours = {"featurestore", "monitor", "pandas", "pytest"}
    ours |= {"adbc_driver_manager", "aiokafka", "altair", "apprise", "fsspec", "hiredis", "obstore", "opentelemetry"}
    ours |= {"pyspark", "redis", "vl_convert"}
    ours |= {"anyio", "itsdangerous", "jinja2", "markupsafe", "starlette", "uvicorn"}
    assert imported - set(sys.stdlib_module_names) - ours == declared


def test_of_scipy_only_its_functions_are_imported_before_they_are_used() -> None:
    """The rest takes longer to import than most commands to run: whoever needs some of it imports it where he does."""
    early = {
        (_relative(path), node.module)
        for path in MODULES
        for node in _parsed(path).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scipy")
    }
    assert {module for _, module in early} == {"scipy.special"}, early


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {_relative(path) for path in MODULES if "os.environ" in path.read_text() or "getenv" in path.read_text()}
    assert readers <= ENVIRONMENT_READERS


def test_modules_are_small_enough_to_hold_one_idea() -> None:
    long = {_relative(path): count for path in MODULES if (count := len(path.read_text().splitlines())) > 420}
    assert long == {}


def test_no_module_is_a_drawer_of_odds() -> None:
    drawers = {"utils", "util", "helpers", "misc", "common"}
    assert [_relative(path) for path in MODULES if path.stem in drawers] == []
