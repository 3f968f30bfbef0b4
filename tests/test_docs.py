"""What the documents say is so: settings and their defaults, links, code, commands, and the contract's fields."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import os
import re
import runpy
import select
import shlex
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from google.protobuf import json_format
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from featurestore import Field, MonitorPolicy, config
from featurestore.cli.app import build
from featurestore.settings import channels
from featurestore.settings.alerts import MuteConfig
from featurestore.settings.online import RedisConfig, RedisTlsConfig
from featurestore.settings.retention import RetentionConfig
from featurestore.settings.sections import SparkConfig, StorageConfig
from featurestore.settings.serving import TlsConfig
from featurestore.settings.signals import SignalsConfig
from featurestore.v1 import serving_pb2, signals_pb2
from monitor.alerts.channels.webhook import sign
from tests import forking
from tests.documents import ADDRESS, RAN, ROOT, Block, account, blocks

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Documents of which tests in this file run the blocks; those of the tutorial and of docs/how-to are walked through by
#: tests/test_how_to.py, and the other pages of docs/explanation by tests/test_explanations.py.
RUN = sorted((ROOT / "docs").glob("*.md"))
RUN.remove(ROOT / "docs" / "tutorial.md")
VERSIONS = ROOT / "docs" / "explanation" / "versions.md"
RUN.append(VERSIONS)
(
    ALERTS,
    CONFIGURATION,
    DASHBOARD,
    DATASETS,
    DEFINITIONS,
    DEPLOYMENT,
    ERASURE,
    MONITORING,
    PERFORMANCE,
    POINT_IN_TIME,
    RETRAINING,
    ROLLBACK,
    ROLLOUT,
    SERVING,
    SIZING,
    STATISTICS,
    TESTING,
) = (
    ROOT / "docs" / f"{name}.md"
    for name in (
        "alerts",
        "configuration",
        "dashboard",
        "datasets",
        "definitions",
        "deployment",
        "erasure",
        "monitoring",
        "performance",
        "point-in-time",
        "retraining",
        "rollback",
        "rollout",
        "serving",
        "sizing",
        "statistics",
        "testing",
    )
)


def table(document: Path, heading: str) -> dict[str, str]:
    """Return the third column of the table under a heading by its first: defaults by key."""
    text = document.read_text(encoding="utf-8")
    section = re.split(r"\n#{2,3} ", text.partition(f"\n{heading}\n")[2])[0]
    rows = [[cell.strip().strip("`") for cell in line.split(" | ")] for line in section.splitlines() if "|" in line]
    return {row[0].strip("| `"): row[2] for row in rows[2:]}


SECTIONS: dict[str, type[BaseModel]] = {
    "## Top of the file": config.Config,
    "## `[online]`": RedisConfig,
    "## `[online.tls]`": RedisTlsConfig,
    "## `[offline]`": config.OfflineConfig,
    "## `[offline.storage]`": StorageConfig,
    "## `[offline.spark]`": SparkConfig,
    "## `[retention]`": RetentionConfig,
    "## `[push]`": config.PushConfig,
    "## `[streaming]`": config.StreamingConfig,
    "## `[streams.NAME]`": config.StreamConfig,
    "## `[serving]`": config.ServingConfig,
    "## `[serving.tls]`": TlsConfig,
    "## `[monitor]`": config.MonitorConfig,
    "## `[actions]`": config.ActionsConfig,
    "## `[signals]`": SignalsConfig,
    "## `[signals.tls]`": TlsConfig,
    "## `[dashboard]`": config.DashboardConfig,
    "## `[dashboard.tls]`": TlsConfig,
    "## `[alerts]`": config.AlertsConfig,
    "## `[mute.NAME]`": MuteConfig,
    "## `[sources.NAME]`": config.SourceConfig,
    "## `[connections.NAME]`": config.ConnectionConfig,
    "## `[channels.NAME]`": channels.ChannelConfig,
    "## `[audit]`": config.AuditConfig,
    "## `[erasure]`": config.ErasureConfig,
    "## `[identity]`": config.IdentityConfig,
}
#: Each kind of channel: its class, and what of it stands in a table of all, or of all over the network.
CHANNELS = {f"### `{kind}`": section for kind, section in channels.KINDS.items()}
OF_ALL = set(channels.ChannelConfig.model_fields)
OF_REMOTE = set(channels.RemoteConfig.model_fields) - OF_ALL
#: Fields of Config that are no keys: sections, and what a program sets.
NO_KEYS = {
    "root",
    "file",
    "replay",
    "offline",
    "push",
    "streaming",
    "streams",
    "retention",
    "serving",
    "monitor",
    "actions",
    "signals",
    "dashboard",
    "alerts",
    "mute",
    "sources",
    "connections",
    "channels",
    "audit",
    "erasure",
    "identity",
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_setting_stands_in_its_table_with_its_default_and_no_other_does(heading: str) -> None:
    fields = {
        name: one
        for name, one in SECTIONS[heading].model_fields.items()
        if name not in NO_KEYS | {"tls", "storage", "type", "spark"}
    }
    assert table(CONFIGURATION, heading) == {
        name: _toml(one.get_default(call_default_factory=True)) for name, one in fields.items()
    }


@pytest.mark.parametrize("heading", ["### Channels over the network", *CHANNELS])
def test_every_setting_of_a_kind_of_channel_stands_in_its_table(heading: str) -> None:
    kind = CHANNELS.get(heading, channels.RemoteConfig)
    elsewhere = (
        OF_ALL | {"kind"} | (OF_REMOTE if heading in CHANNELS and issubclass(kind, channels.RemoteConfig) else set())
    )
    fields = {name: one for name, one in kind.model_fields.items() if name not in elsewhere}
    assert table(CONFIGURATION, heading) == {name: _toml(one.get_default()) for name, one in fields.items()}


def test_no_section_of_the_settings_is_left_out() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    documented = set(re.findall(r"^## `\[(\w+)(?:\.NAME)?\]`$", text, re.MULTILINE))
    documented.remove("online")  # which is a line, too
    assert documented == NO_KEYS - {"root", "file", "replay"} == set(config.Config.model_fields) & documented
    assert "\n## `[offline.storage]`\n" in text
    assert "\n## `[offline.spark]`\n" in text
    assert "\n## `[serving.tls]`\n" in text
    assert "\n## `[signals.tls]`\n" in text
    assert "\n## `[dashboard.tls]`\n" in text
    assert "\n## `[online.tls]`\n" in text


def test_no_model_of_settings_is_without_a_table() -> None:
    """Found from the root by the types of fields: a section within a section is not forgotten either."""
    reached: set[type[BaseModel]] = set()
    waiting: list[Any] = [config.Config, *channels.KINDS.values()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            if one not in reached:
                reached.add(one)
                waiting += [field.annotation for field in one.model_fields.values()]
        else:
            waiting += get_args(one)
    assert len(reached) > 30
    assert reached - {*SECTIONS.values(), *CHANNELS.values(), channels.RemoteConfig} == set()


def test_every_number_of_a_policy_stands_in_its_table_with_its_default_and_no_other_does() -> None:
    fields = {one.name: one for one in dataclasses.fields(MonitorPolicy)}
    documented = table(MONITORING, "## The policy")
    assert set(documented) == set(fields) - {"name", "description", "owner", "tags"}
    for name, default in documented.items():
        expected = fields[name].default
        if fields[name].default_factory is not dataclasses.MISSING:
            expected = fields[name].default_factory()
        assert default == ("required" if expected is dataclasses.MISSING else _python(expected)), name


def _toml(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "kept"
    if isinstance(default, timedelta):
        return json.dumps(_duration(default))
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    return json.dumps(list(default) if isinstance(default, tuple) else default)


def _duration(value: timedelta) -> str:
    for unit in ("day", "hour", "minute"):
        number, rest = divmod(value, timedelta(**{f"{unit}s": 1}))
        if not rest:
            return f"{number} {unit}{'s' if number > 1 else ''}"
    raise AssertionError(value)


def _python(default: Any) -> str:
    return f"timedelta(hours={default // timedelta(hours=1)})" if isinstance(default, timedelta) else repr(default)


#: Figures of docs/comparison.md, and where benchmarks/results.md has each; in the units of the former.
FIGURES = (
    (r"takes ([\d.]+) seconds of the processor", r"\| Feast \| [\d.]+ s \| ([\d.]+) s", 1),
    (r"of the processor and ([\d.]+) GB by Feast's", r"\| Feast \| .* s \| ([\d,]+) MB", 1000),
    (r"DuckDB store, ([\d.]+) s and", r"\| DuckDB's ASOF join \| [\d.]+ s \| ([\d.]+) s", 1),
    (r"and ([\d.]+) GB by DuckDB's own", r"\| DuckDB's ASOF join \| .* s \| ([\d,]+) MB", 1000),
    (r"and\s+([\d.]+) s and [\d.]+ GB here", r"\| ours \| [\d.]+ s \| ([\d.]+) s", 1),
    (r"and\s+[\d.]+ s and ([\d.]+) GB here", r"\| ours \| .* s \| ([\d,]+) MB", 1000),
    (r"from Redis \(M\) \| ([\d,]+)", r"3 views: Redis; bare handler +([\d.]+)", 1),
    (r"from Redis \(M\) \| [\d,]+ \| ([\d,]+)", r"3 views: Redis; bare handler +[\d.]+ +([\d.]+)", 1),
    (r"from LMDB \(M\) \| ([\d,]+)", r"1 row x 50 features, 3 views  +([\d.]+)", 1),
    (r"from LMDB \(M\) \| [\d,]+ \| ([\d,]+)", r"1 row x 50 features, 3 views  +[\d.]+ +([\d.]+)", 1),
    (r"took it ([\d.]+) s and", r"\| ([\d.]+) s, Evidently", 1),
    (r"took it [\d.]+ s and ([\d.]+) GB", r"\| ([\d,]+) MB, Evidently", 1000),
    (r"this ([\d.]+) s and [\d.]+ GB \(M, Evidently", r"check of 1M x 20.*? \| ([\d.]+) s", 1),
    (r"this [\d.]+ s and ([\d.]+) GB \(M, Evidently", r"its peak \| ([\d,]+) MB", 1000),
    (r"Jensen-Shannon's raised an alarm on (\d+)", r"Jensen-Shannon: control windows with an alarm +([\d.]+)", 1),
    (r"Kolmogorov-Smirnov's on\s+(\d+)", r"NannyML, KS: control windows with an alarm +([\d.]+)", 1),
)


def test_the_figures_of_the_comparison_are_those_that_were_measured() -> None:
    said = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    measured = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
    for claim, figure, unit in FIGURES:
        claimed, found = (re.search(*one) for one in ((claim, said), (figure, measured)))
        assert claimed is not None, claim
        assert found is not None, figure
        one, other = (float(each[1].replace(",", "")) for each in (claimed, found))
        assert one == pytest.approx(other / unit, rel=0.05), claim


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_and_its_heading(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_that_the_code_names_exists() -> None:
    named = {
        name
        for package in ("featurestore", "monitor")
        for file in (ROOT / package).rglob("*.py")
        for name in re.findall(r"(?<!/)\bdocs/[\w.-]+\w", file.read_text(encoding="utf-8"))
    }
    assert "docs/configuration.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_every_command_in_a_block_exists_with_its_options(document: Path) -> None:
    lines = [line.partition("#")[0] for block in blocks(document) for line in block.text.splitlines()]
    commands = [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?featurestore [a-z]", line)]
    for command in commands:
        _check_command(command)


@functools.cache
def _commands() -> Any:
    return typer.main.get_command(build())


def _check_command(command: str) -> None:
    words = shlex.split(command)[1:]
    node = _commands()
    while hasattr(node, "commands"):
        assert words[0] in node.commands, command
        node, words = node.commands[words[0]], words[1:]
    known = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known | {"--debug", "--help"}, command


def test_every_example_of_settings_is_a_working_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "7000")
    for secret in (
        "OPS_WEBHOOK_SECRET",
        "SLACK_TOKEN",
        "PAGERDUTY_KEY",
        "REDIS_PASSWORD",
        "KAFKA_PASSWORD",
        "WAREHOUSE_URL",
    ):
        monkeypatch.setenv(secret, "whsec_c2VjcmV0")
    examples = [
        block for document in RUN for block in blocks(document) if block.language == "toml" and not block.reason
    ]
    assert examples
    for block in examples:
        (tmp_path / config.FILE_NAME).write_text(block.text, encoding="utf-8")
        loaded = config.load(tmp_path)
        assert all(loaded.channel(one) for one in loaded.channels)
        RAN.add(block)


def test_the_python_of_the_configuration_makes_a_secret_that_a_webhook_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _run_python(CONFIGURATION)
    secret = capsys.readouterr().out.strip()
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24


def test_the_check_of_a_signature_takes_ours_and_no_other() -> None:
    verified = _run_python(MONITORING)["verified"]
    key, body, now = b"0123456789abcdef", b'{"id": "msg_1"}', int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(key, "msg_1", str(now), body),
    }
    secret = "whsec_" + base64.b64encode(key).decode()
    assert verified(secret, headers, body)
    assert not verified(secret, headers, body + b" ")
    assert not verified("whsec_" + base64.b64encode(b"another").decode(), headers, body)
    assert not verified(secret, headers | {"webhook-id": "msg_2"}, body)
    old = str(now - 3600)
    late = headers | {"webhook-timestamp": old, "webhook-signature": sign(key, "msg_1", old, body)}
    assert not verified(secret, late, body)


def test_the_events_shown_have_the_fields_of_the_contract() -> None:
    shown = [block for block in blocks(MONITORING) if block.language == "json"]
    events = [json.loads(block.text) for block in shown]
    RAN.update(shown)
    messages = {
        "featurestore.v1.alert.firing": signals_pb2.Alert,
        "featurestore.v1.alert.resolved": signals_pb2.Alert,
        "featurestore.v1.retraining": signals_pb2.RetrainingSignal,
    }
    assert events
    for event in events:
        message = messages[event["type"]]
        json_format.ParseDict(event["data"], message())
        assert set(event["data"]) == {one.json_name for one in message.DESCRIPTOR.fields}


def test_every_field_of_the_alert_and_of_the_signal_is_explained() -> None:
    text = MONITORING.read_text(encoding="utf-8")
    for message in (signals_pb2.Alert, signals_pb2.RetrainingSignal, signals_pb2.FeatureFinding, signals_pb2.Evidence):
        for one in message.DESCRIPTOR.fields:
            assert f"`{one.json_name}`" in text, f"{message.DESCRIPTOR.name}.{one.json_name}"


def test_every_field_type_and_status_of_the_contract_is_explained() -> None:
    text = SERVING.read_text(encoding="utf-8")
    for name in (
        "GetOnlineFeaturesRequest",
        "GetOnlineFeaturesResponse",
        "FeatureRow",
        "Column",
        "GetServiceSchemaResponse",
        "ViewSchema",
        "FieldSchema",
    ):
        for one in getattr(serving_pb2, name).DESCRIPTOR.fields:
            assert re.search(rf"`(\w+\.)?{one.name}`", text), f"{name}.{one.name}"
    for status in serving_pb2.RowStatus.keys()[1:]:
        assert f"`{status.removeprefix('ROW_STATUS_')}`" in text


def _run_python(document: Path, address: str = ADDRESS) -> dict[str, Any]:
    """Run a document's Python blocks one after another, in one module, and return its names."""
    module = types.ModuleType("document")
    for block in blocks(document):
        if block.language == "python" and not block.reason:
            exec(compile(block.text.replace(ADDRESS, address), document.name, "exec"), module.__dict__)
            RAN.add(block)
    return vars(module)


