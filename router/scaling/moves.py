"""Moves a replica from a crowded node to a better one: first one more, then one less. Pure; no I/O.

    quiet ──> holding ──> adding ──> leaving ──> quiet
                 │           │           │
                 └───────────┴───────────┴──> given up: the number is as before; after a failure `PAUSE_S` pass first

- *holding*: the shell takes what is free on nodes that must not get the replica. Ray Serve cannot be told a node, but
  it places nothing where nothing is free.
- *adding*: Ray Serve is told to run one more. It answers on a better node, or the move is given up.
- *leaving*: a replica of the crowded node is asked to go. It reports itself as unhealthy, so Ray Serve stops it, and it
  finishes what it has. In that instant Ray Serve is told the old number again; told before, it would stop another one.

A version is moved only while nothing else goes on: it serves, no rollout compares it, it has all its replicas, nothing
waits for a node, and all that was so for `QUIET_S`. One move goes on at a time. A controller that ends in between
forgets it; the next one tells Ray Serve the old number, and looks anew.
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from router.scaling.placement import Cluster
from router.scaling.spread import Crowding, Standing, crowding

log = logging.getLogger(__name__)

QUIET_S = 15.0
HOLD_S = 10.0
"""How long the shell may take to hold the room, and how long it is held then: Ray Serve places within a second."""
ADD_S = 120.0
"""How long a replica may take to start. An engine that is built for its GPU takes longer, and is not moved."""
LEAVE_S = 40.0
"""How long a replica may take to hear that it should go, and Ray Serve to find it unhealthy three times."""
HOUR_S = 3_600.0
MAX_MOVES = 12
"""At most so many moves of a version are begun in an hour."""
PAUSE_S = 300.0
"""After a move that failed, the version is left alone for so long."""


class Phase(enum.Enum):
    HOLDING = "holding"
    ADDING = "adding"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Move:
    """A move that goes on. ``before`` are the version's replicas at its beginning; ``leaving`` is the one to go."""

    app_name: str
    crowding: Crowding
    before: Standing
    phase: Phase
    since_s: float
    leaving: str = ""

    @property
    def is_placed(self) -> bool:
        """Whether Ray Serve was told to run one more."""
        return self.phase is not Phase.HOLDING


@dataclass(slots=True)
class _Past:
    """What is remembered of a version."""

    seen: object = None
    since_s: float = 0.0
    begun: tuple[float, ...] = ()
    paused_s: float = 0.0
    """Until when nothing is tried."""
    note: str = ""


