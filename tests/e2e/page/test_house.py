"""The panels around the rollouts show what the stream's documents say, and nothing else happens."""

from __future__ import annotations

import msgspec
import pytest
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import Browser
from tests.e2e.page import house_documents, scenes
from tests.e2e.page.documents_server import DocumentsServer
from tests.e2e.page.scenes import Scene
from tests.e2e.page.stage import HOSTILE, field, rollout

pytestmark = pytest.mark.e2e

PANELS = ("now", "tiles", "stages", "traffic", "replicas", "drift", "pipelines", "runs", "models", "deploys")


def watch(browser: Browser, documents: DocumentsServer, scene: Scene) -> None:
    documents.say(scene)
    browser.open(f"{documents.url}#token=secret")
    browser.wait_for(lambda: browser.text("#deploys [data-step]") or browser.text("#deploys p"), "the last panel")


def cells(browser: Browser, row: str) -> list[str]:
    script = f"return [...document.querySelectorAll({row!r} + ' > *')].map((cell) => cell.textContent)"
    return browser.run(script)


def choose(browser: Browser, selector: str, value: str) -> None:
    browser.run(
        "const it = document.querySelector(given[0]); it.value = given[1]; it.dispatchEvent(new Event('change'))",
        selector,
        value,
    )


@pytest.mark.parametrize(
    ("paused", "scheduled", "told"),
    [(1, 1, "paused"), (2, 2, "all 2 paused"), (1, 14, "1 of 14 paused"), (0, 14, "14 with a schedule")],
)
def test_a_schedule_that_is_paused_is_told(browser, documents, paused, scheduled, told):
    scene = scenes.running()
    scene.house["live"] |= {
        "active_pipelines": scheduled - paused, "scheduled_pipelines": scheduled, "paused_pipelines": paused,
    }  # fmt: skip
    watch(browser, documents, scene)
    assert browser.text('[data-tile="active_pipelines"] .note') == told


def test_every_panel_shows_its_section(browser, documents):
    watch(browser, documents, scenes.running())
    assert all(browser.all(f"#{panel}")[0].is_displayed() for panel in PANELS)
    told = {name: field(browser, f"live.{name}") for name in ("active_pipelines", "models", "latency", "drift_alerts")}
    assert told == {"active_pipelines": "14", "models": "89", "latency": "3.1 ms", "drift_alerts": "0"}
    assert (field(browser, "live.requests_per_s"), field(browser, "live.failed")) == ("412/s", "0.012 %")
    assert "3 pending validation" in browser.text('[data-tile="models"]')
    assert "↓ 12 % faster" in browser.text('[data-tile="latency"]')
    assert len(browser.all("#tiles polyline")) == 3
    stages = [each.text.split("\n") for each in browser.all("[data-stage]")]
    assert [title for title, *_ in stages] == [
        f"{number}. {title}" for number, (_, title) in enumerate(house_documents.STAGES, 1)
    ]
    assert stages[4][1:][-1] == "churn: 3.2 at 20 %"
    assert "customer-churn-v3 8c1f0e5d8c1f, finished, which made churn-predictor 3.2" in field(browser, "latest")
    assert cells(browser, '[data-traffic="churn 3.2"]') == [
        "churn", "3.2", "canary", "20 %", "82.2", "0.061 % (3)", "2.5 ms", "5.0 ms", "10.4 ms",
    ]  # fmt: skip
    assert cells(browser, '[data-drift="minutes"]') == ["minutes", "0.00", "0.00", "✔ stable"]
    assert cells(browser, '[data-part="histogram"] tbody tr')[:3] == ["<= 18", "10 %", "12 %"]
    assert cells(browser, '[data-registered="churn-predictor 3.1"]')[:6] == [
        "churn-predictor 3.1", "◐ Staging", "", "PyTorch 2.1", "138 MB", "auc 0.894 | precision 0.86 | recall 0.84",
    ]  # fmt: skip
    assert cells(browser, f'[data-run="{house_documents.RUN}"]')[5:] == ["0.912", "✔ ✔", "3.2 Production"]
    assert browser.text('[data-gate="auc"]') == "✔ auc: 0.912 (threshold: > 0.85)"
    assert (field(browser, "run.optimizer"), field(browser, "run.gpu_util")) == ("AdamW", "94 %")
    assert field(browser, "pipeline.trigger") == "0 2 * * * (UTC)"
    assert "UTC, in 4h26m" in field(browser, "pipeline.next")
    assert browser.run("return document.querySelector('.file').textContent") == house_documents.PIPELINE
    assert [each.get_attribute("data-step") for each in browser.all("[data-step]")][-1] == "watch"
    assert browser.all("#links a")[0].get_attribute("href") == "http://127.0.0.1:5000/"
    assert browser.all("[data-broken]") == []
    assert browser.log() == []


