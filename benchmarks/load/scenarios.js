// Requests start when it is their time, whether or not earlier ones are answered (open model).
// From the environment, all but URL optional:
//   URL        of the service
//   SCENARIO   steady (default), ramp, spike, mix or leave
//   RATE       requests a second (10): as they come in steady, mix and leave; ramp goes from a tenth to 1.5 times it;
//              spike offers half of it, then 4 times, then half
//   SECONDS    how long (30)
//   ROWS       texts a request (4); mix varies them
//   MODEL, QA_MODEL   names; by default the first of each task
//   TEXTS, QUESTIONS  JSON files: a list of texts; a list of {question, context}. By default a few that stand here
//   KEY        an API key, where the service asks for one
//   BOUND, MARGIN     seconds: the service's max_queue_seconds (2), and what p99 may lie above it (0.5)
//   PATIENCE_MS       after which every second client leaves, in leave (150)
//   OUT        where the summary goes as JSON; without it a few lines are printed
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import { SharedArray } from 'k6/data';

const TEXTS = [
  'A warm film, and a funny one.',
  'The plot has more holes than the hero\'s coat.',
  'Not one scene is wasted, and the last of them is worth the ticket alone.',
  'Dull.',
  'The cast does what it can with lines that no one should have to say.',
  'I left the cinema lighter than I came, and I would go again tomorrow, rain or not, with anyone who asked.',
  'Too long by half an hour, too loud by half, and still somehow over before anything has happened to anyone.',
  'An honest, quiet picture about two brothers and the boat they cannot agree to sell.',
];
const QUESTIONS = [
  {
    question: 'What did the first lamp burn?',
    context:
      'The first lamp burned whale oil, but the keepers soon changed to paraffin. It was brighter, and the glass ' +
      'needed cleaning twice a week instead of every morning.',
  },
  {
    question: 'How wide is the river at the bridge?',
    context:
      'The old bridge stands where the river is only ninety metres wide. Below it the water spreads over the meadows ' +
      'every spring, and the road along the bank is closed until May.',
  },
];

const env = (name, or) => __ENV[name] || or;
const scenario = env('SCENARIO', 'steady');
const rate = Number(env('RATE', 10));
const seconds = Number(env('SECONDS', 30));
const rows = Number(env('ROWS', 4));
const url = env('URL', '').replace(/\/$/, '');
const patience = Number(env('PATIENCE_MS', 150));
const headers = { 'content-type': 'application/json', ...(__ENV.KEY ? { 'x-api-key': __ENV.KEY } : {}) };
const longest = 1000 * (Number(env('BOUND', 2)) + Number(env('MARGIN', 0.5)));
const WARM_UP = 1; // seconds that goodput leaves out

const texts = new SharedArray('texts', () => (__ENV.TEXTS ? JSON.parse(open(__ENV.TEXTS)) : TEXTS));
const questions = new SharedArray('questions', () => (__ENV.QUESTIONS ? JSON.parse(open(__ENV.QUESTIONS)) : QUESTIONS));

const accepted = new Trend('accepted_ms', true);
const sent = new Counter('rows_sent');
const answered = new Counter('rows_answered');
const goodput = new Counter('rows_in_time'); // answered between the warm-up and the end
const refused = new Counter('rows_refused');
const unsaid = new Counter('refused_without_retry_after');
const left = new Counter('clients_left');
const failed = new Counter('failed');
const stages = Object.fromEntries(
  ['tokenize', 'queue', 'infer', 'postprocess', 'total'].map((name) => [name, new Trend(`stage_${name}_ms`, true)]),
);

const overTime = scenario === 'ramp' || scenario === 'spike';
const often = (share) => Math.max(1, Math.round(10 * share * rate)); // per 10 s, so that small rates are not rounded away
const during = (share) => `${Math.round(1000 * share * seconds)}ms`;
const common = { timeUnit: '10s', gracefulStop: '30s' };
// Enough clients for all that may be in flight, made beforehand: to make one in the middle of a run disturbs it.
function clients(share) {
  const most = Math.max(16, Math.min(1500, Math.ceil((longest / 1000) * share * rate)));
  return { preAllocatedVUs: most, maxVUs: most };
}
const executors = {
  steady: { executor: 'constant-arrival-rate', rate: often(1), duration: `${seconds}s`, ...clients(1) },
  ramp: {
    executor: 'ramping-arrival-rate',
    startRate: often(0.1),
    stages: [{ target: often(1.5), duration: during(1) }],
    ...clients(1.5),
  },
  spike: {
    executor: 'ramping-arrival-rate',
    startRate: often(0.5),
    stages: [
      { target: often(0.5), duration: during(0.3) },
      { target: often(4), duration: '0s' },
      { target: often(4), duration: during(0.15) },
      { target: often(0.5), duration: '0s' },
      { target: often(0.5), duration: during(0.55) },
    ],
    ...clients(4),
  },
};
executors.mix = executors.leave = executors.steady;
if (!url) throw new Error('URL is not set; give the address of the service, for example http://127.0.0.1:8000');
if (!executors[scenario]) throw new Error(`SCENARIO ${scenario} is unknown; use one of ${Object.keys(executors)}`);

