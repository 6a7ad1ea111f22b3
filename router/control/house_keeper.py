"""Answers what the page shows, section by section: each is made once a second at most, and sent to those who lack it.

A gateway says which sections it has, by their stamps, and gets the others. So a table that does not change costs
little, however many look at it. Nothing is made while nobody asks.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from divisions import __version__
from divisions.clock import Clock
from divisions.house import About, DriftSection, Link, Source
from divisions.house_rows import Deployments, Pipelines
from divisions.status import ControllerStatus, NodeStatus
from router.control.inventory_keeper import InventoryKeeper
from router.house.drift_section import drift_section
from router.house.live import live
from router.house.stages import stages
from router.house.tables import pods_table, registry_table, rollout_lines, runs_table

if TYPE_CHECKING:  # the journal's database comes with it
    from router.control.controller import Controller

log = logging.getLogger(__name__)

KEPT_S: Final = 1.0
SLOW_S: Final = 5.0
"""Curves and histories are sent whole, so less often; a page adds the seconds in between by itself."""
DRIFT_S: Final = 10.0

Stamped = tuple[str, bytes]
"""A section as JSON, with the stamp of this content."""


class HouseKeeper:
    """See the module.

    Args:
        controller: knows replicas, rollouts, traffic and drift.
        inventory: knows what is read in the background.
        nodes: the nodes that belong to a status.
        clock: the time.
        links: other tools' pages.
        public: the sections that are shown without a token.
    """

    def __init__(
        self,
        controller: Controller,
        inventory: InventoryKeeper,
        nodes: Callable[[ControllerStatus], tuple[NodeStatus, ...]],
        clock: Clock,
        links: tuple[Link, ...] = (),
        public: tuple[str, ...] = (),
    ) -> None:
        self._controller = controller
        self._inventory = inventory
        self._nodes = nodes
        self._clock = clock
        self._links = links
        self._public = public
        self._sections: dict[str, Stamped] = {}
        self._made_s: dict[str, float] = {}

    def lacking(self, known: Mapping[str, str]) -> dict[str, Stamped]:
        """The sections that are not as a gateway knows them.

        Args:
            known: stamps by section.
        """
        if self._is_due("", KEPT_S):
            self._make()
        return {name: section for name, section in self._sections.items() if known.get(name) != section[0]}

    def _make(self) -> None:
        controller, fact = self._controller, self._inventory.fact
        status = controller.status()
        nodes, now_s = self._nodes(status), self._clock.wall_s()
        lines, reach = rollout_lines(status.rollouts), self._inventory.reach()
        registry = registry_table(fact("registered"))
        runs = runs_table(fact("latest_runs"), fact("curves") or {}, fact("registered"), fact("runs"))
        traffic = controller.chronicle.traffic
        metrics = live(traffic, lines, registry, fact("pipelines"), status.drift, round(now_s, 1))
        away = [each.name for each in reach if each.state == "away"]
        names = {each.node_id: each.hostname or each.address for each in nodes}
        self._put("about", self._about(status, len(nodes)))
        self._put("sources", (*reach, _journal(status)))
        self._put("live", metrics)
        self._put("stages", stages(runs, fact("run_steps") or (), lines, metrics, away))
        self._put("pipelines", Pipelines(fact("pipeline_files")))
        self._put("registry", registry)
        self._put("runs", runs)
        self._put("pods", pods_table(status.replicas, status.scales, names, now_s))
        self._put("rollouts", lines)
        self._put("deployments", Deployments(fact("deployments")))
        if self._is_due("history", SLOW_S):
            self._put("history", controller.chronicle.history.history)
            self._put("curves", controller.chronicle.curves())
        if self._is_due("drift", DRIFT_S):
            self._put("drift", self._drift(status))

    def _about(self, status: ControllerStatus, num_nodes: int) -> About:
        begun_s, gateways = status.started_at_s, status.gateways
        return About(__version__, begun_s, status.restarts, gateways, num_nodes, self._links, self._public)

    def _drift(self, status: ControllerStatus) -> DriftSection:
        watch = self._controller.drift_watch
        return drift_section([found for each in status.drift for found in watch.drift(each.endpoint)])

    def _is_due(self, name: str, every_s: float) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s - self._made_s.get(name, -every_s) < every_s:
            return False
        self._made_s[name] = now_s
        return True

    def _put(self, name: str, section: Any) -> None:
        try:
            data = msgspec.json.encode(section)
        except (UnicodeEncodeError, msgspec.MsgspecError) as error:
            # A name that is no text, say of another tool: it must not take the other sections with it.
            log.warning("the section %s is as it was, because it cannot be encoded: %s", name, type(error).__name__)
            return
        self._sections[name] = hashlib.blake2b(data, digest_size=8).hexdigest(), data


def _journal(status: ControllerStatus) -> Source:
    return Source("journal", "away" if status.journal_fault else "ok", None, status.journal_fault)
