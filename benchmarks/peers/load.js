// Requests to one server, from the environment:
//   URL       that is asked
//   BODIES    a JSON file of request bodies, which are sent in turn
//   RATE      requests a second, started when it is their time (open model); 0: 16 clients that each wait (closed model)
//   SECONDS   how long
//   CLIENTS   most requests in flight
//   BOUND_MS  within which an answer is in time
//   OUT       where the summary goes, as JSON
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import { SharedArray } from 'k6/data';

const bodies = new SharedArray('bodies', () => JSON.parse(open(__ENV.BODIES)));
const rate = Number(__ENV.RATE);
const seconds = Number(__ENV.SECONDS);
const clients = Number(__ENV.CLIENTS);
const bound = Number(__ENV.BOUND_MS);
const REFUSED_CONNECTION = 1212;
const TIMED_OUT = 1050;

const answered = new Trend('answered_ms', true);
const sent = new Counter('sent');
const inTime = new Counter('in_time');
const within = new Counter('within'); // answered before the end of the run
const refused = new Counter('refused'); // 429 or 503
const refusedWell = new Counter('refused_with_retry_after');
const clientError = new Counter('status_4xx');
const serverError = new Counter('status_5xx');
const closedDoor = new Counter('connection_refused');
const unanswered = new Counter('unanswered');
const broken = new Counter('broken'); // the connection ended without an answer

const open_model = {
  executor: 'constant-arrival-rate',
  rate: Math.max(1, Math.round(10 * rate)),
  timeUnit: '10s',
  preAllocatedVUs: clients,
  maxVUs: clients,
};
export const options = {
  discardResponseBodies: true,
  systemTags: ['status'],
  summaryTrendStats: ['count', 'p(50)', 'p(90)', 'p(99)', 'max'],
  scenarios: {
    load: {
      duration: `${seconds}s`,
      gracefulStop: '10s',
      ...(rate ? open_model : { executor: 'constant-vus', vus: 16 }),
    },
  },
};
const headers = { 'content-type': 'application/json' };

export default function () {
  sent.add(1);
  const body = bodies[exec.scenario.iterationInTest % bodies.length];
  const reply = http.post(__ENV.URL, body, { headers, timeout: '20s' });
  if (reply.status === 200) {
    const { blocked, connecting, duration } = reply.timings;
    const taken = blocked + connecting + duration;
    answered.add(taken);
    if (taken <= bound) inTime.add(1);
    if (Date.now() - exec.scenario.startTime <= 1000 * seconds) within.add(1);
  } else if (reply.status === 429 || reply.status === 503) {
    refused.add(1);
    if (reply.headers['Retry-After']) refusedWell.add(1);
  } else if (reply.status >= 500) serverError.add(1);
  else if (reply.status >= 400) clientError.add(1);
  else if (reply.error_code === REFUSED_CONNECTION) closedDoor.add(1);
  else if (reply.error_code === TIMED_OUT) unanswered.add(1);
  else broken.add(1);
}

export function handleSummary(data) {
  return { [__ENV.OUT]: JSON.stringify(data.metrics) };
}
