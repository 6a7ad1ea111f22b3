"""The files of kustomize: what kubectl makes of an overlay is what the values say, to the last field."""

import subprocess
from dataclasses import replace

import pytest
import yaml

from deploy.kubernetes.kustomize import files
from deploy.kubernetes.manifests import key_of, namespace, render
from deploy.kubernetes.values import Values
from divisions.errors import UsageError
from tests.deploy.kubernetes.test_manifests import BY_GATEWAY_API, FULL, IMAGE, PIPELINE, PLAIN
from tests.kubectl import KUBECTL, needs_kubectl

OVERLAYS = {
    "staging": replace(PLAIN, namespace="ml-staging", replicas=1, schedule_paused=True),
    "production": FULL,
    "other-way-in": BY_GATEWAY_API,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kustomize")
    for path, text in files(Values(), OVERLAYS, PIPELINE).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@needs_kubectl
@pytest.mark.parametrize("name", OVERLAYS)
def test_kubectl_makes_of_an_overlay_what_its_values_say(written, name):
    values = OVERLAYS[name]
    made = subprocess.run(
        [KUBECTL, "kustomize", str(written / "overlays" / name)], capture_output=True, text=True, check=True
    )
    found = {key_of(each): each for each in yaml.safe_load_all(made.stdout)}
    assert found == {key_of(each): each for each in [*render(values, PIPELINE), namespace(values)]}


def test_an_image_without_a_digest_is_refused():
    with pytest.raises(UsageError, match=r"the image of staging, 'divisions:latest', has no digest"):
        files(Values(), {"staging": replace(PLAIN, image="divisions:latest")}, PIPELINE)


def test_overlays_with_other_names_are_refused():
    with pytest.raises(UsageError, match=r"lacks objects of the base: .*RayCluster"):
        files(Values(), {"staging": replace(PLAIN, name="churn")}, PIPELINE)


def test_a_secret_or_digest_of_one_overlay_is_in_no_other(written):
    other = replace(PLAIN, image=IMAGE.replace("1", "2"))
    assert "2" * 64 in files(Values(), {"a": other}, PIPELINE)["overlays/a/kustomization.yaml"]
    assert not [path for path in (written / "base").iterdir() if "sha256:" in path.read_text()]