def test_what_is_not_known_is_not_shown_as_zero(browser, documents):
    it = scenes.errors()
    it.house["live"] |= {"latency_ms": None, "requests": None, "errors": None, "requests_per_s": None}
    watch(browser, documents, it)
    for name in ("models", "latency", "failed"):
        assert field(browser, f"live.{name}") == "unknown"
    assert "the tracking server does not answer" in browser.text('[data-part="versions-of-registry"]')
    assert browser.text("#now-title") == "7 things need you"
    assert browser.text("#now-list").split("\n")[0].startswith("✖ The journal cannot be written")


def test_hostile_names_are_text_everywhere(browser, documents):
    it = scenes.errors()
    it.status = scenes.hostile(it.status, HOSTILE)
    it.house = scenes.hostile(it.house, HOSTILE)
    it.index = {"divisions": HOSTILE, "public": [], "endpoints": {HOSTILE: {"predict": HOSTILE, "versions": {}}}}
    it.house["about"]["links"] = [
        {"name": HOSTILE, "url": "javascript:document.title='taken'"},
        {"name": "data", "url": "data:text/html,x"},
    ]
    watch(browser, documents, it)
    for number in (0, 1):
        browser.run(
            "document.querySelectorAll(given[0])[given[1]].click()", '[data-part="versions-of-registry"] input', number
        )
    browser.wait_for_text('[data-part="comparison"]', HOSTILE)
    for select in browser.all("select"):
        browser.run("given[0].dispatchEvent(new Event('change'))", select)
    assert all(
        HOSTILE in browser.run("return document.getElementById(given[0]).textContent", panel)
        for panel in PANELS
        if panel != "tiles"
    )
    assert HOSTILE in browser.text("#links")
    assert browser.all("#links a, main img, main script, header img, [onerror]") == []
    assert browser.driver.title != "taken"
    assert browser.all("[data-broken]") == []
    assert browser.log() == []  # neither an error nor a violation of the policy


def test_two_versions_are_compared_and_the_table_is_filtered(browser, documents):
    watch(browser, documents, scenes.one_model())
    boxes = '[data-part="versions-of-registry"] input'
    for number in (0, 1):
        browser.all(boxes)[number].send_keys(Keys.SPACE)
        browser.wait_for(
            lambda: browser.run("return document.activeElement.type") == "checkbox", "the focus that stays"
        )
    assert cells(browser, '[data-compared="auc"]') == ["auc", "0.912", "0.894", "-0.018"]
    assert cells(browser, '[data-compared="Framework"]')[-1] == ""
    browser.all(boxes)[3].send_keys(Keys.SPACE)  # the third takes the place of the first
    assert [each.is_selected() for each in browser.all(boxes)] == [False, True, False, True]
    assert cells(browser, '[data-compared="f1"]') == ["f1", "none", "0.92", "differs"]
    assert cells(browser, '[data-compared="Size, bytes"]')[1:] == ["138,000,000", "210,000,000", "+72,000,000"]
    browser.all("#models-filter")[0].send_keys("tensorflow")
    assert [each.get_attribute("data-registered") for each in browser.all("[data-registered]")] == [
        "sentiment-analyzer 1.0"
    ]
    browser.all("#models-filter")[0].send_keys("x")
    assert "No version has “tensorflowx”" in browser.text("#models")


