// Two versions of the registry side by side. Pure.

const MANY = 12; // decimals beyond which a difference is an error of rounding

/** Lines of what differs or not: `{name, first, second, change}`; values are numbers, text, or null where one lacks it. */
export function comparison(first, second) {
  const lines = [
    line("Model", first.model, second.model),
    line("Stage", first.stage, second.stage),
    line("Framework", first.framework || null, second.framework || null),
    line("Size, bytes", first.size_bytes || null, second.size_bytes || null),
    line("Registered", first.created_at_s, second.created_at_s),
    line("Run", first.run_id || null, second.run_id || null),
  ];
  const names = [...new Set([...Object.keys(first.metrics), ...Object.keys(second.metrics)])].sort();
  return [...lines, ...names.map((name) => line(name, first.metrics[name] ?? null, second.metrics[name] ?? null))];
}

function line(name, first, second) {
  const isNumber = typeof first === "number" && typeof second === "number";
  const change = isNumber ? Number((second - first).toFixed(MANY)) : null;
  return { name, first, second, change, isSame: first === second };
}
