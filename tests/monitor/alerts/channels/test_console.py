"""The terminal."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console as Terminal

from featurestore.errors import ConfigError
from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.base import Kind, Status
from monitor.alerts.channels.console import Console
from tests.contract.channel_far_sides.base import finding, message

_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _shown(said: object, *, encoding: str = "utf-8", colours: bool = False, **settings: object) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    terminal = Terminal(
        file=stream, width=40, highlight=False, force_terminal=colours, color_system="standard" if colours else None
    )
    console = Console("here", ConsoleConfig.model_validate(settings), terminal)
    assert console.deliver(said, now=_NOW).status is Status.DELIVERED  # type: ignore[arg-type]
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_the_first_line_says_what_it_is_about_and_text_in_brackets_is_not_styling() -> None:
    lines = _shown(message(Kind.FIRING, summary="f@1 drifted: temp [red]")).splitlines()
    assert lines[0] == "PAGE 12: f@1 drifted: temp [red]"
    assert "  do        Fix the pipeline." in lines
    assert "  evidence  ln 9.10 against a limit of ln 7.70 after 9 windows" in lines


def test_only_the_first_line_is_coloured() -> None:
    first, second, *_ = _shown(message(Kind.FIRING), colours=True).splitlines()
    assert first.startswith("\x1b[1;31m")
    assert first.endswith("\x1b[0m")
    assert "\x1b" not in second
    assert _shown(message(Kind.RESOLVED), colours=True).startswith("\x1b[1;32m")


def test_a_storm_of_features_stays_short() -> None:
    shown = _shown(message(Kind.FIRING, features=[finding()] * 10_000))
    assert "  and 9,994 more features" in shown.splitlines()
    assert len(shown.splitlines()) < 30


def test_a_terminal_that_has_no_blocks_shows_the_rest() -> None:
    assert "before  ??????????" in _shown(message(Kind.FIRING), encoding="ascii")


def test_a_template_is_shown_in_place_of_ours() -> None:
    assert _shown(message(Kind.FIRING), template="{title}\n{summary}").splitlines()[0] == "PAGE 12"
    with pytest.raises(ConfigError, match=r'channels\.here\.template" has an unknown name "nothing"'):
        Console("here", ConsoleConfig(template="{nothing}"))


def test_without_a_terminal_of_its_own_it_is_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console("here", ConsoleConfig())
    console.deliver(message(Kind.TEST), now=_NOW)
    assert "TEST: messages arrive here." in capsys.readouterr().err
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    sys.stderr.close()
    assert console.probe(now=_NOW).status is Status.RETRY
