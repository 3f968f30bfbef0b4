"""How a model's predictions meet their outcomes: what it predicts, when the truth is known, what its absence means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from featurestore.definitions.arguments import check_duration, check_text, is_number
from featurestore.errors import DefinitionError, closest

#: What a model may predict.
TASKS = ("binary", "multiclass", "regression")
#: What it may mean that a prediction has no outcome once its label delay is over.
MISSING_OUTCOMES = ("unknown", "negative")

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model declares of its predictions and their outcomes.

    Attributes:
        task: ``binary``, ``multiclass`` or ``regression``; empty where the model declares nothing, and is not measured.
        label_delay: how long after a prediction its outcome may still come. Metrics take a prediction in when this is
            over, not when its outcome arrives: early outcomes are not a sample of all (who returns a purchase does so
            at once, who keeps it is known in the end).
        missing_outcome: what no outcome means then: ``unknown`` (the prediction is left out, and counted), or
            ``negative`` (nothing happened: it counts as 0).
        positive_label: of a binary model whose predictions or outcomes are labels, the one that counts as 1.
        decision_threshold: of a binary model, the score from which on a prediction counts as positive.

    Raises:
        DefinitionError: a value is none of those.
    """

    task: str = ""
    label_delay: timedelta = timedelta(0)
    missing_outcome: str = "unknown"
    positive_label: str = ""
    decision_threshold: float = 0.5

    def __post_init__(self) -> None:
        what = "The model"
        for name in ("task", "missing_outcome", "positive_label"):
            check_text(getattr(self, name), what, name)
        if self.task and self.task not in TASKS:
            raise DefinitionError(f'{what} has task="{self.task}".', hint=closest(self.task, TASKS))
        if self.missing_outcome not in MISSING_OUTCOMES:
            raise DefinitionError(
                f'{what} has missing_outcome="{self.missing_outcome}".',
                hint=closest(self.missing_outcome, MISSING_OUTCOMES),
            )
        if self.missing_outcome == "negative" and self.task != "binary":
            raise DefinitionError(
                f'{what} has missing_outcome="negative", and its task is "{self.task or "not declared"}".',
                hint='Only an outcome of two classes can be "nothing happened": declare task="binary".',
            )
        check_duration(
            self.label_delay,
            what,
            "label_delay",
            least=timedelta(0),
            hint="Give the time after which an outcome is known, 0 or more.",
        )
        number = self.decision_threshold
        if not is_number(number) or not 0 <= number <= 1:
            raise DefinitionError(
                f"{what} has decision_threshold={number!r}, which does not lie between 0 and 1.",
                hint="It is the score from which on a prediction counts as positive: 0.5.",
            )
        object.__setattr__(self, "decision_threshold", float(number))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; empty where nothing is declared."""
        if self == Evaluation():
            return {}
        return {
            "task": self.task,
            "label_delay_us": self.label_delay // _MICROSECOND,
            "missing_outcome": self.missing_outcome,
            "positive_label": self.positive_label,
            "decision_threshold": self.decision_threshold,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Return what :meth:`to_dict` came from."""
        if not values:
            return cls()
        return cls(
            task=values["task"],
            label_delay=values["label_delay_us"] * _MICROSECOND,
            missing_outcome=values["missing_outcome"],
            positive_label=values["positive_label"],
            decision_threshold=values["decision_threshold"],
        )
