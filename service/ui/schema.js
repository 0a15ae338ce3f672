// What a JSON schema says, in words and tables.
import { el } from "./dom.js";

const BOUNDS = {
  minimum: "≥",
  exclusiveMinimum: ">",
  maximum: "≤",
  exclusiveMaximum: "<",
  minLength: "length ≥",
  maxLength: "length ≤",
  minItems: "length ≥",
  maxItems: "length ≤",
  minProperties: "fields ≥",
  maxProperties: "fields ≤",
};

/** Text with what stands between backticks as code. */
export const prose = (text = "") => text.split("`").map((part, n) => (n % 2 ? el("code", {}, part) : part));

/** The schemas of which a value fits one. */
const either = ({ anyOf, oneOf }) => anyOf ?? oneOf;

/** Readers of schemas that refer to the parts of one OpenAPI document. */
export function reader({ components }) {
  const resolved = (schema) => (schema.$ref ? components.schemas[schema.$ref.split("/").pop()] : schema);

  /** A type in words, with its bounds; models by name. */
  function words(given) {
    const schema = resolved(given);
    const limits = Object.entries(BOUNDS).filter(([name]) => name in schema);
    const shown = limits.map(([name, sign]) => `${sign} ${schema[name].toLocaleString("en")}`);
    const bounds = shown.length ? ` (${shown.join(", ")})` : "";
    if (either(schema)) return either(schema).map(words).join(" or ");
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
    if (schema.properties) return schema.title;
    if (schema.type === "array") return `list${bounds} of ${element(schema.items)}`;
    if (schema.additionalProperties?.type) return `object${bounds} of ${element(schema.additionalProperties)}`;
    return (schema.type ?? "anything") + bounds;
  }

  const element = (schema) => (either(schema) ? `(${words(schema)})` : words(schema));

  /** Every model in a schema, outer ones first. */
  function models(given, found = new Set()) {
    const schema = resolved(given);
    if (found.has(schema)) return found;
    if (schema.properties) found.add(schema);
    const { properties = {}, items, additionalProperties } = schema;
    for (const part of [...Object.values(properties), ...(either(schema) ?? []), items, additionalProperties]) {
      if (part instanceof Object) models(part, found);
    }
    return found;
  }

  /** A table of each model in a schema. always: the word for a field that must be there. */
  function tables(schema, always = "required") {
    return [...models(schema)].map(({ title, description, properties, required = [] }) => {
      const rows = Object.entries(properties).map(([name, field]) => {
        const usual = "default" in field ? JSON.stringify(field.default) : "optional";
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, el("code", {}, name)),
          el("td", {}, words(field)),
          el("td", {}, required.includes(name) ? el("strong", {}, always) : usual),
          el("td", {}, prose(field.description)),
        );
      });
      const heads = ["Field", "Type", "Default", "Meaning"].map((text) => el("th", { scope: "col" }, text));
      const caption = el("caption", {}, el("strong", {}, title), el("span", { class: "hint" }, " ", prose(description)));
      const table = el("table", {}, caption, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows));
      return el("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": `${title}, table` }, table);
    });
  }

  /** Bodies that fit a schema; an empty one where it needs nothing. */
  const examples = (given) => {
    const schema = resolved(given);
    return schema.examples ?? (either(schema) ? examples(either(schema)[0]) : [{}]);
  };

  return { words, tables, examples };
}
