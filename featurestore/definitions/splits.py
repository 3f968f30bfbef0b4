"""How a training dataset is parted into rows to train on, to choose with, and to test with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from featurestore.definitions.arguments import check_text, is_number
from featurestore.errors import DefinitionError
from featurestore.types import utc

#: The parts, in the order of time. A model is trained on the first, and the monitor compares with it.
PARTS = ("train", "validation", "test")

#: Shares that are written down as decimals add up to one but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class TimeSplit:
    """The past to train on, what came later to test with.

    ``TimeSplit(validation=datetime(2013, 11, 1, tzinfo=UTC), test=datetime(2013, 12, 1, tzinfo=UTC))`` says at which
    instants the parts begin; ``TimeSplit(shares={"train": 0.8, "test": 0.2})`` finds instants that give about these
    shares of the rows. Rows of one instant are always in one part.

    Attributes:
        validation: the instant at which this part begins; None for no such part.
        test: the same of the last part.
        shares: instead of instants, the share of the rows of each part.

    Raises:
        DefinitionError: neither or both are given, the parts overlap, or the shares do not add up to one.
        TimestampError: an instant names no time zone.
    """

    validation: datetime | None = None
    test: datetime | None = None
    shares: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        given = {"validation": self.validation, "test": self.test}
        for name, instant in given.items():
            if instant is not None:
                object.__setattr__(self, name, utc(instant, f"{name} of TimeSplit"))
        if (self.shares is None) == (not self.cuts):
            raise DefinitionError(
                "TimeSplit takes the instants at which parts begin, or shares.",
                hint='Write TimeSplit(test=datetime(...)), or TimeSplit(shares={"train": 0.8, "test": 0.2}).',
            )
        if self.shares is not None:
            object.__setattr__(self, "shares", check_shares(self.shares, "TimeSplit"))
        if self.validation is not None and self.test is not None and self.validation >= self.test:
            raise DefinitionError(
                f"TimeSplit begins validation at {self.validation.isoformat()}, which is not before test.",
                hint="The parts are train, validation, test, in the order of time.",
            )

    @property
    def cuts(self) -> dict[str, datetime]:
        """The instants at which parts begin, in order."""
        return {name: one for name, one in (("validation", self.validation), ("test", self.test)) if one is not None}

    def spec(self) -> dict[str, Any]:
        """Return JSON values; ``split_from_spec`` reads them back."""
        if self.shares is not None:
            return {"by": "time", "shares": dict(self.shares)}
        return {"by": "time", "cuts": {name: one.isoformat() for name, one in self.cuts.items()}}


@dataclass(frozen=True, kw_only=True)
class _HashSplit:
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "test": 0.2})
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", check_shares(self.shares, type(self).__name__))
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise DefinitionError(
                f"{type(self).__name__} has seed={self.seed!r}.", hint="A seed is a whole number: seed=7."
            )


@dataclass(frozen=True, kw_only=True)
class KeySplit(_HashSplit):
    """Each key in one part only: a model is tested on customers that it has never seen.

    The key is all join keys of the service together.

    Attributes:
        shares: the share of the keys of each part.
        seed: another seed is another split.

    Raises:
        DefinitionError: the shares do not add up to one, or the seed is no whole number.
    """

    def spec(self) -> dict[str, Any]:
        """Return JSON values; ``split_from_spec`` reads them back."""
        return {"by": "key", "shares": dict(self.shares), "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class GroupSplit(_HashSplit):
    """Each value of a column of the entity rows in one part only; null is a value too.

    Attributes:
        column: a join key, or any other column.
        shares: the share of the values of each part.
        seed: another seed is another split.

    Raises:
        DefinitionError: the shares do not add up to one, or the seed is no whole number.
    """

    column: str

    def __post_init__(self) -> None:
        check_text(self.column, "GroupSplit", "column")
        super().__post_init__()

    def spec(self) -> dict[str, Any]:
        """Return JSON values; ``split_from_spec`` reads them back."""
        return {"by": "group", "column": self.column, "shares": dict(self.shares), "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class RandomSplit(_HashSplit):
    """Each row by chance; rows with the same keys and the same instant are in one part.

    Attributes:
        shares: the share of the rows of each part.
        seed: another seed is another split.

    Raises:
        DefinitionError: the shares do not add up to one, or the seed is no whole number.
    """

    def spec(self) -> dict[str, Any]:
        """Return JSON values; ``split_from_spec`` reads them back."""
        return {"by": "row", "shares": dict(self.shares), "seed": self.seed}


Split = TimeSplit | KeySplit | GroupSplit | RandomSplit


def check_shares(shares: object, what: str) -> dict[str, float]:
    """Return shares in the order of the parts.

    Raises:
        DefinitionError: a part is unknown, none is to train on, or the shares do not add up to one.
    """
    hint = f'Write shares={{"train": 0.8, "test": 0.2}}; the parts are {", ".join(PARTS)}.'
    if not isinstance(shares, Mapping):
        raise DefinitionError(f"{what} has shares={shares!r}, which is not a dict.", hint=hint)
    for name, share in shares.items():
        if name not in PARTS or not is_number(share) or not 0 < share <= 1:
            raise DefinitionError(f"{what} has {name!r}: {share!r} in its shares.", hint=hint)
    if PARTS[0] not in shares:
        raise DefinitionError(f"{what} leaves no rows to train on.", hint=hint)
    whole = math.fsum(shares.values())
    if abs(whole - 1) > _ROUNDING:
        raise DefinitionError(f"The shares of {what} add up to {whole:g}, not to 1.", hint=hint)
    return {name: float(shares[name]) for name in PARTS if name in shares}


def split_from_spec(spec: Mapping[str, Any]) -> Split:
    """Return the split that :meth:`spec` came from."""
    if spec["by"] == "time":
        if "cuts" in spec:
            cuts = {name: datetime.fromisoformat(one) for name, one in spec["cuts"].items()}
            return TimeSplit(validation=cuts.get("validation"), test=cuts.get("test"))
        return TimeSplit(shares=spec["shares"])
    if spec["by"] == "group":
        return GroupSplit(column=spec["column"], shares=spec["shares"], seed=spec["seed"])
    kind = KeySplit if spec["by"] == "key" else RandomSplit
    return kind(shares=spec["shares"], seed=spec["seed"])
