// The engine's calls. The cookie goes along by itself; the header says that this page sends them.

export const PAGE_HEADER = { "X-Pyworker-Dashboard": "1" };

export class CallFailed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let loggedOut = () => {};

export function onLoggedOut(then) {
  loggedOut = then;
}

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? PAGE_HEADER : { ...PAGE_HEADER, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new CallFailed(0, "The engine cannot be reached. Is it running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && path !== "login") loggedOut();
  throw new CallFailed(response.status, answer.msg ?? answer.error ?? `the engine answered ${response.status}`);
}

export async function isLoggedIn() {
  return (await call("GET", "login")).logged_in;
}
