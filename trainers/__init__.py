"""Raw events to a registered bundle. Open `trainers.run` first: it is one run, stage by stage.

In: a pipeline file, raw events. Out: a version in the registry, rows in the online store, a request for a rollout.
"""
