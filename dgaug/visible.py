"""Names from data as they can be shown."""

from __future__ import annotations


def visible(text: str) -> str:
    """A text with control signs, marks of direction and bytes that are not UTF-8 as their escapes.

    So no file name moves a terminal's cursor, turns what stands beside it around, or cannot be written.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
