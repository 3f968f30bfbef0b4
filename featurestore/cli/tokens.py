"""Commands on tokens of the server's callers: create, list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import ConfigError

_tokens = typer.Typer(help="What callers of the server show, where it asks for tokens.", no_args_is_help=True)


class Scope(StrEnum):
    """What a token is for."""

    read = "read"
    push = "push"
    log = "log"
    signals = "signals"
    view = "view"
    operate = "operate"
    approve = "approve"
    admin = "admin"


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(_tokens, name="token")


@_tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it: the program that will use it.")],
    scope: Annotated[
        list[Scope],
        typer.Option(
            "--scope",
            help="read: lookups; push: rows; log: predictions and outcomes; signals: retraining; "
            "view, operate, approve: a person at the dashboard; admin: all.",
        ),
    ],
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            help="A feature service that it may read, or whose signals it may see; all when none is named.",
            autocompletion=names_of("feature_service"),
        ),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            "--view",
            help="A feature view that it may push to; all when none is named.",
            autocompletion=names_of("feature_view"),
        ),
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="DURATION", help="After how long it is not valid any more: 90d, 12h. Never else.")
    ] = "",
    repo: Repo = HERE,
) -> None:
    """Make a token, and print it: this once, as it is kept nowhere. Standard output has the token and nothing else."""
    expires_at = _instant(expires) if expires else None
    with open_store(repo) as store:
        token, text = store.registry.create_token(
            name,
            [one.value for one in scope],
            services=service or (),
            views=view or (),
            expires_at=expires_at,
            who=store.who(),
        )
        asking = {
            "[serving]": store.config.serving.authentication == "token",
            "[signals]": store.config.signals.authentication == "token",
            "[dashboard]": store.config.dashboard.authentication == "token",
        }
    typer.echo(text)
    until = "does not expire" if token.expires_at is None else f"expires on {token.expires_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(f'That is token "{token.name}", for {", ".join(token.scopes)}. It {until}.', err=True)
    typer.echo("It is shown this once. Its callers send it as: authorization: Bearer TOKEN", err=True)
    # The scope says which of the ports it is for; admin is for all.
    section = "[signals]" if scope == [Scope.signals] else "[serving]"
    section = "[dashboard]" if set(scope) <= {Scope.view, Scope.operate, Scope.approve} else section
    if not asking[section]:
        whose = {"[signals]": "The monitor asks", "[dashboard]": "The dashboard asks"}.get(section, "Servers ask")
        typer.echo(f'{whose} for tokens once featurestore.toml says so: {section} authentication = "token"', err=True)


@_tokens.command("list")
def list_(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List the tokens: what each is for, and whether it is valid."""
    now = datetime.now(UTC)
    with open_store(repo) as store:
        found = store.registry.tokens()
    if output is Format.json:
        # Nobody needs the hash, and a list is what gets into tickets.
        kept = [{key: value for key, value in vars(one).items() if key != "digest"} for one in found]
        print_json([shown | {"state": one.state(now)} for shown, one in zip(kept, found, strict=True)])
        return
    for one in found:
        limits = "".join(
            f", {what} {', '.join(names)}" for what, names in (("of", one.services), ("to", one.views)) if names
        )
        until = "" if one.expires_at is None else f", until {one.expires_at:%Y-%m-%d %H:%M}"
        made = f"{one.created_at:%Y-%m-%d} by {one.created_by}"
        typer.echo(f"{one.name:24} fs_{one.id}_...  {one.state(now):8} {','.join(one.scopes)}{limits}{until}  {made}")
    if not found:
        typer.echo("There is no token. Next: featurestore token create NAME --scope read")


@_tokens.command()
def revoke(name: Annotated[str, typer.Argument(help="The token's name.")], repo: Repo = HERE) -> None:
    """Make a token worth nothing, for ever. Servers that run know within about a second."""
    with open_store(repo) as store:
        store.registry.revoke_token(name, who=store.who())
    typer.echo(f'Token "{name}" is revoked.')


def _instant(text: str) -> datetime:
    """Return when a duration from now on ends.

    Raises:
        ConfigError: the text names no duration, or one that ends after all calendars.
    """
    from featurestore.settings.retention import duration

    length = duration(text, "--expires")
    try:
        return datetime.now(UTC) + length
    except OverflowError:
        raise ConfigError(f'--expires: "{text}" ends after the year 9999.', hint="Leave it away: never.") from None