def test_the_console_streams_steps_and_keeps_a_past_one_that_was_chosen(browser, documents):
    it = scenes.running()
    watch(browser, documents, it)
    assert "under way" in field(browser, "deploy.head")
    present = it.house["deployments"]["deployments"][0]
    present["steps"][-1] |= {"ended_s": present["began_s"] + 60, "detail": "promoted"}
    documents.say(it)
    browser.wait_for_text('[data-step="watch"]', "Watch the rollout: promoted")
    choose(browser, "#deploys-chosen", "11")
    assert "promoted churn-predictor 3.1" in field(browser, "deploy.head")
    newer = present | {"number": 13, "version": "3.3"}
    it.house["deployments"]["deployments"].insert(0, newer)
    documents.say(it)
    browser.wait_for(lambda: "#13" in browser.text("#deploys-chosen"), "the newest deployment")
    assert "3.1" in field(browser, "deploy.head")
    choose(browser, "#deploys-chosen", "13")
    assert "3.3" in field(browser, "deploy.head")


def test_charts_of_a_rollout_survive_a_reload(browser, documents):
    watch(browser, documents, scenes.rolled_back())
    legend = "[...document.querySelectorAll('[data-endpoint] .u-legend')].map((each) => each.textContent).join()"
    for _ in range(2):
        browser.wait_for(
            lambda: "canary p99" in browser.run(f"return {legend}"), "the curves of a rollout that is over"
        )
        browser.wait_for(lambda: "5.76" in browser.run(f"return {legend}"), "the last evidence of the curve")
        assert len(browser.all("[data-endpoint] .chart canvas")) == 3
        browser.driver.refresh()
    assert browser.log() == []


def test_pods_are_scaled_after_asking_back(browser, documents):
    watch(browser, documents, scenes.one_model())
    number = browser.all("#scale-number")[0]
    assert number.get_attribute("value") == "2"
    number.clear()
    number.send_keys("4", Keys.ENTER)
    assert browser.text("#confirm-text") == "Give 3.1 of churn 4 replicas, in place of 2?"
    browser.press("#confirm-yes")
    browser.wait_for_text('[data-field="scale.outcome"]', "Scale: done, churn 3.1 is to have 4.")
    path, _, body = documents.asked.pop()
    assert (path, msgspec.json.decode(body)) == ("/api/v2/rollouts/churn/scale", {"replicas": 4, "version": "3.1"})


def test_an_older_controller_shows_the_rollouts_alone(browser, documents):
    it = scenes.running()
    it.house = {}
    documents.say(it)
    browser.open(f"{documents.url}#token=secret")
    browser.wait_for_text('[data-field="phase"]', "STEP")
    shown = [panel for panel in PANELS if browser.all(f"#{panel}")[0].is_displayed()]
    assert shown == ["now", "replicas"]
    assert [each.text for each in browser.all("#panel-links a") if each.is_displayed()] == ["Rollouts", "Pods"]


def test_without_a_token_the_sections_that_are_public_are_shown(browser, documents):
    it = scenes.running()
    it.house = {name: it.house[name] for name in ("live", "stages", "pods") if name in it.house}
    it.status = {}
    it.index["public"] = list(it.house)
    documents.say(it)
    browser.open(documents.url)
    browser.run("sessionStorage.clear()")  # the token of another test
    browser.open(documents.url)
    browser.wait_for_text("#connection", "live", 30)
    browser.wait_for_text("#stages", "Canary Deploy")
    assert browser.all("#token")[0].is_displayed()
    assert [panel for panel in PANELS if browser.all(f"#{panel}")[0].is_displayed()] == ["tiles", "stages", "replicas"]
    assert cells(browser, "[data-replica]")[:5] == ["churn-predictor-v3.1-x7k2p", "✔ 1/1", "Running", "2", "1h2m"]
    assert browser.log() == []


