"""The pages, in the order of the menu. To add one: a module here with a ``PAGE``, its template, a line below, a test."""

from __future__ import annotations

from monitor.dashboard.page import Action, Page, Picture
from monitor.dashboard.pages import incident, incidents, overview

PAGES: tuple[Page, ...] = (overview.PAGE, incidents.PAGE, incident.PAGE)

#: Pictures on them.
PICTURES: tuple[Picture, ...] = (incident.PICTURE,)

#: What can be done from them.
ACTIONS: tuple[Action, ...] = incident.ACTIONS
