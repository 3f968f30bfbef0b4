"""A message -> a mail: text, HTML with a picture in it, and the headers that make a thread of an incident.

A mail is the same at each attempt, its Message-ID included, so a server or a mailbox that drops what it has already
seen drops a repetition (RFC 5322, 3.6.4). All mails of an incident refer to one identifier that no mail has: mail
programs put into one thread what refers to the same, also when the first of them was lost or came last.
"""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import replace
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from monitor.alerts import plot
from monitor.alerts.base import Kind, Message
from monitor.alerts.wording import Limits, Template, Words, plain, severity_of, words

_LIMITS = Limits(subject=150, first=500, line=500, lines=40, text=20_000)
_COLOURS = {"bad": "#b3261e", "warning": "#8a5a00", "good": "#1b6e3c", "neutral": "#444444"}
#: Lines may have 998 characters (RFC 5322, 2.1.1). At the usual 78 the standard library encodes long identifiers, which
#: are then no identifiers any more. Seven bits pass every server.
_POLICY = SMTP.clone(max_line_length=900, cte_type="7bit")
_PLAIN_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def compose(
    message: Message, sender: Address, recipients: tuple[Address, ...], template: Template | None
) -> EmailMessage:
    """Return the mail of a message.

    Args:
        message: what is said.
        sender: who says it.
        recipients: to whom.
        template: the channel's own texts.
    """
    said = words(message, _LIMITS, template)
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = said.subject
    mail["From"] = sender
    mail["To"] = recipients
    mail["Date"] = format_datetime(message.created_at)
    mail["Message-ID"] = f"<{_identifier(message.key)}@{sender.domain}>"
    if message.incident:
        root = f"<incident-{_identifier(message.incident)}@{sender.domain}>"
        mail["In-Reply-To"] = message.thread or root
        mail["References"] = f"{root} {message.thread}".strip()
    # No out-of-office answer, and no list, answers a machine (RFC 3834; the second is Exchange's own).
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    if message.kind in (Kind.FIRING, Kind.UPDATED) and severity_of(message) == "page":
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"
    # For rules of mail programs.
    for header, value in {
        "Kind": str(message.kind),
        "Severity": severity_of(message),
        "Service": message.service,
        "Project": message.project,
    }.items():
        mail[f"X-Featurestore-{header}"] = plain(value)
    mail.set_content(said.text() + "\n")
    picture = plot.png(message.payload)
    if picture:
        said = words(message, replace(_LIMITS, blocks=False), template)
    cid = f"plot-{_identifier(message.key)}@{sender.domain}"
    mail.add_alternative(page(said, plot.caption(message.payload), cid if picture else ""), subtype="html")
    if picture:
        # Inline in the HTML, not an attachment beside the text: the two alternatives differ in that alone.
        (_, shown) = mail.iter_parts()
        shown.add_related(picture, "image", "png", cid=f"<{cid}>", filename="plot.png", disposition="inline")
    return mail


def page(said: Words, caption: str, cid: str) -> str:
    """Return the HTML of a mail: no scripts, no style sheet and nothing from elsewhere, as mail programs drop those.

    Args:
        said: the words.
        caption: what the picture shows.
        cid: the picture's Content-ID; "" for none.
    """
    start, _, rest = said.first.partition(": ")
    first = f"<strong>{html.escape(start)}</strong>: {html.escape(rest)}" if rest else html.escape(start)
    parts = [
        '<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{html.escape(said.subject)}</title></head>",
        '<body style="font-family:sans-serif;font-size:15px;line-height:1.4;margin:12px">',
        f'<p style="border-left:6px solid {_COLOURS[said.tone]};padding-left:10px;margin:0 0 12px">{first}</p>',
    ]
    if cid:
        parts.append(f'<p><img src="cid:{cid}" alt="{html.escape(caption)}" style="max-width:100%;height:auto"></p>')
    if said.lines:
        parts.append("<p>" + "<br>\n".join(html.escape(line) for line in said.lines) + "</p>")
    if said.facts:
        parts.append(_table([(label, _linked(value)) for label, value in said.facts]))
    if said.commands:
        parts.append(_table([(name, f"<code>{html.escape(command)}</code>") for name, command in said.commands]))
    return "\n".join((*parts, "</body></html>"))


def _table(rows: list[tuple[str, str]]) -> str:
    style = "color:#666;padding-right:12px;vertical-align:top"
    cells = "\n".join(
        f'<tr><td style="{style}">{html.escape(label)}</td><td>{value}</td></tr>' for label, value in rows
    )
    return f'<table style="border-collapse:collapse;margin:12px 0">\n{cells}\n</table>'


def _linked(text: str) -> str:
    shown = html.escape(text)
    return f'<a href="{shown}">{shown}</a>' if re.fullmatch(r"https?://\S+", text) else shown


def _identifier(text: str) -> str:
    """Return the text, or a hash of it where it is none that an identifier may hold."""
    return text if _PLAIN_IDENTIFIER.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:32]
