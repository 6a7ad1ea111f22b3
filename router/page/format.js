// Numbers with their units, as the command line writes them.

/** `14h`, `3m20s`, as kubectl writes ages. */
export function age(seconds) {
  const whole = Math.max(0, Math.trunc(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (days) return days < 8 && hours ? `${days}d${hours}h` : `${days}d`;
  if (hours) return hours < 8 && minutes ? `${hours}h${minutes}m` : `${hours}h`;
  if (minutes) return minutes < 10 && whole % 60 ? `${minutes}m${whole % 60}s` : `${minutes}m`;
  return `${whole}s`;
}

export function percent(basisPoints) {
  return `${Number((basisPoints / 100).toPrecision(6))} %`;
}

export function count(number) {
  return number.toLocaleString("en-US");
}

export function logE(value) {
  return Number.isFinite(value) ? value.toFixed(2) : "unknown";
}

/** A quantile; null is infinite: more than its share of the requests failed. */
export function milliseconds(value) {
  return value === null ? "infinite" : `${value.toFixed(1)} ms`;
}

export function share(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)} %` : "none";
}

export function clockTime(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 19);
}

export function isoTime(seconds) {
  return new Date(seconds * 1000).toISOString();
}

/** `p99` of 0.99. */
export function quantileName(quantile) {
  return `p${Number((100 * quantile).toPrecision(6))}`;
}

/** `1 pod`, `2 pods`. */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** `142 MB`. */
export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = number;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A metric or hyperparameter as people write it; text stays text. */
export function figure(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "none" : String(value);
  if (Number.isInteger(value)) return count(value);
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

/** `2026-11-27 21:30:05` UTC. */
export function dateTime(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
}

/** A share as percent, with as many digits as it needs: `0.01 %`. */
export function partOf(value) {
  return `${Number((100 * value).toPrecision(2))} %`;
}

/** A rate per second, with as many digits as it needs. */
export function rate(value) {
  if (value === null) return "unknown";
  return value >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** A number that may be unknown. */
export function spell(value) {
  return value === null ? "unknown" : count(value);
}
