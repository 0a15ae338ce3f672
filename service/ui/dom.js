// Elements and figures. Text goes in as text nodes alone, never as markup.

/** An element: properties by name, `class`, `data-` and `aria-` as attributes, children in order. */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Milliseconds, in the unit and with the digits that a reader can use. */
export function duration(ms) {
  if (ms === null || !Number.isFinite(ms)) return "–";
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}%`;

export const score = (value) => value.toFixed(Math.abs(value) < 0.001 && value !== 0 ? 5 : 3);
