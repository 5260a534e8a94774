// The workers of an endpoint: state, why, load against capacity; and their logs.

import { call } from "./api.js";
import { el, keyed, newId, say, set, svg } from "./dom.js";
import { lasting, number, stateOf } from "./words.js";

const RANK = ["bad", "warn", "busy", "ok", "off"];
const FOLLOW_MS = 2000;

export function workerTable() {
  const body = el("tbody");
  const head = ["Worker", "State", "Why, and since when", "Load", "Served", "Requests", ""];
  const table = el("table", { class: "workers" }, el("thead", {}, el("tr", {}, head.map((word) => el("th", { scope: "col" }, word)))), body);
  const empty = el("p", { class: "empty" });
  const count = el("span", { class: "count" });
  const node = el("section", { class: "card" }, el("div", { class: "row" }, el("h2", {}, "Workers ", count)), table, empty);
  return { node, show };

  function show({ figures, groups }) {
    if (!figures) return;
    const names = new Map(groups.map((group) => [group.id, group.name]));
    const workers = [...figures.workers].sort((one, other) => rank(one) - rank(other) || one.id - other.id);
    say(count, String(workers.length));
    table.hidden = !workers.length;
    empty.hidden = workers.length > 0;
    say(empty, figures.decision || "No worker: none is needed, or none has been started yet.");
    keyed(body, workers, ({ id }) => id, makeRow, (row, worker) => row.update(worker, names.get(worker.workergroup_id) ?? ""));
  }
}

function rank({ status }) {
  return RANK.indexOf(stateOf(status).kind);
}

function makeRow({ id }) {
  const group = el("bdi", { class: "group" });
  const pill = el("span", { class: "pill" });
  const why = el("bdi", { class: "why" });
  const since = el("span", { class: "since" });
  const bar = svg("rect", { class: "filled", height: 6, rx: 3, width: 0 });
  const meter = svg("svg", { class: "meter", width: 84, height: 6, "aria-hidden": "true" }, svg("rect", { class: "empty", width: 84, height: 6, rx: 3 }), bar);
  const load = el("span");
  const served = el("td", { "data-label": "Served" });
  const working = el("td", { "data-label": "Requests" });
  const logs = el("button", { type: "button", class: "quiet", "aria-label": `Logs of worker ${id}`, onclick: () => showLogs(id) }, "Logs");
  const node = el(
    "tr",
    {},
    el("th", { scope: "row", "data-label": "Worker" }, el("span", { class: "number" }, String(id)), group),
    el("td", { "data-label": "State" }, pill),
    el("td", { class: "reason", "data-label": "Why" }, why, since),
    el("td", { "data-label": "Load" }, meter, load),
    served,
    working,
    el("td", { class: "does" }, logs),
  );
  return { node, update };

  function update(worker, name) {
    const { word, kind } = stateOf(worker.status);
    say(group, `${name}${worker.version > 1 ? ` v${worker.version}` : ""}`);
    say(pill, word);
    set(pill, "class", `pill ${kind}`);
    set(pill, "title", worker.status);
    say(why, worker.why);
    say(since, `for ${lasting(worker.since_s)}`);
    const per_s = worker.capacity_per_s;
    set(bar, "width", String(per_s > 0 ? Math.min(1, worker.served_per_s / per_s) * 84 : 0));
    say(load, `${number(worker.load)} in flight`);
    say(served, `${number(worker.served_per_s)} of ${number(per_s)}/s`);
    say(working, String(worker.working));
  }
}

function showLogs(id) {
  const title = newId();
  const problem = el("p", { class: "problem", role: "alert" });
  const body = el("div", { class: "logs" });
  const follow = el("input", { type: "checkbox", id: newId(), checked: true });
  const again = el("button", { type: "button", onclick: read }, "Refresh");
  const shut = el("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close");
  const tools = el("div", { class: "row tools" }, el("label", { for: follow.id }, follow, " Follow"), again, shut);
  const dialog = el("dialog", { class: "sheet", "aria-labelledby": title, onclose: done }, el("div", { class: "row" }, el("h2", { id: title }, `Logs of worker ${id}`), tools), problem, body);
  const timer = setInterval(() => follow.checked && read(), FOLLOW_MS);
  document.body.append(dialog);
  dialog.showModal();
  read();

  function done() {
    clearInterval(timer);
    dialog.remove();
  }

  async function read() {
    try {
      const { logs } = await call("GET", `api/v0/workers/${id}/logs/?tail=300`);
      say(problem, "");
      const named = Object.entries(logs);
      keyed(body, named, ([name]) => name, makeLog, (log, [, lines]) => log.update(lines, follow.checked));
      if (!named.length) say(problem, "It has no log lines yet.");
    } catch (error) {
      say(problem, error.message);
    }
  }
}

function makeLog([name]) {
  const pre = el("pre", { tabindex: "0" });
  const node = el("section", {}, el("h3", {}, el("bdi", {}, name)), pre);
  return {
    node,
    update(lines, toEnd) {
      say(pre, lines.length ? lines.join("\n") : "(nothing yet)");
      if (toEnd) pre.scrollTop = pre.scrollHeight;
    },
  };
}
