// One endpoint: what is wrong, load and queue over time, its workers, what happened and why, and what can be done.

import { groupsPanel, parametersPanel } from "./controls.js";
import { el, keyed, say, set } from "./dom.js";
import { readLogs, state } from "./live.js";
import { plot } from "./plot.js";
import { marksOf, timeline } from "./timeline.js";
import { trialPanel } from "./trial.js";
import { duration, keyOf, number, summaryOf, troublesOf } from "./words.js";
import { workerTable } from "./workers.js";

const per_s = (value) => `${number(value)}/s`;

export function endpointView(id) {
  const { info } = state.endpoints.get(id);
  readLogs([state.endpoints.get(id)]);
  const name = el("bdi", {});
  const pill = el("span", { class: "pill" });
  const troubles = el("ul", { class: "troubles" });
  const decision = el("bdi", {});
  const now = el("section", { class: "card decision" }, el("h2", {}, "What the engine decides now"), el("p", {}, decision));
  const load = plot({
    title: "Load and capacity",
    format: per_s,
    series: [
      { name: "target", label: "wanted", kind: "target" },
      { name: "capacity", label: "capacity", kind: "capacity" },
      { name: "burst", label: "load, 6 s", kind: "burst" },
      { name: "load", label: "load, 60 s", kind: "load", area: true },
    ],
  });
  const queue = plot({
    title: "Requests",
    format: number,
    series: [
      { name: "inFlight", label: "at workers", kind: "load", area: true },
      { name: "waiting", label: "held", kind: "held" },
    ],
  });
  const latency = plot({
    title: "Answer time",
    format: duration,
    series: [
      { name: "p95", label: "p95", kind: "held" },
      { name: "p50", label: "p50", kind: "load" },
    ],
  });
  const workers = workerTable();
  const happened = timeline();
  const parts = [groupsPanel(id), trialPanel(info), parametersPanel(id)];
  const back = el("nav", { "aria-label": "Back" }, el("a", { href: "#/" }, "← All endpoints"));
  const title = el("div", { class: "title" }, el("h1", { tabindex: "-1" }, name, " "), pill);
  const plots = el("section", { class: "card plots", "aria-label": "The last ten minutes" }, load.node, el("div", { class: "two" }, queue.node, latency.node));

  function update(what) {
    const endpoint = state.endpoints.get(id);
    const summary = summaryOf(endpoint);
    say(name, endpoint.info.endpoint_name);
    say(pill, summary.word);
    set(pill, "class", `pill ${summary.kind}`);
    const found = troublesOf(endpoint);
    troubles.hidden = !found.length;
    keyed(troubles, found, keyOf, makeTrouble, updateTrouble);
    say(decision, endpoint.figures?.decision || "Nothing yet.");
    if (what !== "log") {
      workers.show(endpoint);
      latency.show(endpoint.history);
      queue.show(endpoint.history);
    }
    load.show(endpoint.history, marksOf(endpoint.log));
    if (what !== "figures") happened.show(endpoint.log);
    for (const part of parts) part.update?.(endpoint);
  }

  return {
    title: `${info.endpoint_name} · pyworker`,
    node: el("div", { class: "one" }, back, title, troubles, now, plots, workers.node, happened.node, parts.map(({ node }) => node)),
    update,
    isGone: () => !state.endpoints.has(id),
  };
}

function makeTrouble({ kind }) {
  const text = el("bdi", { class: "text" });
  const whom = el("span", { class: "whom" });
  return { node: el("li", { class: `trouble ${kind}` }, el("div", {}, whom, text)), whom, text };
}

function updateTrouble(row, { whom, text }) {
  say(row.whom, whom ?? "");
  say(row.text, text);
}
