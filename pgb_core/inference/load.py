"""Opens an artifact as an object that labels texts or answers questions in this process, as the service would."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pgb_core.artifact import SCORINGS, Artifact, open_artifact
from pgb_core.errors import ArtifactError
from pgb_core.hub import located
from pgb_core.inference.batches import prepare_question, prepare_texts, run_all, run_groups
from pgb_core.inference.calls import Call, Found, is_input
from pgb_core.inference.choose import AUTO, Asked, choose
from pgb_core.inference.errors import EmptyInput, InvalidInput, RuntimeUnavailable, WrongTask
from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks.base import Logits, Task, check_text
from pgb_core.inference.tasks.classification import CLASSIFICATION, POOLS, Labelling, Score, pooled, ranked
from pgb_core.inference.tasks.qa import QA, Answer, Options, Question, Windowing, best
from pgb_core.inference.tokenizer import SIDES, Tokenizer
from pgb_core.inference.tokens import Text, Tokens

_LEAST = 8  # tokens: what stands around a text must fit
_LABELLING, _OPTIONS, _WINDOWING = Labelling(), Options(), Windowing()


class Loaded:
    """A model that answers in this process. Leaving it as a context frees the runtime.

    Several threads may ask it; their batches run one after the other. manifest: what the artifact says of itself.
    """

    def __init__(self, artifact: Artifact, runtime: Runtime) -> None:
        self.manifest = artifact.manifest
        self.tokenizer = Tokenizer.open(artifact.tokenizer, self.manifest.max_length)
        self.runtime = runtime
        self._open = True
        self._running = threading.Lock()  # a runtime is for one thread at a time

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, inputs: object = None, pair: object = None, **said: Any) -> Found:
        """Results as plain dicts, as the service's JSON has them: `label` and `score`, or `answer`, `start`, `end`,
        `score`.

        A classifier takes a text, a text and its pair, or a list of texts and pairs; a model that answers takes a
        question and a context, also by these names, and of either a list. One input gives a list of its results, best
        first; a list gives a list of these. said: `top_k` and the other fields of `Labelling`, or of `Options` and
        `Windowing`. Raises as `classify` and `answers`.
        """
        call = Call.read(self.manifest.task, inputs, pair, said)
        if self.manifest.task == CLASSIFICATION.name:
            return call.results(self.classify(call.texts, Labelling(**call.options)))
        return call.results(self.answers(call.questions, Options(**call.options), Windowing(**call.windowing)))

    def close(self) -> None:
        """Free the runtime, once the batch that runs is done; a second time does nothing."""
        with self._running:
            if self._open:
                self._open = False
                self.runtime.close()

    def classify(self, texts: Sequence[Text], options: Labelling = _LABELLING) -> list[list[Score]]:
        """Scores of each text or pair of texts, highest first; by default all labels, by the model's own activation.

        A text that is longer than the model takes, in tokens, is cut, or read in windows where `pool` says so.
        Raises WrongTask, EmptyInput, InvalidInput where a text must not be cut or is not Unicode, or an option is out
        of range, RuntimeUnavailable once it is closed.
        """
        _require(not isinstance(texts, str), "a text alone is not a list of texts; put it into one")
        texts = list(texts)  # what gives its items only once, too
        _require(all(map(is_input, texts)), "an input is neither a text nor a pair of texts; give one of these")
        _require(isinstance(options, Labelling), "options are a Labelling; make one of them")
        _require(options.activation in (None, *SCORINGS), f"activation must be one of {', '.join(SCORINGS)}")
        _require(options.side in (None, *SIDES), f"side must be one of {', '.join(SIDES)}")
        _require(options.top_k is None or options.top_k >= 1, "top_k must be at least 1")
        enough = options.max_length is None or options.max_length >= _LEAST
        _require(enough, f"max_length must be at least {_LEAST} tokens")
        _require(options.pool in (None, *POOLS), f"pool must be one of {', '.join(POOLS)}")
        _require(options.stride is None or options.stride >= 0, "stride must be 0 or more")
        if options.idle:
            raise InvalidInput(options.idle)
        self._check(CLASSIFICATION, [(item,) if isinstance(item, str) else item for item in texts])
        logits = self._pooled(texts, options, options.pool) if options.pool else self._cut(texts, options)
        return ranked(logits, self.manifest.labels, options.activation or self.manifest.activation, options.top_k)

    def _reader(self, options: Labelling) -> Tokenizer:
        return self.tokenizer if options.max_length is None else self.tokenizer.shorter(options.max_length)

    def _pooled(self, texts: Sequence[Text], options: Labelling, pool: str) -> list[Logits]:
        plain = [text for text in texts if isinstance(text, str)]
        _require(len(plain) == len(texts), "a pair is not read in windows; give texts alone, or let the pair be cut")
        tokenizer = self._reader(options)
        groups = all_of(tokenizer.whole(plain, options.shared(tokenizer.max_length), sys.maxsize, sys.maxsize))
        return [pooled(rows, pool) for rows in run_groups(partial(run_all, self._run), groups)]

    def _cut(self, texts: Sequence[Text], options: Labelling) -> list[Logits]:
        tokenizer = self._reader(options)
        tokens = prepare_texts(tokenizer, texts, options.side)
        if not options.truncate and any(item.cut for item in tokens):
            raise InvalidInput(
                f"a text has more than {tokenizer.max_length} tokens, which is the limit; shorten it or truncate"
            )
        return run_all(self._run, tokens)

    def answer(
        self, question: str, context: str, options: Options = _OPTIONS, windowing: Windowing = _WINDOWING
    ) -> list[Answer]:
        """The best answers to a question in its context, best first; by default one of at most 15 tokens.

        Raises as `answers`.
        """
        return self.answers([Question(question, context)], options, windowing)[0]

    def answers(
        self, questions: Sequence[Question], options: Options = _OPTIONS, windowing: Windowing = _WINDOWING
    ) -> list[list[Answer]]:
        """The best answers to each question, best first. The windows of all contexts run in common batches.

        Raises WrongTask, EmptyInput, InvalidInput when a question leaves no room for its context, the stride none
        between windows, or an option is out of range, or TooLarge when the answers would be very long in all.
        """
        questions = list(questions)  # what gives its items only once, too
        _require(all(isinstance(q, Question) for q in questions), "an item is no Question; make one of each")
        _require(
            all(isinstance(text, str) for q in questions for text in (q.question, q.context)),
            "a question or a context is not a text; give texts",
        )
        _require(isinstance(options, Options), "options are Options; make one of them")
        _require(isinstance(windowing, Windowing), "windowing is a Windowing; make one")
        _require(options.top_k >= 1, "top_k must be at least 1")
        _require(options.max_answer_length >= 1, "max_answer_length must be at least 1 token")
        _require(windowing.max_length is None or windowing.max_length >= 1, "max_length must be at least 1 token")
        _require(windowing.stride is None or windowing.stride >= 0, "stride must be 0 or more")
        self._check(QA, [(q.question, q.context) for q in questions])
        windows = [prepare_question(self.tokenizer, q, windowing) for q in questions]
        logits = run_groups(partial(run_all, self._run), [[window.tokens for window in group] for group in windows])
        return [
            all_of(best(q.context, group, rows, options))
            for q, group, rows in zip(questions, windows, logits, strict=True)
        ]

    def _run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """The runtime, for this thread alone, as long as it is open."""
        with self._running:
            self._check_open()
            return self.runtime.run(batch)

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeUnavailable(f"{self.manifest.name}: is closed; load it again")

    def _check(self, task: Task, inputs: Sequence[tuple[str, ...]]) -> None:
        self._check_open()
        if self.manifest.task != task.name:
            raise WrongTask(f"this model is for {self.manifest.task}, not for {task.name}")
        if not inputs:
            raise EmptyInput("there is no input")
        for text in (text for item in inputs for text in item):
            check_text(text)
        task.check(inputs)


def _require(holds: bool, said: str) -> None:
    if not holds:
        raise InvalidInput(said)


def load(
    path: str | Path,
    form: str = AUTO,
    device: str = "cpu",
    threads: int = 0,
    runtime: str = AUTO,
) -> Loaded:
    """Open an artifact and check that it gives the logits that it says.

    path: its directory, or hf://REPO[@REVISION], which is fetched from the hub as `hub.located` says.
    form: which of those that the artifact carries; auto takes the fastest here that may be served, as the service does.
    device and runtime: see `choose.Asked`. threads: 0 takes all cores that this process may use. Raises PGBError:
    ArtifactError when the directory is no whole artifact, its tokenizer cannot be read here, or it is replaced
    meanwhile; RuntimeUnavailable when the runtime is not installed, cannot do what is asked, or gives other logits.
    """
    artifact = open_artifact(located(path))
    chosen = choose(artifact, Asked(form, device, runtime, threads)).runtime
    try:
        loaded = Loaded(artifact, chosen)
        artifact.check_current()
    except ArtifactError:
        chosen.close()
        raise
    return loaded
