// What @huggingface/inference makes of a service: one JSON line, name -> result or error.
import { InferenceClient, questionAnswering, textClassification } from "@huggingface/inference";

const [url, guarded, key, several, tooMuch] = process.argv.slice(2);
const inputs = "the film was good";
const question = { question: "who sang", context: "the town sang a song and the film was very good" };
const client = new InferenceClient();
const label = (args) => client.textClassification({ endpointUrl: url, inputs, ...args });
const answer = (parameters) => client.questionAnswering({ endpointUrl: url, inputs: question, parameters });
const mood = `${url}/models/mood`;
const who = `${url}/models/who`;

const calls = {
  labels: () => label(),
  labels_top: () => label({ parameters: { top_k: 1 } }),
  labels_sigmoid: () => label({ parameters: { function_to_apply: "sigmoid" } }),
  labels_none: () => label({ parameters: { function_to_apply: "none" } }),
  labels_named: () => label({ endpointUrl: mood }),
  labels_function: () => textClassification({ endpointUrl: url, inputs }),
  labels_endpoint: () => new InferenceClient("hf_any").endpoint(url).textClassification({ inputs }),
  labels_key: () => new InferenceClient(key, { endpointUrl: guarded }).textClassification({ inputs }),
  answer: () => answer(),
  answer_top: () => answer({ top_k: 3 }),
  answer_short: () => answer({ max_answer_len: 1 }),
  answer_windows: () => answer({ max_seq_len: 12, doc_stride: 2, align_to_words: false, max_question_len: 8 }),
  answer_named: () => client.questionAnswering({ endpointUrl: who, inputs: question }),
  answer_function: () => questionAnswering({ endpointUrl: url, inputs: question }),
  answer_endpoint: () => client.endpoint(url).questionAnswering({ inputs: question }),
  zero_shot: () =>
    client.zeroShotClassification({ endpointUrl: several, inputs, parameters: { candidate_labels: ["song", "film"] } }),
  error_model: () => label({ endpointUrl: `${url}/models/nope` }),
  error_task: () => label({ endpointUrl: who }),
  error_parameter: () => label({ parameters: { top_k: 0 } }),
  error_answer: () => answer({ max_seq_len: 12, doc_stride: 30 }),
  error_key: () => label({ endpointUrl: guarded }),
  error_overload: () => label({ endpointUrl: guarded, accessToken: key, inputs: tooMuch }),
};

const found = {};
for (const [name, call] of Object.entries(calls)) {
  try {
    found[name] = await call();
  } catch (error) {
    found[name] = { error: error.name, message: error.message, response: error.httpResponse };
  }
}
console.log(JSON.stringify(found));
