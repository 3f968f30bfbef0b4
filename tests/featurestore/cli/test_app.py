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
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with duckdb.connect() as connection:
        for _batch in connection.sql("SELECT count(*) FROM range(100000000000)").to_arrow_reader(1):
            pass


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
