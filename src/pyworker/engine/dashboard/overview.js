// All endpoints: what needs attention first, then a card for each.

import { el, keyed, say, set } from "./dom.js";
import { state } from "./live.js";
import { spark } from "./plot.js";
import { counted, duration, keyOf, number, stateOf, summaryOf, troublesOf } from "./words.js";
import { describe } from "./timeline.js";

const ORDER = ["bad", "warn", "busy", "ok", "off"];
const MOST_SHOWN = 8;

export function overviewView() {
  const heading = el("h1", { tabindex: "-1" }, "Endpoints");
  const verdict = el("p", { class: "verdict", role: "status" });
  const troubles = el("ul", { class: "troubles" });
  const attention = el("section", { class: "attention", "aria-label": "Needs attention" }, el("h2", {}, "Needs attention"), troubles);
  const cards = el("div", { class: "cards" });
  const none = el("p", { class: "empty" }, "No endpoint yet. Make one: pyworker endpoint create NAME");

  function update() {
    const endpoints = [...state.endpoints.values()];
    const found = endpoints.flatMap((endpoint) =>
      troublesOf(endpoint).filter(({ kind }) => kind !== "off").map((trouble) => ({ ...trouble, endpoint })),
    );
    found.sort((one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
    say(verdict, verdictOn(endpoints, found));
    attention.hidden = !found.length;
    keyed(troubles, found.slice(0, MOST_SHOWN), (trouble) => `${trouble.endpoint.info.id} ${keyOf(trouble)}`, makeTrouble, updateTrouble);
    endpoints.sort((one, other) => rank(one) - rank(other) || one.info.endpoint_name.localeCompare(other.info.endpoint_name));
    keyed(cards, endpoints, ({ info }) => info.id, makeCard, (card, endpoint) => card.update(endpoint));
    none.hidden = endpoints.length > 0 || !state.version;
  }

  return {
    title: "Endpoints · pyworker",
    node: el("div", { class: "overview" }, el("div", { class: "title" }, heading, verdict), attention, cards, none),
    update,
  };
}

function rank(endpoint) {
  return ORDER.indexOf(summaryOf(endpoint).kind);
}

function verdictOn(endpoints, found) {
  if (!endpoints.length) return "";
  const troubled = new Set(found.map(({ endpoint }) => endpoint.info.id)).size;
  if (troubled) return `${troubled} of ${counted(endpoints.length, "endpoint")} ${troubled === 1 ? "needs" : "need"} attention`;
  return endpoints.some(({ figures }) => figures) ? "Nothing needs attention" : "";
}

function makeTrouble({ endpoint, kind }) {
  const name = el("bdi", {}, endpoint.info.endpoint_name);
  const whom = el("span", { class: "whom" });
  const text = el("bdi", { class: "text" });
  const link = el("a", { href: `#/endpoints/${endpoint.info.id}` }, el("strong", {}, name), whom, text);
  return { node: el("li", { class: `trouble ${kind}` }, link), whom, text };
}

function updateTrouble(row, { whom, text }) {
  say(row.whom, whom ?? "");
  say(row.text, text);
}

function makeCard(endpoint) {
  const name = el("bdi", {});
  const pill = el("span", { class: "pill" });
  const link = el("a", { class: "whole", href: `#/endpoints/${endpoint.info.id}` }, name);
  const line = spark(["capacity", "load"]);
  const facts = new Map(["Load", "Capacity", "Queue", "p95", "Ready"].map((label) => [label, el("dd", {}, "–")]));
  const list = el("dl", { class: "facts" }, [...facts].map(([label, value]) => el("div", {}, el("dt", {}, label), value)));
  const dots = el("div", { class: "dots", role: "img" });
  const last = el("p", { class: "last" });
  const node = el("article", { class: "card endpoint" }, el("div", { class: "row" }, el("h2", {}, link), pill), line.node, list, dots, last);
  return { node, update };

  function update(now) {
    const { info, figures, history, log } = now;
    const summary = summaryOf(now);
    say(name, info.endpoint_name);
    say(pill, summary.word);
    set(pill, "class", `pill ${summary.kind}`);
    set(node, "class", `card endpoint ${summary.kind}`);
    if (!figures) return;
    const ready = figures.workers.filter(({ status }) => status === "IDLE").length;
    say(facts.get("Load"), `${number(figures.stable_per_s)}/s`);
    say(facts.get("Capacity"), `${number(figures.capacity_per_s)}/s`);
    say(facts.get("Queue"), `${figures.waiting_requests + figures.workers.reduce((sum, worker) => sum + worker.working, 0)}`);
    say(facts.get("p95"), duration(figures.times.p95_s));
    say(facts.get("Ready"), `${ready} of ${figures.workers.length}`);
    set(dots, "aria-label", `${ready} of ${counted(figures.workers.length, "worker")} ready`);
    keyed(dots, figures.workers, ({ id }) => id, () => ({ node: el("span") }), (dot, worker) => {
      const { kind, word } = stateOf(worker.status);
      set(dot.node, "class", `dot ${kind}`);
      set(dot.node, "title", `worker ${worker.id}: ${word}`);
    });
    line.show(history);
    const done = log.findLast((one) => describe(one).isAction);
    say(last, done ? done.text : figures.decision);
  }
}
