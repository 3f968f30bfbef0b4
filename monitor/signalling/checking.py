"""What stands between a signal and who retrains, found before there is one."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.errors import ConfigError
from featurestore.serving.certificates import Certificates
from monitor.alerts.checking import Fault
from monitor.signalling.command import program_found
from monitor.signalling.routing import NAME

_ABOUT = "[signals]"


def faults(config: Config) -> list[Fault]:
    """Return what is wrong with ``[signals]``: a program that there is not, a certificate that is not valid."""
    found = []
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
