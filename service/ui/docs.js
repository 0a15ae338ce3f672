// The page at /docs: openapi.json for people. How a schema reads is schema.js's, what can be sent request.js's.
import { send } from "./api.js";
import { byId, el } from "./dom.js";
import { trial } from "./request.js";
import { prose, reader } from "./schema.js";
import { session } from "./session.js";

const JSON_TYPE = "application/json";

/** A part of an operation, or nothing where it has no such part. */
const part = (title, ...content) => content[0] && el("section", {}, el("h4", {}, title), content.flat());

/** The parameters as if they were fields of a model. */
function model(parameters) {
  const field = ({ schema, description = "", in: place }) => ({ ...schema, description: `In the ${place}. ${description}` });
  return {
    title: "Parameters",
    properties: Object.fromEntries(parameters.map((one) => [one.name, field(one)])),
    required: parameters.filter((one) => one.required).map(({ name }) => name),
  };
}

/** What an operation takes and gives, and a form to try it. */
function operation(asked, { words, tables, examples }) {
  const { path, method, summary, description = summary, parameters, requestBody, responses } = asked;
  const taken = requestBody?.content[JSON_TYPE].schema;
  const kinds = Object.keys(requestBody?.content ?? {}).join(" or ");
  const must = requestBody?.required ? "Required" : "Optional";
  const good = Object.keys(responses)[0];
  const given = responses[good].content?.[JSON_TYPE]?.schema;
  const status = ([code, one]) => el("li", {}, el("strong", {}, code), ` ${one.description}`);
  const { form, offer } = trial(asked, taken ? examples(taken) : []);
  const told = [
    part("Parameters", parameters && tables(model(parameters))),
    part("Body", taken && el("p", { class: "hint" }, `${must}, ${kinds}`), taken && tables(taken)),
    part("Answers", el("ul", { class: "statuses" }, Object.entries(responses).map(status))),
    part(`Body of ${good}`, given && el("p", { class: "hint" }, words(given)), given && tables(given, "always")),
  ];
  const name = el("h3", {}, el("span", { class: "method" }, method.toUpperCase()), " ", el("code", {}, path));
  const head = el("summary", {}, name, el("span", { class: "hint" }, prose(description)));
  const sides = el("div", { class: "sides" }, el("div", { class: "told" }, told), form);
  return { node: el("details", { class: "operation" }, head, sides), offer };
}

/** Operations by their tag, in the order of the document. Returns what tells each form which models are served. */
function draw(openapi) {
  const groups = new Map();
  const offers = [];
  const schemas = reader(openapi);
  for (const [path, methods] of Object.entries(openapi.paths)) {
    for (const [method, described] of Object.entries(methods)) {
      const { node, offer } = operation({ path, method, ...described }, schemas);
      const [tag] = described.tags;
      groups.set(tag, [...(groups.get(tag) ?? []), node]);
      offers.push(offer);
    }
  }
  const id = (tag) => tag.replaceAll(" ", "-");
  const links = [...groups.keys()].map((tag) => el("li", {}, el("a", { href: `#${id(tag)}` }, tag)));
  byId("tags").replaceChildren(...links);
  const sections = [...groups].map(([tag, nodes]) => el("section", { id: id(tag), tabIndex: -1 }, el("h2", {}, tag), nodes));
  byId("operations").replaceChildren(...sections);
  return offers;
}

const found = await send("openapi.json").catch((error) => {
  byId("operations").replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
  throw error;
});
const offers = draw(found.body);
const load = session((models) => {
  const names = new Set(models.map(({ name }) => name));
  byId("names").replaceChildren(...[...names].map((value) => el("option", { value })));
  for (const offer of offers) offer(models);
});
load();
