// Prometheus text to figures of the last minute. No elements here.

const MINUTE = 60_000;
const EARLY = 1000; // a scrape is due every two seconds: one of them is within a second of a minute ago

const WANTED = /^pgb_(request_duration_seconds_(?:bucket|count)|queue_inputs|rejections_total)\{(.*)\} (\S+)$/;
const LABEL = /(\w+)="((?:\\.|[^"\\])*)"/g;
const PLAIN = { "\\\\": "\\", '\\"': '"', "\\n": "\n" };

/** One scrape: cumulative counts by model and bucket, requests answered, inputs waiting, requests refused. */
export function parse(text, at) {
  const found = { at, buckets: new Map(), answered: new Map(), waiting: new Map(), refused: 0 };
  for (const line of text.split("\n")) {
    const match = WANTED.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of match[2].matchAll(LABEL)) {
      labels[name] = value.replace(/\\[\\"n]/g, (escaped) => PLAIN[escaped]);
    }
    const value = Number(match[3]);
    const id = `${labels.model}@${labels.version}`;
    if (match[1] === "queue_inputs") found.waiting.set(id, value);
    else if (match[1] === "rejections_total") found.refused += value;
    else if (match[1].endsWith("count")) found.answered.set(id, value);
    else {
      if (!found.buckets.has(id)) found.buckets.set(id, new Map());
      found.buckets.get(id).set(labels.le === "+Inf" ? Infinity : Number(labels.le), value);
    }
  }
  return found;
}

// A counter that went down was started again.
const grown = (before, after) => (after >= before ? after - before : after);

/** Scrapes, oldest first, with one more, and without those that are older than a minute. */
export const within = (scrapes, last) => [...scrapes.filter(({ at }) => last.at - at <= MINUTE + EARLY), last];

/** The time between two scrapes, in words. */
export function period(before, after) {
  const passed = after.at - before.at;
  return passed >= MINUTE - EARLY ? "minute" : `${Math.round(passed / 1000)} s`;
}

/**
 * What happened between two scrapes: of one model by its id, or of all. Times in milliseconds.
 * answered, refused: counted, and null where the two are one.
 */
export function between(before, after, id = null) {
  const ids = id === null ? [...after.buckets.keys()] : [id];
  const counts = new Map();
  let answered = 0;
  for (const one of ids) {
    const old = before.buckets.get(one);
    for (const [bound, value] of after.buckets.get(one) ?? []) {
      counts.set(bound, (counts.get(bound) ?? 0) + grown(old?.get(bound) ?? 0, value));
    }
    answered += grown(before.answered.get(one) ?? 0, after.answered.get(one) ?? 0);
  }
  const sorted = [...counts].sort(([a], [b]) => a - b);
  return {
    p50: quantile(0.5, sorted),
    p99: quantile(0.99, sorted),
    answered: before === after ? null : answered,
    refused: before === after ? null : grown(before.refused, after.refused),
    waiting: id === null ? sum(after.waiting.values()) : (after.waiting.get(id) ?? 0),
  };
}

const sum = (values) => [...values].reduce((total, value) => total + value, 0);

/** Milliseconds below which a share `q` lies, linear within its bucket; null when nothing was counted. */
export function quantile(q, buckets) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!total) return null;
  let [low, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= q * total) {
      return 1000 * (bound === Infinity ? low : low + ((bound - low) * (q * total - below)) / (count - below));
    }
    [low, below] = [bound, count];
  }
  return 1000 * low;
}
