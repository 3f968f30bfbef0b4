"""What of gRPC's own settings a server wants, said before gRPC is imported: it reads them once, as it is loaded."""

from __future__ import annotations

from collections.abc import MutableMapping

_VARIABLE = "GRPC_EXPERIMENTS"
#: gRPC's newer listener hands each event from a thread of its own to the one that waits for it. Without it that one
#: waits for the sockets itself, and a call takes 5 to 20 % less of the processor (benchmarks/results.md).
_WANTED = "-event_engine_listener"


def choose_listener(environment: MutableMapping[str, str]) -> None:
    """Enter what a server wants into the environment of its process, which its workers inherit.

    What somebody has entered there stays as it is.
    """
    environment.setdefault(_VARIABLE, _WANTED)
