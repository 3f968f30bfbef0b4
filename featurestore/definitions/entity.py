"""An entity: the thing that features describe, known by its join keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featurestore import types
from featurestore.definitions.arguments import check_list, check_mapping, check_text
from featurestore.definitions.names import check_column, check_name, check_unique
from featurestore.errors import DefinitionError
from featurestore.places import remember


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A thing that features describe.

    Attributes:
        name: its name in the project.
        join_keys: the columns that identify one; the name itself when not given.
        dtypes: their types, in the same order; strings when not given. Any scalar type will do; of floats, minus zero
            equals zero, and NaN equals nothing, so it is no key.
        description: for people.
        tags: for people.

    Raises:
        DefinitionError: keys and types do not pair, a key repeats, or a type is none that a key may have.
    """

    name: str
    join_keys: Sequence[str] = ()
    dtypes: Sequence[types.DType] = ()
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "an entity")
        what = f'Entity "{self.name}"'
        keys = check_list(self.join_keys, what, "join_keys") or (self.name,)
        dtypes = check_list(self.dtypes, what, "dtypes") or (types.String,) * len(keys)
        for key in keys:
            check_column(key, f'a join key of entity "{self.name}"')
        check_unique(keys, what)
        check_text(self.description, what, "description")
        if len(keys) != len(dtypes):
            raise DefinitionError(
                f"{what} has {len(keys)} join keys and {len(dtypes)} dtypes.",
                hint="Give one dtype a key.",
            )
        for key, dtype in zip(keys, dtypes, strict=True):
            if not isinstance(dtype, types.DType) or not dtype.scalar:
                usable = ", ".join(types.BY_NAME)
                raise DefinitionError(
                    f'Join key "{key}" of entity "{self.name}" cannot be {dtype!r}.',
                    hint=f"A key may be: {usable}, or a Decimal.",
                )
        object.__setattr__(self, "join_keys", keys)
        object.__setattr__(self, "dtypes", dtypes)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    @property
    def keys(self) -> dict[str, types.DType]:
        """Return each join key with its type, in order."""
        return dict(zip(self.join_keys, self.dtypes, strict=True))

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        return {"name": self.name, "join_keys": [[key, dtype.name] for key, dtype in self.keys.items()]}

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        return {"description": self.description, "tags": dict(self.tags)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> Entity:
        """Return the entity that :meth:`spec` and :meth:`notes` came from."""
        keys = [key for key, _ in spec["join_keys"]]
        return cls(
            name=spec["name"], join_keys=keys, dtypes=[types.by_name(dtype) for _, dtype in spec["join_keys"]], **notes
        )
