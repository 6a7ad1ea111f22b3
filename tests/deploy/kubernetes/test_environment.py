"""Variables from a mounted Secret reach the command that needs them, and nothing else does."""

import os
import subprocess
import sys

from deploy.kubernetes.environment import variables


def mounted(folder):
    """As the kubelet mounts a Secret: links into a folder that it can exchange at once."""
    data = folder / "..2025_01_14"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    for name, text in {
        "DIVISIONS_DATABASE": "postgresql://u:p@h/d\n",
        "auth_token": "ray",
        "DIVISIONS_TOKEN": "t",
    }.items():
        (data / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def test_only_our_variables_are_taken(tmp_path):
    assert variables(mounted(tmp_path)) == {"DIVISIONS_DATABASE": "postgresql://u:p@h/d", "DIVISIONS_TOKEN": "t"}


def run(*arguments, **more):
    command = [sys.executable, "-m", "deploy.kubernetes.environment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **more})


def test_the_command_has_them_and_its_exit_status_is_ours(tmp_path):
    code = "import os, sys; print(os.environ['DIVISIONS_TOKEN'], os.environ.get('auth_token')); sys.exit(7)"
    done = run(mounted(tmp_path), sys.executable, "-c", code)
    assert (done.stdout, done.returncode) == ("t None\n", 7), done.stderr


def test_what_cannot_be_done_is_told(tmp_path):
    assert run(tmp_path).returncode == 2
    done = run(tmp_path / "absent", "true")
    assert done.returncode == 1
    assert "absent" in done.stderr
    assert "Secret" in done.stderr
