"""``featurestore dashboard``; the application is loaded when it is started, as it takes a while."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Repo, open_store
from featurestore.errors import ConfigError

#: Of 19, how far the process steps back.
_NICE = 10

if TYPE_CHECKING:
    from monitor.dashboard.server import DashboardServer


def dashboard(
    host: Annotated[str, typer.Option(help="Where to listen; as the settings say when not given.")] = "",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The port, 0 for a free one; as the settings say when not given."),
    ] = None,
    repo: Repo = HERE,
    replay: Annotated[
        str, typer.Option("--replay", metavar="NAME", help="Show a rehearsal instead of the live monitor.")
    ] = "",
) -> None:
    """Show the store, its monitor and its incidents in a browser, until Ctrl-C."""
    serving = dashboard_server()
    step_back()
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with open_store(repo, replay) as store:
            served = serving(store, host=host or None, port=port)
            try:
                typer.echo(f"The dashboard is at {served.url}  (Ctrl-C ends it)")
                # Not one long wait: a signal that the system gives to another thread does not end it.
                while not stop.wait(0.5):
                    pass
            finally:
                served.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def step_back() -> None:
    """Let others go first where the machine has too little for all: who looks can wait, who is served or judges not."""
    os.nice(_NICE)


def dashboard_server() -> type[DashboardServer]:
    """Return what serves the dashboard.

    Raises:
        ConfigError: its extra is not installed.
    """
    try:
        from monitor.dashboard.server import DashboardServer
    except ImportError:
        raise ConfigError("The dashboard needs its extra.", hint="pip install 'featurestore[dashboard]'") from None
    return DashboardServer
