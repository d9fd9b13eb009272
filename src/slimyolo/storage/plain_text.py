"""Text files that people and other programs write: UTF-8 or UTF-16, with or without a byte-order mark."""

from __future__ import annotations

import codecs

__all__ = ["decode_text"]


def decode_text(content: bytes, errors: str = "strict") -> str:
    """UTF-8 with or without a byte-order mark, or UTF-16 with one, which Windows PowerShell writes.

    `errors` is as in `bytes.decode`. Raises `UnicodeDecodeError`.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
        if any(letter.isascii() for letter in text):  # every text here has a digit, a colon or a line end
            return text
    return content.decode("utf-8-sig", errors)
