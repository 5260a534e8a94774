// What the engine says of itself, as it changes. History and log lines live in this page only.

import { call, isLoggedIn } from "./api.js";

export const HISTORY_S = 600;
const MOST_LINES = 500;
const MOST_LOGS = 40;

export const state = { version: "", endpoints: new Map(), isLive: false };

const watchers = new Set();
let source = null;
let onEnd = () => {};
let reading = null;

export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function changed(what) {
  for (const watcher of [...watchers]) watcher(what);
}

export async function begin(whenLoggedOut) {
  onEnd = whenLoggedOut;
  // An engine that has too much to do says so; listening goes on trying.
  await readAll().catch((error) => {
    if (error.status === 401) throw error;
  });
  listen();
}

export function end() {
  source?.close();
  source = null;
  state.endpoints.clear();
  state.isLive = false;
  watchers.clear();
}

// Everything anew; calls that come meanwhile share one more reading.
export function readAll() {
  reading ??= read().finally(() => {
    reading = null;
  });
  return reading;
}

async function read() {
  const answer = await call("GET", "state");
  state.version = answer.version;
  const there = new Set();
  for (const { endpoint: info, workergroups: groups } of answer.endpoints) {
    there.add(info.id);
    const known = state.endpoints.get(info.id) ?? { figures: null, history: [], log: [], hasLog: false };
    state.endpoints.set(info.id, Object.assign(known, { info, groups }));
  }
  for (const id of state.endpoints.keys()) if (!there.has(id)) state.endpoints.delete(id);
  changed("state");
  readLogs([...state.endpoints.values()].slice(0, MOST_LOGS));
}

// One after the other, since the engine counts calls; of further endpoints when they are opened.
export async function readLogs(endpoints) {
  for (const endpoint of endpoints.filter((one) => !one.hasLog)) {
    endpoint.hasLog = true;
    await readLog(endpoint).catch(() => {
      endpoint.hasLog = false;
    });
  }
}

async function readLog(endpoint) {
  const levels = await call("POST", "get_endpoint_logs/", { id: endpoint.info.id, tail: 150 });
  const lines = ["info0", "info1"].flatMap((level) =>
    (levels[level] ?? "").split("\n").filter(Boolean).map((line) => parsed(line, level)),
  );
  const newest = endpoint.log;
  const known = new Set(newest.map((line) => `${line.at.toFixed(2)} ${line.text}`));
  const older = lines.filter((line) => !known.has(`${line.at.toFixed(2)} ${line.text}`));
  endpoint.log = [...older, ...newest].sort((one, other) => one.at - other.at).slice(-MOST_LINES);
  changed("log");
}

function parsed(line, level) {
  const space = line.indexOf(" ");
  return { at: Date.parse(line.slice(0, space)) / 1000, level, text: line.slice(space + 1) };
}

function listen() {
  source = new EventSource("events?figures=1");
  source.addEventListener("open", () => setLive(true));
  source.addEventListener("error", lost);
  source.addEventListener("figures", (event) => takeFigures(JSON.parse(event.data)));
  source.addEventListener("log", (event) => takeLine(JSON.parse(event.data)));
  source.addEventListener("endpoint", () => readAll().catch(() => {}));
  source.addEventListener("missed", missed);
}

// Lines may have come that were not told here.
function missed() {
  for (const endpoint of state.endpoints.values()) endpoint.hasLog = false;
  readAll().catch(() => {});
}

function setLive(isLive) {
  if (state.isLive === isLive) return;
  state.isLive = isLive;
  changed("live");
  if (isLive) missed();
}

// The browser tries again by itself unless it was refused: is it the login that has ended?
async function lost() {
  setLive(false);
  const dead = source;
  const loggedIn = await isLoggedIn().catch(() => true);
  if (dead !== source || !source) return;
  if (!loggedIn) return onEnd();
  if (dead.readyState === EventSource.CLOSED) setTimeout(() => source === dead && listen(), 2000);
}

function takeFigures({ at, endpoints }) {
  if (endpoints.some(isNew)) readAll().catch(() => {});
  for (const figures of endpoints) {
    const endpoint = state.endpoints.get(figures.id);
    if (!endpoint) continue;
    endpoint.figures = figures;
    for (const group of endpoint.groups) {
      Object.assign(group, figures.groups.find((other) => other.id === group.id));
    }
    endpoint.history.push({
      at,
      load: figures.stable_per_s,
      burst: figures.burst_per_s,
      capacity: figures.capacity_per_s,
      target: figures.active_target_per_s,
      waiting: figures.waiting_requests,
      inFlight: figures.workers.reduce((sum, worker) => sum + worker.working, 0),
      p50: figures.times.p50_s,
      p95: figures.times.p95_s,
    });
    while (endpoint.history[0].at < at - HISTORY_S - 2) endpoint.history.shift();
  }
  changed("figures");
}

// An endpoint, or a workergroup of one, that was not read yet.
function isNew({ id, groups }) {
  const known = state.endpoints.get(id);
  return !known || known.groups.length !== groups.length || groups.some((group) => known.groups.every((other) => other.id !== group.id));
}

function takeLine({ endpoint: name, level, at, text }) {
  if (level !== "info0" && level !== "info1") return;
  const endpoint = [...state.endpoints.values()].find((one) => one.info.endpoint_name === name);
  if (!endpoint) return;
  endpoint.log.push({ at, level, text });
  if (endpoint.log.length > MOST_LINES) endpoint.log.shift();
  changed("log");
}
