"""The documents tell what exists: every setting, every command, every option."""

import dataclasses
import re
from pathlib import Path

import pytest
from typer.main import get_command

from divisions import cli
from divisions.settings import Settings, environment_of, load_settings

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
COMMANDS = (ROOT / "docs" / "cli.md").read_text()
NOT_VARIABLES = {"s3", "ray_address"}  # read from the variables of AWS and of Ray


def documented():
    """Variable to default, as the table in docs/settings.md says."""
    return dict(re.findall(r"^\| `(DIVISIONS_\w+)` \| (\S+|`[^`]*`) \|", SETTINGS, re.MULTILINE))


def test_every_setting_is_documented_and_every_documented_one_exists():
    fields = {field.name for field in dataclasses.fields(Settings)} - NOT_VARIABLES
    assert set(documented()) == {f"DIVISIONS_{name.upper()}" for name in fields}


def test_documented_defaults_are_the_defaults():
    defaults = environment_of(load_settings({}))
    defaults["DIVISIONS_HOME"] = ".divisions/state"
    told = {name: "" if text == "empty" else text.strip("`") for name, text in documented().items()}
    assert told == defaults


def commands(group, path=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


@pytest.mark.parametrize(("name", "command"), commands(get_command(cli.app)))
def test_every_command_and_option_is_documented(name, command):
    assert f"{name} " in COMMANDS or f"{name}`" in COMMANDS
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    missing = {option for option in options - {"--help"} if option not in COMMANDS}
    assert not missing


def test_links_between_documents_lead_somewhere():
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_readme_names_commands_that_exist():
    known = {name.split()[0] for name, _ in commands(get_command(cli.app))}
    told = set(re.findall(r"divisions ([a-z]+)", (ROOT / "README.md").read_text()))
    assert told - {"import"} <= known
