"""Does anything obey a pipeline's trigger? Who runs it by hand must not believe so wrongly."""

from __future__ import annotations

import json
from pathlib import Path

from divisions.errors import ClusterError
from divisions.pipeline.definition import Pipeline
from divisions.schedule.state_file import read_schedule


def why_not_obeyed(home: Path, path: Path, pipeline: Pipeline) -> str:
    """What keeps the trigger of the pipeline in the file ``path`` from starting runs; empty if nothing does."""
    if pipeline.trigger is None:
        return ""
    starts_no_runs = f"the trigger 'schedule: {pipeline.trigger}' starts no runs: "
    folder = _watched_folder(home)
    if folder is None:
        return f"{starts_no_runs}no `divisions up` of {home} runs pipelines by their trigger"
    try:
        entry = read_schedule(home).find(pipeline.name)
    except ClusterError as error:
        return starts_no_runs + str(error)
    file = path.resolve()
    if entry is not None and Path(entry.path).resolve() == file:
        remedy = f"`divisions schedule resume {pipeline.name}` goes on"
        return f"{starts_no_runs}it is paused; {remedy}" if entry.is_paused else ""
    if entry is not None:
        return f"{starts_no_runs}the pipeline {pipeline.name} is scheduled by {entry.path}"
    if file.parent == folder.resolve():  # the scheduler of a cluster that has just started will find it
        return ""
    return f"{starts_no_runs}the file is not scheduled; `divisions schedule add {path}` does that"


def what_of_demo(home: Path, path: Path, pipeline: Pipeline) -> str:
    """What the trigger of a pipeline does whose first version was trained on demo data; empty if it starts no runs.

    Its runs read the file's own input, which somebody who only looks around does not have.
    """
    if pipeline.trigger is None or why_not_obeyed(home, path, pipeline):
        return ""
    return (
        f"the trigger 'schedule: {pipeline.trigger}' runs {pipeline.name} on {pipeline.data_prep.input}, not on demo"
        f" data; `divisions schedule pause {pipeline.name}` keeps it from that"
    )


def _watched_folder(home: Path) -> Path | None:
    """The folder whose pipelines the home's cluster runs by their trigger; None if no cluster of it does."""
    try:
        cluster = json.loads((home / "cluster.json").read_bytes())
        is_alive = Path(f"/proc/{int(cluster['pid'])}").exists()
        folder = str(cluster.get("pipelines", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Path(folder) if folder and is_alive else None
