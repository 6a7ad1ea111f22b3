// What an operator may ask of a rollout: when, in which words, and what the gateway answered.

import { percent } from "./format.js";

const RUNNING = ["PENDING", "WARMING", "SHADOW", "STEP", "BAKE"];

/** In which phases each command makes sense (going back while a rollout runs is called abort). The controller decides; this only greys out what it would refuse. */
export const ALLOWED = {
  pause: RUNNING,
  resume: ["HOLD"],
  promote: ["STEP", "BAKE", "HOLD"],
  abort: [...RUNNING, "HOLD"],
  rollback: ["PROMOTED", "ROLLED_BACK"],
};

export const NAMES = { pause: "Pause", resume: "Resume", promote: "Promote", abort: "Abort", rollback: "Roll back" };

/** What a command does, said before it is done. */
export function question(command, rollout) {
  const { canary_version: canary, stable_version: stable, endpoint } = rollout;
  switch (command) {
    case "pause":
      return `Hold ${endpoint} where it is, with ${percent(rollout.actual_weight_bp)} of the traffic on ${canary}? Guards go on watching.`;
    case "resume":
      return `Go on with the rollout of ${canary} from where it was held?`;
    case "promote":
      return `Give ${canary} all traffic of ${endpoint} now, without the remaining steps?`;
    case "abort":
      return `Take all traffic of ${endpoint} away from ${canary}${stable === null ? "" : `, and give it to ${stable}`}?`;
    default:
      return `Go back from ${stable} to the version that served ${endpoint} before it?`;
  }
}

/** Sends a command for the generation that the operator saw; returns what came of it, in words. */
export async function send(command, rollout, token) {
  const path = `api/v2/rollouts/${encodeURIComponent(rollout.endpoint)}/${command}`;
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "if-match": `"${rollout.generation}"`,
      },
      body: "{}",
    });
  } catch {
    return { isDone: false, text: `${NAMES[command]}: no connection to the gateway; whether it was done, the status tells.` };
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return { isDone: true, text: `${NAMES[command]}: done, the rollout is ${answer.phase}.` };
  const detail = answer.detail ?? `the gateway answered ${response.status}`;
  return { isDone: false, text: `${NAMES[command]} was not done. ${refusal(response.status)}${detail}` };
}

/** Sets a version's number of replicas; returns what came of it, in words. */
export async function scale({ endpoint, version }, replicas, token) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const path = `api/v2/rollouts/${encodeURIComponent(endpoint)}/scale`;
  try {
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify({ replicas, version }) });
    if (response.ok) return { isDone: true, text: `Scale: done, ${endpoint} ${version} is to have ${replicas}.` };
    const answer = await response.json().catch(() => ({}));
    return { isDone: false, text: `Scale was not done. ${refusal(response.status)}${answer.detail ?? `the gateway answered ${response.status}`}` };
  } catch {
    return { isDone: false, text: "Scale: no connection to the gateway; whether it was done, the table tells." };
  }
}

function refusal(status) {
  switch (status) {
    case 409:
      return "The rollout cannot do that now: ";
    case 412:
      return "The rollout has moved on since you looked: ";
    case 401:
      return "The token was refused: ";
    case 503:
      return "The controller is away: ";
    default:
      return "";
  }
}
