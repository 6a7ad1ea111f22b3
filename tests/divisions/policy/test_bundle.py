"""Reading a folder of policies: whatever is not seen refuses nothing, so what cannot be read is a fault."""

from __future__ import annotations

import io
import os
import tarfile

import msgspec
import pytest

from divisions.errors import PolicyError
from divisions.policy.archive import archive
from divisions.policy.bundle import MAX_BYTES, MAX_FILES, load_bundle

ALLOWS = "package divisions.custom.team\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.kind\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gates: {max_drfit: 1}", "unknown field"),
        ("gates: {require: [drfit]}", "which is no gate"),
        ("gates: {freeze: [{from: yesterday, to: 2026-12-20T00:00:00Z}]}", "is no moment"),
        ("gates: {freeze: [{from: 2026-12-21T00:00:00Z, to: 2026-12-20T00:00:00Z}]}", "ends before"),
        ("gates: {approvals: -1}", "approvals"),
        ("gates:\n", "Expected `object`"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("a: 1\na: 2\n", "data.yaml:2"),
        ("hosts:\n  on: 1\n", "data.yaml:2: .*'on' is no text"),
        ("hosts: {~: 1}", "is no text"),
        ("1: a", "is no text"),
        ("a: .nan\n", "JSON has not"),
        ('a: "\\ud800"\n', "JSON has not"),
        ("a: !!binary aGk=\n", "JSON has not"),
        ("a: " + "[" * 2_000, "JSON has not"),
        ("a: 1\0\n", "data.yaml:1: it has a control character"),
        ("- 1\n", "mapping"),
        ("a: [\n", "not YAML"),
        ("a: " + "x" * MAX_BYTES, "more than"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_data_that_cannot_be_used_is_named(tmp_path, text, says):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(PolicyError, match=says):
        load_bundle(tmp_path)


def test_data_can_be_sent_to_the_engine_whatever_it_is(tmp_path):
    (tmp_path / "data.json").write_text(
        '{"closed": ["fraud"], "big": 1000000000000000000000000, "at": {"1": [null, "\\u0000"]}}'
    )
    assert msgspec.json.encode(load_bundle(tmp_path).data["custom"])


def test_two_files_of_data_are_one_too_many(tmp_path):
    for name in ("data.yaml", "data.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(PolicyError, match="more than one file of data"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["team.rego", "data.yaml"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.symlink_to("nowhere"), "No such file"),
        (os.mkfifo, "it is no file"),
        (lambda path: path.write_bytes(b"# \xe9\n"), ":1: it is not UTF-8"),
    ],
    ids=["dangling link", "pipe", "Latin-1"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, make, says):
    make(tmp_path / name)
    with pytest.raises(PolicyError, match=f"{name}.*{says}"):
        load_bundle(tmp_path)


def test_a_linked_folder_is_refused_and_a_linked_file_is_read_as_kubernetes_mounts_them(tmp_path):
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "team.rego").write_text(ALLOWS)
    (tmp_path / "team.rego").symlink_to("..data/team.rego")
    assert load_bundle(tmp_path).custom == ("team",)
    (tmp_path / "more").symlink_to("..data")
    with pytest.raises(PolicyError, match="more: it is a link to a folder"):
        load_bundle(tmp_path)


def test_a_folder_that_cannot_be_looked_at_is_a_fault(tmp_path, monkeypatch):
    """As root, all folders can be: so the system's answer is made up."""

    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("divisions.policy.bundle.os.scandir", scandir)
    with pytest.raises(PolicyError, match="cannot be looked at: Permission denied"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "name", ["n" * 120 + ".rego", os.fsdecode(b"a\xff.rego"), "a\nb.rego"], ids=["long", "no UTF-8", "line"]
)
def test_a_name_that_no_bundle_can_have_is_refused(tmp_path, name):
    (tmp_path / name).write_text(ALLOWS)
    with pytest.raises(PolicyError, match="it has a name that a bundle cannot have") as raised:
        load_bundle(tmp_path)
    assert str(raised.value).isprintable()


def test_text_after_a_nul_is_not_left_out_unseen(tmp_path):
    (tmp_path / "team.rego").write_text(ALLOWS + "\0\nnonsense")
    with pytest.raises(PolicyError, match=r"team\.rego:8: it has a control character"):
        load_bundle(tmp_path)


def test_how_an_editor_ends_lines_changes_nothing(tmp_path):
    (tmp_path / "team.rego").write_text(ALLOWS)
    plain = load_bundle(tmp_path)
    (tmp_path / "team.rego").write_bytes(b"\xef\xbb\xbf" + ALLOWS.replace("\n", "\r\n").encode())
    assert load_bundle(tmp_path) == plain


def test_too_many_files_are_refused(tmp_path):
    for number in range(MAX_FILES + 1):
        (tmp_path / f"{number}.rego").write_text("")
    with pytest.raises(PolicyError, match=f"there are {MAX_FILES + 1} files"):
        load_bundle(tmp_path)


def test_an_archive_has_the_rules_without_tests_and_the_same_bytes_each_time(tmp_path):
    (tmp_path / "ä" / "b").mkdir(parents=True)
    (tmp_path / "ä" / "b" / "team.rego").write_text(ALLOWS)
    (tmp_path / "team_test.rego").write_text("package divisions.custom.team_test\n\nimport rego.v1\n")
    bundle = load_bundle(tmp_path)
    data = archive(bundle)
    assert data == archive(load_bundle(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        manifest = msgspec.json.decode(tar.extractfile(".manifest").read())
    assert "ä/b/team.rego" in names
    assert not [name for name in names if name.endswith("_test.rego")]
    assert manifest["revision"] == bundle.digest
