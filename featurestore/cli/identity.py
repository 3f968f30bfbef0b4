"""Commands on identities: create, add, list, revoke, whoami."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import ConfigError

_identity = typer.Typer(help="Who acts: names that are proved by a key.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(_identity, name="identity")


@_identity.command()
def create(
    name: Annotated[str, typer.Argument(help="The name that will stand in the audit log.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file of the private key; in your own settings when not given.")
    ] = None,
) -> None:
    """Make a key for a name. The private half stays in a file that only you can read."""
    from featurestore.config import identity_file
    from featurestore.registry.identity import check_identity_name
    from featurestore.registry.signing import PrivateKey, fingerprint, generate, write_private

    file = identity_file(check_identity_name(name)) if out is None else out
    pem = generate()
    if not write_private(file, pem):
        raise ConfigError(f"{file} exists already.", hint="Use that key, or name another file: --out FILE.")
    public = PrivateKey(pem, str(file)).public
    typer.echo(f'The private key of "{name}" is in {file}. Keep it to yourself.')
    typer.echo(f"Its public key has the fingerprint {fingerprint(public)}. To have it known to a registry:")
    typer.echo(f"  featurestore identity add {name} {public}")
    typer.echo("To act under that name:")
    typer.echo(f"  export FEATURESTORE_IDENTITY={name}" + ("" if out is None else f" FEATURESTORE_IDENTITY_KEY={out}"))


@_identity.command()
def add(
    name: Annotated[str, typer.Argument(help="The name.")],
    public_key: Annotated[str, typer.Argument(help="As `identity create` prints it.")],
    repo: Repo = HERE,
) -> None:
    """Make a name known to the registry. Anybody may add the first; a verified identity adds the others."""
    from featurestore.registry.signing import fingerprint

    with open_store(repo) as store:
        # Whoever has exported the name that is about to be the first cannot prove it yet.
        added = store.registry.add_identity(name, public_key, who=store.registry.founder() or store.who())
    typer.echo(f'"{added.name}" is known, with the fingerprint {fingerprint(added.public_key)}.')


@_identity.command("list")
def list_(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List the names that the registry knows."""
    from featurestore.registry.signing import fingerprint

    with open_store(repo) as store:
        found = store.registry.identities()
    if output is Format.json:
        print_json([{**vars(one), "fingerprint": fingerprint(one.public_key)} for one in found])
        return
    for one in found:
        state = "" if one.revoked_at is None else f"  revoked {one.revoked_at:%Y-%m-%d}"
        added = f"{one.added_at:%Y-%m-%d} by {one.added_by}"
        typer.echo(f"{one.name:24} {fingerprint(one.public_key)}  {added}{state}")
    if not found:
        typer.echo("No identity is known. Next: featurestore identity create NAME")


@_identity.command()
def revoke(name: Annotated[str, typer.Argument(help="The name.")], repo: Repo = HERE) -> None:
    """Take a name's standing away: its key proves nothing from now on."""
    with open_store(repo) as store:
        store.registry.revoke_identity(name, who=store.who())
    typer.echo(f'"{name}" is revoked.')


@_identity.command()
def whoami(repo: Repo = HERE) -> None:
    """Show under which name you act here."""
    with open_store(repo) as store:
        typer.echo(store.who())
