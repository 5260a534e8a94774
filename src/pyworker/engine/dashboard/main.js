// The page: login, head, and which view is shown. The view stands after the # of the address.

import { call, isLoggedIn, onLoggedOut } from "./api.js";
import { el, say, set } from "./dom.js";
import { endpointView } from "./endpoint.js";
import * as live from "./live.js";
import { loginView } from "./login.js";
import { overviewView } from "./overview.js";

const connection = el("span", { class: "connection", role: "status" });
let stopWatching = () => {};

function shell(...content) {
  const skip = el("a", { class: "skip", href: "#main", onclick: skipToMain }, "Skip to the content");
  document.body.replaceChildren(skip, ...content);
}

function skipToMain(event) {
  event.preventDefault();
  document.querySelector("main").focus();
}

function head() {
  const out = el("button", { type: "button", class: "quiet", onclick: logOut }, "Log out");
  const brand = el("a", { class: "brand", href: "#/" }, el("img", { src: "dashboard/icon.svg", alt: "", width: 24, height: 24 }), "pyworker");
  return el("header", { class: "head" }, brand, el("span", { class: "version" }, live.state.version), el("span", { class: "space" }), connection, out);
}

function showConnection() {
  say(connection, live.state.isLive ? "Live" : "Not connected, trying again");
  set(connection, "class", `connection ${live.state.isLive ? "ok" : "bad"}`);
}

async function logOut() {
  await call("POST", "logout").catch(() => {});
  showLogin();
}

function showLogin(words = "") {
  live.end();
  stopWatching();
  document.title = "Log in · pyworker";
  shell(loginView(words, start));
}

async function start() {
  await live.begin(() => showLogin("Your login has ended: its key was revoked, or its time is over."));
  route();
}

function route(event) {
  const view = viewFor(location.hash);
  stopWatching();
  shell(head(), el("main", { id: "main", tabindex: "-1" }, view.node));
  document.title = view.title;
  stopWatching = live.watch((what) => {
    if (what === "live") showConnection();
    if (view.isGone?.()) location.hash = "#/";
    else view.update(what);
  });
  showConnection();
  view.update("all");
  if (event) document.querySelector("h1")?.focus();
}

function viewFor(hash) {
  const id = Number(/^#\/endpoints\/(\d+)$/.exec(hash)?.[1]);
  return live.state.endpoints.has(id) ? endpointView(id) : overviewView();
}

onLoggedOut(() => document.querySelector(".login") || showLogin("Your login has ended: log in again."));
window.addEventListener("hashchange", (event) => document.querySelector(".login") || route(event));
document.querySelector("noscript")?.remove();

if (await isLoggedIn().catch(() => false)) await start().catch((error) => showLogin(error.message));
else showLogin();
