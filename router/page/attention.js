// What needs a person, most urgent first, and the one sentence about it at the top. Pure.

import { age, percent, plural } from "./format.js";

const FAILED_FOR_S = 86400; // a rollout that was rolled back is news for a day
const FRESH_S = 3600; // a version that took all traffic is news for an hour
const STARTING_S = 120; // a pod that starts for longer needs a look
const LATE_S = 300;
const MOST_LINES = 6;
const RANK = { bad: 0, warn: 1, busy: 2, good: 3, calm: 4 };
const RUNNING = ["PENDING", "WARMING", "SHADOW", "STEP", "BAKE"];

/**
 * `{mood, title, items}`; an item is `{mood, text, panel}` with the id of the panel that says more.
 *
 * `status` and `house` are documents of the stream; of `house` any section may be missing.
 */
export function attention(status, house, nowS) {
  const found = [
    ...ofStores(status, house),
    ...(status.rollouts ?? []).flatMap((rollout) => ofRollout(rollout, nowS)),
    ...ofPods(status),
    ...(status.nodes ?? []).flatMap(ofNode),
    ...(status.drift ?? []).flatMap(ofDrift),
    ...(status.inventory?.pipelines ?? []).flatMap((each) => ofPipeline(each, house.pipelines?.pipelines ?? [])),
    ...ofDeploys(house.deployments?.deployments ?? [], nowS),
  ].sort((one, other) => RANK[one.mood] - RANK[other.mood]);
  const needs = found.filter((item) => RANK[item.mood] <= RANK.warn);
  const items = found.slice(0, MOST_LINES);
  if (found.length > MOST_LINES) items.push({ mood: "calm", text: `and ${found.length - MOST_LINES} more`, panel: "" });
  return { mood: found[0]?.mood ?? (isEmpty(status) ? "calm" : "good"), title: title(status, needs, found), items };
}

function isEmpty({ rollouts, replicas }) {
  return !rollouts?.length && !replicas?.length;
}

function title(status, needs, found) {
  if (needs.length) return needs.length === 1 ? "One thing needs you" : `${needs.length} things need you`;
  if (isEmpty(status)) return "Nothing is deployed yet";
  return found.some((item) => item.mood === "busy") ? "All is well, and something is under way" : "All is well";
}

const SOURCES = { registry: "models", artifacts: "models", runs: "runs", schedule: "pipelines", deployments: "deploys", journal: "journal" };

function ofStores({ journal_fault: fault, policy_fault: policyFault, inventory, gateway }, { sources }) {
  const found = [];
  if (policyFault) found.push({ mood: "warn", text: `The policy of this cluster is not the one in its folder: ${policyFault}`, panel: "" });
  if (fault) found.push({ mood: "bad", text: "The journal cannot be written: no weight can rise", panel: "journal" });
  const away = sources?.filter((each) => each.state === "away") ?? (inventory?.unreachable ?? []).map((name) => ({ name, reason: "" }));
  for (const { name, reason } of away.filter((each) => each.name !== "journal" || !fault)) {
    const why = reason ? `: ${reason}` : "";
    found.push({ mood: "warn", text: `What is shown of ${name} is old, because it does not answer${why}`, panel: SOURCES[name] ?? "" });
  }
  if (gateway?.is_store_reachable === false) {
    found.push({ mood: "warn", text: "The online store does not answer: requests need their features with them", panel: "traffic" });
  }
  return found;
}

function ofRollout(rollout, nowS) {
  const { endpoint, phase, stable_version: stable, canary_version: canary, actual_weight_bp: weight, phase_since_s: sinceS } = rollout;
  const at = (mood, text) => [{ mood, text: `${endpoint}: ${text}`, panel: "endpoints" }];
  const reason = rollout.explanation?.text || rollout.rollback_reason || rollout.message;
  if (phase === "HOLD") return at("warn", `${canary} is held at ${percent(weight)} and waits for you: ${reason}`);
  if (phase === "ROLLING_BACK" || phase === "DRAINING") return at("bad", `${canary} is being rolled back: ${reason}`);
  if (phase === "ROLLED_BACK" && nowS - sinceS < FAILED_FOR_S) {
    const serving = stable ? `${stable} serves all traffic` : "nothing serves";
    return at("bad", `${canary} was rolled back ${age(nowS - sinceS)} ago, ${serving}: ${reason}`);
  }
  if (phase === "PROMOTED" && nowS - sinceS < FRESH_S) return at("good", `${stable} has served all traffic for ${age(nowS - sinceS)}`);
  if (RUNNING.includes(phase)) return at("busy", `${canary} is being rolled out, ${percent(weight)} of the traffic`);
  return [];
}

function ofPods({ replicas = [], scales = [] }) {
  const failing = replicas.filter((pod) => !pod.ready && (pod.age_s > STARTING_S || pod.status === "Failing"));
  const found = [];
  if (failing.length) {
    const [{ name, reason, status }] = failing;
    const others = failing.length > 1 ? `, and ${failing.length - 1} more` : "";
    found.push({ mood: "bad", text: `${plural(failing.length, "pod")} not ready: ${name} (${reason || status})${others}`, panel: "replicas" });
  }
  for (const scale of scales.filter((each) => each.lacks)) {
    found.push({ mood: "warn", text: `${scale.app_name} has ${scale.ready} of ${scale.wanted} pods: ${scale.lacks}`, panel: "replicas" });
  }
  return found;
}

function ofNode({ hostname, address, state, reason, gateways, wanted_gateways: wanted }) {
  const name = hostname || address;
  const at = (mood, text) => [{ mood, text: `Machine ${name}: ${text}`, panel: "replicas" }];
  if (state === "lost" || state === "refused") return at("bad", reason ? `${state}, ${reason}` : state);
  if (state === "alive" && gateways < wanted) return at("warn", `${gateways} of ${plural(wanted, "gateway")} run`);
  return [];
}

function ofDrift({ endpoint, alerts }) {
  return alerts.map(({ feature, score, tolerance, window, against }) => {
    const what = feature ? `feature ${feature} has drifted` : "predictions have drifted";
    const text = `${endpoint}: ${what}, ${score.toFixed(2)} over ${window} against ${against} (at most ${tolerance.toFixed(2)})`;
    return { mood: "warn", text, panel: "drift" };
  });
}

function ofPipeline({ pipeline, is_active: isActive, lag_s: lagS, has_failed: hasFailed }, files) {
  const file = files.find((each) => each.pipeline === pipeline);
  const at = (mood, text) => [{ mood, text: `${pipeline}: ${text}`, panel: "pipelines" }];
  if (hasFailed) return at("bad", `the last run failed${file?.last?.message ? `: ${file.last.message}` : ""}`);
  if (file?.fault) return at("warn", file.fault);
  if (isActive && lagS > LATE_S) return at("warn", `a run is overdue by ${age(lagS)}`);
  return [];
}

/** The newest deployment of each endpoint, if it has failed. What was rolled back is told by its rollout. */
function ofDeploys(deployments, nowS) {
  const newest = new Map([...deployments].reverse().map((each) => [`${each.endpoint} ${each.target}`, each]));
  return [...newest.values()].flatMap(({ number, model, version, target, began_s: beganS, steps, ending, is_under_way: isUnderWay }) => {
    const failed = steps.find((step) => step.error);
    if (ending || isUnderWay || !failed || nowS - beganS > FAILED_FOR_S) return [];
    return [{ mood: "bad", text: `Deployment #${number} of ${model} ${version} to ${target} failed: ${failed.error}`, panel: "deploys" }];
  });
}
