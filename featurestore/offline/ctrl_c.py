"""Ctrl-C ends the query that runs; DuckDB alone was seen to finish it first, however long that took."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

#: Those that the main thread has open, one within another.
_connections: list[duckdb.DuckDBPyConnection] = []


@contextmanager
def ending_queries(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have Ctrl-C end what the connection does in the block, which is left by a KeyboardInterrupt then.

    Python calls a handler between two of its own instructions, and a query is one. But the signal's number is written
    to a socket at once, and another thread reads it there. Where Ctrl-C means something else (an event loop's or a
    daemon's handler, a thread that is not the main one) nothing is changed.

    Args:
        connection: one that a single thread uses at a time.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed while a query ran.
    """
    try:
        if _connections or not _raises_here():
            with _among(connection):
                yield
        else:
            with _listening(), _among(connection):
                yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB says when it notices by itself
            raise KeyboardInterrupt from error
        raise


@contextmanager
def _among(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if main:
        _connections.append(connection)
    try:
        yield
    finally:
        if main:
            _connections.remove(connection)


@contextmanager
def _listening() -> Iterator[None]:
    heard, written = socket.socketpair()
    with heard, written:
        written.setblocking(False)
        before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        if before in (heard.fileno(), written.fileno()):  # a closed loop's, whose number has come to us
            before = -1
        listener = threading.Thread(target=_listen, args=(heard, before), name="ctrl-c", daemon=True)
        listener.start()
        try:
            yield
        finally:
            try:
                signal.set_wakeup_fd(before)
            except (ValueError, OSError):  # that of a loop that was closed
                signal.set_wakeup_fd(-1)
            written.shutdown(socket.SHUT_WR)
            listener.join()


def _raises_here() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def _listen(heard: socket.socket, others: int) -> None:
    while numbers := heard.recv(64):
        if others != -1:  # who was told before us, such as an event loop, or one that has gone
            with contextlib.suppress(OSError):
                os.write(others, numbers)
        if signal.SIGINT in numbers:
            for connection in tuple(_connections):
                connection.interrupt()
