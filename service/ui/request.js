// One operation to try: its parameters and body, the same as a curl line, and the answer.
import { ApiError, address, exchange } from "./api.js";
import { byId, duration, el } from "./dom.js";

const SHOWN = ["server-timing", "x-request-id", "retry-after"];
const MOST_ROWS = 14;

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const block = (label, content) => el("pre", { class: "context", tabIndex: 0, role: "group", "aria-label": label }, content);

/** JSON laid out, or on one line; text that is no JSON as it is. */
function spaced(text, space) {
  try {
    return JSON.stringify(JSON.parse(text), null, space);
  } catch {
    return text;
  }
}

/** A form for an operation, and a function that tells it the models. examples: bodies; none where it takes none. */
export function trial({ path, method, parameters = [], security }, examples) {
  const inputs = parameters.map(({ name, required, in: place }) => {
    const input = el("input", { required, autocomplete: "off", spellcheck: false });
    if (name === "name") input.setAttribute("list", "names");
    return { name, place, input };
  });
  const choice = el("select", {}, examples.map((_, n) => el("option", { value: String(n) }, `Example ${n + 1}`)));
  const body = el("textarea", { spellcheck: false });
  const curl = el("code");
  const said = el("p", { role: "status", class: "took" });
  const result = el("div", { class: "result" });
  const typed = () => (examples.length && body.value.trim() ? body.value : undefined);
  let served = [];
  let sending = new AbortController();

  /** The path with its parameters; NAME for one that is not filled in. */
  function target() {
    const filled = path.replace(/{(\w+)}/g, (_, name) => {
      const { input } = inputs.find((one) => one.name === name);
      return encodeURIComponent(input.value) || name.toUpperCase();
    });
    const query = inputs.filter(({ place, input }) => place === "query" && input.value);
    const search = new URLSearchParams(query.map(({ name, input }) => [name, input.value]));
    return query.length ? `${filled}?${search}` : filled;
  }

  function draw() {
    const sent = typed();
    const line = ["curl"];
    if (method !== (sent === undefined ? "get" : "post")) line.push(`-X ${method.toUpperCase()}`);
    if (security && !byId("key-form").hidden) line.push('-H "Authorization: Bearer $KEY"');
    if (sent !== undefined) line.push("-H 'Content-Type: application/json'", `-d ${quoted(spaced(sent))}`);
    curl.textContent = [...line, quoted(address(target()).href)].join(" ");
  }

  /** The example that is chosen. */
  function take() {
    body.value = examples.length ? JSON.stringify(examples[choice.value], null, 2) : "";
    body.rows = Math.min(MOST_ROWS, body.value.split("\n").length + 1);
    choose();
  }

  /** A served model that the example is for. */
  function choose() {
    const task = body.value.includes('"question"') ? "qa" : "classification";
    const model = served.find((one) => one.task === task && one.default) ?? served[0];
    for (const { name, place, input } of inputs) if (model && place === "path") input.value = model[name] ?? "";
    draw();
  }

  async function run() {
    sending.abort();
    sending = new AbortController();
    said.textContent = "Asking…";
    result.replaceChildren();
    try {
      show(await exchange(target(), { method: method.toUpperCase(), body: typed(), signal: sending.signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      said.replaceChildren(el("strong", { class: "bad" }, error.message));
    }
  }

  function show({ response, content, roundTrip }) {
    const status = el("strong", { class: response.ok ? "" : "bad" }, `${response.status} ${response.statusText}`.trim());
    said.replaceChildren(status, `, ${duration(roundTrip)} round trip`);
    const headers = SHOWN.filter((header) => response.headers.has(header));
    const pairs = headers.map((header) => [el("dt", {}, header), el("dd", {}, response.headers.get(header))]);
    const text = content ? block("Body of the answer", spaced(content, 2)) : el("p", { class: "hint" }, "An empty body.");
    result.replaceChildren(el("dl", {}, ...pairs.flat()), text);
  }

  const form = el(
    "form",
    { class: "trial", "aria-label": `Try ${method.toUpperCase()} ${path}` },
    inputs.map((one) => el("label", {}, one.name, one.input)),
    examples.length > 1 ? el("label", {}, "Example", choice) : null,
    examples.length ? el("label", {}, "Body", body) : null,
    block("The same with curl", curl),
    el("button", {}, "Send"),
    said,
    result,
  );
  choice.addEventListener("change", take);
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  take();
  const offer = (models) => {
    served = models;
    choose();
  };
  return { form, offer };
}
