"""Hooks of MkDocs: the documents of the root become pages, and their links are those of a site.

The same Markdown is read in the repository, where README.md links to ``docs/cli.md`` and docs/cli.md to
``../CONTRIBUTING.md``. On the site all pages are in one folder, README.md as ``index.md``. A link to a file that is no
document becomes its text; one to a file that does not exist stays as it is, so that the strict build fails.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "", "SECURITY.md": "", "CHANGELOG.md": ""}
"""Documents of the root, and their names on the site where these differ."""
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File

    for name, site_name in PAGES.items():
        files.append(File.generated(config, site_name or name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    is_from_root = page.file.src_uri in {site_name or name for name, site_name in PAGES.items()}
    return site_links(markdown, "" if is_from_root else "docs")


def site_links(markdown: str, folder: str) -> str:
    """The links of a document in ``folder`` (relative to the root) as links between the site's pages.

    >>> site_links("[a](docs/cli.md#up) and [b](README.md)", "")
    '[a](cli.md#up) and [b](index.md)'
    >>> site_links("[a](cli.md), [b](../SECURITY.md), [its source](../benchmarks/peers/bare_relay.c)", "docs")
    '[a](cli.md), [b](SECURITY.md), its source'
    """

    def replaced(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = os.path.normpath(os.path.join(folder, target))
        if path in PAGES:
            return f"[{text}]({PAGES[path] or path}{anchor})"
        if path.startswith("docs" + os.sep):
            return f"[{text}]({path.removeprefix('docs' + os.sep)}{anchor})"
        return text if (ROOT / path).exists() else match[0]

    return _LINK.sub(replaced, markdown)
