"""Commands on rollout: promote, rollback, demote, aliases, approve, reject, promotions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.cli.progress import rows_done

if TYPE_CHECKING:
    from featurestore.registry.records import Alias, Promotion
    from featurestore.store import FeatureStore

_CANARY = "canary"


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (promote, rollback, demote, aliases, approve, reject, promotions):
        app.command()(command)


def _share(text: str) -> float:
    """Return the share that ``5%`` or ``0.05`` stands for."""
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f'"{text}" is not a share. Write 5% or 0.05.')
    return share


_CatchUp = Annotated[bool, typer.Option("--catch-up", help="First load and materialize what the version's views lack.")]
_Service = Annotated[str, typer.Argument(help="The service.", autocompletion=names_of("feature_service"))]
_Number = Annotated[int, typer.Argument(help="The promotion's number.")]


def promote(
    service: Annotated[
        str, typer.Argument(help="A version: flight_delay@2.", autocompletion=names_of("feature_service"))
    ],
    to: Annotated[
        str, typer.Option("--to", help="The alias; or another configuration, prod.toml, to take the version there.")
    ] = "production",
    share: Annotated[
        float | None,
        typer.Option(parser=_share, metavar="SHARE", help="Of a canary: 5% or 0.05 of the routing keys."),
    ] = None,
    catch_up: _CatchUp = False,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="With another configuration: users there may break.")
    ] = False,
    repo: Repo = HERE,
) -> None:
    """Point an alias to a version of a service, or take the version to another registry."""
    target = to if to.endswith(".toml") else ""
    for option, given, wrong in (("--share", share is not None, target), ("--catch-up", catch_up, target)):
        if given and wrong:
            raise typer.BadParameter(f"{option} is for an alias, not for another configuration.")
    if allow_breaking and not target:
        raise typer.BadParameter("--allow-breaking is for another configuration: --to prod.toml.")
    with open_store(repo) as store:
        if target:
            _transfer(store, service, Path(target), allow_breaking)
            return
        if catch_up:
            _catch_up(store, service)
        done = store.promote(service, alias=to, share=share)
    _print_moved(done)


def _transfer(store: FeatureStore, service: str, target: Path, allow_breaking: bool) -> None:
    done = store.transfer(service, target, allow_breaking=allow_breaking)
    verb = "was there already, as" if done.plan.is_empty else "is now"
    typer.echo(done.plan.render())
    typer.echo(f"{done.here.id} {verb} {done.there.id} of {target} (content hash {done.here.content_hash[:12]}).")
    typer.echo(f"Next: featurestore promote {done.there.id} --repo {shlex.quote(str(target))}")


def rollback(
    service: _Service,
    alias: Annotated[str, typer.Option("--alias", help="The alias; a canary ends.")] = "production",
    to: Annotated[
        int | None, typer.Option("--to", min=1, metavar="VERSION", help="The version; the last one when not given.")
    ] = None,
    catch_up: _CatchUp = False,
    repo: Repo = HERE,
) -> None:
    """Point an alias back to a version it pointed to before."""
    with open_store(repo) as store:
        if catch_up and (to is not None or alias != _CANARY):
            _catch_up(store, store.registry.rollback_target(service, alias, to=to).id)
        back = store.rollback(service, alias=alias, to=to)
    if back is None:
        typer.echo(f'The canary of {service} has ended: "{service}" is one version for everybody again.')
    else:
        typer.echo(f"{alias} of {back.service} is back at {back.id}.")


def demote(
    service: _Service,
    alias: Annotated[str, typer.Option("--from", help="The alias: production, canary ...")],
    repo: Repo = HERE,
) -> None:
    """Take an alias away; without production, the bare name means the newest version."""
    with open_store(repo) as store:
        before = store.demote(service, alias=alias)
        now = store.registry.resolve_service(service)
    typer.echo(f'{before.id} is no longer {alias}. "{before.service}" is {now.id}.')


def aliases(
    service: Annotated[str, typer.Argument(help="The service; all when not given.")] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """List where aliases point, since when, by whom, and where a rollback leads."""
    with open_store(repo) as store:
        found = store.aliases(service or None)
    if output is Format.json:
        print_json([vars(one) | {"id": one.id} for one in found])
        return
    for one in found:
        typer.echo(_line(one))
    if not found:
        typer.echo("No alias is set. A bare name means the newest version.")


def _line(alias: Alias) -> str:
    share = f"  {alias.share * 100:g} % of the keys" if alias.alias == _CANARY else ""
    since = "" if alias.moved_at is None else f"  since {alias.moved_at:%Y-%m-%d %H:%M} by {alias.moved_by}"
    before = ", ".join(f"@{version}" for version in alias.before)
    return f"{alias.service:24} {alias.alias:12} {alias.id}{share}{since}" + (f"  (before: {before})" if before else "")


def approve(number: _Number, catch_up: _CatchUp = False, repo: Repo = HERE) -> None:
    """Approve somebody else's promotion: the last approval that it needs moves the alias."""
    with open_store(repo) as store:
        if catch_up:
            _catch_up(store, store.registry.promotion(number).id)
        done = store.approve(number)
    if done.state == "approved":
        typer.echo(f"Approved: {done.alias} of {done.service} is now {done.id}.")
    else:
        typer.echo(f"Approved by {', '.join(done.decided_by)}; promotion {number} needs more approvals.")


def reject(number: _Number, repo: Repo = HERE) -> None:
    """Turn a promotion down, or withdraw your own."""
    with open_store(repo) as store:
        done = store.reject(number)
    typer.echo(f"Rejected: {done.id} does not become {done.alias} of {done.service}.")


def promotions(
    service: Annotated[str, typer.Argument(help="The service; all when not given.")] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """List the promotions that needed approval."""
    with open_store(repo) as store:
        found = store.promotions(service or None)
    if output is Format.json:
        print_json([vars(one) | {"id": one.id} for one in found])
        return
    for one in found:
        by = f" by {', '.join(one.decided_by)}" if one.decided_by else ""
        asked = f"{one.requested_at:%Y-%m-%d %H:%M} by {one.requested_by}"
        typer.echo(f"{one.number:>4}  {one.id} to {one.alias}  asked {asked}  {one.state}{by}")
    if not found:
        typer.echo("No promotion has needed approval.")


def _catch_up(store: FeatureStore, reference: str) -> None:
    with rows_done(reference):
        lines = store.catch_up(reference)
    for line in lines or ("Nothing to catch up with.",):
        typer.echo(line)


def _print_moved(done: Alias | Promotion) -> None:
    from featurestore.registry.records import Promotion

    if isinstance(done, Promotion):
        typer.echo(f"{done.id} becomes {done.alias} of {done.service} when somebody else approves it.")
        typer.echo(f"Next, for them: featurestore approve {done.number}")
        return
    typer.echo(f"{done.alias} of {done.service} is now {done.id}.")
    if done.alias != _CANARY:
        return
    if done.share:
        typer.echo(f'It answers {done.share * 100:g} % of the routing keys that ask for "{done.service}".')
    else:
        typer.echo(f"It answers nobody yet. Next: featurestore promote {done.id} --to {_CANARY} --share 5%")
