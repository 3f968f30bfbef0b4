"""The command on what there is: status."""

from __future__ import annotations

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(status)


def status(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """Show what is registered, stored and served."""
    with open_store(repo) as store:
        found = store.status()
    if output is Format.json:
        print_json(found)
        return
    typer.echo(f"project {found['project']}, {found['root']}")
    typer.echo("  on disk  " + ", ".join(f"{what} {_size(count)}" for what, count in found["bytes"].items()))
    if found["push"]["rows"]:
        typer.echo(
            f"  pushed   {found['push']['rows']:,} rows wait for the offline store since {found['push']['oldest']}; "
            "to bring them in now: featurestore push --flush"
        )
    for view in found["views"]:
        table = "never ingested" if view["loads"] == 0 else f"{view['rows']:,} rows, {view['loads']} loads"
        quarantined = f", {view['quarantined']:,} quarantined" if view["quarantined"] else ""
        typer.echo(f"  view     {view['id']:30} {table}{quarantined}; online {view['online_rows']:,} rows")
        sizes = [f"{what} {_size(count)}" for what, count in view["bytes"].items() if count]
        if sizes:
            typer.echo(f"           {'':30} {', '.join(sizes)}")
    for service in found["services"]:
        aliases = "".join(f", {alias} -> @{version}" for alias, version in service["aliases"].items())
        typer.echo(f"  service  {service['id']:30} {service['features']} features{aliases}")
    for dataset in found["datasets"]:
        typer.echo(f"  dataset  {dataset['id']:30} {dataset['rows']:,} rows, {_size(dataset['bytes'])}")
    for model in found["models"]:
        typer.echo(f"  model    {model['id']:30} of {model['service']}, trained on {model['dataset']}")


def _size(count: float) -> str:
    """Return bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
