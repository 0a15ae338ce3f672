// The requests that this page made, newest first, on one scale.
import { byId, duration, el } from "./dom.js";
import { bar, scale } from "./waterfall.js";

const KEPT = 12;
let recent = [];

/** One more. stages: null when it failed; status: what came back; roundTrip: milliseconds. */
export function remember(entry) {
  recent = [entry, ...recent].slice(0, KEPT);
  const rows = recent.map(({ at, title, status, stages, roundTrip }) =>
    el(
      "tr",
      {},
      el("td", { class: "minor" }, at.toLocaleTimeString()),
      el("th", { scope: "row" }, title),
      el("td", { class: stages ? "" : "bad" }, status),
      el("td", { class: "wide" }, stages ? bar(stages) : el("span", { class: "hint" }, "no timings")),
      el("td", { class: "number minor" }, stages ? duration(stages.total) : "–"),
      el("td", { class: "number" }, duration(roundTrip)),
    ),
  );
  byId("recent").tBodies[0].replaceChildren(...rows);
  scale(byId("recent"), Math.max(0, ...recent.filter(({ stages }) => stages).map((one) => one.roundTrip)));
}
