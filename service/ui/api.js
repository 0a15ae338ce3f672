// The one place that speaks to the server. Addresses are relative, so the page works under any prefix.

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

/** An answer's body with the milliseconds from asking to having read it. Raises ApiError. */
export async function send(path, { body, signal, text = false } = {}) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const options = { headers, signal, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["content-type"] = "application/json";
  }
  const start = performance.now();
  let response, content;
  try {
    response = await fetch(new URL(path, ROOT), options);
    content = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server does not answer. Is it running, and is the network up?");
  }
  const roundTrip = performance.now() - start;
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
