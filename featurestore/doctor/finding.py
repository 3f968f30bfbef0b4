"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from featurestore.errors import FeatureStoreError


class State(StrEnum):
    """How a thing is: ``warning`` is what works, and will not for long or not as one may think."""

    well = "well"
    warning = "warning"
    fault = "fault"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: ``online store``, ``view clicks@2``.
        state: how it is.
        what: in one sentence, free of secrets, keys and values of features.
        hint: what to do about it; "" where nothing need be done, or ``what`` says so.
    """

    about: str
    state: State
    what: str
    hint: str = ""


def well(about: str, what: str) -> Finding:
    """Return that a thing is as it should be."""
    return Finding(about=about, state=State.well, what=what)


def warning(about: str, what: str, hint: str) -> Finding:
    """Return what is worth knowing of a thing."""
    return Finding(about=about, state=State.warning, what=what, hint=hint)


def fault(about: str, what: str | FeatureStoreError, hint: str = "") -> Finding:
    """Return what is wrong with a thing: said by whoever asks, or by an error."""
    if isinstance(what, FeatureStoreError):
        return Finding(about=about, state=State.fault, what=what.message, hint=hint or what.hint)
    return Finding(about=about, state=State.fault, what=what, hint=hint)
