"""A case: these rows are given, and these features are expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featurestore.definitions import FeatureService, FeatureView, OnDemandFeatureView
from featurestore.definitions.arguments import check_list
from featurestore.errors import DefinitionError
from featurestore.places import remember

#: Rows as a user writes them: values by column.
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FeatureCase:
    """What a service, a view or an on-demand view must give.

    Attributes:
        of: the definition, or its name.
        given: rows by the name of a feature view, as its source would bring them, or of a named source that a
            SqlSource reads. Instants are ``datetime`` with a zone, or text as ``"2013-01-01T06:00Z"``.
        ask: of a service, the entity rows: keys, request fields, and the instant in ``event_timestamp``. Of an
            on-demand view alone, the values that its expressions name.
        expect: for each row of ``ask``, the features that matter, by name; ``<view>__status`` is ``"PRESENT"``,
            ``"NOT_FOUND"`` or ``"OUTSIDE_MAX_AGE"``. Of a feature view, its rows in any order, with keys and instant.
        quarantined: how many of the given rows the checks must keep aside, by the name of the view.
        tolerance: by how much a float may differ, relative to the larger one; near zero, absolute.
        name: what reports call it; the name that it is assigned to when not given.

    Raises:
        DefinitionError: the parts do not fit together.
    """

    of: str | FeatureService | FeatureView | OnDemandFeatureView
    given: Mapping[str, Rows] = field(default_factory=dict)
    ask: Rows = ()
    expect: Rows = ()
    quarantined: Mapping[str, int] = field(default_factory=dict)
    tolerance: float = 1e-6
    name: str = ""

    def __post_init__(self) -> None:
        remember(self)
        with_name = f'Case "{self.name}"' if self.name else "A case"
        if not isinstance(self.of, (str, FeatureService, FeatureView, OnDemandFeatureView)) or not self.of:
            raise DefinitionError(
                f"{with_name} is of {self.of!r}.", hint="Name a feature service, a feature view or an on-demand view."
            )
        what = f'{with_name} of "{self.target}"'
        for part in ("given", "quarantined"):
            if not isinstance(getattr(self, part), Mapping):
                raise DefinitionError(f"{what} has {part}={getattr(self, part)!r}, which is not a dict.")
        for part, rows in (("ask", self.ask), ("expect", self.expect), *self.given.items()):
            for row in check_list(rows, what, part):
                if not isinstance(row, Mapping):
                    raise DefinitionError(f"{what} has {row!r} in {part}.", hint="Rows are dicts of values by column.")
        if self.ask and len(self.ask) != len(self.expect):
            raise DefinitionError(
                f"{what} asks for {len(self.ask)} rows and expects {len(self.expect)}.",
                hint="Expect one row for each that is asked for; {} expects nothing of it.",
            )
        if not self.expect and not self.quarantined:
            raise DefinitionError(f"{what} expects nothing.", hint="Give expect=[...] or quarantined={...}.")
        if isinstance(self.tolerance, bool) or not isinstance(self.tolerance, (int, float)) or self.tolerance < 0:
            raise DefinitionError(f"{what} has tolerance={self.tolerance!r}.", hint="It is 0 or more.")

    @property
    def target(self) -> str:
        """The name of the definition that it is of."""
        return self.of if isinstance(self.of, str) else self.of.name
