"""Texts of others -> one line of at most so many characters. Pure.

Names of categories and messages of databases hold what they like. In a mail's header a line break begins another
header; in a terminal an escape changes the screen; what draws pictures ends the process over a control character.
"""

from __future__ import annotations

import re

_CUT = "\N{HORIZONTAL ELLIPSIS}"


def plain(text: str) -> str:
    """Return the text as one line of printable characters; what is none (controls, surrogates ...) becomes a space."""
    if not text.isprintable():
        text = re.sub(" +", " ", "".join(one if one.isprintable() else " " for one in text))
    return text.strip()


def shortened(text: str, limit: int) -> str:
    """Return the text as one line of at most so many characters; one that is cut ends in an ellipsis, after a word."""
    text = plain(text)
    if len(text) <= limit:
        return text
    if limit < 1:
        return ""
    cut = text[: limit - 1]
    at_word = cut.rpartition(" ")[0]
    # A single long word is cut inside, rather than lost.
    return (at_word if len(at_word) > len(cut) // 2 else cut).rstrip(" ,;:") + _CUT


def keeping_the_end(text: str, limit: int) -> str:
    """Return the text as :func:`shortened`; what to do, after its last semicolon, is not what goes."""
    text = plain(text)
    what, semicolon, do = text.rpartition("; ")
    if len(text) <= limit or not semicolon or len(do) > limit // 2:
        return shortened(text, limit)
    return f"{shortened(what, limit - len(do) - 2)}; {do}"
