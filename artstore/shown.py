"""Names of others' making as people see them: what would hide or turn a text round is written out.

A name may hold any character but NUL. Shown as it is, U+202E makes `gpj.exe` of `exe.jpg`; shown by
this it reads `[U+202E]`. Only for showing: what is sent, searched or stored stays as it is.
"""

import re

# Controls, line ends, invisible blanks, and what changes the direction of writing. The joiners that
# emoji and some scripts are written with stay.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def shown(name: object) -> str:
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(name))


def without_hidden(name: str) -> str:
    """A name to type, in which each such character is an underscore."""
    return _HIDDEN.sub("_", name)