def _run_console(document: Path, run: Callable[[str], str], words: Callable[[str], list[str]] | None = None) -> int:
    """Run a document's commands, check what each prints, and return how many there were.

    Args:
        document: whose.
        run: runs a command's arguments, as one line, and returns what it prints.
        words: what of that counts; its words without days and times, if not given.
    """
    words, ran = words or _undated, 0
    for block in blocks(document):
        if block.language == "console" and not block.reason:
            ran += _check_console(block, run, words)
    return ran


def _check_console(block: Block, run: Callable[[str], str], words: Callable[[str], list[str]]) -> int:
    found = re.findall(r"^\$ featurestore (.*)\n((?:(?!\$).*\n)*)", block.text, re.MULTILINE)
    for command, shown in found:
        assert words(run(command)) == words(shown)
    RAN.add(block)
    return len(found)


class Shop:
    """The store of docs/serving.md, and its server.

    Attributes:
        folder: the store's.
        address: the server's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""

    def run(self, *arguments: str, code: int = 0) -> str:
        ran = forking.run(
            [sys.executable, "-m", "featurestore", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert ran.returncode == code, ran.stderr
        return ran.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    definitions = next(block.text for block in blocks(SERVING) if "FeatureService(" in block.text)
    (tmp_path / "featurestore.toml").write_text('project = "shop"\n')
    (tmp_path / "definitions.py").write_text(definitions)
    now = datetime.now(UTC)
    (tmp_path / "rows.csv").write_text(
        "user_id,total,orders,plan,event_timestamp\n"
        f"1,10.5,2,gold,{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}\n"
        f"2,4,,basic,{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}\n"
    )
    shop = Shop(tmp_path)
    for arguments in (["apply"], ["ingest", "spending", "rows.csv"], ["materialize"]):
        shop.run(*arguments)
    server = forking.Forked(
        [sys.executable, "-m", "featurestore", "serve", "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert select.select([server.stdout], [], [], 60)[0], "the server does not start"
        said = re.search(r"at (\S+:\d+),", server.stdout.readline())
        assert said is not None
        shop.address = said[1]
        yield shop
    finally:
        server.terminate()
        server.communicate(timeout=30)


def test_the_clients_of_the_serving_document_give_what_it_says(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.folder)
    names = _run_python(SERVING, shop.address)
    said = capsys.readouterr().out
    shown = re.findall(r"^# prints: (.*)$", SERVING.read_text(encoding="utf-8"), re.MULTILINE)
    assert said.splitlines() == shown
    assert names["found"] == names["answer"].to_dict()


def test_the_commands_of_the_serving_document_print_what_it_says(shop: Shop) -> None:
    assert _run_console(SERVING, lambda command: shop.run(*shlex.split(command.replace(ADDRESS, shop.address))))


def test_the_commands_of_moves_and_backups_do_what_the_scaling_document_says(shop: Shop) -> None:
    (shop.folder / "new").mkdir()
    (shop.folder / "new" / "featurestore.toml").write_text('project = "shop"\n')
    commands = [
        block for block in blocks(ROOT / "docs" / "scaling.md") if block.language == "console" and not block.reason
    ]
    RAN.update(commands)
    said = [
        shop.run(*shlex.split(command))
        for block in commands
        for command in re.findall(r"^\$ featurestore (.*)$", block.text, re.MULTILINE)
    ]
    assert "Nothing was changed." in said[0]
    assert re.search(r"^tables +copied +\d+ files", said[1], re.MULTILINE)
    assert re.search(r"^tables +copied +\d+ files", said[2], re.MULTILINE)
    assert said[3].endswith("Every file is as it was written.\n")


def test_the_definitions_document_prints_what_it_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # As a file: the text of a function is read from where it stands.
    program = tmp_path / "program.py"
    shown_blocks = [block for block in blocks(DEFINITIONS) if block.language == "python" and not block.reason]
    program.write_text("\n".join(block.text for block in shown_blocks))
    runpy.run_path(str(program))
    RAN.update(shown_blocks)
    shown = re.findall(r"^# prints: (.*)$", DEFINITIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown


def test_the_point_in_time_document_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    _run_python(POINT_IN_TIME)
    shown = re.findall(r"^# prints: (.*)$", POINT_IN_TIME.read_text(encoding="utf-8"), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown


def test_the_arithmetic_of_the_sizing_document_gives_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    _run_python(SIZING)
    (shown,) = [block.text for block in blocks(SIZING) if block.language == "text"]
    assert capsys.readouterr().out == shown


def test_the_erasure_document_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    _run_python(ERASURE)["store"].close()
    shown = re.findall(r"^# prints: (.*)$", ERASURE.read_text(encoding="utf-8"), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown


def test_the_datasets_document_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    _run_python(DATASETS)
    shown = re.findall(r"^# prints: (.*)$", DATASETS.read_text(encoding="utf-8"), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown
    shop = Shop(tmp_path / "shop")
    assert _run_console(
        DATASETS,
        lambda command: re.sub(r"\b[0-9a-f]{16}([0-9a-f]{48})?\b", "HASH", shop.run(*shlex.split(command))),
    )


def test_the_performance_document_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    _run_python(PERFORMANCE)["store"].close()
    shown = re.findall(r"^# prints: (.*)$", PERFORMANCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown
    shop = Shop(tmp_path / "shop")
    assert _run_console(PERFORMANCE, lambda command: shop.run(*shlex.split(command))) == 5


def test_the_receivers_of_the_retraining_document_do_what_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its shop, its settings, its command and its console; then each other receiver against a far side on loopback."""
    monkeypatch.chdir(tmp_path)
    python = [block.text for block in blocks(RETRAINING) if block.language == "python"]
    RAN.update(block for block in blocks(RETRAINING) if block.language == "python")
    (setting,) = [text for text in python if not text.startswith("# ")]
    exec(compile(setting, RETRAINING.name, "exec"), {})
    shop = Shop(tmp_path / "shop")
    programs = {text.split(":")[0].removeprefix("# "): text for text in python if text.startswith("# ")}
    assert set(programs) == {"retrain.py", "airflow_run.py", "dispatch.py", "trainer.py"}
    for name, text in programs.items():
        (shop.folder / name).write_text(text)
    settings = shop.folder / "featurestore.toml"
    before = settings.read_text()
    (command,) = [block.text for block in blocks(RETRAINING) if "command =" in block.text and block.language == "toml"]
    settings.write_text(before + command.replace('"python"', json.dumps(sys.executable)))
    assert _run_console(RETRAINING, lambda line: shop.run(*shlex.split(line)), _unnamed) == 5
    with _far_side() as (url, asked):
        _check_dispatches(shop, url, asked)
    with _far_side(status=409) as (url, asked):  # Airflow has that run already
        monkeypatch.setenv("AIRFLOW_URL", url)
        monkeypatch.setenv("AIRFLOW_TOKEN", "secret")
        assert json.loads(_hand(shop, "airflow_run.py"))["state"] == "ACCEPTED"
    settings.write_text(before + "[signals]\nport = 0\n")
    _check_trainer(shop)


