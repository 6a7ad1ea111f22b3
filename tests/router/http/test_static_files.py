"""The page's files as the gateway sends them: who gets them, with which headers, and what is not to be had."""

from __future__ import annotations

import re

import pytest

from router.gateway import native
from tests.router.gateway_world import minutes_score, world

FOLDER = native.PACKAGE / "page"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=nonsense", "application/json"),
        ("", "application/json"),
    ],
)
def test_browsers_get_the_page_and_everybody_else_the_index(run, accept, media):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            (reply,) = await it.raw(get("/", *([f"Accept: {accept}"] if accept else [])))
            assert reply.status == 200
            assert reply.headers["content-type"] == media
            assert reply.headers["vary"] == "Accept"
            if media == "application/json":
                assert reply.json["endpoints"]["churn"]["versions"] == {"3.1": {"weight_bp": 10_000, "replicas": 1}}
            else:
                assert reply.body == (FOLDER / "index.html").read_bytes()

    run(scenario())


def test_every_file_is_sent_with_its_type_and_cannot_be_taken_for_another(run):
    async def scenario():
        async with world() as it:
            names = [path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()]
            assert {"index.html", "page.js", "page.css", "vendor/uPlot.iife.min.js"} <= set(names)
            for name in names:
                (reply,) = await it.raw(get(f"/page/{name}"))
                assert (reply.status, reply.body) == (200, (FOLDER / name).read_bytes()), name
                assert reply.headers["x-content-type-options"] == "nosniff"
                assert reply.headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"
                assert reply.headers["cache-control"] == "no-cache"
                kind = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
                assert reply.headers["content-type"].startswith(kind.get(name.rpartition(".")[2], "text/plain"))

    run(scenario())


def test_a_file_that_has_not_changed_is_not_sent_again(run):
    async def scenario():
        async with world() as it:
            (first,) = await it.raw(get("/page/page.js"))
            for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}'):
                reader_reply = await it.raw(get("/page/page.js", f"If-None-Match: {known}"))
                assert [(reply.status, reply.body) for reply in reader_reply] == [(304, b"")]
            (changed,) = await it.raw(get("/page/page.js", 'If-None-Match: "other"'))
            assert changed.status == 200

    run(scenario())


@pytest.mark.parametrize(
    "path",
    [
        "/page/../api.py",
        "/page/%2e%2e/api.py",
        "/page/..%2fapi.py",
        "/page/vendor/../../guard.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/page.js%00",
        "/page/",
        "/page/vendor/",
        "/page/..\\api.py",
        "/page/page.js/",
    ],
)
def test_nothing_but_the_pages_files_can_be_had(run, path):
    async def scenario():
        async with world() as it:
            (reply,) = await it.raw(get(path, f"Accept: {BROWSER}"))
            assert reply.status == 404
            assert reply.headers["content-type"] == "application/problem+json"

    run(scenario())


def test_the_page_needs_nothing_that_its_policy_forbids():
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|javascript:|\son\w+=", html, re.IGNORECASE)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", html))
    own = [
        path for path in FOLDER.rglob("*") if path.suffix in {".js", ".css", ".html"} and path.parent.name != "vendor"
    ]
    assert len(own) > 20
    for path in own:
        text = path.read_text()
        assert not re.search(r"https?://", text.replace("http://www.w3.org/2000/svg", "")), path.name
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"):
            assert forbidden not in text, path.name
    for target in re.findall(r'(?:src|href)="(page/[^"]+)"', html):
        assert (FOLDER.parent / target).is_file(), target


def test_the_whole_page_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 250_000


def test_every_module_that_the_page_imports_is_there():
    for path in [each for each in FOLDER.rglob("*.js") if each.parent.name != "vendor"]:
        for target in re.findall(r"^import .* from \"(.+)\";$", path.read_text(), re.MULTILINE):
            assert (path.parent / target).is_file(), f"{path.name} imports {target}"


def test_what_others_wrote_is_kept_with_its_licence_and_version():
    library = (FOLDER / "vendor" / "uPlot.iife.min.js").read_text()
    version = re.search(r"uPlot \((v[\d.]+)\)", library).group(1)
    assert version in (FOLDER / "vendor" / "NOTICE.txt").read_text()
    assert "The MIT License" in (FOLDER / "vendor" / "uPlot.LICENSE.txt").read_text()
