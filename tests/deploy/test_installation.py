"""Which installer runs, and with what. pip and uv are small programs here that note how they were called."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import installation
from deploy.installation import effective, uv_call

URLS = st.integers(0, 99).map("https://{}.example/simple".format)


class Installers:
    """What was called in a test, and what each call returns."""

    def __init__(self, configuration="", uv_status=0, uv_available=True):
        self.calls = []
        self.environment = {}
        self._configuration = configuration
        self._uv_status = uv_status
        self._uv_available = uv_available

    def run(self, command, env=None, **_):
        command = [str(part) for part in command]
        if Path(command[0]).name == "uv":
            self.calls.append("uv")
            self.command, self.environment = command, env
            return subprocess.CompletedProcess(command, self._uv_status)
        if command[-2:] == ["config", "list"]:
            return subprocess.CompletedProcess(command, 0, self._configuration, "")
        if command[-1] == "uv":
            status = 0 if self._uv_available else 1
            return subprocess.CompletedProcess(command, status, "", "" if not status else "x\nERROR: No match for uv\n")
        self.calls.append("pip")
        self.command = command
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def installers(monkeypatch):
    def set_up(**given):
        made = Installers(**given)
        monkeypatch.setattr(subprocess, "run", made.run)
        return made

    return set_up


def test_uv_installs_from_where_pip_would(installers):
    made = installers(configuration="global.extra-index-url='https://a.example/x\\nhttps://b.example'\n")
    assert installation.main([".[demo]"]) == 0
    assert made.calls == ["uv"]
    assert made.command[made.command.index("-e") + 1] == ".[demo]"
    assert made.environment["UV_INDEX"] == "https://a.example/x https://b.example"
    assert not any("example" in part for part in made.command)  # an address may have a password


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"uv_available": False}, "uv cannot be installed: ERROR: No match for uv"),
        ({"configuration": "global.target='/elsewhere'\n"}, "pip's target"),
        ({"uv_status": 2}, "uv has failed with exit status 2"),
    ],
)
def test_pip_installs_where_uv_does_not(installers, capsys, given, why):
    made = installers(**given)
    assert installation.main([".[demo]"]) == 0
    assert made.calls[-1] == "pip"
    assert made.command[-4:] == ["-c", "constraints.txt", "-e", ".[demo]"]
    assert why in capsys.readouterr().err


def test_pip_installs_where_it_is_asked_for(installers):
    made = installers()
    assert installation.main([".[demo]", "--pip"]) == 0
    assert made.calls == ["pip"]


@given(URLS, URLS, URLS)
def test_what_pip_says_of_itself_is_read_as_pip_merges_it(first, second, third):
    lines = [f":env:.index-url={third!r}", f"global.index-url={first!r}", f"install.index-url={second!r}"]
    for count, expected in ((1, third), (2, third), (3, third)):
        assert effective("\n".join(lines[:count])) == {"index-url": expected}
    assert effective("\n".join(lines[1:])) == {"index-url": second}


@given(
    st.dictionaries(st.sampled_from(["quiet", "no-color", "pre", "target", "user", "proxy", "require-hashes"]), URLS)
)
def test_a_setting_that_uv_has_no_like_of_is_never_left_out_silently(configuration):
    assert set(uv_call(configuration).unknown) == set(configuration) - {"quiet", "no-color"}


def test_pip_itself_says_what_is_read(tmp_path, monkeypatch):
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://a.example/simple\nconstraint =\n    one.txt\n    two.txt\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_RETRIES", "7")
    command = [sys.executable, "-m", "pip", "config", "list"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    call = uv_call(
        {key: value for key, value in effective(shown).items() if key in {"index-url", "constraint", "retries"}}
    )
    assert call.environment == {"UV_DEFAULT_INDEX": "https://a.example/simple", "UV_HTTP_RETRIES": "7"}
    assert call.options == ("-c", "one.txt", "-c", "two.txt")


def test_uv_is_that_of_the_environment(installers):
    made = installers()
    installation.main(["."])
    assert made.command[0] == str(Path(sysconfig.get_path("scripts")) / "uv")
    assert made.command[made.command.index("--python") + 1] == sys.executable


@pytest.mark.parametrize("is_forbidden", [True, False])
def test_all_is_compiled_at_once_where_it_could_not_be_kept_later(installers, monkeypatch, is_forbidden):
    monkeypatch.setattr(sys, "dont_write_bytecode", is_forbidden)
    made = installers()
    installation.main(["."])
    assert ("--compile-bytecode" in made.command) == is_forbidden
