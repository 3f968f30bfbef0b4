"""Views of other projects: leave to use them, and what only their owner may do."""

from __future__ import annotations

from featurestore.definitions import FeatureView
from featurestore.offline.tables.sharing import own_view
from featurestore.registry import Consent
from featurestore.registry.records import Registered
from featurestore.store.opened import Opened


class Sharing(Opened):
    """Which views other projects may use, and which of theirs this one may."""

    def share(self, view: str, *, with_project: str) -> Consent:
        """Let another project of the registry use a view: it reads our rows, and feeds and changes nothing.

        Both projects have to keep their rows in the same offline path and online store. What they use stays live here.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the other project is this one, or cannot be one.
        """
        return self.registry.share(view, with_project, who=self.who())

    def unshare(self, view: str, *, with_project: str) -> Consent:
        """Withdraw the leave of :meth:`share`, and return what it was.

        Raises:
            ObjectNotFoundError: there is no such view, or it is not shared with that project.
            ObjectInUseError: the other project uses it; the message lists by what.
        """
        return self.registry.unshare(view, with_project, who=self.who())

    def shares(self) -> list[Consent]:
        """Return which views are shared: ours with others, then theirs with us."""
        return self.registry.consents()

    def _own_view(self, view: str) -> Registered[FeatureView]:
        """Return a view of this project, which may be loaded and materialized here.

        Raises:
            ObjectNotFoundError: there is none.
            RegistryError: it is another project's.
        """
        return own_view(self.registry, view)
