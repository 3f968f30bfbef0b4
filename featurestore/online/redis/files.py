"""The files that a server keeps of its rows: written anew, so that nothing is in them that was removed."""

from __future__ import annotations

import time

import structlog

from featurestore.errors import OnlineStoreError
from featurestore.online.redis.connecting import Refusal, Server, checked

_REWRITE_SECONDS = 600.0
_LOOK_SECONDS = 0.05

_logger = structlog.get_logger(__name__)


def write_files_anew(server: Server) -> None:
    """Have a server write the files anew that it keeps; one that may not be asked to is told of in the log.

    Raises:
        OnlineStoreError: it does not answer, or does not do it in time.
    """
    (said,) = server.run([(b"INFO", b"persistence")])
    if isinstance(said, Refusal):
        _tell(server, said)
        return
    if _facts(said).get("aof_enabled") == "1":
        _written(server, b"BGREWRITEAOF", "aof_rewrite_in_progress")
    (saves,) = server.run([(b"CONFIG", b"GET", b"save")])
    if isinstance(saves, Refusal) or (len(saves) > 1 and saves[1]):
        _written(server, b"BGSAVE", "rdb_bgsave_in_progress")


def _written(server: Server, command: bytes, fact: str) -> None:
    (said,) = server.run([(command,)])
    if isinstance(said, Refusal) and "in progress" not in said.said:
        _tell(server, said)
        return
    ends = time.monotonic() + _REWRITE_SECONDS
    while time.monotonic() < ends:
        facts = _facts(checked(server.run([(b"INFO", b"persistence")])[0], server.address))
        if facts.get(fact) == "0" and facts.get("aof_rewrite_scheduled", "0") == "0":
            return
        time.sleep(_LOOK_SECONDS)
    raise OnlineStoreError(
        f"The online store at {server.address} has not written its file anew within {_REWRITE_SECONDS:g} s.",
        hint="Its own log says why; then do it again.",
    )


def _facts(said: bytes) -> dict[str, str]:
    """Return what INFO says."""
    return dict(line.split(":", 1) for line in said.decode().splitlines() if ":" in line)


def _tell(server: Server, refusal: Refusal) -> None:
    _logger.warning(
        "the online store's own files may have removed rows still, until it writes them anew",
        server=server.address,
        refused=refusal.said,
        hint="Have BGREWRITEAOF and BGSAVE run there, and delete older backups of it.",
    )