#: An event as a command gets it.
EVENT = {"data": {"id": "b0b7", "service": "scoring@1", "reason": "drift", "request": {"dataset": "buyers"}}}


def _hand(shop: Shop, program: str) -> str:
    """Run a program of the document with an event on its standard input."""
    command = [sys.executable, program]
    ran = forking.run(command, cwd=shop.folder, input=json.dumps(EVENT), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _check_dispatches(shop: Shop, url: str, asked: list[tuple[str, dict[str, str], Any]]) -> None:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (
            ("GITHUB_API_URL", url),
            ("GITHUB_REPOSITORY", "acme/models"),
            ("GITHUB_TOKEN", "secret"),
            ("AIRFLOW_URL", url),
            ("AIRFLOW_TOKEN", "secret"),
        ):
            environment.setenv(name, value)
        for program in ("dispatch.py", "airflow_run.py"):
            assert json.loads(_hand(shop, program))["state"] == "ACCEPTED"
    (path, headers, body), (airflow, told, run) = asked
    assert (path, headers["authorization"]) == ("/repos/acme/models/dispatches", "Bearer secret")
    payload = {"id": "b0b7", "service": "scoring@1", "model": "", "reason": "drift"}
    assert body == {"event_type": "retrain", "client_payload": payload}
    assert (airflow, told["authorization"]) == ("/api/v2/dags/retrain/dagRuns", "Bearer secret")
    assert (run["dag_run_id"], run["logical_date"]) == ("signal_b0b7", None)
    assert run["conf"] == payload | {"request": {"dataset": "buyers"}}


def _check_trainer(shop: Shop) -> None:
    """Have the program that watches deal with two signals of a monitor, in two runs, each once."""
    from featurestore import FeatureStore
    from monitor.history import History
    from monitor.signalling.server import SignalServer
    from monitor.signalling.source import SignalSource

    with (
        FeatureStore(shop.folder) as store,
        History(store.config.database_url(store.config.monitor.database)) as history,
    ):
        server = SignalServer(store.config, SignalSource(history, store.registry), store.registry, port=0)
        try:
            for reason in ("users have changed", "and once more"):
                shop.run("monitor", "retrain", "scoring", "--reason", reason)
                ran = forking.run(
                    [sys.executable, "trainer.py", "1"],
                    cwd=shop.folder,
                    env=os.environ | {"SIGNALS": server.address},
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert ran.returncode == 0, ran.stderr
                assert ran.stdout.startswith("training for scoring@1 because ")
                assert ran.stdout.endswith(f"asks for it: {reason}\n")
        finally:
            server.close()
    found = json.loads(shop.run("monitor", "signals", "--format", "json"))
    assert [one["state"] for one in found] == ["SIGNAL_STATE_DONE"] * 3


@contextmanager
def _far_side(*, status: int = 204) -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    """What a receiver of the document calls: its address, and what it was asked."""
    asked: list[tuple[str, dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def _unnamed(text: str) -> list[str]:
    """Return the words of each line without ids, instants, hashes, and who ran it."""
    for pattern, name in (
        (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "INSTANT"),
        (r"\S+@\S+ \(unverified\)", "WHO"),
        (r"\b[0-9a-f]{12}\.\.\.", "HASH..."),
        (r"\b[0-9a-f]{12}\b", "ID"),
    ):
        text = re.sub(pattern, name, text)
    # Of two that were made within one minute it is said once.
    return [line.replace("made TIME by WHO -> TIME by WHO", "made TIME by WHO") for line in _undated(text)]


def test_the_rollback_document_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its blocks in their order: a command goes on where the code before it was."""
    monkeypatch.chdir(tmp_path)
    module, ran = types.ModuleType("document"), 0
    for block in blocks(ROLLBACK):
        if block.language == "python":
            exec(compile(block.text, ROLLBACK.name, "exec"), module.__dict__)
            RAN.add(block)
        if block.language == "console" and not block.reason:
            shop = Shop(tmp_path / "shop")
            ran += _check_console(block, lambda command, shop=shop: shop.run(*shlex.split(command)), _undated)
    vars(module)["store"].close()
    shown = re.findall(r"^# prints: (.*)$", ROLLBACK.read_text(encoding="utf-8"), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown
    assert ran == 3


def test_every_attribute_of_a_field_stands_in_its_table() -> None:
    said = DEFINITIONS.read_text(encoding="utf-8").partition("## Fields")[2].partition("## Sources")[0]
    assert [one.name for one in dataclasses.fields(Field) if f"`{one.name}`" not in said] == ["name", "dtype"]


def test_the_versions_document_tells_what_happens(tmp_path: Path) -> None:
    """Its first two definitions, one after the other, in a store with two rows; then its commands."""
    shop = Shop(tmp_path)
    before, after = [block.text for block in blocks(VERSIONS) if block.language == "python"][:2]
    (tmp_path / "featurestore.toml").write_text('project = "shop"\n')
    (tmp_path / "definitions.py").write_text(before)
    day = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    (tmp_path / "rows.csv").write_text(f"user_id,total,event_timestamp\n1,10.5,{day}\n2,4,{day}\n")
    for arguments in (["apply"], ["ingest", "spending", "rows.csv"], ["materialize"], ["promote", "scoring@1"]):
        shop.run(*arguments)
    (tmp_path / "definitions.py").write_text(before + after)
    _run_python(VERSIONS)

    def run(command: str) -> str:
        said = shop.run(*shlex.split(command), code=2 * command.startswith("plan"))
        if command == "plan":
            shop.run("apply")
        return said

    assert _run_console(VERSIONS, run)


def test_the_cases_of_the_testing_document_end_as_it_says(tmp_path: Path) -> None:
    in_use = [block for block in blocks(TESTING) if not block.reason]
    definitions, cases = [block.text for block in in_use if block.language == "python"]
    (tmp_path / "featurestore.toml").write_text('project = "shop"\n')
    (tmp_path / "definitions.py").write_text(definitions)
    (tmp_path / "cases.py").write_text(cases)
    (shown,) = [block.text for block in in_use if block.language == "console"]
    assert "$ featurestore test\n" + Shop(tmp_path).run("test", code=1) == shown
    RAN.update(in_use)


def test_the_python_of_the_other_documents_runs() -> None:
    for document in (ALERTS, ROLLOUT, STATISTICS):
        assert _run_python(document)


def test_what_an_access_log_holds_is_json() -> None:
    shown = [block for block in blocks(SERVING) if block.language == "json"]
    assert shown
    for block in shown:
        assert all(json.loads(line) for line in block.text.splitlines())
    RAN.update(shown)


def test_every_block_of_code_was_run_or_says_why_not(request: pytest.FixtureRequest, record_property: Any) -> None:
    collected = {item.originalname for item in request.session.items if item.path == request.path}
    if missing := {name for name in globals() if name.startswith("test_")} - collected:
        pytest.skip(f"of all tests of this file {len(missing)} were not asked for")
    found = account(RUN)
    assert found.forgotten == []
    record_property("documents", str(found))


def _undated(text: str) -> list[str]:
    """Return the words of each line, without days and times, and with no regard to the width of columns."""
    without = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?", "TIME", text)
    return [" ".join(line.split()) for line in without.splitlines() if line.strip()]
