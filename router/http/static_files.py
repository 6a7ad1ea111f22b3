"""The page's files, read once. Requests choose among them by name and never reach the file system."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

PREFIX = "/page/"
INDEX = "index.html"
_MEDIA = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent. ``etag`` is its hash. Browsers ask each time, and get the file again only if it changed."""

    data: bytes
    media: str
    etag: str

    def reply(self, request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        headers = {"etag": self.etag, "cache-control": "no-cache"}
        if self.etag in {each.strip().removeprefix("W/") for each in known.split(",")}:
            return Response(None, 304, headers)
        return Response(self.data, headers=headers, media_type=self.media)


def read_page() -> Mapping[str, StaticFile]:
    """All files of the package's folder ``page``, by their path below it."""
    return dict(_walk(resources.files("router") / "page", ""))


def _walk(folder: Traversable, below: str) -> list[tuple[str, StaticFile]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{below}{entry.name}/")
        elif (media := _MEDIA.get(entry.name.rpartition(".")[2])) is not None:
            data = entry.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            found.append((below + entry.name, StaticFile(data, media, etag)))
    return found


def prefers_html(accept: str) -> bool:
    """Whether a caller asks for HTML at least as much as for JSON. Browsers do, programs do not.

    >>> prefers_html("text/html,application/xhtml+xml,*/*;q=0.8")
    True
    >>> prefers_html("*/*"), prefers_html("application/json, text/html;q=0.5"), prefers_html("text/html;q=0")
    (False, False, False)
    """
    weights = {}
    for item in accept.lower().split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            weights[media] = float(weight)
        except ValueError:
            weights[media] = 0.0
    html = weights.get("text/html", 0.0)
    return html > 0 and html >= weights.get("application/json", 0.0)
