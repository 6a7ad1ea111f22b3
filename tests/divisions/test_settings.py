import contextlib
import dataclasses
import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.environment import account_environment, join_ray_cluster
from divisions.errors import SettingsError
from divisions.settings import S3Settings, Settings, environment_for_child, environment_of, load_settings, runtime_dir


@pytest.mark.parametrize(("given", "missing"), [("CERT", "KEY"), ("KEY", "CERT")])
def test_half_of_a_pair_for_tls_names_the_other_half(given, missing):
    with pytest.raises(SettingsError, match=f"DIVISIONS_TLS_{given} is set without DIVISIONS_TLS_{missing}"):
        load_settings({f"DIVISIONS_TLS_{given}": "/etc/port.pem"})


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY", "TLS_CA"])
def test_a_file_for_tls_is_an_absolute_path_and_never_repeated(name):
    with pytest.raises(SettingsError, match=f"DIVISIONS_{name} must be the absolute path of a file") as caught:
        load_settings({f"DIVISIONS_{name}": "-----BEGIN PRIVATE KEY----- abc"})
    assert "abc" not in str(caught.value)


def test_the_scheme_follows_the_certificate():
    assert load_settings({}).scheme == "http"
    pair = {"DIVISIONS_TLS_CERT": "/etc/a.crt", "DIVISIONS_TLS_KEY": "/etc/a.key"}
    assert load_settings(pair).scheme == "https"
    assert load_settings(environment_of(load_settings(pair))).tls_key == "/etc/a.key"


def test_an_empty_environment_gives_the_defaults():
    settings = load_settings({})
    assert settings == Settings(home=settings.home)
    assert settings.home == Path.cwd() / ".divisions" / "state"


def test_variables_are_read_by_their_kind():
    settings = load_settings(
        {
            "DIVISIONS_HOME": "/var/lib/divisions",
            "DIVISIONS_PORT": "9000",
            "DIVISIONS_HOST": "0.0.0.0",
            "DIVISIONS_ALLOW_FAULTS": "true",
            "DIVISIONS_ALLOW_BUCKETS": " raw-events, other ,",
            "PATH": "/bin",
        }
    )
    assert settings == Settings(
        home=Path("/var/lib/divisions"),
        port=9000,
        host="0.0.0.0",
        allow_faults=True,
        allow_buckets=("raw-events", "other"),
    )


def test_a_relative_home_becomes_absolute_because_ray_processes_have_other_folders():
    assert load_settings({"DIVISIONS_HOME": "state"}).home == Path.cwd() / "state"


@pytest.mark.parametrize(
    ("variable", "near"), [("DIVISIONS_PROT", "DIVISIONS_PORT"), ("DIVISIONS_HOMME", "DIVISIONS_HOME")]
)
def test_a_misspelt_variable_is_answered_with_the_nearest(variable, near):
    with pytest.raises(SettingsError, match=f"unknown setting {variable}") as caught:
        load_settings({variable: "1"})
    assert near in caught.value.remedy


@pytest.mark.parametrize("variable", ["DIVISIONS_", "DIVISIONS_S3", "DIVISIONS_ZZZZZZ", "DIVISIONS_port_"])
def test_an_unknown_variable_is_refused(variable):
    with pytest.raises(SettingsError):
        load_settings({variable: "1"})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DIVISIONS_PORT", "http"),
        ("DIVISIONS_PORT", ""),
        ("DIVISIONS_PORT", "80.5"),
        ("DIVISIONS_PORT", "0"),
        ("DIVISIONS_DASHBOARD_PORT", "65536"),
        ("DIVISIONS_GATEWAYS", "-1"),
        ("DIVISIONS_REQUEST_TIMEOUT_MS", "0"),
        ("DIVISIONS_MAX_BODY_BYTES", "9" * 5_000),
        ("DIVISIONS_ALLOW_FAULTS", "maybe"),
    ],
)
def test_a_malformed_value_names_its_variable(variable, text):
    with pytest.raises(SettingsError, match=variable):
        load_settings({variable: text})


@pytest.mark.parametrize(("text", "is_on"), [("1", True), ("TRUE", True), ("0", False), ("false", False), ("", False)])
def test_booleans(text, is_on):
    assert load_settings({"DIVISIONS_ALLOW_FAULTS": text}).allow_faults is is_on


def test_every_setting_has_a_variable():
    for field in dataclasses.fields(Settings):
        if field.name in {"s3", "ray_address", "docker_config"}:
            continue  # they come from the standard variables of AWS, Ray and Docker
        special = {
            "database": "postgresql+psycopg://h/d",
            "links": "grafana=https://h",
            "oidc_file": "/etc/oidc.yaml",
            "online_store": "redis://h",
            "public_sections": "live",
            "tls_ca": "/run/ca",
            "tls_cert": "/run/crt",
            "tls_key": "/run/key",
            "webhook_events": "held",
            "webhook_file": "/run/webhook",
            "webhook_kind": "alertmanager",
        }
        value = special.get(field.name, "1" if isinstance(field.default, int) else "x")
        pair = {"tls_cert": {"DIVISIONS_TLS_KEY": "/k"}, "tls_key": {"DIVISIONS_TLS_CERT": "/c"}}
        load_settings({f"DIVISIONS_{field.name.upper()}": value, **pair.get(field.name, {})})


