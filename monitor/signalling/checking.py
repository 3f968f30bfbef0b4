"""What stands between a signal and who retrains, found before there is one."""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import ConfigError
from featurestore.serving.certificates import Certificates
from featurestore.store.telling import signals_unheard
from monitor.alerts.checking import Fault
from monitor.signalling.command import program_found
from monitor.signalling.routing import NAME

_ABOUT = "[signals]"


def faults(config: Config, policies: Iterable[MonitorPolicy]) -> list[Fault]:
    """Return what stands between signals and those whom they are for, with what to do.

    That is a policy whose signals reach nobody; and of ``[signals]`` a program that there is not, or a certificate that
    is not valid.

    Args:
        config: its ``[signals]``, and channels.
        policies: those that are registered.
    """
    found = []
    for policy in policies:
        what, hint = signals_unheard(policy, config)
        if what:
            found.append(Fault(about=f"policy {policy.name}", what=what, hint=hint))
    section = config.signals
    if section.command and not program_found(section.command[0], config.root):
        hint = "Name one that this user may run; one with a slash is looked for from the store's folder."
        found.append(Fault(about=_ABOUT, what=f'There is no program "{section.command[0]}".', hint=hint))
    if NAME in config.channels:
        what = f'A channel has the name "{NAME}", which is that of the command.'
        found.append(Fault(about=_ABOUT, what=what, hint="Give the channel another name."))
    if section.port and section.tls.enabled:
        try:
            Certificates(config, section="signals")
        except ConfigError as error:
            found.append(Fault(about=_ABOUT, what=error.message, hint=error.hint))
    return found
