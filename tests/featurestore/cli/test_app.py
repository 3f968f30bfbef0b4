"""What becomes of a command that ends otherwise than well."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurestore import FeatureStore
from featurestore.offline.engine import connect
from featurestore.settings.sections import OfflineConfig


def _until_interrupted(*_: Any, **__: Any) -> None:
    pressing = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    pressing.start()
    with tempfile.TemporaryDirectory() as spill, connect(OfflineConfig(), Path(spill), "Counting") as connection:
        connection.sql("SELECT count(*) FROM range(100_000_000_000)").fetchall()


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
