// What a classifier said: labels with bars, or one number on its scale.
import { el, score } from "./dom.js";
import { above, idOf, THRESHOLD } from "./models.js";

const LABELS_SHOWN = 8;
const UNNAMED = /^label_\d+$/i;
const seen = new Map(); // the least and the largest number of each model, since this page was opened

/** The scores of one input, highest first; of `many` labels each that is above the threshold is chosen, else the first. */
export function labels(rows, model, many) {
  const chosen = many ? rows.filter(above).length : 1;
  const items = rows.map((row, n) => item(row, n < chosen, model?.activation !== "none"));
  return el("div", many ? { class: "many" } : {}, many ? told(chosen, rows.length) : null, list(items, chosen));
}

function told(chosen, all) {
  const text = chosen ? `${chosen} of ${all} labels above ${THRESHOLD}` : `No label above ${THRESHOLD}`;
  return el("p", { class: "hint" }, text);
}

function item({ label, score: value }, chosen, shared) {
  const share = el("i");
  share.style.width = `${100 * Math.min(1, Math.max(0, value))}%`;
  return el(
    "li",
    chosen ? { class: "best" } : {},
    el("span", { class: "label" }, label),
    el("span", { class: "number" }, score(value)),
    shared ? el("span", { class: "share", "aria-hidden": "true" }, share) : null,
  );
}

/** All that are chosen and a few more; the rest on demand. */
function list(items, chosen) {
  const most = Math.max(LABELS_SHOWN, chosen);
  const shown = el("ol", { class: "labels", "aria-label": "Labels, highest score first" }, items.slice(0, most));
  if (items.length <= most) return shown;
  const rest = el("ol", { class: "labels", start: most + 1 }, items.slice(most));
  return [shown, el("details", {}, el("summary", {}, `${items.length - most} more labels`), rest)];
}

/** One number. model: null where it is gone, and with it its scale. pair: whether two texts were judged together. */
export function number({ label, score: value }, model, pair) {
  return el(
    "div",
    { class: "single" },
    el(
      "p",
      {},
      el("span", { class: "label" }, UNNAMED.test(label) ? "Score" : label),
      pair ? el("span", { class: "hint" }, "of the pair") : null,
      el("strong", { class: "number" }, score(value)),
    ),
    model ? (model.activation === "none" ? seenScale(idOf(model), value) : gauge(value, ["0", "1"])) : null,
  );
}

/** A number that may be any: among those that the model gave so far. */
function seenScale(id, value) {
  const [low, high] = seen.get(id) ?? [value, value];
  const [least, largest] = [Math.min(low, value), Math.max(high, value)];
  seen.set(id, [least, largest]);
  if (least === largest) return gauge(0.5, ["the only number so far"]);
  return gauge((value - least) / (largest - least), [`${score(least)} least so far`, `${score(largest)} largest so far`]);
}

/** A marker at a place from 0 to 1, and what stands under the ends. */
function gauge(place, ends) {
  const marker = el("i");
  marker.style.left = `${100 * place}%`;
  const words = el("p", { class: "ends hint" }, ends.map((end) => el("span", {}, end)));
  return [el("div", { class: "gauge", "aria-hidden": "true" }, marker), words];
}
