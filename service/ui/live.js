// What the server is doing: /metrics every two seconds while the page is looked at.
import { ApiError, send } from "./api.js";
import { byId, duration, el, percent } from "./dom.js";
import { between, parse, period, within } from "./metrics.js";
import { idOf, quality } from "./models.js";

const EVERY = 2000;
const POINTS = 30; // of a line, one a scrape: a minute
const SVG = "http://www.w3.org/2000/svg";

const WORDS = { 401: "metrics need a key", 404: "metrics are switched off on this server" };

const TILES = [
  { name: "p50", title: "half were faster", show: duration },
  { name: "p99", title: "99% were faster", show: duration },
  { name: "waiting", title: "inputs in queues", show: String },
  { name: "refused", title: "for overload", show: String },
];

/** Start looking. `changed` is called when the server has other models than `models` was last given. */
export function watch(changed) {
  const tiles = TILES.map(tile);
  byId("tiles").replaceChildren(...tiles.map(({ node }) => node));
  let models = [];
  let scrapes = [];
  let looking = false;

  async function look() {
    if (looking) return;
    looking = true;
    while (document.hidden || (await once())) await new Promise((next) => setTimeout(next, EVERY));
    looking = false;
  }

  /** Whether to look again. */
  async function once() {
    try {
      const { body } = await send("metrics", { text: true });
      take(parse(body, performance.now()));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      tell(WORDS[error.status] ?? "the server does not answer");
      if (error.status in WORDS) return false;
      changed();
    }
    return true;
  }

  function take(scrape) {
    scrapes = within(scrapes, scrape);
    const [first] = scrapes;
    const all = between(first, scrape);
    for (const one of tiles) one.update(all[one.name]);
    rows(models, (model) => between(first, scrape, idOf(model)));
    span(period(first, scrape), scrapes.length > 1);
    const known = new Set(models.map(idOf));
    if (known.size !== scrape.waiting.size || [...scrape.waiting.keys()].some((id) => !known.has(id))) changed();
  }

  return (served) => {
    models = served;
    rows(models, () => null);
    look();
  };
}

function tell(text, id = "live-hint") {
  const hint = byId(id);
  if (hint.textContent !== text) hint.textContent = text;
}

/** Say what time the figures are of. known: whether there is any. */
function span(time, known) {
  tell(known ? `Requests, last ${time}` : "Requests", "counted");
  if (!known) tell("all requests from now on");
  else tell(`all requests of the last ${time}${time === "minute" ? "" : "; more is not known yet"}`);
}

function rows(models, figures) {
  const number = (text) => el("td", { class: "number" }, text);
  const made = models.map((model) => {
    const found = figures(model);
    const measured = quality(model);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, model.name, model.default ? el("span", { class: "hint" }, " default") : null),
      el("td", { class: "version minor" }, model.version),
      el("td", { class: "minor least" }, model.task === "qa" ? "question answering" : model.task),
      el("td", { class: "minor least", title: model.why_form }, model.form),
      number(percent(model.weights_kept)),
      number(measured ? `${measured.label} ${measured.value.toFixed(1)}` : "not measured"),
      number(String(found?.answered ?? "–")),
      number(duration(found?.p50 ?? null)),
      number(duration(found?.p99 ?? null)),
      number(found ? String(found.waiting) : "–"),
    );
  });
  byId("served").tBodies[0].replaceChildren(...made);
}

function tile({ name, title, show }) {
  const figure = el("dd", {}, "–");
  const line = document.createElementNS(SVG, "polyline");
  const chart = document.createElementNS(SVG, "svg");
  chart.setAttribute("viewBox", `0 0 ${POINTS - 1} 24`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("aria-hidden", "true");
  chart.append(line);
  const history = [];
  const update = (value) => {
    figure.textContent = value === null ? "–" : show(value);
    if (value !== null) history.push(value);
    if (history.length > POINTS) history.shift();
    const top = Math.max(...history, 1e-9);
    const first = POINTS - history.length;
    line.setAttribute("points", history.map((one, n) => `${first + n},${22.5 - (21 * one) / top}`).join(" "));
  };
  const node = el("dl", { class: "tile", id: `tile-${name}` }, el("dt", {}, name, el("span", {}, title)), figure);
  node.append(chart);
  return { name, node, update };
}
