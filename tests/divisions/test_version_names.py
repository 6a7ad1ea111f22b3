"""Names of versions: ours and MLflow's."""

from pathlib import Path

import pytest

from divisions.errors import RegistryError
from divisions.version_names import parse_version
from divisions.versions import RegisteredVersion, ValidationStatus

FIRST = RegisteredVersion("m", "3.1", 1, "run-a", Path("m/0"), "0" * 64, ValidationStatus.PASSED, {}, ("production",))
SECOND = RegisteredVersion("m", "3.2", 2, "run-b", Path("m/1"), "1" * 64, ValidationStatus.PASSED, {}, ("2.7", "3"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3.1", [FIRST]),
        ("1", [FIRST]),
        ("2", [SECOND]),
        ("production", [FIRST]),
        ("2.7", [SECOND]),
        ("3", [SECOND]),
        ("", []),
        ("run-a", []),
        ("runs:/run-a", [FIRST]),
        ("runs:/run-b/bundle", [SECOND]),
        ("runs:/run", []),
        ("models:/m/2", [SECOND]),
        ("models:/m/3.1", [FIRST]),
        ("models:/m/3", []),
        ("models:/m/production", []),
        ("models:/m@production", [FIRST]),
        ("models:/m@1", []),
    ],
)
def test_a_name_finds_its_version_and_no_other(text, found):
    name = parse_version(text, "m")
    assert [each for each in (FIRST, SECOND) if name.names(each)] == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs:/", "names no run"),
        ("runs://x", "names no run"),
        ("models:/m", "names no version"),
        ("models:/m/", "names no version"),
        ("models:/m@", "names no version"),
        ("models:/@production", "names no version"),
        ("models:/other/1", "is no version of 'm'"),
        ("models:/other@production", "is no version of 'm'"),
    ],
)
def test_what_names_nothing_or_another_model_is_told(text, message):
    with pytest.raises(RegistryError, match=message):
        parse_version(text, "m")
