// Something to ask, where a model's labels say what it is for.

const LIGHTHOUSE =
  "The first lamp of the lighthouse burned whale oil, but the keepers soon changed to paraffin. In 1904 Agnes Holm, " +
  "the first woman to keep the light, had a cable laid from the harbour, and from then on an electric lamp of 1,000 " +
  "candles shone over the sound. It was seen from a distance of thirty kilometres.";

const QUESTIONS = [
  { question: "Who had a cable laid from the harbour?", context: LIGHTHOUSE },
  { question: "What did the first lamp burn?", context: LIGHTHOUSE },
  { question: "How far away was the light seen?", context: LIGHTHOUSE },
];
const OPINIONS = [
  { text: "A warm, funny film that never once talks down to its audience.", pair: "" },
  { text: "Two hours of noise, and not one idea worth staying awake for.", pair: "" },
  { text: "The cast is splendid; the story, sadly, is not.", pair: "" },
];
const INFERENCES = [
  { text: "The ferry leaves the island every morning at six.", pair: "A ship sails from the island each day." },
  { text: "The ferry leaves the island every morning at six.", pair: "Nothing sails before noon." },
  { text: "The ferry leaves the island every morning at six.", pair: "The ferry carries cars." },
];
const PARAPHRASES = [
  { text: "How do I keep bread fresh?", pair: "What keeps a loaf from going stale?" },
  { text: "How do I keep bread fresh?", pair: "How do I bake bread?" },
];

// A family of models has both signs among its labels, and no label beside signs and words.
const FAMILIES = [
  { signs: ["positive", "negative"], words: ["neutral", "mixed", "very positive", "very negative"], list: OPINIONS },
  { signs: ["pos", "neg"], words: ["neu"], list: OPINIONS },
  { signs: ["entailment", "contradiction"], words: ["neutral"], list: INFERENCES },
  { signs: ["entailment", "not entailment"], words: [], list: INFERENCES },
  { signs: ["equivalent", "not equivalent"], words: [], list: PARAPHRASES },
  { signs: ["duplicate", "not duplicate"], words: [], list: PARAPHRASES },
];

/** Fields of the form with what to put there, one entry an example; empty where nothing is known to fit the model. */
export function examples(model) {
  if (!model) return [];
  if (model.task === "qa") return QUESTIONS;
  const labels = model.labels.map((label) => label.toLowerCase().replace(/[\s_-]+/g, " "));
  const fits = ({ signs, words }) =>
    signs.every((sign) => labels.includes(sign)) && labels.every((label) => [...signs, ...words].includes(label));
  return FAMILIES.find(fits)?.list ?? [];
}
