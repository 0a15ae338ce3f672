// One or two models, asked the same.
import { ApiError, send } from "./api.js";
import { byId, duration, el } from "./dom.js";
import { idOf } from "./models.js";
import { remember } from "./recent.js";
import { answered, best, failed, waiting } from "./results.js";
import { scale, stagesOf, whole } from "./waterfall.js";

const ROUNDS = 5;

/** What one model is asked, its card, and what came of it. */
export class Ask {
  constructor(task, { path, asked }, choice) {
    Object.assign(this, { task, path, asked, choice, model: null, runs: [], failed: false });
    this.card = el("article", { class: "card", tabIndex: -1 }, waiting(choice));
  }

  /** Of the runs, the one in the middle by the time that the model took. */
  get median() {
    const sorted = [...this.runs].sort((a, b) => a.stages.infer - b.stages.infer);
    return sorted[(sorted.length - 1) >> 1];
  }
}

/** Ask one model once, or two in turn several times, and show what comes. */
export async function compare(asks, models, signal) {
  byId("results").replaceChildren(...asks.map(({ card }) => card));
  byId("results").setAttribute("aria-busy", "true");
  byId("verdict").hidden = true;
  byId("said").textContent = "";
  // In turn and never at once: they would fight for the same cores.
  for (let round = 0; round < (asks.length > 1 ? ROUNDS : 1); round++) {
    for (const ask of asks) if (!ask.failed) await put(ask, asks, models, signal);
  }
  if (signal.aborted) return;
  byId("results").removeAttribute("aria-busy");
  conclude(asks);
}

async function put(ask, asks, models, signal) {
  const { choice, card } = ask;
  const entry = { at: new Date(), title: choice.title, stages: null, status: "200" };
  const start = performance.now();
  try {
    const version = choice.version ? { version: choice.version } : {};
    const { body, roundTrip } = await send(ask.path, { body: { ...ask.asked, model: choice.name, ...version }, signal });
    const stages = stagesOf(body.timings, roundTrip);
    ask.runs.push({ body, stages });
    ask.model = models.find((one) => idOf(one) === idOf(body.model));
    card.replaceChildren(...answered(ask.task, ask.asked, ask.median, ask.model));
    remember({ ...entry, stages, roundTrip });
    fit(asks);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    ask.failed = true;
    card.replaceChildren(...failed(choice, error, () => again(ask, asks, models, signal)));
    remember({ ...entry, status: `${error.status || "none"} ${error.code}`, roundTrip: performance.now() - start });
  }
}

async function again(ask, asks, models, signal) {
  Object.assign(ask, { failed: false, runs: [] });
  ask.card.replaceChildren(...waiting(ask.choice));
  ask.card.focus(); // the button that had it is gone
  await put(ask, asks, models, signal);
  conclude(asks);
}

/** One scale for all cards, so that their waterfalls can be compared. */
function fit(asks) {
  const lengths = asks.filter(({ runs }) => runs.length).map(({ median }) => whole(median.stages));
  scale(byId("results"), Math.max(...lengths));
}

/** What the answers say together; of none that failed. */
function conclude(asks) {
  if (asks.some(({ failed }) => failed)) return;
  const found = asks.map(({ task, choice, model, median: { body, stages } }) => {
    return { ...best(task, body, model), title: choice.title, infer: stages.infer, total: stages.total };
  });
  const told = found.map(({ title, answer, total }) => `${title}: ${answer}, ${duration(total)}.`);
  if (found.length > 1) told.push(verdict(found, asks));
  byId("said").textContent = told.join(" ");
}

const NOUNS = { spans: "answer", one: "label", many: "labels" };

function agreement([first, second]) {
  if (first.kind !== second.kind) return "Answers of different kinds";
  if (first.kind === "score") return `Scores ${first.answer} and ${second.answer}`;
  return `${first.answer === second.answer ? "Same" : "Different"} ${NOUNS[first.kind]}`;
}

function verdict(found, asks) {
  const [fast, slow] = [...found].sort((a, b) => a.infer - b.infer);
  const runs = Math.min(...asks.map((ask) => ask.runs.length));
  const text =
    `${agreement(found)}. ${fast.title} infers in ${duration(fast.infer)}, ` +
    `${slow.title} in ${duration(slow.infer)}: ${(slow.infer / Math.max(fast.infer, 1e-6)).toFixed(2)} times as fast ` +
    `(${runs === 1 ? "one run" : `median of ${runs}`}).`;
  byId("verdict").textContent = text;
  byId("verdict").hidden = false;
  return text;
}