def test_a_database_of_another_kind_is_refused_without_a_word_of_its_url():
    with pytest.raises(SettingsError, match=r"must begin with postgresql\+psycopg://") as caught:
        load_settings({"DIVISIONS_DATABASE": "mysql://me:hunter2@h/d"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(load_settings({"DIVISIONS_DATABASE": "postgresql://me:hunter2@h/d"}))


def test_s3_follows_the_standard_variables():
    assert load_settings({"AWS_ENDPOINT_URL": "http://a", "AWS_DEFAULT_REGION": "eu"}).s3 == S3Settings(
        "http://a", "eu"
    )
    assert (
        load_settings({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}).s3.endpoint_url == "http://b"
    )
    assert load_settings({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}).s3 == S3Settings(
        None, None, "k", "s"
    )


def test_the_folder_of_sockets_is_short_and_belongs_to_one_home():
    deep = Path("/" + "x" * 200)
    assert runtime_dir(deep) == runtime_dir(deep)
    assert runtime_dir(deep) != runtime_dir(deep / "y")
    assert len(str(runtime_dir(deep) / "r-0123456789abcdef.sock")) <= 107


@given(st.dictionaries(st.text().map("DIVISIONS_X_".__add__), st.text(), max_size=3))
def test_any_unknown_variable_is_a_settings_error(environment):
    with pytest.raises(SettingsError) if environment else contextlib.nullcontext():
        load_settings(environment)


@pytest.mark.parametrize("text", ["~nosuchuser/x", "~nosuchuser"])
def test_a_home_of_an_unknown_user_is_refused(text):
    with pytest.raises(SettingsError, match="no such user"):
        load_settings({"DIVISIONS_HOME": text})


def test_a_tilde_in_the_home_is_the_users_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/srv/me")
    assert load_settings({"DIVISIONS_HOME": "~/state"}).home == Path("/srv/me/state")


def test_a_current_folder_that_was_removed_is_told_only_where_it_matters(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="current folder no longer exists"):
        load_settings({})
    assert load_settings({"DIVISIONS_HOME": "/srv/home"}).home == Path("/srv/home")


def test_a_user_that_the_system_does_not_know_gets_a_home_and_a_name(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DIVISIONS_HOME", "/srv/home")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert account_environment() == {"HOME": "/srv/home", "USER": f"uid-{os.getuid()}"}
    monkeypatch.setenv("HOME", "/srv/me")
    monkeypatch.setenv("LOGNAME", "me")
    assert account_environment() == {}


def test_a_user_that_the_system_knows_gets_nothing(monkeypatch):
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert account_environment() == {}


def test_a_child_process_reads_the_same_settings(monkeypatch):
    monkeypatch.setenv("DIVISIONS_PORT", "1")
    settings = load_settings({"DIVISIONS_HOME": "/srv/home", "DIVISIONS_PORT": "8123"})
    child = environment_for_child(settings)
    assert load_settings({**child, "RAY_ADDRESS": ""}) == settings
    assert child["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("name", "least", "greatest"),
    [
        ("PORT", 1, 65_535),
        ("DASHBOARD_PORT", 1, 65_535),
        ("GCS_PORT", 1, 65_535),
        ("GATEWAYS", 0, 64),
        ("MAX_BODY_BYTES", 1, 1_073_741_824),
        ("REQUEST_TIMEOUT_MS", 1, 600_000),
    ],
)
def test_both_ends_of_a_range_are_accepted_and_nothing_beyond(name, least, greatest):
    for value in (least, greatest):
        assert getattr(load_settings({f"DIVISIONS_{name}": str(value)}), name.lower()) == value
    for value in (least - 1, greatest + 1):
        with pytest.raises(SettingsError, match=f"DIVISIONS_{name}"):
            load_settings({f"DIVISIONS_{name}": str(value)})


def test_an_unknown_setting_without_a_neighbour_leads_to_the_list():
    with pytest.raises(SettingsError) as caught:
        load_settings({"DIVISIONS_ZZZZZZ": "1"})
    assert "docs/settings.md" in caught.value.remedy


def test_where_nothing_is_set_the_defaults_hold():
    settings = load_settings({})
    assert (settings.host, settings.port, settings.gateways, settings.compiled) == ("127.0.0.1", 8_000, 1, True)
    assert (settings.max_body_bytes, settings.request_timeout_ms, settings.idle_timeout_s) == (1_048_576, 1_000, 75)
    assert (settings.dashboard_port, settings.gcs_port, settings.allow_faults) == (8_265, 6_479, False)
    assert settings.home == Path.cwd() / ".divisions" / "state"


def test_a_process_joins_the_embedded_cluster_only_if_it_is_up(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    assert not join_ray_cluster(tmp_path)
    assert os.environ["RAY_AUTH_TOKEN"] == "of another cluster"
    (tmp_path / "cluster.json").write_text("{}")
    assert join_ray_cluster(tmp_path)
    assert "RAY_AUTH_TOKEN" not in os.environ, "it would take precedence over the path"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "ray_token")
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_passwords_of_registries_are_where_docker_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({}).docker_config == tmp_path / ".docker" / "config.json"
    assert load_settings({"DOCKER_CONFIG": "/etc/docker"}).docker_config == Path("/etc/docker/config.json")
