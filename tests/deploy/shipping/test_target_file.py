"""The file of targets."""

import subprocess
import sys

import pytest

from deploy.shipping.kinds import Kind
from deploy.shipping.local.settings import LocalSettings
from deploy.shipping.target_file import TargetSpec, load_target, parse_targets
from divisions.errors import PipelineError, UsageError


def test_the_local_target_needs_no_file(tmp_path):
    assert load_target(tmp_path / "absent.yaml", "local") == TargetSpec("local", Kind.LOCAL, LocalSettings())
    with pytest.raises(UsageError, match=r"there is no target 'staging'.*absent\.yaml and the defaults have local"):
        load_target(tmp_path / "absent.yaml", "staging")


def test_targets_are_read_and_local_stays(tmp_path):
    (tmp_path / "t.yaml").write_text(
        "targets:\n  staging:\n    kind: local\n    gateway: http://10.0.0.7:8000/\n    artifacts: s3://models/staging\n"
    )
    settings = LocalSettings("http://10.0.0.7:8000")
    assert load_target(tmp_path / "t.yaml", "staging") == TargetSpec(
        "staging", Kind.LOCAL, settings, "s3://models/staging"
    )
    assert load_target(tmp_path / "t.yaml", "local").settings == LocalSettings()


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("- a", (1, 1), "must be a section with the key 'targets'"),
        ("target: {}", (1, 1), "unknown key 'target'"),
        ("targets:\n  a:\n    kind: ecs", (3, 11), "local"),
        ("targets:\n  a:\n    gateway: http://h", (3, 5), "key 'kind' is missing"),
        ("targets:\n  a:\n    kind: local\n    gatewy: x", (4, 5), "did you mean 'gateway'"),
        ("targets:\n  a:\n    kind: local\n    verify_image: true", (4, 19), "of kind local has no image"),
        ("targets:\n  a:\n    kind: kubernetes\n    verify_image: maybe", (4, 19), "true or false"),
        ("targets:\n  a:\n    kind: local\n    gateway: 10.0.0.7:8000", (4, 14), "is no URL of a gateway"),
        ("targets:\n  a:\n    kind: local\n    gateway: http://me:secret@h", (4, 14), "without credentials"),
        ("targets:\n  a:\n    kind: local\n    artifacts: models", (4, 16), "names no store"),
        ("targets:\n  a:\n    kind: local\n    artifacts: oci://Big/x:3", (4, 16), "is no repository"),
        ("targets:\n  A b:\n    kind: local", (3, 5), "a target's name is malformed"),
        ("targets: {a: 3}", (1, 14), "section"),
        ("targets: [", (1, 11), ""),
    ],
)
def test_a_mistake_is_told_with_its_place(content, place, message):
    with pytest.raises(PipelineError) as caught:
        parse_targets(content, "t.yaml")
    lines = str(caught.value).splitlines()
    assert any(message in line and line.startswith(f"t.yaml:{place[0]}:{place[1]}:") for line in lines), lines


def test_a_target_says_whether_its_image_must_be_signed():
    text = "targets: {a: {kind: kubernetes, verify_image: true, values: {image: 'r/i@sha256:0'}}, b: {kind: local}}"
    found = parse_targets(text)
    assert (found["a"].verify_image, found["a"].settings.image) == (True, "r/i@sha256:0")
    assert not found["b"].verify_image


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "t.yaml").write_bytes(b"\xff")
    for path in (tmp_path / "t.yaml", tmp_path):
        with pytest.raises(PipelineError, match="the file of targets cannot be read"):
            load_target(path, "local")


def test_reading_targets_imports_no_heavy_module():
    """A file may name every kind; the command that reads it starts no slower for that."""
    code = (
        "import sys; from deploy.shipping.kinds import Kind, settings_reader\n"
        "for kind in Kind: settings_reader(kind)\n"
        "print([name for name in ('boto3', 'httpx', 'lightkube', 'mlflow', 'pyarrow', 'ray') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
