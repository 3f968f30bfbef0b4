"""What becomes of a command that ends otherwise than well."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from featurestore import FeatureStore


def _until_interrupted(*_: Any, **__: Any) -> None:
    done = threading.Event()

    def press() -> None:
        # DuckDB was seen to miss a Ctrl-C once, on busy cores: whoever sits there presses again.
        while not done.wait(1.0):
            os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with duckdb.connect() as connection:
            for _batch in connection.sql("SELECT count(*) FROM range(1000000000000)").to_arrow_reader(1):
                pass
    finally:
        done.set()
        pressing.join()


def test_ctrl_c_while_a_query_runs_is_said_in_one_word(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureStore, "materialize", _until_interrupted)
    said = command("materialize", "spending")
    assert said.code == 130
    assert said.err.strip().endswith("Interrupted.")
    assert "fault of featurestore" not in said.err


def test_ctrl_c_in_python_is_said_too(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureStore, "materialize", interrupted)
    said = command("materialize", "spending")
    assert (said.code, said.err.strip()) == (130, "Interrupted.")
