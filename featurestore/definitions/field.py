"""A field: one feature, join key or request value, with its type and checks."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from featurestore import types
from featurestore.definitions.arguments import check_flag, check_list, check_mapping, check_text, is_number
from featurestore.definitions.literals import check_literal, from_json, to_json
from featurestore.definitions.names import SEPARATOR, check_column, check_name
from featurestore.errors import DefinitionError
from featurestore.places import place_of, remember

if TYPE_CHECKING:
    import pyarrow as pa

Column = TypeVar("Column", bound="pa.Array | pa.ChunkedArray")

#: The types whose values may be listed, and what Python type the values have. Equal is not exact for floats.
_IN_SET: Mapping[str, tuple[type, ...]] = {"Int32": (int,), "Int64": (int,), "String": (str,), "Bool": (bool,)}

#: The least and the greatest value of each numeric type.
_RANGE: Mapping[str, tuple[float, float]] = {
    "Int32": (-(2**31), 2**31 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "Float32": (-3.4028234663852886e38, 3.4028234663852886e38),
    "Float64": (-sys.float_info.max, sys.float_info.max),
}


UniqueWithin = Literal["load", "table"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of a view or of a request.

    A load keeps a bad row aside, with the reason, or is refused as a whole where the view says
    ``on_bad_rows="reject"``. So the checks decide which rows are stored, and are part of the view's storage hash. The
    default is not: stored rows keep their nulls, and it stands in for them when they are read.

    Attributes:
        name: the column.
        dtype: one of :mod:`featurestore.types`.
        not_null: a row where it is null is bad.
        ge: a row where it is less is bad (numeric types; nulls pass).
        le: a row where it is greater is bad (numeric types; nulls pass).
        in_set: a row where it is anything else is bad (nulls pass; integers, texts and truth values).
        regex: a row where the whole text does not match is bad (String; nulls pass). The syntax is RE2's, in which a
            match takes linear time, and which so has no look-around and no back-references.
        unique_within: a row that repeats a value is bad: one that an earlier good row of the same load has
            (``load``), or one that any row of the table has (``table``). The first stays; nulls never repeat. Not
            for nested types. While a load runs, 16 bytes for each of its values, or each of the table's, are held in
            memory, or 8 where the type is no wider; with ``table``, loads of the view run one after another.
        max_null_rate: a load in which more than this share of all rows that came has a null here is refused as a
            whole: 0 to under 1. A cell of a text file that cannot be read counts as null.
        default: what a reader sees in place of a null, of a row that is not there, and of one older than the TTL;
            offline and online alike, and before on-demand features are computed. The status of the row still tells.
            A request field with a default may be left out of a request. It is a value of the dtype
            (:mod:`featurestore.definitions.literals`), and no check holds for it: -1 may stand for "unknown" where
            ``ge=0``. None is no default.
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
    regex: str | None = None
    unique_within: UniqueWithin | None = None
    max_null_rate: float | None = None
    default: Any = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        self._check_name()
        if not isinstance(self.dtype, types.DType):
            raise DefinitionError(
                f'The dtype of field "{self.name}" is {self.dtype!r}, which is not a feature type.',
                hint="Take one from featurestore.types: " + ", ".join(types.BY_NAME) + ".",
            )
        what = f'Field "{self.name}"'
        check_flag(self.not_null, what, "not_null")
        check_text(self.description, what, "description")
        self._check_limits()
        self._check_set(what)
        self._check_regex(what)
        self._check_unique(what)
        self._check_null_rate(what)
        if self.default is not None:
            default = check_literal(self.default, self.dtype, f'The default of field "{self.name}"')
            object.__setattr__(self, "default", default)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    def _check_name(self) -> None:
        check_column(self.name, "a field")

    def _check_limits(self) -> None:
        for check, limit in (("ge", self.ge), ("le", self.le)):
            if limit is None:
                continue
            if not self.dtype.numeric:
                raise DefinitionError(f'Field "{self.name}" is {self.dtype}: {check}={limit!r} has no meaning for it.')
            if not is_number(limit) or limit in (math.inf, -math.inf) or limit != limit:
                raise DefinitionError(f'Field "{self.name}" has {check}={limit!r}, which is not a finite number.')
            self._check_range(limit, check)
        if self.ge is not None and self.le is not None and self.ge > self.le:
            raise DefinitionError(f'Field "{self.name}" has ge={self.ge} over le={self.le}: no value passes.')

    def _check_set(self, what: str) -> None:
        if self.in_set is None:
            return
        given = self.in_set
        allowed = tuple(given) if isinstance(given, (set, frozenset)) else check_list(given, what, "in_set")
        if not allowed:
            raise DefinitionError(f"{what} has an empty in_set: no value passes.")
        takes = _IN_SET.get(self.dtype.name)
        if takes is None:
            raise DefinitionError(f"{what} is {self.dtype}: in_set has no meaning for it.")
        for value in allowed:
            if type(value) not in takes:
                raise DefinitionError(
                    f'in_set of field "{self.name}" has {value!r}, which is not {self.dtype}.',
                    hint=f"Its values are of type {' or '.join(one.__name__ for one in takes)}.",
                )
            if type(value) is int:
                self._check_range(value, "in_set")
        object.__setattr__(self, "in_set", allowed)

    def _check_regex(self, what: str) -> None:
        if self.regex is None:
            return
        check_text(self.regex, what, "regex")
        if self.dtype != types.String:
            raise DefinitionError(f"{what} is {self.dtype}: regex has no meaning for it.")
        # Here, and not above: definitions without a pattern need no pyarrow.
        import pyarrow
        import pyarrow.compute

        # Each by itself too: "a)|(b" is a pattern only between other brackets.
        for pattern in (self.regex, whole_text(self.regex)):
            try:
                pyarrow.compute.match_substring_regex(pyarrow.array([""]), pattern)
            except (pyarrow.ArrowInvalid, UnicodeEncodeError) as error:
                problem = str(error).splitlines()[0].removeprefix("Invalid regular expression: ")
                raise DefinitionError(
                    f"{what} has regex={self.regex!r}, which is not a pattern: {problem.partition(': ')[0]}.",
                    hint="The syntax is RE2's, without look-around and back-references: "
                    "github.com/google/re2/wiki/Syntax.",
                ) from None

    def _check_unique(self, what: str) -> None:
        if self.unique_within is None:
            return
        if self.unique_within not in ("load", "table"):
            raise DefinitionError(
                f"{what} has unique_within={self.unique_within!r}.", hint='It is "load" or "table", or left out.'
            )
        if not self.dtype.scalar:
            raise DefinitionError(f"{what} is {self.dtype}: unique_within has no meaning for it.")

    def _check_null_rate(self, what: str) -> None:
        if self.max_null_rate is None:
            return
        if not is_number(self.max_null_rate) or not 0 <= self.max_null_rate < 1:
            raise DefinitionError(
                f"{what} has max_null_rate={self.max_null_rate!r}.",
                hint="It is a share of rows, from 0 to under 1: max_null_rate=0.05.",
            )

    def _check_range(self, value: float, check: str) -> None:
        if self.dtype.precision:
            greatest: float | Decimal = Decimal((0, (9,) * self.dtype.precision, -self.dtype.scale))
            least: float | Decimal = -greatest
        else:
            least, greatest = _RANGE[self.dtype.name]
        if not least <= value <= greatest:
            raise DefinitionError(
                f'Field "{self.name}" has a number in its {check} that no {self.dtype} can be.',
                hint=f"{self.dtype} holds {least} to {greatest}.",
            )

    @property
    def feature(self) -> str:
        """Its name in its view: ``temp``, also where ``name`` is the full one, ``dest_weather__temp``."""
        return self.name

    def under(self, use: str) -> FullyNamedField:
        """Return it under its full name.

        Args:
            use: the name of a view, or of a use of one: ``dest_weather``.
        """
        parts = {one.name: getattr(self, one.name) for one in fields(Field)}
        made = FullyNamedField(**parts | {"name": f"{use}{SEPARATOR}{self.feature}"})
        remember(made, place_of(self))
        return made

    @property
    def pii(self) -> bool:
        """Whether its values identify a person and must not leave in messages."""
        return self.tags.get("pii", "false").lower() not in ("", "false", "no", "0")

    def filled(self, column: Column) -> Column:
        """Return values of the field, an Arrow array of its type, with the default in place of nulls.

        All readers of a field's values use this one, so the join, a lookup and the serving log agree.
        """
        if self.default is None or not column.null_count:
            return column
        import pyarrow
        import pyarrow.compute

        filled: Column = pyarrow.compute.fill_null(column, pyarrow.scalar(self.default, self.dtype.to_arrow()))
        return filled

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
        for check in ("regex", "unique_within", "max_null_rate"):
            if getattr(self, check) is not None:
                spec[check] = getattr(self, check)
        if self.default is not None:
            spec["default"] = to_json(self.default, self.dtype)
        return spec

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        return {"description": self.description, "tags": dict(self.tags)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> Field:
        """Return the field that :meth:`spec` and :meth:`notes` came from."""
        dtype = types.by_name(spec["dtype"])
        rest = {key: value for key, value in spec.items() if key not in ("name", "dtype")}
        if "default" in rest:
            rest["default"] = from_json(rest["default"], dtype)
        return cls(name=spec["name"], dtype=dtype, **rest, **notes)


@dataclass(frozen=True, kw_only=True)
class FullyNamedField(Field):
    """A feature under its full name: that of a view, or of a use of one, two underscores and its own.

    Made by :meth:`Field.under`; what users write has plain names.
    """

    def _check_name(self) -> None:
        use, _, feature = self.name.partition(SEPARATOR)
        check_name(use, "a use of a view")
        check_column(feature, "a field")

    @property
    def feature(self) -> str:
        """Its name in its view: ``temp`` of ``dest_weather__temp``."""
        return self.name.partition(SEPARATOR)[2]


def whole_text(pattern: str) -> str:
    """Return the pattern that a whole text matches exactly when ``pattern`` matches all of it."""
    return rf"\A(?:{pattern})\z"
