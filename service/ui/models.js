// What the server lists: models, versions, what they kept and how good they are.
import { el, percent } from "./dom.js";

export const idOf = (model) => `${model.name}@${model.version}`;

/** A label of a model that gives any number of labels is given where its score is above this. */
export const THRESHOLD = 0.5;
export const above = ({ score }) => score > THRESHOLD;

/** What the results of a task are: "spans" of a context, "one" of the model's labels, "many" of them, or one "score". */
export function kind(task, rows, model) {
  if (task === "qa") return "spans";
  if (rows.length === 1) return "score";
  return model?.activation === "sigmoid" ? "many" : "one";
}

/** The figure of the served form to show first, in percent: F1 of spans, accuracy, else a correlation, or null. */
export function quality(model) {
  const { dense, compressed: exact } = model.measured?.accuracy ?? {};
  const compressed = model.forms[model.form]?.accuracy ?? exact;
  if (!compressed) return null;
  const [label, name, scale] =
    "exact_match" in compressed
      ? ["F1", "f1", 1]
      : "accuracy" in compressed
        ? ["accuracy", "accuracy", 100]
        : ["pearson", "pearson", 100];
  const figure = (metrics) => (Number.isFinite(metrics?.[name]) ? scale * metrics[name] : null);
  const value = figure(compressed);
  return value === null ? null : { label, value, dense: figure(dense) };
}

/** What of the encoder's weights is left. */
export const kept = (model) => (model.weights_kept >= 1 ? "dense" : `${percent(model.weights_kept)} of weights`);
const briefly = (model) => (model.weights_kept >= 1 ? "dense" : percent(model.weights_kept));

/**
 * The choices for one task: each version by itself, and a name whose traffic is split also as a whole.
 * A choice is {value, label, name, version, title, model}; version is null for "as the traffic is split".
 */
export function choices(models, task) {
  const found = [];
  const fitting = models.filter((model) => model.task === task);
  for (const name of new Set(fitting.map((model) => model.name))) {
    const versions = fitting.filter((model) => model.name === name);
    if (versions.length > 1) {
      const label = `${name}, as its traffic is split`;
      found.push({ value: name, label, title: name, name, version: null, model: versions[0] });
    }
    for (const model of versions) {
      const { version } = model;
      const title = versions.length > 1 ? `${name} ${version}` : name;
      found.push({ value: idOf(model), label: `${title}, ${briefly(model)}`, title, name, version, model });
    }
  }
  return found;
}

/** Fill a select, and keep what was chosen where it is still there. */
export function fill(select, list, none = null) {
  const before = select.value;
  const options = list.map((choice) => el("option", { value: choice.value }, choice.label));
  select.replaceChildren(...(none === null ? [] : [el("option", { value: "" }, none)]), ...options);
  if ([...select.options].some((option) => option.value === before)) select.value = before;
}
