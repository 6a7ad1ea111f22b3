"""Train, register and look at versions from Python: ``python examples/train.py PIPELINE``. It needs no cluster."""

import sys

from divisions import Client
from divisions.errors import GateRefusedError


def main(pipeline: str) -> None:
    client = Client()

    # The whole pipeline in a process of its own. Without uses_ray=False it runs on the cluster that is up.
    try:
        run = client.train(pipeline, uses_ray=False)
    except GateRefusedError as error:
        sys.exit(f"error: {error}")
    print(f"run {run.run_id}: AUC {run.metrics['auc']:.3f}")

    # A run that passed its gates is registered.
    version = client.register(run)
    for each in client.models(version.model):
        print(f"{each.model} {each.version}: {each.validation_status}")

    for each in client.runs():
        print(f"{each.name}: {each.status} with {each.params['epochs']} epochs")

    # With a cluster up, this starts the rollout and waits for its end:
    # client.deploy(version, pipeline=pipeline)


if __name__ == "__main__":
    main(*sys.argv[1:])
