// Lines over the last ten minutes, drawn as SVG.

import { el, say, svg } from "./dom.js";
import { clock } from "./words.js";
import { HISTORY_S } from "./live.js";

const HEIGHT = 132;
const TOP = 8;
const BOTTOM = 18;
const RIGHT = 8;
const GAP_S = 5;
const WINDOWS_S = [120, 300, HISTORY_S];

// A round number at or above the largest value, so that lines have a calm ceiling.
function ceiling(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= most * 1.05) * power || 20 * power;
}

// As much time as the page has seen, in steps, so that a page just opened shows something.
function windowOf(samples) {
  const span_s = samples.length ? samples[samples.length - 1].at - samples[0].at : 0;
  return WINDOWS_S.find((window_s) => span_s <= window_s) ?? HISTORY_S;
}

function path(samples, name, x, y) {
  let text = "";
  let last = null;
  for (const sample of samples) {
    const value = sample[name];
    if (value === null || value === undefined) {
      last = null;
      continue;
    }
    const joins = last !== null && sample.at - last <= GAP_S;
    text += `${joins ? "L" : "M"}${x(sample.at).toFixed(1)} ${y(value).toFixed(1)}`;
    last = sample.at;
  }
  return text;
}

// series: [{name, label, kind}]; format writes a value; marks: [{at, kind, text}]
export function plot({ title, series, format }) {
  const values = new Map();
  const legend = series.map(({ name, label, kind }) => {
    const value = el("span", { class: "value" }, "–");
    values.set(name, value);
    return el("span", { class: `key ${kind}` }, el("span", { class: "swatch", "aria-hidden": "true" }), `${label} `, value);
  });
  const at = el("span", { class: "at" }, "now");
  const box = el("div", { class: "canvas" });
  const node = el("figure", { class: "plot" }, el("figcaption", {}, el("h3", {}, title), el("p", { class: "legend" }, legend, at)), box);
  let samples = [];
  let marks = [];
  let pointed = null;

  function drawAxis(root, { width, left, most, window_s, now, x, y }) {
    for (const share of [0, 0.5, 1]) {
      const height = y(most * share);
      root.append(svg("line", { class: "grid", x1: left, x2: width - RIGHT, y1: height, y2: height }));
      root.append(svg("text", { class: "tick", x: left - 6, y: height + 4, "text-anchor": "end" }, format(most * share)));
    }
    const steps = width < 420 ? 2 : 4;
    for (let step = steps; step >= 0; step -= 1) {
      const minutes = ((window_s / 60) * step) / steps;
      const anchor = step === 0 ? "end" : step === steps ? "start" : "middle";
      const label = minutes ? `−${minutes} min` : "now";
      root.append(svg("text", { class: "tick", x: x(now - minutes * 60), y: HEIGHT - 3, "text-anchor": anchor }, label));
    }
  }

  function draw() {
    const width = Math.floor(box.clientWidth);
    if (!width) return;
    const now = samples.length ? samples[samples.length - 1].at : Date.now() / 1000;
    const all = samples.flatMap((sample) => series.map(({ name }) => sample[name] ?? 0));
    const most = ceiling(all.reduce((one, other) => Math.max(one, other), 0));
    const left = 8 + 6.5 * Math.max(format(most).length, format(most / 2).length);
    const window_s = windowOf(samples);
    const x = (at_s) => left + (1 - (now - at_s) / window_s) * (width - left - RIGHT);
    const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
    const root = svg("svg", { width, height: HEIGHT, role: "img", "aria-label": spoken() });
    drawAxis(root, { width, left, most, window_s, now, x, y });
    for (const mark of marks) {
      if (mark.at < now - window_s || mark.at > now) continue;
      const line = { x1: x(mark.at), x2: x(mark.at), y1: TOP, y2: HEIGHT - BOTTOM };
      root.append(svg("line", { class: `mark ${mark.kind}`, ...line }, svg("title", {}, mark.text)));
    }
    const visible = samples.filter((sample) => sample.at >= now - window_s);
    for (const { name, kind, area } of series) {
      const line = path(visible, name, x, y);
      if (area && line && visible.length > 1) {
        const floor = y(0).toFixed(1);
        const shut = `L${x(visible[visible.length - 1].at).toFixed(1)} ${floor}L${x(visible[0].at).toFixed(1)} ${floor}Z`;
        if (line.lastIndexOf("M") === 0) root.append(svg("path", { class: `area ${kind}`, d: line + shut }));
      }
      root.append(svg("path", { class: `line ${kind}`, d: line }));
    }
    const shown = pointed === null ? visible[visible.length - 1] : nearest(visible, now - (1 - (pointed - left) / (width - left - RIGHT)) * window_s);
    if (shown && pointed !== null) {
      root.append(svg("line", { class: "pointer", x1: x(shown.at), x2: x(shown.at), y1: TOP, y2: HEIGHT - BOTTOM }));
    }
    for (const { name } of series) say(values.get(name), shown ? format(shown[name]) : "–");
    say(at, pointed === null || !shown ? "now" : clock(shown.at));
    box.replaceChildren(root);
  }

  function spoken() {
    const last = samples[samples.length - 1];
    return `${title}: ${series.map(({ name, label }) => `${label} ${last ? format(last[name]) : "not known"}`).join(", ")}`;
  }

  box.addEventListener("pointermove", (event) => {
    pointed = event.clientX - box.getBoundingClientRect().left;
    draw();
  });
  box.addEventListener("pointerleave", () => {
    pointed = null;
    draw();
  });
  new ResizeObserver(draw).observe(box);
  return {
    node,
    show(newSamples, newMarks = []) {
      samples = newSamples;
      marks = newMarks;
      draw();
    },
  };
}

function nearest(samples, at_s) {
  return samples.reduce((best, one) => (!best || Math.abs(one.at - at_s) < Math.abs(best.at - at_s) ? one : best), null);
}

// A line without axes, for cards.
export function spark(names) {
  const node = el("div", { class: "spark", "aria-hidden": "true" });
  return {
    node,
    show(samples) {
      const width = Math.floor(node.clientWidth);
      if (!width || !samples.length) return;
      const now = samples[samples.length - 1].at;
      const most = ceiling(samples.reduce((top, sample) => Math.max(top, ...names.map((name) => sample[name] ?? 0)), 0));
      const window_s = windowOf(samples);
      const x = (at_s) => (1 - (now - at_s) / window_s) * width;
      const y = (value) => 42 - (value / most) * 38;
      const lines = names.map((name) => svg("path", { class: `line ${name}`, d: path(samples, name, x, y) }));
      node.replaceChildren(svg("svg", { width, height: 44 }, lines));
    },
  };
}
