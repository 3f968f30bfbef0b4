"""What stands between a signal and who retrains, found by ``monitor check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureView, Field, MonitorPolicy, RetrainingPolicy, config
from featurestore.types import Float64, Int64
from monitor.signalling.checking import faults

_VIEW = FeatureView(
    name="spending", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="total", dtype=Float64)]
)
_SERVICE = FeatureService(name="scoring", features=[_VIEW])


@pytest.mark.parametrize(
    ("section", "about", "what"),
    [
        ('command = ["no-such-program"]', "[signals]", 'There is no program "no-such-program".'),
        ("", "policy asks", "it asks for new models, and nobody hears of that"),
        ("", "policy waits", "its retraining signals wait for somebody to agree, and nobody is asked"),
        ("port = 6577", "", ""),
    ],
)
def test_what_would_reach_nobody_is_found(tmp_path: Path, section: str, about: str, what: str) -> None:
    (tmp_path / config.FILE_NAME).write_text(f"[signals]\n{section}\n")
    policies = [
        MonitorPolicy(name="asks", service=_SERVICE),
        MonitorPolicy(name="waits", service=_SERVICE, retrain=RetrainingPolicy(approval=True)),
        MonitorPolicy(name="quiet", service=_SERVICE, retrain=False),
    ]
    found = {one.about: one for one in faults(config.load(tmp_path), policies)}
    assert "policy quiet" not in found
    assert ("policy asks" in found, "policy waits" in found) == {
        "": (True, True),
        "port = 6577": (False, False),
    }.get(section, (False, True))
    if about:
        assert found[about].what == what
        assert found[about].hint
    else:
        assert found == {}
