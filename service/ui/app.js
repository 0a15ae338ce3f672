// The page: which models there are, and the form. What is asked goes to compare.js.
import { Ask, compare } from "./compare.js";
import { byId } from "./dom.js";
import { examples } from "./examples.js";
import { watch } from "./live.js";
import { choices, fill } from "./models.js";
import { session } from "./session.js";
import { legend } from "./waterfall.js";

let models = [];
let running = new AbortController();
let used = 0;

const task = () => byId("ask").elements.task.value;
const load = session(take);
const show = watch(load);

/** The models that answer now. */
function take(served) {
  models = served;
  offer();
  show(models);
}

/** The tasks and models that there are; where there is one task, or none, nothing is to be chosen. */
function offer() {
  const radios = [...byId("ask").elements.task];
  const possible = radios.filter((radio) => models.some((model) => model.task === radio.value));
  for (const radio of radios) radio.disabled = radio.parentElement.hidden = !possible.includes(radio);
  byId("tasks").hidden = possible.length < 2;
  if (!possible.some((radio) => radio.checked) && possible.length) possible[0].checked = true;
  for (const group of document.querySelectorAll("[data-task]")) {
    group.hidden = group.disabled = group.dataset.task !== task();
  }
  const list = choices(models, task());
  fill(byId("model"), list);
  fill(byId("other"), list, "nothing");
  byId("run").disabled = !list.length;
  suggest();
}

/** The model that is chosen, or one of its versions. */
const chosen = () => choices(models, task()).find(({ value }) => value === byId("model").value)?.model;

/** Examples where some fit the model. */
function suggest() {
  byId("example").hidden = !examples(chosen()).length;
}

/** What is in the form, as the API takes it. */
function question() {
  const value = (id) => byId(id).value;
  if (task() === "classification") {
    const [text, pair] = [value("text"), value("pair")];
    return { path: "v1/classify", asked: { inputs: pair ? { text, pair } : text } };
  }
  const options = { top_k: byId("top").valueAsNumber, handle_impossible: byId("impossible").checked };
  return { path: "v1/answer", asked: { question: value("question"), context: value("context"), ...options } };
}

async function run() {
  running.abort();
  running = new AbortController();
  const list = choices(models, task());
  const values = [byId("model").value, byId("other").value].filter(Boolean);
  const asks = values.map((value) => new Ask(task(), question(), list.find((choice) => choice.value === value)));
  await compare(asks, models, running.signal);
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
byId("ask").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  byId("run").click();
});
byId("ask").addEventListener("change", (event) => {
  if (event.target.name === "task") offer();
  if (event.target.id === "model") suggest();
});
byId("example").addEventListener("click", () => {
  const list = examples(chosen());
  for (const [id, text] of Object.entries(list[used++ % list.length])) byId(id).value = text;
});
byId("legend").replaceChildren(...legend());
load();
