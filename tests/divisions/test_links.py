"""Links to other tools: what is there, what the settings say, and no password."""

from __future__ import annotations

import pytest

from divisions.errors import SettingsError
from divisions.links import links_of
from divisions.settings import environment_of, load_settings


def links(**variables: str) -> dict[str, str]:
    settings = load_settings({f"DIVISIONS_{name.upper()}": text for name, text in variables.items()})
    return {link.name: link.url for link in links_of(settings)}


def test_a_new_installation_links_to_rays_dashboard_alone():
    assert links() == {"Ray": "http://127.0.0.1:8265"}
    assert links(node_host="10.0.0.7") == {}, "nobody elsewhere reaches the loopback interface"


def test_what_is_configured_is_linked_without_its_password():
    found = links(tracking_uri="https://u:hunter2@mlflow.example/x", prometheus_port="9090")
    assert found["MLflow"] == "https://mlflow.example/x"
    assert found["Prometheus"] == "http://127.0.0.1:9090"
    assert "MLflow" not in links(tracking_uri="postgresql+psycopg://u:hunter2@host/db")


def test_the_setting_adds_replaces_and_takes_away():
    assert links(links="grafana=https://g.example/d/x?a=1, ray=") == {"Grafana": "https://g.example/d/x?a=1"}
    settings = load_settings({"DIVISIONS_LINKS": "grafana=https://g.example"})
    assert load_settings(environment_of(settings)).links == settings.links


@pytest.mark.parametrize(
    "text", ["grafana=javascript:alert(1)", "https://g.example", "other=https://x", "ray=https://u:hunter2@x", "ray"]
)
def test_what_is_no_link_is_refused_and_not_repeated(text):
    with pytest.raises(SettingsError, match="DIVISIONS_LINKS") as refused:
        load_settings({"DIVISIONS_LINKS": text})
    assert "hunter2" not in str(refused.value)


def test_unknown_sections_are_refused():
    with pytest.raises(SettingsError, match="DIVISIONS_PUBLIC_SECTIONS"):
        load_settings({"DIVISIONS_PUBLIC_SECTIONS": "live,secrets"})
