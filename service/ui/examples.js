// Something to ask. The button goes round.

const LIGHTHOUSE =
  "The first lamp of the lighthouse burned whale oil, but the keepers soon changed to paraffin. In 1904 Agnes Holm, " +
  "the first woman to keep the light, had a cable laid from the harbour, and from then on an electric lamp of 1,000 " +
  "candles shone over the sound. It was seen from a distance of thirty kilometres.";

export const EXAMPLES = {
  classification: [
    { text: "A warm, funny film that never once talks down to its audience.", pair: "" },
    { text: "Two hours of noise, and not one idea worth staying awake for.", pair: "" },
    { text: "The cast is splendid; the story, sadly, is not.", pair: "" },
  ],
  qa: [
    { question: "Who had a cable laid from the harbour?", context: LIGHTHOUSE },
    { question: "What did the first lamp burn?", context: LIGHTHOUSE },
    { question: "How far away was the light seen?", context: LIGHTHOUSE },
  ],
};