const thresholds = {
  failed: ['count==0'],
  refused_without_retry_after: ['count==0'],
  accepted_ms: [`p(99)<${longest}`],
};
// A threshold that always holds is how k6 is asked for the figures of a tag.
const ALWAYS = 'max>=0';
if (scenario === 'mix') for (const task of ['classify', 'answer']) thresholds[`accepted_ms{task:${task}}`] = [ALWAYS];
for (let at = 0; overTime && at < seconds; at++) {
  thresholds[`accepted_ms{at:${at}}`] = [ALWAYS];
  for (const name of ['sent', 'answered', 'refused']) thresholds[`rows_${name}{at:${at}}`] = ['count>=0'];
}

export const options = {
  systemTags: ['status'],
  summaryTrendStats: ['count', 'avg', 'p(50)', 'p(90)', 'p(99)', 'max'],
  scenarios: { [scenario]: { ...common, ...executors[scenario] } },
  thresholds,
};

const upTo = (n) => Math.floor(Math.random() * n);
const one = (list) => list[upTo(list.length)];
const several = (list, most) => Array.from({ length: 1 + upTo(most) }, () => one(list));

function classify(inputs) {
  return { path: 'classify', rows: inputs.length, body: { inputs, top_k: 1, model: __ENV.MODEL || undefined } };
}

function answer() {
  const asked = one(questions);
  const others = several(questions, 3).slice(1).map((other) => other.context);
  const context = [asked.context, ...others].join(' ');
  return { path: 'answer', rows: 1, body: { question: asked.question, context, model: __ENV.QA_MODEL || undefined } };
}

// Seven of ten classify 1 to 8 texts of 1 to 4 sentences; the others ask about 1 to 3 passages.
function mixed() {
  return Math.random() < 0.7 ? classify(several([0], 8).map(() => several(texts, 4).join(' '))) : answer();
}

export default function () {
  const since = () => (Date.now() - exec.scenario.startTime) / 1000;
  const tags = overTime ? { at: String(Math.floor(since())) } : {};
  const asked = scenario === 'mix' ? mixed() : classify(Array.from({ length: rows }, () => one(texts)));
  const leaves = scenario === 'leave' && exec.scenario.iterationInTest % 2 === 0;
  sent.add(asked.rows, tags);
  const reply = http.post(`${url}/v1/${asked.path}`, JSON.stringify(asked.body), {
    headers,
    timeout: leaves ? patience : 60000,
  });
  if (reply.status === 200) {
    const { blocked, connecting, duration } = reply.timings;
    accepted.add(blocked + connecting + duration, { ...tags, task: asked.path });
    answered.add(asked.rows, tags);
    if (since() >= WARM_UP && since() < seconds) goodput.add(asked.rows);
    const { timings } = reply.json();
    for (const name in stages) stages[name].add(timings[name]);
  } else if (reply.status === 429) {
    refused.add(asked.rows, tags);
    if (!(Number(reply.headers['Retry-After']) >= 1)) unsaid.add(1);
  } else if (leaves && reply.error_code === 1050) {
    left.add(1);
  } else {
    failed.add(1);
  }
}

export function handleSummary(data) {
  if (__ENV.OUT) return { [__ENV.OUT]: JSON.stringify(data.metrics) };
  const value = (name, part) => (data.metrics[name] ? data.metrics[name].values[part] : 0);
  const ms = (part) => `${value('accepted_ms', part).toFixed(1)} ms`;
  return {
    stdout:
      `${scenario}, ${rate} requests/s, ${seconds} s\n` +
      `texts: ${value('rows_sent', 'count')} sent, ${value('rows_answered', 'count')} answered, ` +
      `${value('rows_refused', 'count')} refused (429); ${value('clients_left', 'count')} clients left, ` +
      `${value('failed', 'count')} requests failed\n` +
      `goodput: ${(value('rows_in_time', 'count') / Math.max(1, seconds - WARM_UP)).toFixed(1)} texts/s\n` +
      `accepted: p50 ${ms('p(50)')}, p90 ${ms('p(90)')}, p99 ${ms('p(99)')}\n`,
  };
}
