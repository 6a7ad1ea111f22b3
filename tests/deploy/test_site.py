"""The documentation as a site: it builds strictly, and what leads nowhere fails the build."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """The documents alone, in a place of their own; files that they link to are there, but empty."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for path in [*ROOT.glob("*.md"), ROOT / "mkdocs.yml"]:
        shutil.copy(path, tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name in ("peers/bare_relay.c", "preparation/plain_duckdb.py"):
        (tmp_path / "benchmarks" / name).parent.mkdir(parents=True)
        (tmp_path / "benchmarks" / name).touch()
    return tmp_path


def build(folder):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_builds_and_starts_with_the_readme(folder):
    built = build(folder)
    assert built.returncode == 0, built.stderr
    site = folder / "build" / "site"
    assert 'href="cli.html"' in (site / "index.html").read_text()
    assert {"CONTRIBUTING.html", "CHANGELOG.html", "SECURITY.html"} <= {path.name for path in site.iterdir()}


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("docs/architecture.md", "[dead](no-such-page.md)"),
        ("docs/architecture.md", "[dead](cli.md#no-such-heading)"),
        ("docs/architecture.md", "[dead](../NO_SUCH.md)"),
        ("README.md", "[dead](docs/no-such-page.md)"),
        ("CONTRIBUTING.md", "[dead](#no-such-heading)"),
    ],
)
def test_a_link_that_leads_nowhere_fails(folder, name, link):
    path = folder / name
    path.write_text(f"{path.read_text()}\n{link}\n")
    built = build(folder)
    assert built.returncode != 0
    assert "no-such" in built.stderr.lower().replace("_", "-")
