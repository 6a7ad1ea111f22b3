"""Which deployment a controller takes that starts on a node that nobody has prepared."""

from divisions.deployment import Deployment
from router.control.ray_members import choose_deployment

OLD, NEW, OTHER = (Deployment("1", "/home", {"DIVISIONS_DATABASE": name}) for name in ("old", "new", "other"))


def found(*deployments):
    return [(one.encoded(), {"token": one.stamp.encode()}) for one in deployments]


def test_the_wanted_deployment_is_taken_with_its_secrets_however_few_nodes_have_it():
    assert choose_deployment(found(OLD, OLD, NEW), NEW.stamp) == (NEW, {"token": NEW.stamp.encode()})


def test_without_it_the_one_that_most_nodes_have_is_taken():
    assert choose_deployment(found(OTHER, NEW, NEW), OLD.stamp) == (NEW, {"token": NEW.stamp.encode()})


def test_without_any_the_node_waits_to_be_prepared():
    assert choose_deployment([], OLD.stamp) is None
