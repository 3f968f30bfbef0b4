"""What asks for a new model, what is a fault of which a model must not learn, and the names of signals. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from featurestore.definitions import RetrainingPolicy

DRIFT, PERFORMANCE, CONFIGURATION = "drift", "performance", "configuration_drift"
STALE, NEW_DATA, DEFINITIONS = "stale_training_data", "new_data", "changed_definitions"
BUSINESS = "business_metric"
#: A person has asked.
REQUEST = "request"

#: Rules that find nothing broken: the world has changed, or the model has aged, or what is served comes late, of which
#: the rows that training reads know nothing. Any other rule says that something is broken, and a model would learn it.
_NO_FAULT = frozenset(
    {"drift", "prediction drift", "launch mismatch", "performance", "stale_training_data", "materialization_lag"}
)


def plain_rule(rule: str) -> str:
    """Return a rule without whom it is about: ``performance`` of ``performance of churn@3``."""
    return rule.partition(" of ")[0]


def is_fault(rule: str, kinds: Collection[str] = ()) -> bool:
    """Return whether an alert of a rule says that something is broken.

    Args:
        rule: the rule.
        kinds: what its findings are about. A model that was trained with other libraries or definitions than are
            served is to be trained anew; a server that runs something else is to be mended.
    """
    if plain_rule(rule) == CONFIGURATION:
        return set(kinds) != {"model"}
    return plain_rule(rule) not in _NO_FAULT


def cause_of(rule: str, kinds: Collection[str] = ()) -> str:
    """Return what an alert of a rule asks for a new model by; "" where it does not."""
    plain = plain_rule(rule)
    if plain == CONFIGURATION:
        return "" if is_fault(rule, kinds) else CONFIGURATION
    return plain if plain in (DRIFT, PERFORMANCE) else ""


def signal_id(project: str, service: str, baseline: str, subject: str, attempt: int = 1) -> str:
    """Return a signal's id: the same cause has the same one, however often it is found.

    Training on newer data makes another baseline, so that drift from there is another cause. A cause that nobody has
    decided on in time, or whose training has failed, is another one too, once it is found again.

    Args:
        project: the namespace.
        service: the service version.
        baseline: the training data of the model at hand.
        subject: what the cause is about: the key of an alert, a dataset, a definition.
        attempt: how often it was found so.
    """
    text = f"retraining/1\n{project}\n{service}\n{baseline}\n{subject}" + (f"\n{attempt}" if attempt > 1 else "")
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def important(
    moved: Iterable[str], policy: RetrainingPolicy, importances: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Return the features whose drift is a cause, and those whose drift is none.

    Args:
        moved: features, or numbers of one: ``vector.norm``.
        policy: says which count.
        importances: of the model's features; of a model that has none recorded each one counts.
    """
    whole = sum(max(0.0, one) for one in importances.values())
    counts: list[str] = []
    others: list[str] = []
    for name in moved:
        feature = name.partition(".")[0]
        share = max(0.0, importances.get(feature, 0.0)) / whole if whole else 1.0
        named = not policy.features or feature in policy.features
        (counts if named and share >= policy.least_importance else others).append(name)
    return counts, others
