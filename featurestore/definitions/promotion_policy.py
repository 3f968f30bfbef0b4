"""A promotion policy: which moves of a service's aliases need somebody else's approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featurestore.definitions.arguments import check_list, check_mapping, check_text
from featurestore.definitions.names import check_name, check_unique
from featurestore.definitions.service import FeatureService
from featurestore.errors import DefinitionError


@dataclass(frozen=True, kw_only=True)
class PromotionPolicy:
    """Who else has to agree before an alias of a service moves.

    Attributes:
        name: its name in the project.
        service: the service, whatever its version.
        aliases: the aliases that move only when a promotion is approved; ``canary`` too, if a canary's share is to be.
            A rollback never waits.
        approvals: how many people have to approve; neither who asks for the promotion nor who applied the version of
            the service is one of them.
        description: for people.
        owner: for people.
        tags: for people.

    Raises:
        DefinitionError: an alias cannot have that name, there is none, or the number is not one.
    """

    name: str
    service: FeatureService
    aliases: Sequence[str] = ("production",)
    approvals: int = 1
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, "a promotion policy")
        what = f'Promotion policy "{self.name}"'
        if not isinstance(self.service, FeatureService):
            raise DefinitionError(
                f"{what} guards {self.service!r}, which is not a FeatureService.", hint="Give service=flight_delay."
            )
        aliases = check_list(self.aliases, what, "aliases")
        if not aliases:
            raise DefinitionError(f"{what} guards no alias.", hint='Give aliases=["production"].')
        for alias in aliases:
            check_name(alias, "an alias")
        check_unique(aliases, what)
        if type(self.approvals) is not int or not 1 <= self.approvals <= 10:
            raise DefinitionError(
                f"{what} has approvals={self.approvals!r}.", hint="It is a number of people, 1 to 10."
            )
        for name in ("description", "owner"):
            check_text(getattr(self, name), what, name)
        object.__setattr__(self, "aliases", aliases)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    def spec(self) -> dict[str, Any]:
        """Return what decides a promotion, as JSON values; the service, which has versions itself, counts by name."""
        return {
            "name": self.name,
            "service": self.service.name,
            "aliases": list(self.aliases),
            "approvals": self.approvals,
        }

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        return {"description": self.description, "owner": self.owner, "tags": dict(self.tags)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any], service: FeatureService) -> PromotionPolicy:
        """Return the policy that :meth:`spec` and :meth:`notes` came from."""
        rest = {key: value for key, value in spec.items() if key != "service"}
        return cls(service=service, **rest, **notes)
