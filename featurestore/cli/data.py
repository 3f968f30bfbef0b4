"""The command on what there is: status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(status)


def status(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """Show what is registered, stored and served.

    If the online store cannot be read, all else is shown, and it exits with 1.
    """
    with open_store(repo) as store:
        found = store.status()
        kept = store.config.retention.retired_versions
    if output is Format.json:
        print_json(found)
    else:
        _show(found, kept)
    if found["online"]["error"]:
        raise typer.Exit(1)


def _show(found: Mapping[str, Any], kept: timedelta | None) -> None:
    typer.echo(f"project {found['project']}, {found['root']}")
    sizes = {what: count for what, count in found["bytes"].items() if count is not None}
    typer.echo("  on disk  " + ", ".join(f"{what} {_size(count)}" for what, count in sizes.items()))
    if found["online"]["error"]:
        typer.secho(f"  online   {found['online']['error']}", fg=typer.colors.RED)
    if found["low_disk"]:
        typer.secho(f"  warning: {found['low_disk']}", fg=typer.colors.YELLOW)
    if found["push"]["damage"]:
        typer.secho(f"  pushed   {found['push']['damage']}", fg=typer.colors.RED)
    if found["push"]["rows"]:
        typer.echo(
            f"  pushed   {found['push']['rows']:,} rows wait for the offline store since {found['push']['oldest']}; "
            "to bring them in now: featurestore push --flush"
        )
    for view in found["views"]:
        table = "never ingested" if view["loads"] == 0 else f"{view['rows']:,} rows, {view['loads']} loads"
        quarantined = f", {view['quarantined']:,} quarantined" if view["quarantined"] else ""
        typer.echo(f"  view     {view['id']:30} {table}{quarantined}; online {_rows(view['online_rows'])}")
        _show_sizes(view["bytes"])
    for old in found["not_live"]:
        typer.echo(f"  not live {old['id']:30} {old['rows']:,} rows; online {_rows(old['online_rows'])}")
        _show_sizes(old["bytes"])
    if found["not_live"]:
        typer.echo(f"           {'':30} {_what_removes(kept)}")
    for service in found["services"]:
        aliases = "".join(f", {alias} -> @{version}" for alias, version in service["aliases"].items())
        typer.echo(f"  service  {service['id']:30} {service['features']} features{aliases}")
    for dataset in found["datasets"]:
        typer.echo(f"  dataset  {dataset['id']:30} {dataset['rows']:,} rows, {_size(dataset['bytes'])}")
    for model in found["models"]:
        typer.echo(f"  model    {model['id']:30} of {model['service']}, trained on {model['dataset']}")


def _rows(count: int | None) -> str:
    return "not known" if count is None else f"{count:,} rows"


def _show_sizes(sizes: Mapping[str, int | None]) -> None:
    listed = [f"{what} {_size(count)}" for what, count in sizes.items() if count]
    if listed:
        typer.echo(f"           {'':30} {', '.join(listed)}")


def _what_removes(kept: timedelta | None) -> str:
    if kept is None:
        return "kept until [retention] retired_versions says how long; then: featurestore gc"
    return (
        f"featurestore gc removes what was not loaded for {kept.total_seconds() / 86_400:g} days (--dry-run shows it)"
    )


def _size(count: float) -> str:
    """Return bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
