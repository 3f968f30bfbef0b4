"""Which channel stands in for which."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurestore.config import Config
from featurestore.errors import ConfigError
from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.fallbacks import fallbacks


def test_those_that_have_one_and_in_a_rehearsal_those_that_take_its_messages(tmp_path: Path) -> None:
    channels = {
        "ops": ConsoleConfig(fallback="mail"),
        "log": ConsoleConfig(fallback="wall"),
        "mail": ConsoleConfig(),
        "wall": ConsoleConfig(rehearsals=True),
    }
    config = Config(root=tmp_path, channels=channels)
    assert fallbacks(config) == {"ops": "mail", "log": "wall"}
    assert fallbacks(config.for_replay("july")) == {"log": "wall"}


@pytest.mark.parametrize(
    ("named", "said", "hint"), [("opps", 'no channel "opps"', 'mean "ops"'), ("ops", "for itself", "another")]
)
def test_one_that_is_none_is_refused_by_name(tmp_path: Path, named: str, said: str, hint: str) -> None:
    config = Config(root=tmp_path, channels={"ops": ConsoleConfig(fallback=named)})
    with pytest.raises(ConfigError, match=said) as raised:
        fallbacks(config)
    assert "channels.ops.fallback" in raised.value.message
    assert hint in raised.value.hint
