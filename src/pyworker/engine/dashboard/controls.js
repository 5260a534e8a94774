// Changing an endpoint's parameters, and rolling updates of its workergroups.

import { call } from "./api.js";
import { el, keyed, newId, say } from "./dom.js";
import { readAll, state } from "./live.js";

const PARAMETERS = [
  ["min_load", "Least load", "workload/s", "that active workers can always serve; 0 allows none"],
  ["target_util", "Utilisation", "0 to 1", "load divided by active capacity that is aimed at"],
  ["max_workers", "Most workers", "workers", "active and cold"],
  ["cold_workers", "Kept loaded", "workers", "at least so many with the model loaded, active or cold"],
  ["cold_mult", "Reserve", "times", "total capacity, active and cold, as a multiple of the active target"],
  ["min_cold_load", "Least total", "workload/s", "floor for the total capacity"],
  ["max_queue_time", "Longest wait", "s", "a worker with a longer expected wait gets no more requests"],
  ["target_queue_time", "Wanted wait", "s", "above this, workers are added fast"],
  ["inactivity_timeout", "Inactivity", "s", "without requests for so long it may go to zero; below 0: never; empty: not set"],
];

export function parametersPanel(id) {
  const inputs = new Map();
  const known = new Map();
  const status = el("p", { class: "status", role: "status" });
  const button = el("button", { class: "main" }, "Save changes");
  const fields = PARAMETERS.map(([name, label, unit, meaning]) => field(name, label, unit, meaning));
  const active = el("select", { id: newId(), name: "endpoint_state" }, el("option", { value: "active" }, "active"), el("option", { value: "stopped" }, "stopped"));
  inputs.set("endpoint_state", { input: active, problem: el("p", { class: "problem" }) });
  const stateField = el("div", { class: "field" }, el("label", { for: active.id }, "State"), active, el("p", { class: "hint" }, "stopped: all its workers become cold"), inputs.get("endpoint_state").problem);
  const form = el("form", { class: "parameters", onsubmit: save, novalidate: true }, fields, stateField, el("div", { class: "row end" }, status, button));
  const node = el("details", { class: "card" }, el("summary", {}, el("h2", {}, "Parameters")), form);
  return { node, update };

  function field(name, label, unit, meaning) {
    const hint = newId();
    const problem = el("p", { class: "problem", role: "alert" });
    const input = el("input", { id: newId(), name, type: "number", step: "any", inputmode: "decimal", "aria-describedby": hint });
    inputs.set(name, { input, problem });
    return el("div", { class: "field" }, el("label", { for: input.id }, label, " ", el("span", { class: "unit" }, unit)), input, el("p", { class: "hint", id: hint }, meaning), problem);
  }

  // What somebody is typing stays, whatever comes in meanwhile.
  function update({ info }) {
    for (const [name, { input }] of inputs) {
      const value = info[name] === null || info[name] === undefined ? "" : String(info[name]);
      if (known.get(name) === value) continue;
      if (input.value === (known.get(name) ?? "") || !known.has(name)) input.value = value;
      known.set(name, value);
    }
  }

  async function save(event) {
    event.preventDefault();
    const body = {};
    for (const [name, { input, problem }] of inputs) {
      say(problem, "");
      if (input.value === known.get(name)) continue;
      if (input.value === "") say(problem, input.validity.badInput ? "give a number" : "it cannot be unset; give a number");
      else body[name] = input.type === "number" ? Number(input.value) : input.value;
    }
    if ([...inputs.values()].some(({ problem }) => problem.textContent)) return say(status, "Nothing is saved.");
    if (!Object.keys(body).length) return say(status, "Nothing has changed.");
    await send(body);
  }

  async function send(body) {
    button.disabled = true;
    say(status, "Saving …");
    try {
      await call("PUT", `api/v0/endptjobs/${id}/`, body);
      await readAll();
      say(status, `Saved: ${Object.keys(body).join(", ")}.`);
    } catch (error) {
      say(status, byField(error.message) ? "Nothing is saved." : error.message);
    } finally {
      button.disabled = false;
    }
  }

  function byField(message) {
    let reasons;
    try {
      reasons = Object.entries(JSON.parse(message));
    } catch {
      return false;
    }
    const ours = reasons.filter(([name]) => inputs.has(name));
    for (const [name, reason] of ours) say(inputs.get(name).problem, String(reason));
    if (ours.length) inputs.get(ours[0][0]).input.focus();
    return ours.length > 0 && ours.length === reasons.length;
  }
}

export function groupsPanel(id) {
  const list = el("ul", { class: "groups" });
  const node = el("section", { class: "card" }, el("h2", {}, "Workergroups"), list);
  return {
    node,
    update({ groups }) {
      node.hidden = !groups.length;
      keyed(list, groups, (group) => group.id, () => makeGroup(id), (row, group) => row.update(group));
    },
  };
}

function makeGroup(endpointId) {
  const name = el("bdi", {});
  const facts = el("span", { class: "facts-line" });
  const condition = el("bdi", { class: "condition" });
  const status = el("p", { class: "status", role: "status" });
  const begin = el("button", { type: "button", onclick: () => ask(true) }, "Start a rolling update");
  const cancel = el("button", { type: "button", onclick: () => send(true) }, "Call the update off");
  const yes = el("button", { type: "button", class: "main", onclick: () => send(false) }, "Yes, update its workers");
  const no = el("button", { type: "button", onclick: () => ask(false) }, "No");
  const question = el("span", { class: "question", hidden: true }, "One worker after the other is started anew. Begin? ", yes, " ", no);
  const node = el("li", {}, el("div", {}, el("strong", {}, name), " ", facts, el("p", {}, condition)), el("div", { class: "does" }, begin, cancel, question), status);
  let group = null;
  return { node, update };

  function update(newest) {
    group = newest;
    say(name, group.name);
    const from = group.updating_from === null ? "" : `, updating from ${group.updating_from}`;
    say(facts, `${group.provider}, version ${group.version}${from}`);
    say(condition, group.condition);
    const isUpdating = group.updating_from !== null;
    cancel.hidden = !isUpdating;
    begin.hidden = isUpdating || !question.hidden;
  }

  function ask(isAsking) {
    question.hidden = !isAsking;
    begin.hidden = isAsking;
    (isAsking ? yes : begin).focus();
  }

  async function send(isCancel) {
    ask(false);
    say(status, "");
    try {
      const { version } = await call("POST", "update_workers/", { workergroup_id: group.id, cancel_update: isCancel });
      say(status, isCancel ? `Called off: back to version ${version}.` : `The update to version ${version} has begun.`);
      if (state.endpoints.has(endpointId)) await readAll();
    } catch (error) {
      say(status, error.message);
    }
  }
}
