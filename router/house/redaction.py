"""Takes what may be a secret out of a text that people are shown. Pure.

>>> redacted("input: s3://key:secret@bucket/x")
'input: s3://…@bucket/x'
>>> redacted("  api_token: abc # of the team")
'  api_token: …'
>>> redacted("input: https://host/x?X-Amz-Signature=abc&day=1")
'input: https://host/x?X-Amz-Signature=…&day=1'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_WORDS: Final = r"[\w.-]*(?:password|passwd|secret|token|credential|api_?key|access_?key|private_?key|signature)[\w.-]*"
_USER: Final = re.compile(r"(\w[\w+.-]*://)[^\s/@'\"]+@")
_QUERY: Final = re.compile(rf"([?&](?:{_WORDS}|sig)=)[^&\s'\"]+", re.IGNORECASE)
_KEY: Final = re.compile(rf"([ \t]*(?:-[ \t]+)?['\"]?{_WORDS}['\"]?[ \t]*:)(?:[ \t].*)?", re.IGNORECASE)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [^-]*KEY-----.*?(?:-----END [^-]*KEY-----|\Z)", re.DOTALL)


def redacted(text: str) -> str:
    """Passwords in addresses, values of keys that are named like a secret, private keys."""
    text = _PRIVATE_KEY.sub("…", text)
    text = _USER.sub(r"\1…@", text)
    text = _QUERY.sub(r"\1…", text)
    return "\n".join(_without_values(text.split("\n")))


def _without_values(lines: list[str]) -> Iterator[str]:
    """Leaves out the values of such keys: what stands beside them, and what is indented below them."""
    within: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if within is not None and (not line.strip() or indent > within):
            continue
        key = _KEY.fullmatch(line)
        within = indent if key is not None else None
        yield f"{key[1]} …" if key is not None else line
