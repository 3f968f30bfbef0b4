"""The pages, in the order of the menu.

To add one: a module here with a ``PAGE``, a template of its name, a line below, and a test; see ``signals`` for one
with actions, ``feature`` for one with pictures.
"""

from __future__ import annotations

from monitor.dashboard import incident_actions
from monitor.dashboard.page import Action, Page, Picture
from monitor.dashboard.pages import (
    audit,
    dataset,
    datasets,
    feature,
    features,
    health,
    incident,
    incidents,
    model,
    models,
    overview,
    search,
    service,
    services,
    signal,
    signals,
    view,
    views,
)

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    incidents.PAGE,
    incident.PAGE,
    signals.PAGE,
    signal.PAGE,
    features.PAGE,
    feature.PAGE,
    services.PAGE,
    service.PAGE,
    models.PAGE,
    model.PAGE,
    datasets.PAGE,
    dataset.PAGE,
    views.PAGE,
    view.PAGE,
    audit.PAGE,
    health.PAGE,
    search.PAGE,
)

#: Pictures on them.
PICTURES: tuple[Picture, ...] = (incident.PICTURE, *feature.PICTURES, *model.PICTURES)

#: What can be done from them.
ACTIONS: tuple[Action, ...] = (
    *incident_actions.ACTIONS,
    *signals.ACTIONS,
    *signal.ACTIONS,
    *service.ACTIONS,
    *view.ACTIONS,
)
