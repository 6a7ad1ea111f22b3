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
