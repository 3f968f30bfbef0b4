"""A field: one feature, join key or request value, with its type and checks."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featurestore import types
from featurestore.definitions.arguments import check_flag, check_list, check_mapping, check_text, is_number
from featurestore.definitions.names import check_column
from featurestore.errors import DefinitionError

#: The types whose values may be listed, and what Python type the values have. Equal is not exact for floats.
_IN_SET: Mapping[str, tuple[type, ...]] = {"Int32": (int,), "Int64": (int,), "String": (str,), "Bool": (bool,)}

#: The least and the greatest value of each numeric type.
_RANGE: Mapping[str, tuple[float, float]] = {
    "Int32": (-(2**31), 2**31 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "Float32": (-3.4028234663852886e38, 3.4028234663852886e38),
    "Float64": (-sys.float_info.max, sys.float_info.max),
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of a view or of a request.

    Attributes:
        name: the column.
        dtype: one of :mod:`featurestore.types`.
        not_null: a row where it is null is bad.
        ge: a row where it is less is bad (numeric types; nulls pass).
        le: a row where it is greater is bad (numeric types; nulls pass).
        in_set: a row where it is anything else is bad (nulls pass; integers, texts and truth values).
        description: for people; changing it makes no new version.
        tags: for people and policies; ``{"pii": "true"}`` keeps its values out of alerts, logs and pages.

    Raises:
        DefinitionError: a check does not suit the type, lies beyond what the type holds, or excludes every value.
    """

    name: str
    dtype: types.DType
    not_null: bool = False
    ge: float | None = None
    le: float | None = None
    in_set: tuple[Any, ...] | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_column(self.name, "a field")
        if not isinstance(self.dtype, types.DType):
            raise DefinitionError(
                f'The dtype of field "{self.name}" is {self.dtype!r}, which is not a feature type.',
                hint="Take one from featurestore.types: " + ", ".join(types.BY_NAME) + ".",
            )
        what = f'Field "{self.name}"'
        check_flag(self.not_null, what, "not_null")
        check_text(self.description, what, "description")
        limits = {"ge": self.ge, "le": self.le}
        for check, limit in limits.items():
            if limit is None:
                continue
            if not self.dtype.numeric:
                raise DefinitionError(f'Field "{self.name}" is {self.dtype}: {check}={limit!r} has no meaning for it.')
            if not is_number(limit) or limit in (math.inf, -math.inf) or limit != limit:
                raise DefinitionError(f'Field "{self.name}" has {check}={limit!r}, which is not a finite number.')
            self._check_range(limit, check)
        if self.ge is not None and self.le is not None and self.ge > self.le:
            raise DefinitionError(f'Field "{self.name}" has ge={self.ge} over le={self.le}: no value passes.')
        if self.in_set is not None:
            given = self.in_set
            allowed = tuple(given) if isinstance(given, (set, frozenset)) else check_list(given, what, "in_set")
            if not allowed:
                raise DefinitionError(f'Field "{self.name}" has an empty in_set: no value passes.')
            takes = _IN_SET.get(self.dtype.name)
            if takes is None:
                raise DefinitionError(f'Field "{self.name}" is {self.dtype}: in_set has no meaning for it.')
            for value in allowed:
                if type(value) not in takes:
                    raise DefinitionError(
                        f'in_set of field "{self.name}" has {value!r}, which is not {self.dtype}.',
                        hint=f"Its values are of type {' or '.join(one.__name__ for one in takes)}.",
                    )
                if type(value) is int:
                    self._check_range(value, "in_set")
            object.__setattr__(self, "in_set", allowed)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    def _check_range(self, value: float, check: str) -> None:
        least, greatest = _RANGE[self.dtype.name]
        if not least <= value <= greatest:
            raise DefinitionError(
                f'Field "{self.name}" has a number in its {check} that no {self.dtype} can be.',
                hint=f"{self.dtype} holds {least} to {greatest}.",
            )

    @property
    def pii(self) -> bool:
        """Whether its values identify a person and must not leave in messages."""
        return self.tags.get("pii", "false").lower() not in ("", "false", "no", "0")

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values; absent checks are left out."""
        spec: dict[str, Any] = {"name": self.name, "dtype": self.dtype.name}
        if self.not_null:
            spec["not_null"] = True
        for check in ("ge", "le"):
            limit = getattr(self, check)
            if limit is not None:
                spec[check] = limit
        if self.in_set is not None:
            spec["in_set"] = sorted(self.in_set, key=repr)
        return spec

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        return {"description": self.description, "tags": dict(self.tags)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> Field:
        """Return the field that :meth:`spec` and :meth:`notes` came from."""
        checks = {key: value for key, value in spec.items() if key not in ("name", "dtype")}
        return cls(name=spec["name"], dtype=types.by_name(spec["dtype"]), **checks, **notes)
