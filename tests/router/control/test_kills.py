"""The controller killed before and after every write of its journal: nothing is skipped, repeated or undone."""

import random

import pytest

from divisions.control import RolloutCommand
from tests.router.rollout_world import ANALYSIS, World, spec

STEPS_BP = (2_000, 5_000, 9_700, 10_000)


class Killer:
    """Kills at the write points that it is given, counted over the whole scenario."""

    def __init__(self, points):
        self._points = set(points)
        self.seen = 0
        self.kills = []

    def __call__(self, kind, *, is_written):
        self.seen += 1
        if self.seen not in self._points:
            return False
        self.kills.append((kind, is_written))
        return True


class Scenario:
    """A world in which the controller may die anywhere; it is started again each time, as Ray does."""

    def __init__(self, folder, points=()):
        folder.mkdir()
        self.killer = Killer(())
        self.world = World(folder)
        self.world.deploy_first()
        self.killer = Killer(points)
        self.world.dies_at = self.killer
        self.weights_seen = []

    def act(self, act):
        """Carries out a command or lets a second pass; returns whether it was answered."""
        try:
            act()
            return True
        except KeyboardInterrupt:
            while True:
                try:
                    self.world.restart_controller()
                    return False
                except KeyboardInterrupt:
                    continue

    def second(self):
        self.act(self.world.second)
        weight_bp = self.world.weights().get("3.2", 0)
        if (self.weights_seen or [0])[-1] != weight_bp:
            self.weights_seen.append(weight_bp)

    def until(self, phase, at_most_s=400):
        for _ in range(at_most_s):
            if self.world.status().phase == phase:
                return
            self.second()
        raise AssertionError(f"still {self.world.status().phase}; killed at {self.killer.kills}")

    def start(self):
        """Asks until it is answered; a start that was written before the kill is there already."""
        while self.world.status().canary_version != "3.2":
            self.act(lambda: self.world.controller.start_rollout(spec("3.2")))

    def intents(self):
        """Every transition of the second rollout, as the journal has it."""
        entries = [entry for entry in self.world.journal.entries("churn") if entry.generation > 2]
        seen, lines = set(), []
        for entry in entries:
            if (entry.kind, entry.generation) not in seen:
                seen.add((entry.kind, entry.generation))
                lines.append(entry.kind.value)
        return [kind for kind in lines if kind not in {"STEP_APPLIED", "RETIRED", "DECISION"}]


def promoted(folder, points=()):
    scenario = Scenario(folder, points)
    scenario.start()
    scenario.until("PROMOTED")
    for _ in range(35):  # until the old version is let go
        scenario.second()
    return scenario


def rolled_back(folder, points=()):
    scenario = Scenario(folder, points)
    scenario.world.latency_s["3.2"] = 0.02
    scenario.start()
    scenario.until("ROLLED_BACK")
    for _ in range(8):  # a controller that was killed last thing publishes no table until replicas were heard
        scenario.second()
    return scenario


@pytest.mark.parametrize("play", [promoted, rolled_back])
def test_killed_once_at_every_point_of_every_write(tmp_path, play):
    calm = play(tmp_path / "calm")
    assert calm.killer.seen >= 20, "two points per write"
    for point in range(1, calm.killer.seen + 1):
        killed = play(tmp_path / f"{point}", {point})
        assert len(killed.killer.kills) == 1
        assert_same_story(killed, calm)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("play", [promoted, rolled_back])
def test_killed_again_and_again(tmp_path, play, seed):
    calm = play(tmp_path / "calm")
    generator = random.Random(seed)
    points = set(generator.sample(range(1, calm.killer.seen), 8))
    killed = play(tmp_path / "killed", points)
    assert len(killed.killer.kills) >= 4
    assert_same_story(killed, calm)


def assert_same_story(killed, calm):
    assert killed.intents() == calm.intents(), killed.killer.kills
    assert killed.weights_seen == calm.weights_seen, killed.killer.kills
    assert killed.world.weights() == calm.world.weights()
    assert killed.world.controller.wanted() == calm.world.controller.wanted()
    history = [(entry.phase, entry.weight_bp) for entry in killed.world.status().history]
    assert history == [(entry.phase, entry.weight_bp) for entry in calm.world.status().history]


def test_there_are_more_than_a_hundred_kills_in_all(tmp_path):
    """What the first test amounts to, so that nobody makes it smaller unnoticed."""
    points = sum(play(tmp_path / play.__name__).killer.seen for play in (promoted, rolled_back))
    assert points >= 50
    assert points + 2 * 12 * 4 >= 100


@pytest.mark.parametrize("command", ["abort", "promote"])
def test_a_command_that_was_answered_is_never_undone_wherever_the_controller_dies_next(tmp_path, command):
    expected = {"abort": "ROLLED_BACK", "promote": "PROMOTED"}[command]
    for point in range(1, 24):
        scenario = Scenario(tmp_path / f"{point}")
        scenario.start()
        scenario.until("STEP")
        before_bp = scenario.world.status().actual_weight_bp
        scenario.world.dies_at = scenario.killer = Killer({point})
        is_answered = scenario.act(lambda it=scenario: it.world.controller.command(RolloutCommand("churn", command)))
        if is_answered:
            for _ in range(12):
                assert scenario.world.status().phase not in {"STEP", "BAKE", "HOLD"}
                scenario.second()
            assert scenario.world.status().phase == expected
        else:  # It was not answered: it may have happened or not, but nothing in between.
            assert scenario.world.status().actual_weight_bp in {before_bp, 0, 10_000}
            scenario.until(expected if scenario.world.status().phase != "STEP" else "PROMOTED")


def test_a_restarted_controller_goes_on_within_five_seconds(tmp_path):
    scenario = Scenario(tmp_path / "world")
    scenario.start()
    scenario.until("STEP")
    for _ in range(5):
        scenario.world.restart_controller()
        away_s = 0
        while scenario.world.controller.is_recovering:
            scenario.second()
            away_s += 1
        assert away_s <= 5
    assert ANALYSIS.min_dwell_s > 5, "or the steps would have passed meanwhile"
