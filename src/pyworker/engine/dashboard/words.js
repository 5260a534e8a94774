// Numbers, times and states as people read them; and what is wrong with an endpoint.

export function number(amount) {
  if (amount === null || amount === undefined || !Number.isFinite(amount)) return "–";
  const size = Math.abs(amount);
  if (size >= 1e9) return amount.toExponential(1);
  if (size >= 1e6) return `${trimmed(amount / 1e6, 2)}M`;
  if (size >= 1e4) return `${trimmed(amount / 1e3, 1)}k`;
  if (size >= 100) return amount.toFixed(0);
  return trimmed(amount, size >= 10 ? 1 : 2);
}

function trimmed(amount, digits) {
  return String(Number(amount.toFixed(digits)));
}

export function duration(time_s) {
  if (time_s === null || time_s === undefined || !Number.isFinite(time_s)) return "–";
  if (time_s < 1) return `${Number((time_s * 1000).toPrecision(time_s < 0.01 ? 2 : 3))} ms`;
  if (time_s < 10) return `${trimmed(time_s, 2)} s`;
  if (time_s < 120) return `${time_s.toFixed(0)} s`;
  if (time_s < 7200) return `${Math.floor(time_s / 60)} min`;
  if (time_s < 172800) return `${Math.floor(time_s / 3600)} h`;
  return `${Math.floor(time_s / 86400)} days`;
}

export function lasting(time_s) {
  return duration(time_s < 1 ? 1 : Math.floor(time_s));
}

export function clock(at_s) {
  return new Date(at_s * 1000).toLocaleTimeString(undefined, { hour12: false });
}

export function counted(count, noun) {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

// Each state of the wire: its word, and whether it is well, on its way, off or bad.
const STATES = {
  IDLE: ["ready", "ok"],
  LOADING: ["loading", "busy"],
  MODEL_LOADING: ["getting ready", "busy"],
  CREATING: ["being made", "busy"],
  STARTING: ["starting", "busy"],
  UPDATE_STARTING: ["starting", "busy"],
  UPDATE_REBOOTING: ["updating", "busy"],
  STOPPING: ["draining", "off"],
  STOPPED: ["cold", "off"],
  DESTROYING: ["leaving", "off"],
  PENDING: ["silent", "warn"],
  ERROR: ["failed", "bad"],
};

export function stateOf(status) {
  const [word, kind] = STATES[status] ?? [status.toLowerCase(), "busy"];
  return { word, kind };
}

const KINDS = ["bad", "warn", "ok", "off"];
const SHAKY = /^nothing is heard|failures? in a row$/;
const BAD_CONDITION = /failed|given up|rolled back/;

export function worst(troubles, otherwise) {
  return KINDS.find((kind) => troubles.some((trouble) => trouble.kind === kind)) ?? otherwise;
}

// Workers that say the same are one trouble: a hundred of them are not a hundred lines.
function alike(workers, kind) {
  const byWhy = new Map();
  for (const { id, why } of workers) byWhy.set(why, [...(byWhy.get(why) ?? []), id]);
  return [...byWhy].map(([text, ids]) => ({ kind, text, whom: named(ids) }));
}

function named(ids) {
  if (ids.length === 1) return `worker ${ids[0]}`;
  const few = ids.slice(0, 4).join(", ");
  return `workers ${few}${ids.length > 4 ? ` and ${ids.length - 4} more` : ""}`;
}

export function keyOf({ kind, text }) {
  return `${kind} ${text.replace(/[\d.]+/g, "")}`;
}

// What is wrong with an endpoint, the worst first: {kind, text, whom?}.
export function troublesOf(endpoint) {
  const { info, figures, groups } = endpoint;
  if (!figures) return [];
  const found = [];
  const ready = figures.workers.filter((worker) => worker.status === "IDLE").length;
  if (figures.waiting_requests > 0) {
    found.push(
      ready
        ? { kind: "warn", text: `${counted(figures.waiting_requests, "request")} held: every ready worker is busy` }
        : { kind: "bad", text: `${counted(figures.waiting_requests, "request")} held, and no worker is ready` },
    );
  }
  found.push(...alike(figures.workers.filter(({ status }) => stateOf(status).kind === "bad"), "bad"));
  found.push(...alike(figures.workers.filter(({ status, why }) => stateOf(status).kind !== "bad" && SHAKY.test(why)), "warn"));
  for (const group of groups) {
    if (BAD_CONDITION.test(group.condition)) found.push({ kind: "bad", text: `${group.name}: ${group.condition}` });
  }
  if (ready && figures.stable_per_s > figures.capacity_per_s) {
    const load = `${number(figures.stable_per_s)}/s`;
    found.push({ kind: "warn", text: `load ${load} is above the capacity of ${number(figures.capacity_per_s)}/s` });
  }
  const { requests, failed } = figures.times;
  if (failed && failed / requests > 0.02) {
    found.push({ kind: failed / requests > 0.2 ? "bad" : "warn", text: `${failed} of ${counted(requests, "request")} failed in the last minute` });
  }
  if (info.endpoint_state === "stopped") found.push({ kind: "off", text: "stopped by its owner" });
  return found.sort((one, other) => KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind));
}

export function summaryOf(endpoint) {
  const { figures } = endpoint;
  if (!figures) return { kind: "off", word: "not heard of yet" };
  const troubles = troublesOf(endpoint);
  const kind = worst(troubles, "ok");
  if (kind !== "ok") return { kind, word: { bad: "in trouble", warn: "strained", off: "stopped" }[kind] };
  if (!figures.workers.length) return { kind: "off", word: "no workers" };
  const kinds = figures.workers.map((worker) => stateOf(worker.status).kind);
  if (kinds.includes("ok")) return { kind: "ok", word: "well" };
  return kinds.includes("busy") ? { kind: "busy", word: "starting" } : { kind: "off", word: "at rest" };
}
