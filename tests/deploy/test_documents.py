"""The documents are complete: every setting, every command, every option."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from divisions import cli
from divisions.settings import Settings, environment_of, load_settings

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
COMMANDS = (ROOT / "docs" / "cli.md").read_text()
NOT_VARIABLES = {"s3", "ray_address", "docker_config"}  # read from the variables of AWS, Ray and Docker


def documented():
    """Variables and their defaults, from the table in docs/settings.md."""
    return dict(re.findall(r"^\| `(DIVISIONS_\w+)` \| (\S+|`[^`]*`) \|", SETTINGS, re.MULTILINE))


def test_every_setting_is_documented_and_every_documented_one_exists():
    fields = {field.name for field in dataclasses.fields(Settings)} - NOT_VARIABLES
    assert set(documented()) == {f"DIVISIONS_{name.upper()}" for name in fields}


def test_documented_defaults_are_the_defaults():
    defaults = environment_of(load_settings({}))
    defaults["DIVISIONS_HOME"] = ".divisions/state"
    told = {name: "" if text == "empty" else text.strip("`") for name, text in documented().items()}
    assert told == defaults


def test_the_picture_of_the_wings_is_the_contracts():
    """docs/architecture.md draws what import-linter holds: the same wings in the same order, no package left out."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = {each["name"]: each["layers"] for each in linter["contracts"] if each["type"] == "layers"}
    text = (ROOT / "docs" / "architecture.md").read_text()
    picture = re.search(r"<!-- layers.*?```text\n(.*?)```", text, re.DOTALL)[1]
    drawn = {name: rest.split("\n    ") for name, _, rest in (block.partition("\n    ") for block in blocks(picture))}
    assert drawn == contracts
    assert {f"the wings of {package}" for package in linter["root_packages"]} <= set(drawn)


def blocks(picture: str) -> list[str]:
    return picture.strip().split("\n\n")


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


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=lambda path: path.name
)
def test_files_that_documents_name_exist(path):
    packages = r"(?:divisions|serving|router|trainers|benchmarks|deploy|tests|docs|examples)"
    for name in re.findall(rf"`({packages}/[\w./-]+)`", path.read_text()):
        if "docs/benchmarks/" in name or name == "docs/gpu-report.md":  # made on other machines
            continue
        assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_hooks_before_a_commit_are_the_tools_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    hooked = {" ".join(hook["entry"].removeprefix(".venv/bin/").split()[:2]) for hook in hooks}
    check = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    tools = {" ".join(words[:2]) for words in map(str.split, re.findall(r"\$\(BIN\)/(.*)", check))}
    assert {tool for tool in tools if not tool.startswith("python ")} == hooked


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=lambda path: path.name
)
def test_documents_name_commands_that_exist(path):
    known = {name.split()[0] for name, _ in commands(get_command(cli.app))}
    assert set(re.findall(r"(?:`|    )divisions ([a-z]+)", path.read_text())) <= known
