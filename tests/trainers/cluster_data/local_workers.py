"""The processes of a cluster as objects in this process."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

from divisions.pipeline.definition import Distribution
from trainers.cluster_data.bucket import Bucket
from trainers.cluster_data.part_task import read_part
from trainers.cluster_data.reading import read_by_size


@dataclass(frozen=True)
class LocalBuckets:
    buckets: list

    def call(self, call):
        return [bucket.call(call) for bucket in self.buckets]

    def flawed(self, call):
        return [bucket.flawed(call) for bucket in self.buckets]

    def chosen(self):
        return [bucket.chosen() for bucket in self.buckets]


@dataclass(frozen=True)
class LocalWorkers:
    """All processes in this one."""

    num_buckets: int = 3

    def read(self, tasks):
        found = []
        for task in tasks:
            *blocks, part = read_part(task)
            found.append((part, blocks))
        return found

    def fetch(self, block):
        return block

    @contextlib.contextmanager
    def open_buckets(self, limits, gathered, parts, blocks):
        buckets = [Bucket(limits) for _ in range(self.num_buckets)]
        for number, bucket in enumerate(buckets):
            for part, of_part in enumerate(blocks):
                bucket.load(part, of_part[number])
            bucket.open(gathered, parts)
        try:
            yield LocalBuckets(buckets)
        finally:
            for bucket in buckets:
                bucket.close()


THREE = LocalWorkers()


def over_nodes(uri, workers=THREE, wanted=Distribution.ALWAYS, num_nodes=2, **given):
    place = partial(contextlib.nullcontext, workers)
    return read_by_size(uri, place=place, num_nodes=num_nodes, wanted=wanted, **given)
