// A test request through the engine's gateway, and its way in one picture. Nothing of it is kept anywhere.

import { PAGE_HEADER } from "./api.js";
import { el, newId, say, svg } from "./dom.js";
import { duration } from "./words.js";

const MOST_SHOWN = 20000;
const LEGS = [
  ["route", "Route", "the engine finds out where it may go"],
  ["wait", "Wait", "held until a worker can take it"],
  ["worker", "First byte", "at the worker, until the answer begins"],
  ["answer", "Answer", "until its end"],
  ["network", "On the way", "network, proxies, browser"],
];

export function trialPanel(info) {
  const ids = { method: newId(), route: newId(), body: newId() };
  const method = el("select", { id: ids.method }, ["POST", "GET", "PUT", "DELETE"].map((name) => el("option", {}, name)));
  const route = el("input", { id: ids.route, value: "/v1/chat/completions", spellcheck: "false", autocomplete: "off" });
  const body = el("textarea", { id: ids.body, rows: 5, spellcheck: "false", autocomplete: "off" });
  body.value = JSON.stringify({ messages: [{ role: "user", content: "Hello" }], max_tokens: 20 }, null, 2);
  const status = el("p", { class: "status", role: "status" });
  const picture = el("div", { class: "way" });
  const shown = el("pre", { class: "answer", tabindex: "0", hidden: true });
  const button = el("button", { class: "main" }, "Send");
  const stop = el("button", { type: "button", hidden: true, onclick: () => aborter?.abort() }, "Cancel");
  const line = el("div", { class: "line" }, el("div", { class: "field" }, el("label", { for: ids.method }, "Method"), method), el("div", { class: "field grow" }, el("label", { for: ids.route }, "Route"), route));
  const form = el("form", { class: "trial", onsubmit: submit }, line, el("div", { class: "field" }, el("label", { for: ids.body }, "Body"), body), el("div", { class: "row end" }, status, stop, button));
  const hint = el("p", { class: "hint" }, "It goes through the gateway like anybody’s. Neither request nor answer is kept.");
  const node = el("details", { class: "card" }, el("summary", {}, el("h2", {}, "Send a test request")), hint, form, picture, shown);
  let aborter = null;
  return { node };

  async function submit(event) {
    event.preventDefault();
    aborter = new AbortController();
    button.disabled = true;
    stop.hidden = false;
    shown.hidden = true;
    picture.replaceChildren();
    const began = performance.now();
    const timer = setInterval(() => say(status, `Under way for ${duration((performance.now() - began) / 1000)}`), 100);
    try {
      await send(began, aborter.signal);
    } catch (error) {
      say(status, error.name === "AbortError" ? "Cancelled." : "It got no answer: the engine cannot be reached.");
    } finally {
      clearInterval(timer);
      button.disabled = false;
      stop.hidden = true;
    }
  }

  async function send(began, signal) {
    const hasBody = method.value !== "GET" && body.value !== "";
    const response = await fetch(target(), {
      method: method.value,
      headers: hasBody ? { ...PAGE_HEADER, "Content-Type": "application/json" } : PAGE_HEADER,
      body: hasBody ? body.value : undefined,
      cache: "no-store",
      signal,
    });
    const head = performance.now();
    shown.hidden = false;
    shown.textContent = "";
    await read(response);
    const times = serverTimes(response.headers.get("Server-Timing") ?? "");
    draw(legs(times, head - began, performance.now() - head), response.status, times.url);
    clearLater(`${response.status} ${response.ok ? "" : "– "}after ${duration((performance.now() - began) / 1000)}`);
  }

  function clearLater(words) {
    queueMicrotask(() => say(status, words));
  }

  function target() {
    const path = route.value.trim();
    const parts = path.replace(/^\/+/, "").split("?");
    const query = parts.length > 1 ? `?${parts.slice(1).join("?")}` : "";
    return `dashboard/try/${encodeURIComponent(info.endpoint_name)}/${parts[0]}${query}`;
  }

  async function read(response) {
    if (!response.body) return;
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let length = 0;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const text = decoder.decode(piece.value, { stream: true });
      if (length < MOST_SHOWN) shown.append(text.slice(0, MOST_SHOWN - length));
      length += text.length;
      shown.scrollTop = shown.scrollHeight;
    }
    if (length > MOST_SHOWN) shown.append(`\n… and ${length - MOST_SHOWN} characters more`);
  }

  function draw(found, code, url) {
    const total = found.reduce((sum, { took }) => sum + took, 0) || 1;
    const bars = [];
    let left = 0;
    found.forEach(({ name, took }, row) => {
      const width = Math.max(0.4, (took / total) * 100);
      bars.push(svg("rect", { class: `leg ${name}`, x: `${Math.min(left, 99.6)}%`, y: row * 22 + 4, width: `${width}%`, height: 14, rx: 3 }));
      left += (took / total) * 100;
    });
    const label = found.map(({ label: word, took }) => `${word} ${duration(took / 1000)}`).join(", ");
    const chart = svg("svg", { class: "bars", width: "100%", height: found.length * 22, role: "img", "aria-label": label }, bars);
    const names = el("ol", {}, found.map(({ name, label: word, meaning, took }) => el("li", { class: name, title: meaning }, el("span", { class: "swatch", "aria-hidden": "true" }), el("span", { class: "leg-name" }, word), el("span", { class: "took" }, duration(took / 1000)))));
    const where = url ? el("p", { class: "hint" }, "Worker: ", el("bdi", {}, url)) : null;
    picture.replaceChildren(el("div", { class: "waterfall", "data-status": String(code) }, names, chart), ...[where].filter(Boolean));
  }
}

// "route;dur=1.2, wait;dur=0, worker;dur=9;desc=\"http://…\"" as {route, wait, worker, url}, in ms
function serverTimes(header) {
  const times = {};
  for (const [, name, took, desc] of header.matchAll(/([\w-]+);dur=([\d.]+)(?:;desc="([^"]*)")?/g)) {
    times[name] = Number(took);
    if (desc) times.url = desc;
  }
  return times;
}

function legs(times, toHead, rest) {
  const known = ["route", "wait", "worker"].reduce((sum, name) => sum + (times[name] ?? 0), 0);
  const took = { ...times, answer: rest, network: Math.max(0, toHead - known) };
  if (times.worker === undefined) Object.assign(took, { worker: toHead, network: 0 });
  const order = ["network", "route", "wait", "worker", "answer"];
  return order.map((name) => LEGS.find(([other]) => other === name)).map(([name, label, meaning]) => ({ name, label, meaning, took: took[name] ?? 0 }));
}
