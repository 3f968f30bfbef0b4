"""``[actions]``: whether the monitor may do something by itself."""

from __future__ import annotations

from featurestore.settings.section import Section


class ActionsConfig(Section):
    """``[actions]``: it acts where this says so and the policy names the action; else it only says what it would do."""

    enabled: bool = False
