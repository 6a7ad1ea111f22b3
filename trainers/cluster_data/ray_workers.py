"""The processes of a Ray cluster: tasks that read parts, and an actor for each bucket.

All of them run in a placement group, so that none waits for resources that another one holds. Blocks are objects of
Ray's store, which spills to disk, and makes a lost block again by repeating its task. A bucket that dies is started
again with its rows, and its calls are repeated: they give the same answers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from divisions.errors import DivisionsError, TrainingError
from trainers.cluster_data.blocks import Block, Gathered, StagedPart
from trainers.cluster_data.bucket import Bucket, Call
from trainers.cluster_data.cancellation import cancel_unfinished
from trainers.cluster_data.part_task import read_part
from trainers.cluster_data.reading import PartTask
from trainers.data.engine import Limits

MAX_RETRIES = 3
MAX_BUCKETS = 64
_PLACING_S = 10.0
"""How long to wait for room for all processes, before trying with half of them."""
_DEADLINE_S = 120.0
_LOOK_S = 15.0
_CLOSE_S = 10.0
"""For a bucket to remove its files. One that is killed in the middle leaves them to the next one there."""
"""How often to look whether the processes still have their places."""


@contextlib.contextmanager
def placed_workers(
    num_processes: int, num_cpus: float, memory_bytes: int, on_start: Callable[[], None]
) -> Iterator[RayWorkers]:
    """Room for some processes on the cluster's nodes: for as many as asked for, or fewer.

    Args:
        num_processes: how many processes would be good.
        num_cpus, memory_bytes: of each process; no memory is reserved if it is 0.
        on_start: runs first in each process.

    Raises:
        TrainingError: there is no room for a single one.
    """
    bundle = {"CPU": num_cpus, **({"memory": memory_bytes} if memory_bytes else {})}
    count = max(1, min(num_processes, MAX_BUCKETS))
    while True:
        group = placement_group([bundle] * count, strategy="SPREAD")
        try:
            if group.wait(_PLACING_S if count > 1 else _DEADLINE_S):
                yield RayWorkers(count, num_cpus, memory_bytes, on_start, group)
                return
        finally:
            remove_placement_group(group)
        if count == 1:
            raise TrainingError(
                f"data_prep waited {_DEADLINE_S:.0f} s for {num_cpus:g} CPUs on some node",
                remedy="lower data_prep.resources, serve fewer replicas, or set data_prep.distributed: never",
            )
        count //= 2


@dataclass(frozen=True, slots=True)
class RayWorkers:
    """Uses ``num_buckets`` processes at a time, each with these resources, in the placement group ``group``."""

    num_buckets: int
    num_cpus: float
    memory_bytes: int
    on_start: Callable[[], None]
    group: PlacementGroup

    def read(self, tasks: Sequence[PartTask]) -> list[tuple[StagedPart, Sequence[Any]]]:
        # The description comes last: it is complete when all blocks are given.
        remote = ray.remote(_read).options(
            num_returns=self.num_buckets + 1, max_retries=MAX_RETRIES, name="divisions-read", **self._resources()
        )
        refs = [remote.remote(task, self.on_start) for task in tasks]
        try:
            parts: list[StagedPart] = self._get([of_task[-1] for of_task in refs])
        except BaseException:
            cancel_unfinished([of_task[-1] for of_task in refs])
            raise
        return [(part, of_task[:-1]) for part, of_task in zip(parts, refs, strict=True)]

    def fetch(self, block: Any) -> Block:
        (found,) = self._get([block])
        return cast("Block", found)

    @contextlib.contextmanager
    def open_buckets(
        self,
        limits: Limits,
        gathered: Sequence[Gathered],
        parts: Sequence[StagedPart],
        blocks: Sequence[Sequence[Any]],
    ) -> Iterator[RayBuckets]:
        shared = ray.put((tuple(gathered), tuple(parts)))
        actors = ray.remote(_BucketActor).options(max_restarts=0, **self._resources())
        buckets = [
            _Handle(
                actors, (limits, self.on_start), [("open_with", (shared, *(of_part[bucket] for of_part in blocks)))]
            )
            for bucket in range(self.num_buckets)
        ]
        try:
            yield RayBuckets(buckets, self._get)
        finally:
            closing = [bucket.actor.close.remote() for bucket in buckets if bucket.actor is not None]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
            for bucket in buckets:
                bucket.kill()

    def _get(self, refs: Sequence[Any]) -> list[Any]:
        """As `ray.get`; errors of ours are raised as they are. A wait for a node that never comes back ends."""
        missing_since_s: float | None = None
        while len(ray.wait(list(refs), num_returns=len(refs), timeout=_LOOK_S, fetch_local=False)[0]) < len(refs):
            if placement_group_table(self.group)["state"] == "CREATED":
                missing_since_s = None
                continue
            missing_since_s = missing_since_s or time.monotonic()
            if time.monotonic() - missing_since_s > _DEADLINE_S:
                raise TrainingError(
                    f"a node that read a part of the input has left the cluster, and for {_DEADLINE_S:.0f} s no other"
                    f" has had {self.num_cpus:g} CPUs free",
                    remedy="run again, or set data_prep.distributed: never",
                )
        try:
            return cast("list[Any]", ray.get(list(refs)))
        except RayTaskError as error:
            if isinstance(error.cause, DivisionsError):
                raise error.cause from None
            raise

    def _resources(self) -> dict[str, Any]:
        memory = {"memory": self.memory_bytes} if self.memory_bytes else {}
        strategy = PlacementGroupSchedulingStrategy(self.group)
        return {"num_cpus": self.num_cpus, "scheduling_strategy": strategy, **memory}


def _read(task: PartTask, on_start: Callable[[], None]) -> Iterator[Block | StagedPart]:
    on_start()
    yield from read_part(task)


class _BucketActor:
    def __init__(self, limits: Limits, on_start: Callable[[], None]) -> None:
        on_start()
        self._bucket = Bucket(limits)

    def open_with(self, shared: tuple[Sequence[Gathered], Sequence[StagedPart]], *blocks: Block) -> None:
        for part, block in enumerate(blocks):
            self._bucket.load(part, block)
        self._bucket.open(*shared)

    def call(self, call: Call) -> Any:
        return self._bucket.call(call)

    def flawed(self, call: Call) -> Any:
        return self._bucket.flawed(call)

    def chosen(self) -> Any:
        return self._bucket.chosen()

    def close(self) -> None:
        self._bucket.close()


@dataclass(slots=True)
class _Handle:
    """One bucket. ``history`` are the calls so far; a new actor repeats them."""

    actors: Any
    arguments: tuple[Any, ...]
    history: list[tuple[str, tuple[Any, ...]]]
    actor: Any = None
    _repeated: list[Any] = field(default_factory=list)

    def send(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Starts a call."""
        if self.actor is None:
            self.actor = self.actors.remote(*self.arguments)
            self._repeated = [getattr(self.actor, name).remote(*given) for name, given in self.history]
        return getattr(self.actor, method).remote(*arguments)

    def kill(self) -> None:
        if self.actor is not None:
            ray.kill(self.actor)
            self.actor = None


@dataclass(frozen=True, slots=True)
class RayBuckets:
    """The buckets of an input. ``get`` waits for answers."""

    handles: Sequence[_Handle]
    get: Callable[[Sequence[Any]], list[Any]]

    def call(self, call: Call) -> list[Any]:
        return self._all("call", (call,))

    def flawed(self, call: Call) -> list[Any]:
        return self._all("flawed", (call,))

    def chosen(self) -> list[Any]:
        return self._all("chosen", ())

    def _all(self, method: str, arguments: tuple[Any, ...]) -> list[Any]:
        running = [handle.send(method, arguments) for handle in self.handles]
        answers = []
        for handle, ref in zip(self.handles, running, strict=True):
            answers.append(self._answer(handle, ref, method, arguments))
            handle.history.append((method, arguments))
        return answers

    def _answer(self, handle: _Handle, ref: Any, method: str, arguments: tuple[Any, ...]) -> Any:
        """The answer of a bucket. If it dies, a new one repeats everything."""
        for attempt in range(MAX_RETRIES + 1):
            try:
                return self.get([ref])[0]
            except RayActorError:
                if attempt == MAX_RETRIES:
                    raise
                handle.actor = None
                ref = handle.send(method, arguments)
        raise AssertionError("unreachable")
