// Open-model load: requests start at a constant rate whether or not earlier ones are answered.
// From the environment: URL (several, with commas, are asked in turn), RATE (requests a second), SECONDS, WARM_UP
// (seconds that do not count towards rows_within), ROWS (texts a request), TEXTS (a JSON file of texts), OUT (where
// the summary goes), CHECK (a JSON file of expected labels by text, or none).
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

const texts = JSON.parse(open(__ENV.TEXTS));
const expected = __ENV.CHECK ? JSON.parse(open(__ENV.CHECK)) : null;
const rows = Number(__ENV.ROWS);
const rate = Number(__ENV.RATE);
const seconds = Number(__ENV.SECONDS);
const warmUp = Number(__ENV.WARM_UP);
const headers = { 'content-type': 'application/json', ...(__ENV.KEY ? { 'x-api-key': __ENV.KEY } : {}) };
const urls = __ENV.URL.split(',');

const accepted = new Trend('accepted_ms', true);
const answered = new Counter('rows_answered');
const within = new Counter('rows_within');
const refused = new Counter('refused');
const refusedWell = new Rate('refused_with_retry_after');
const failed = new Counter('failed');
const wrong = new Counter('wrong');
const stages = Object.fromEntries(
  ['tokenize', 'queue', 'infer', 'postprocess', 'total'].map((name) => [name, new Trend(`stage_${name}_ms`, true)]),
);

export const options = {
  discardResponseBodies: false,
  systemTags: ['status'],
  summaryTrendStats: ['count', 'avg', 'p(50)', 'p(90)', 'p(99)', 'max'],
  scenarios: {
    load: {
      executor: 'constant-arrival-rate',
      rate: Math.max(1, Math.round(rate * 10)),
      timeUnit: '10s',
      duration: `${seconds}s`,
      preAllocatedVUs: Math.max(4, Math.min(400, Math.ceil(rate * 2))),
      maxVUs: 2000,
      gracefulStop: '30s',
    },
  },
};

let next = Math.floor(Math.random() * texts.length);
let turn = __VU;

export default function () {
  const inputs = [];
  for (let n = 0; n < rows; n++) {
    next = (next + 7) % texts.length;
    inputs.push(texts[next]);
  }
  const reply = http.post(`${urls[turn++ % urls.length]}/v1/classify`, JSON.stringify({ inputs, top_k: 1 }), {
    headers,
    timeout: '60s',
  });
  if (reply.status === 200) {
    accepted.add(reply.timings.duration);
    answered.add(rows);
    // What still waits at the end is answered after it, and does not count towards a rate.
    const now = exec.instance.currentTestRunDuration;
    if (now > 1e3 * warmUp && now <= 1e3 * seconds) within.add(rows);
    const body = reply.json();
    for (const name in stages) stages[name].add(body.timings[name]);
    if (expected) {
      const off = body.results.some((row, n) => expected[inputs[n]] !== undefined && expected[inputs[n]] !== row[0].label);
      if (off || body.results.length !== rows) wrong.add(1);
    }
  } else if (reply.status === 429) {
    refused.add(1);
    refusedWell.add(Number(reply.headers['Retry-After']) >= 1);
  } else {
    failed.add(1);
  }
}

export function handleSummary(data) {
  return { [__ENV.OUT]: JSON.stringify(data.metrics) };
}
