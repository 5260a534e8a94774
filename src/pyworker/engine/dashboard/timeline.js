// What the engine did, what it decided and why, and what became of its workers: newest first.

import { el, keyed } from "./dom.js";
import { clock, stateOf } from "./words.js";

const ACTION = /^(create|start|stop|destroy|update) (a worker|worker \d+)(?: \((.*?)\))?: (.*)$/s;
const STATE = /^worker (\d+) is (\w+) \(was (\w+)\)(?:: (.*))?$/s;
const WORDS = { create: "Create", start: "Start", stop: "Stop", destroy: "Destroy", update: "Update" };
const GROWS = new Set(["create", "start"]);
const MOST_SHOWN = 120;

// {isAction, kind, title, text} of a line of an endpoint's log.
export function describe({ level, text }) {
  const action = ACTION.exec(text);
  if (action) {
    const [, verb, whom, , reason] = action;
    return { isAction: true, kind: GROWS.has(verb) ? "grow" : verb === "update" ? "update" : "shrink", title: `${WORDS[verb]} ${whom}`, text: reason };
  }
  const change = STATE.exec(text);
  if (change) {
    const [, id, after, before, why] = change;
    const kind = after === "ERROR" ? "bad" : after === "IDLE" ? "ok" : "state";
    const title = after === "ERROR" ? `Worker ${id} failed` : `Worker ${id} is ${stateOf(after).word}`;
    const earlier = before === "nothing" ? "" : `before that: ${stateOf(before).word}`;
    return { isAction: false, kind, title, text: why ?? earlier };
  }
  if (/ is gone: /.test(text)) return { isAction: false, kind: "bad", title: text, text: "" };
  if (level === "info1") return { isAction: false, kind: "decision", title: "Decision", text };
  return { isAction: false, kind: "note", title: text, text: "" };
}

const FILTERS = {
  Everything: () => true,
  "Starts and stops": ({ isAction }) => isAction,
  Failures: ({ kind }) => kind === "bad",
};
const SIGNS = { grow: "▲", shrink: "▼", update: "⟳", bad: "✕", ok: "✓", decision: "∑", state: "•", note: "•" };

export function marksOf(log) {
  return log
    .map((line) => ({ at: line.at, ...describe(line) }))
    .filter(({ kind, isAction }) => isAction || kind === "bad")
    .map(({ at, kind, title, text }) => ({ at, kind, text: `${clock(at)} ${title}${text && ": "}${text}` }));
}

export function timeline() {
  let filter = "Everything";
  let shown = [];
  const list = el("ol", { class: "timeline", tabindex: "0", "aria-label": "Newest first" });
  const empty = el("p", { class: "empty" }, "Nothing of this kind has happened.");
  const buttons = Object.keys(FILTERS).map((name) =>
    el("button", { type: "button", "aria-pressed": String(name === filter), onclick: () => choose(name) }, name),
  );
  const node = el("section", { class: "card" }, el("div", { class: "row" }, el("h2", {}, "What happened, and why"), el("div", { class: "choice", role: "group", "aria-label": "Show" }, buttons)), list, empty);
  return { node, show };

  function choose(name) {
    filter = name;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.textContent === name));
    show(shown);
  }

  function show(log) {
    shown = log;
    const lines = log.map((line) => ({ line, ...describe(line) })).filter(FILTERS[filter]).reverse().slice(0, MOST_SHOWN);
    keyed(list, lines, ({ line }) => line, make, () => {});
    empty.hidden = lines.length > 0;
  }
}

function make({ line, kind, title, text }) {
  const when = el("time", { datetime: new Date(line.at * 1000).toISOString() }, clock(line.at));
  const sign = el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[kind]);
  const words = el("div", {}, el("strong", {}, el("bdi", {}, title)), text ? el("p", {}, el("bdi", {}, text)) : null);
  return { node: el("li", { class: kind }, when, sign, words) };
}
