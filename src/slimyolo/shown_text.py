"""How names that come from outside are written, in files and on the terminal. There is one escaped form: ``\\udcff``.

Linux allows any bytes in file names. Python keeps a byte that is not UTF-8 as half a character, U+DC80 to U+DCFF, which no
text file can hold. JSON, CSV, text, HTML and terminals get ``\\udcff`` for it: JSON and YAML readers of Python turn this back
into the same name, so a run can be continued. Control characters could move the cursor, change colours, or rename the window
of a terminal, so a terminal gets ``\\u001b`` for them; lines and tabs stay.
"""

from __future__ import annotations

import re

__all__ = ["one_shown_line", "shown", "storable"]

_HALVES = re.compile("[\ud800-\udfff]")
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # all control characters but the tab and the end of a line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reversed writing, which makes a name look like another one
    "\u2028\u2029\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
)
_CONTROLS = re.compile(f"[{_UNSEEN}]")
_CONTROLS_AND_LINES = re.compile(f"[{_UNSEEN}\n\t]")


def storable(text: str) -> str:
    """`text` as a file in UTF-8 can hold it: half characters become ``\\udcff``. Valid inside a JSON document, too."""
    return _HALVES.sub(_escape, text)


def shown(text: str) -> str:
    """`text` as a terminal may get it: the same, and control characters other than lines and tabs are escaped, too."""
    return _CONTROLS.sub(_escape, text)


def one_shown_line(name: str) -> str:
    """`name` as a terminal may get it, on one line: lines and tabs are escaped, too."""
    return _CONTROLS_AND_LINES.sub(_escape, name)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
