// The page: which models there are, and the form. What is asked goes to compare.js.
import { send, useKey } from "./api.js";
import { Ask, compare } from "./compare.js";
import { byId } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { watch } from "./live.js";
import { choices, fill } from "./models.js";
import { legend } from "./waterfall.js";

const RELOAD = 2000;

let models = [];
let reload = 0;
let running = new AbortController();
const used = { classification: 0, qa: 0 };

const task = () => byId("ask").elements.task.value;
const show = watch(loadModels);

async function loadModels() {
  clearTimeout(reload);
  try {
    models = (await send("v1/models")).body.models;
  } catch (error) {
    if (error.status === 401) byId("key-form").hidden = false;
    else reload = setTimeout(loadModels, RELOAD);
    const refused = byId("key").value ? "This key is not accepted" : "A key is needed";
    state(error.status === 401 ? refused : error.message);
    return;
  }
  if (!models.length) {
    state("No model answers yet");
    reload = setTimeout(loadModels, RELOAD);
    return;
  }
  state(`${models.length} ${models.length === 1 ? "model answers" : "models answer"}`, true);
  offer();
  show(models);
}

function state(text, good = false) {
  byId("state").textContent = text;
  byId("state").classList.toggle("good", good);
}

/** The tasks and models that there are. */
function offer() {
  const radios = [...byId("ask").elements.task];
  for (const radio of radios) radio.disabled = !models.some((model) => model.task === radio.value);
  const possible = radios.filter((radio) => !radio.disabled);
  if (!possible.some((radio) => radio.checked) && possible.length) possible[0].checked = true;
  for (const group of document.querySelectorAll("[data-task]")) {
    group.hidden = group.disabled = group.dataset.task !== task();
  }
  const list = choices(models, task());
  fill(byId("model"), list);
  fill(byId("other"), list, "nothing");
  byId("run").disabled = !list.length;
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
  const chosen = [byId("model").value, byId("other").value].filter(Boolean);
  const asks = chosen.map((value) => new Ask(task(), question(), list.find((choice) => choice.value === value)));
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
});
byId("example").addEventListener("click", () => {
  const list = EXAMPLES[task()];
  for (const [id, text] of Object.entries(list[used[task()]++ % list.length])) byId(id).value = text;
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value);
  loadModels();
});
byId("legend").replaceChildren(...legend());
loadModels();
