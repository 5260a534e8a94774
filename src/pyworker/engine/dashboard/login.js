// An account key becomes a cookie that this page cannot read.

import { call } from "./api.js";
import { el, say } from "./dom.js";

export function loginView(words, then) {
  const problem = el("p", { class: "problem", role: "alert" }, words);
  const key = el("input", { id: "key", type: "password", name: "key", autocomplete: "current-password", required: true, spellcheck: "false" });
  const button = el("button", { class: "main" }, "Log in");

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    say(problem, "");
    try {
      await call("POST", "login", { api_key: key.value });
      key.value = "";
      await then();
    } catch (error) {
      say(problem, error.status === 401 ? "This is not an account key of this engine." : error.message);
      button.disabled = false;
      key.select();
      key.focus();
    }
  }

  const hint = el("p", { class: "hint" }, "An account key, as “pyworker key create” shows it. It is not kept in this page.");
  const form = el("form", { onsubmit: submit }, el("input", { type: "hidden", name: "username", value: "account", autocomplete: "username" }), el("label", { for: "key" }, "Account key"), key, hint, problem, button);
  const brand = el("p", { class: "brand" }, el("img", { src: "dashboard/icon.svg", alt: "", width: 28, height: 28 }), "pyworker");
  queueMicrotask(() => key.focus());
  return el("main", { id: "main", class: "login", tabindex: "-1" }, el("div", { class: "card" }, brand, el("h1", {}, "Log in to the engine"), form));
}