class Moves:
    """See the module. `step` is called once a second."""

    def __init__(self) -> None:
        self._move: Move | None = None
        self._past: dict[str, _Past] = {}
        self._now_s = 0.0

    def step(self, standings: Mapping[str, Standing], cluster: Cluster | None, now_s: float) -> None:
        """Goes on with a move, or begins one.

        Args:
            standings: all versions that should run, by application.
            cluster: its nodes, and what waits for one; None if it is not known.
            now_s: the time.
        """
        self._now_s = now_s
        for name in set(self._past) - set(standings):
            del self._past[name]
        for name, standing in standings.items():
            self._look(name, standing, cluster)
        if self._move is not None:
            self._go_on(self._move, standings.get(self._move.app_name))
        elif cluster is not None and not cluster.waiting and all(one.is_full for one in standings.values()):
            self._begin(standings, cluster)

    def held(self, *, is_held: bool) -> None:
        """The shell holds what `hold` asked for, or cannot."""
        move = self._move
        if move is None or move.phase is not Phase.HOLDING:
            return
        if is_held:
            self._move = replace(move, phase=Phase.ADDING, since_s=self._now_s)
        else:
            self._give_up(move, "the room on other nodes could not be held")

    def left(self, replica_id: str) -> None:
        """A replica has said that it is about to stop."""
        if self._move is not None and self._move.leaving == replica_id:
            self._end(self._move)

    @property
    def hold(self) -> Mapping[str, float]:
        """The CPUs to hold now, by node; what is not named is to be released."""
        move = self._move
        if move is None or move.phase is Phase.LEAVING:
            return {}
        is_over = move.phase is Phase.ADDING and self._now_s - move.since_s >= HOLD_S
        return {} if is_over else move.crowding.held

    @property
    def is_waiting_for_room(self) -> bool:
        return self._move is not None and self._move.phase is Phase.HOLDING

    def extra(self, app_name: str) -> int:
        """How many replicas more than its number a version has now."""
        return int(self._move is not None and self._move.app_name == app_name and self._move.is_placed)

    def is_asked_to_go(self, replica_id: str) -> bool:
        return self._move is not None and self._move.leaving == replica_id

    def notes(self) -> dict[str, str]:
        """What is said of each version's moves, by application."""
        return {name: past.note for name, past in self._past.items() if past.note}

    # ---- Decisions -----------------------------------------------------------------------------------------------

    def _look(self, name: str, standing: Standing, cluster: Cluster | None) -> None:
        """Notes since when a version and the nodes are as they are."""
        past = self._past.setdefault(name, _Past())
        nodes = frozenset(node.node_id for node in cluster.nodes) if cluster else None
        seen = (frozenset(standing.replicas.items()), standing.version.replicas, standing.is_idle, nodes)
        if past.seen != seen:
            past.seen, past.since_s = seen, self._now_s
        past.begun = tuple(begun_s for begun_s in past.begun if self._now_s - begun_s < HOUR_S)
        if not past.begun:
            past.note = ""

    def _begin(self, standings: Mapping[str, Standing], cluster: Cluster) -> None:
        for name, standing in sorted(standings.items()):
            past = self._past[name]
            is_quiet = self._now_s - past.since_s >= QUIET_S and self._now_s >= past.paused_s
            if not (standing.is_idle and is_quiet and len(past.begun) < MAX_MOVES):
                continue
            found = crowding(standing, cluster.nodes)
            if found is not None:
                past.begun += (self._now_s,)
                self._note(
                    name, f"{found.count} of {len(standing.replicas)} replicas are on {found.node.name}: moving one"
                )
                self._move = Move(name, found, standing, Phase.HOLDING, self._now_s)
                return

    def _go_on(self, move: Move, standing: Standing | None) -> None:
        age_s = self._now_s - move.since_s
        if standing is None:
            self._move = None  # The version is no longer wanted.
        elif move.phase is Phase.LEAVING:
            if move.leaving not in standing.replicas:
                self._end(move)  # It has gone without a word.
            elif age_s >= LEAVE_S:
                self._give_up(move, "the replica did not go")
        elif not _is_as_before(move, standing):
            self._give_up(move, "something else has begun", pause_s=0.0)
        elif move.phase is Phase.HOLDING:
            if age_s >= HOLD_S:
                self._give_up(move, "the room on other nodes could not be held")
        elif new := [node for replica, node in standing.replicas.items() if replica not in move.before.replicas]:
            self._placed(move, new[0])
        elif age_s >= ADD_S:
            self._give_up(move, f"another replica did not start within {ADD_S:g} s")

    def _placed(self, move: Move, node_id: str) -> None:
        if not move.crowding.is_better(Counter(move.before.replicas.values())[node_id]):
            self._give_up(move, "Ray Serve placed the other replica on a node that has some")
            return
        crowded = [name for name, node in move.before.replicas.items() if node == move.crowding.node.node_id]
        self._move = replace(move, phase=Phase.LEAVING, since_s=self._now_s, leaving=crowded[-1])

    def _end(self, move: Move) -> None:
        self._move = None
        self._note(
            move.app_name, f"a replica was moved off {move.crowding.node.name}, where {move.crowding.count} were"
        )

    def _give_up(self, move: Move, reason: str, pause_s: float = PAUSE_S) -> None:
        self._move = None
        self._past[move.app_name].paused_s = self._now_s + pause_s
        name, count = move.crowding.node.name, move.crowding.count
        self._note(move.app_name, f"{count} replicas were on {name}, and none was moved: {reason}")

    def _note(self, app_name: str, note: str) -> None:
        self._past[app_name].note = note
        log.info("%s: %s", app_name, note)


def _is_as_before(move: Move, standing: Standing) -> bool:
    """Whether nothing has changed but that there may be more replicas."""
    is_same = standing.is_idle and standing.version == move.before.version
    return is_same and set(move.before.replicas) <= set(standing.replicas)
