// Where the time of a request went: one step under the other, or all in one bar.
import { duration, el } from "./dom.js";

export const STAGES = ["tokenize", "queue", "infer", "postprocess", "network"];

/**
 * Milliseconds by stage from an answer's timings and the round trip that the browser saw.
 * `network` is what the server did not see: connection, transfer both ways, and the browser itself.
 */
export function stagesOf(timings, roundTrip) {
  return { ...timings, network: Math.max(0, roundTrip - timings.total) };
}

/** Milliseconds from asking to having the answer. */
export const whole = (stages) => stages.total + stages.network;

const told = (stages) => STAGES.map((stage) => `${stage} ${duration(stages[stage])}`).join(", ");

/** A segment for each stage, from where the one before it ends; its length is what the style sheet draws. */
function segments(stages) {
  let start = 0;
  return STAGES.map((stage) => {
    const segment = el("i", { class: stage, title: `${stage} ${duration(stages[stage])}` });
    segment.style.setProperty("--start", start);
    segment.style.setProperty("--length", stages[stage]);
    start += stages[stage];
    return segment;
  });
}

/** The milliseconds that the full width stands for, of every waterfall inside an element. */
export function scale(inside, milliseconds) {
  inside.style.setProperty("--scale", Math.max(milliseconds, 0.001));
}

/** One step a stage. */
export function steps(stages) {
  const rows = segments(stages).map((segment, n) =>
    el(
      "li",
      {},
      el("span", {}, STAGES[n]),
      el("span", { class: "track", "aria-hidden": "true" }, segment),
      el("span", { class: "number" }, duration(stages[STAGES[n]])),
    ),
  );
  return el("ol", { class: "steps", "aria-label": "Stages of this request" }, rows);
}

/** All stages in one bar, and in words for those who do not see it. */
export function bar(stages) {
  return [
    el("span", { class: "track", "aria-hidden": "true" }, segments(stages)),
    el("span", { class: "unseen" }, told(stages)),
  ];
}

/** What the colours mean. */
export const legend = () => STAGES.map((stage) => el("li", {}, el("i", { class: stage }), stage));
