"""The page in a real browser: its token, its commands, its connection."""

from __future__ import annotations

import msgspec
import pytest
from selenium.webdriver.common.keys import Keys

from divisions.errors import ConflictError, StaleGenerationError
from tests.e2e.page.stage import rollout, watch

pytestmark = pytest.mark.e2e


def test_without_a_token_the_page_shows_what_is_served_and_asks_for_it(browser, stage):
    stage.say(rollout())
    browser.open(stage.url)
    browser.wait_for_text('[data-part="serving"]', "3.1")
    assert "no token" in browser.text("#connection")
    assert browser.text('tr[data-version="3.1"]').split() == ["3.1", "100", "%", "1"]
    assert "STEP" not in browser.text("main")
    assert stage.it.link.status_calls == 0
    browser.all("#token")[0].send_keys("secret", Keys.ENTER)
    browser.wait_for_text("#connection", "live")
    browser.wait_for_text('[data-field="phase"]', "STEP")
    assert not browser.all("#token")[0].is_displayed()
    assert browser.run("return JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])") == (
        '[{"divisions.token":"secret"},{},""]'
    )
    browser.driver.refresh()  # The tab keeps it.
    browser.wait_for_text("#connection", "live")
    browser.press("#forget")
    browser.wait_for_text("#connection", "no token")
    assert browser.run("return sessionStorage.length") == 0
    assert "STEP" not in browser.text("main")
    assert browser.log() == []


def test_a_token_in_the_address_is_taken_and_removed(browser, stage):
    watch(browser, stage, rollout())
    assert browser.driver.current_url == stage.url
    assert browser.run("return history.length > 0 && location.hash") == ""
    assert browser.log() == []


def test_a_refused_token_is_reported_and_another_may_be_given(browser, stage):
    stage.say(rollout())
    browser.open(f"{stage.url}#token=wrong")
    browser.wait_for_text("#connection", "token was refused")
    assert "STEP" not in browser.text("main")
    browser.all("#token")[0].send_keys("secret", Keys.ENTER)
    browser.wait_for_text("#connection", "live")
    assert all("401" in line for line in browser.log())


def test_a_command_is_confirmed_and_carries_the_generation_that_was_seen(browser, stage):
    watch(browser, stage, rollout())
    browser.press('[data-command="abort"]')
    assert browser.text("#confirm-text") == "Take all traffic of churn away from 3.2, and give it to 3.1?"
    assert browser.run("return document.activeElement.id") == "confirm-no"
    browser.run("document.activeElement.blur()")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.wait_for(lambda: not browser.all("#confirm")[0].is_displayed(), "the end of the dialog")
    browser.press('[data-command="abort"]')
    browser.press("#confirm-no")
    assert stage.commands == []
    browser.press('[data-command="abort"]')
    stage.say(rollout(generation=6, message="moved on"))
    browser.wait_for(lambda: "moved on" in browser.run("return document.body.textContent"), "the next generation")
    browser.press("#confirm-yes")
    browser.wait_for_text('[data-field="outcome"]', "Abort: done, the rollout is ROLLING_BACK.")
    assert stage.commands == [{"endpoint": "churn", "command": "abort", "generation": 5}]
    assert browser.log() == []


@pytest.mark.parametrize(
    ("refusal", "words", "status"),
    [
        (
            StaleGenerationError("the rollout of churn is at generation 6, not 5"),
            "has moved on since you looked",
            "412",
        ),
        (ConflictError("version 3.1 serves churn already"), "cannot do that now", "409"),
    ],
)
def test_a_refused_command_is_explained_in_words(browser, stage, refusal, words, status):
    stage.refusal = refusal
    watch(browser, stage, rollout())
    browser.press('[data-command="pause"]')
    browser.press("#confirm-yes")
    told = browser.wait_for_text('[data-field="outcome"]', words)
    assert told.startswith("Pause was not done.")
    assert refusal.message in told
    assert all(status in line for line in browser.log())


def test_an_absent_controller_is_reported_and_its_return_needs_no_reload(browser, stage):
    watch(browser, stage, rollout())
    stage.it.link.is_away = True
    browser.wait_for_text("#connection", "controller away: the controller is away")
    assert "STEP" in browser.text('[data-field="phase"]')  # the last known status stays visible
    stage.it.link.is_away = False
    browser.wait_for_text("#connection", "live")
    assert browser.log() == []


def test_a_broken_stream_reconnects(browser, stage):
    watch(browser, stage, rollout())
    browser.run(
        "window.seen = []; new MutationObserver(() => seen.push(document.getElementById('connection').dataset.state))"
        ".observe(document.getElementById('connection'), {attributes: true})"
    )
    stage.cut_connections()
    browser.wait_for(lambda: browser.run("return seen.join()").endswith("live"), "reconnecting, then live")
    assert "reconnecting" in browser.run("return seen.join()")


def test_events_are_parsed_wherever_the_stream_is_cut(browser, stage):
    browser.open(stage.url)
    text = (
        ": hello\r\n\r\nevent: status\r\ndata: {\r\ndata: 1}\r\n\r\nevent: away\ndata:x\n\nid: 3\n\ndata\n\n: end\n\n"
    )
    found = browser.run(
        """
        const { EventParser } = await import("/page/events.js");
        const results = new Set();
        for (let size = 1; size <= given[0].length; size++) {
          const events = [];
          const parser = new EventParser((name, data) => events.push([name, data]));
          for (let at = 0; at < given[0].length; at += size) parser.push(given[0].slice(at, at + size));
          results.add(JSON.stringify(events));
        }
        return [...results];
        """,
        text,
    )
    assert [msgspec.json.decode(each) for each in found] == [[["status", "{\n1}"], ["away", "x"], ["message", ""]]]


def test_buttons_are_enabled_where_the_state_machine_has_a_transition(browser, stage):
    from router.rollouts.states import Phase
    from router.rollouts.transitions import TRANSITIONS

    browser.open(stage.url)
    allowed = browser.run('return (await import("/page/commands.js")).ALLOWED')
    for command in ("pause", "resume", "promote", "abort"):
        sources = {way.source for way in TRANSITIONS if way.cause == command}
        assert {Phase(name) for name in allowed[command]} == sources, command
