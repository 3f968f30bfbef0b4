"""Options of commands that call a server: TLS, and the token of whoever calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Tls = Annotated[bool, typer.Option("--tls", help="Speak TLS with the server.")]
Ca = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Who may have signed the server's certificate; implies --tls.")
]
Certificate = Annotated[Path | None, typer.Option(metavar="FILE", help="This client's certificate; needs --key.")]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")]
TokenFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Has the token for the server.")]
