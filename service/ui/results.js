// One card an answer: what the model said, and what it took.
import { byId, duration, el, score } from "./dom.js";
import { labels, number } from "./labels.js";
import { above, kept, kind, quality } from "./models.js";
import { steps, whole } from "./waterfall.js";

const OVER = "The wait is over.";

/** The result in a few words, for the verdict and for a screen reader, and what kind it is. */
export function best(task, body, model) {
  const rows = body.results[0];
  const [first] = rows;
  const found = kind(task, rows, model);
  const chosen = rows.filter(above).map(({ label }) => label);
  const words = {
    spans: () => first?.answer || "no answer",
    one: () => first.label,
    many: () => chosen.sort().join(", ") || "no label",
    score: () => score(first.score),
  };
  return { kind: found, answer: words[found]() };
}

/** An answered request. */
export function answered(task, asked, { body, stages }, model) {
  return [
    head(body.model, model),
    shown(task, asked, body.results[0], model),
    body.truncated ? el("p", { class: "hint" }, "The text was longer than the model takes and was cut.") : null,
    el(
      "p",
      { class: "took" },
      el("strong", {}, duration(stages.total)),
      " in the server, ",
      duration(whole(stages)),
      ` round trip, in a batch of ${body.batch_size} (${body.batch_tokens} tokens)`,
    ),
    steps(stages),
  ].filter(Boolean);
}

function shown(task, asked, rows, model) {
  const found = kind(task, rows, model);
  if (found === "spans") return spans(rows, asked.context);
  if (found === "score") return number(rows[0], model, Boolean(asked.inputs.pair));
  return labels(rows, model, found === "many");
}

/** A request that is on its way. */
export const waiting = (choice) => [head(choice), el("p", { class: "empty" }, "Asking…")];

/** A request that failed; `again` asks once more, at the earliest when the server said. */
export function failed(choice, error, again) {
  const status = error.status ? `${error.status} ` : "";
  const button = el("button", { type: "button" }, "Try again");
  button.addEventListener("click", again);
  const wait = el("p", { class: "hint" });
  if (error.retryAfter !== null) countDown(error.retryAfter, button, wait);
  const said = el("p", {}, el("strong", {}, `${status}${error.code.replaceAll("_", " ")}`), el("br"), sentence(error.message));
  return [head(choice), el("div", { class: "error", role: "alert" }, said), wait, button];
}

function countDown(seconds, button, wait) {
  const end = performance.now() + 1000 * seconds;
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    button.disabled = left > 0;
    wait.textContent = left > 0 ? `The server asks to wait: ${left} s` : OVER;
    if (left > 0) setTimeout(next, 200);
    else byId("said").textContent = OVER;
  };
  const next = () => button.isConnected && tick(); // not for a card that is gone
  tick();
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;

function head({ name, version }, model = null) {
  const measured = model && quality(model);
  const dense = measured && measured.dense !== null && model.weights_kept < 1 ? `, dense ${measured.dense.toFixed(1)}` : "";
  return el(
    "header",
    {},
    el("h3", {}, name, version ? el("span", { class: "version" }, version) : null),
    el(
      "ul",
      { class: "facts" },
      model ? el("li", {}, kept(model)) : null,
      measured ? el("li", {}, `${measured.label} ${measured.value.toFixed(1)}${dense}`) : null,
    ),
    model ? form(model) : null,
  );
}

/** Which form of the model answers, and why it is this one. */
function form(model) {
  const where = `${model.form} in ${model.runtime} on ${model.device}`;
  const why = el("p", { class: "hint" }, sentence(model.why_form));
  return el("details", { class: "form" }, el("summary", {}, where), why);
}

function spans(rows, context) {
  const [first] = rows;
  // The server counts characters, a string here counts UTF-16 units.
  const characters = [...context];
  const part = (start, end) => characters.slice(start, end).join("");
  const marked = first?.answer
    ? [part(0, first.start), el("mark", {}, part(first.start, first.end)), part(first.end)]
    : [context];
  const items = rows.map((row, n) =>
    el(
      "li",
      n ? {} : { class: "best" },
      el("span", { class: "label" }, row.answer || "no answer"),
      el("span", { class: "hint number" }, row.answer ? `chars ${row.start}–${row.end}` : ""),
      el("span", { class: "number" }, score(row.score)),
    ),
  );
  return el(
    "div",
    {},
    el("ol", { class: "spans", "aria-label": "Answers, best first" }, items),
    el("blockquote", { class: "context", tabIndex: 0, "aria-label": "The context with the answer marked", role: "region" }, marked),
  );
}
