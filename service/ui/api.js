// The one place that speaks to the server. Addresses are relative, so the pages work under any prefix.

const ROOT = new URL("../", import.meta.url);
let key = "";

/** Keep a key in memory alone; it goes with every request from now on. */
export function useKey(secret) {
  key = secret.trim();
}

/** What went wrong. status: 0 when no answer came. retryAfter: seconds, or null. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** Where a path of the service is; without its first slash it stays below any prefix. */
export const address = (path) => new URL(path.replace(/^\/+/, ""), ROOT);

/**
 * An answer of any status: the response, its text, and the milliseconds from asking to having read it.
 * body: JSON as text. Raises ApiError when no answer comes.
 */
export async function exchange(path, { method = "GET", body, signal } = {}) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const start = performance.now();
  try {
    const options = { method, headers, body, signal, cache: "no-store", credentials: "same-origin" };
    const response = await fetch(address(path), options);
    const content = await response.text();
    return { response, content, roundTrip: performance.now() - start };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server does not answer. Is it running, and is the network up?");
  }
}

/** The body of an answer, and the milliseconds that it took. Raises ApiError, also for what the server refuses. */
export async function send(path, { body, signal, text = false } = {}) {
  const asked = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const { response, content, roundTrip } = await exchange(path, { ...asked, signal });
  if (!response.ok) throw failure(response, content);
  try {
    return { body: text ? content : JSON.parse(content), roundTrip };
  } catch {
    throw new ApiError(response.status, "unreadable", "The answer is not what this service sends.");
  }
}

function failure(response, content) {
  let found = {};
  try {
    found = JSON.parse(content).error;
  } catch {
    // something before the service answered, in its own words
  }
  const seconds = Number.parseInt(response.headers.get("retry-after"), 10);
  return new ApiError(
    response.status,
    found?.code ?? "http",
    found?.message ?? (response.statusText || "The request failed."),
    Number.isFinite(seconds) ? seconds : null,
  );
}
