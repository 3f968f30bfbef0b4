"""``featurestore monitor report``: what is known as one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from featurestore.cli.options import HERE, Repo, open_store
from featurestore.errors import ConfigError, MonitorError

_HTML = (".html", ".htm")


def report(
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="One page with all in it.")] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="A picture of what moved first (.png or .svg).")
    ] = None,
    incident: Annotated[
        int | None,
        typer.Option(
            "--incident", metavar="NUMBER", min=1, help="Of this one, also when it is over; else all that go on."
        ),
    ] = None,
    repo: Repo = HERE,
    replay: Annotated[
        str, typer.Option("--replay", metavar="NAME", help="Of a rehearsal, in place of the live one.")
    ] = "",
) -> None:
    """Write what the monitor knows as one file, for a ticket or a chat; it is opened without a network.

    Incidents with their timelines, what moved, and the evidence against its limit. No value of a field tagged pii is in
    it.
    """
    from featurestore import plots
    from monitor.history import History
    from monitor.report import page, picture, read_report
    from monitor.status import status
    from monitor.windows import ServingLog

    if html is None and png is None:
        raise MonitorError("A report needs a file.", hint="featurestore monitor report --html report.html, or --png")
    if html is not None and html.suffix.lower() not in _HTML:
        raise ConfigError(f"{html} is no name of a page.", hint=f"Let it end in {' or '.join(_HTML)}.")
    if png is not None:
        plots.check_file(png)
    now = datetime.now(UTC)
    with (
        open_store(repo, replay) as store,
        History(store.config.database_url(store.config.monitor.database)) as history,
    ):
        policies = [store.registry.policy(one.name) for one in store.registry.list("monitor_policy")]
        budgets = {name: channel.budget for name, channel in store.config.channels.items()}
        known = status(
            history, policies, watermark=ServingLog(store.config).watermark(now=now), replay=replay, budgets=budgets
        )
        found = read_report(history, known, project=store.config.project, replay=replay, now=now, incident=incident)
    if html is not None:
        _write(html, page(found))
        typer.echo(f"{html}: {_counted(len(found.stories), 'incident')}, {_counted(len(found.series), 'stream')}")
    if png is not None:
        drawn = picture(found)
        if drawn is None:
            raise MonitorError("There is nothing to draw: no window was judged yet.")
        typer.echo(str(plots.write(drawn, png)))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _write(file: Path, text: str) -> None:
    try:
        # A name may hold what UTF-8 cannot say: half of a pair of UTF-16.
        file.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    app.command("report")(report)