def test_among_many_endpoints_those_at_rest_fold_and_those_that_need_somebody_come_first(browser, documents):
    watch(browser, documents, scenes.many_models())
    names = [each.get_attribute("data-endpoint") for each in browser.all("[data-endpoint]")]
    assert names[:3] == ["model-17", "model-31", "model-00"]
    assert len(names) == 50
    openers = browser.all("[data-endpoint] > header button")
    assert [each.get_attribute("aria-expanded") for each in openers[:3]] == ["true", "true", "false"]
    browser.run("given[0].focus()", openers[2])
    openers[2].send_keys(Keys.ENTER)
    assert browser.all("[data-endpoint='model-00'] .ladder")[0].is_displayed()
    table = '[data-part="traffic"] .scroll'
    browser.run("document.querySelector(given[0]).scrollTop = 200", table)
    again = scenes.many_models()
    again.house["live"]["versions"][0]["requests_per_s"] = 9.5
    again.status["rollouts"][40]["phase"] = "HOLD"
    documents.say(again)
    browser.wait_for(lambda: "9.5" in browser.run("return document.querySelector(given[0]).textContent", table), "news")
    assert browser.run("return document.querySelector(given[0]).scrollTop", table) == 200
    order = "return document.querySelectorAll('[data-endpoint]')[1].dataset.endpoint"
    browser.wait_for(lambda: browser.run(order) == "model-40", "the endpoint that came to need somebody")
    assert browser.run("return document.activeElement.closest('[data-endpoint]')?.dataset.endpoint") == "model-00"
    assert browser.all("[data-endpoint='model-00'] .ladder")[0].is_displayed()


def test_tab_reaches_every_control_in_the_order_of_the_page(browser, documents):
    watch(browser, documents, scenes.one_model())
    wanted = browser.run(
        "return [...document.querySelectorAll('a, button, input, select, [tabindex=\"0\"]')]"
        ".filter((each) => each.checkVisibility() && !each.disabled && !each.closest('dialog')).length"
    )
    browser.run("document.activeElement.blur()")
    reached: list[str] = []
    for _ in range(wanted):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.run("return document.activeElement.textContent || document.activeElement.id"))
    assert reached[0] == "Skip to the panels"
    assert browser.run("return document.activeElement.closest('section')?.id") == "deploys"


def test_a_real_gateway_streams_the_sections_and_what_changes_of_them(browser, stage):
    it = scenes.running()
    sections = {name: ("1", msgspec.json.encode(section)) for name, section in it.house.items()}
    stage.it.link.house_sections = sections
    stage.say(rollout())
    browser.open(f"{stage.url}#token=secret")
    browser.wait_for_text("#deploys", "under way", 30)
    assert all(browser.all(f"#{panel}")[0].is_displayed() for panel in PANELS)
    live = it.house["live"] | {"active_pipelines": 15}
    stage.it.link.house_sections = sections | {"live": ("2", msgspec.json.encode(live))}
    browser.wait_for_text('[data-field="live.active_pipelines"]', "15", 30)
    assert browser.all("[data-broken]") == []
    assert browser.log() == []


def test_a_page_that_is_left_gives_up_its_stream_and_takes_it_up_again(browser, documents):
    it = scenes.running()
    watch(browser, documents, it)
    browser.run("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    browser.wait_for(lambda: documents.say(it) or documents.num_streams == 0, "the end of its stream", 30)
    documents.say(scenes.one_model())
    browser.run("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    browser.wait_for_text('[data-field="phase"]', "PROMOTED", 30)
