"""Costly requests drawn at random."""

from __future__ import annotations

import gzip
import random
import struct

from benchmarks.attack.requests import BODY, Attack, Value, as_json, chunked, http, texts, v2


class Drawn:
    """Draws attacks: kinds at random, sizes from small to the limits, every dialect, slow and broken senders.

    classifier: the name of a classification model. Questions go to whichever model answers them.
    """

    def __init__(self, classifier: str, seed: int) -> None:
        self._classifier = classifier
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._kinds = (
            self._classify,
            self._pairs,
            self._question,
            self._tensors,
            self._binary,
            self._crowd,
            self._nest,
            self._pipeline,
            self._chunks,
            self._packed,
            self._slow,
            self._noise,
            self._heads,
        )

    def attack(self) -> Attack:
        """The next one."""
        return self._chance.choice(self._kinds)()

    def _size(self, most: int) -> int:
        return int(most ** self._chance.random()) + 1

    def _word(self) -> str:
        return self._chance.choice(
            ["a", "!", "word and ", "漢", "\u0301", "😀 ", "x" * 120 + " ", "é", "1", "\n", "[SEP]"]
        )

    def _text(self, most: int = 199_000) -> str:
        unit = self._word()
        return unit * max(1, self._size(most) // len(unit))

    def _some(self, most: int) -> list[str]:
        count = self._size(128)
        return [self._text(min(199_000, most // count)) for _ in range(count)]

    def _classify(self) -> Attack:
        data = self._some(self._chance.choice([10_000, 100_000, 1_300_000]))
        path = self._chance.choice(["/v1/classify", "/", "/predict"])
        shaped: Value = [[item] for item in data] if path == "/predict" else data
        return Attack(f"{path}: texts", (http(path, as_json({"inputs": shaped})),))

    def _pairs(self) -> Attack:
        data = [{"text": t, "pair": t[::-1]} for t in self._some(600_000)]
        return Attack("pairs", (http("/v1/classify", as_json({"inputs": data})),))

    def _question(self) -> Attack:
        most, length = self._chance.choice([20_000, 1_200_000]), self._chance.choice([8, 16, 64, 384, 512, 10**9])
        data = [{"question": self._text(60), "context": t} for t in self._some(most)]
        more = {
            "max_length": length,
            "stride": self._size(500),
            "top_k": self._size(100),
            "max_answer_length": self._size(4096),
        }
        return Attack("questions", (http("/v1/answer", as_json({"inputs": data, **more})),))

    def _tensors(self) -> Attack:
        data = self._some(self._chance.choice([10_000, 1_000_000]))
        outputs = [{"name": self._chance.choice(["scores", "label", "none"])} for _ in range(self._size(50_000))]
        return Attack("v2", (v2(self._classifier, [texts(data)], outputs=outputs),))

    def _binary(self) -> Attack:
        data = [t.encode() for t in self._some(500_000)]
        tail = b"".join(struct.pack("<I", len(raw)) + raw for raw in data)
        count = self._chance.choice([len(data), self._size(10**6)])
        inputs = {
            "name": "text",
            "shape": [count, 1],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(tail)},
        }
        return Attack("v2 binary", (v2(self._classifier, [dict(inputs)], tail),))

    def _crowd(self) -> Attack:
        value = self._chance.choice(
            ["7", "[]", "{}", '""', "null", '"a"', '{"text":"a"}', "[[[]]]", '{"question":"a"}']
        )
        path = self._chance.choice(
            ["/v1/classify", "/v1/answer", "/", "/predict", f"/v2/models/{self._classifier}/infer"]
        )
        count = self._size(BODY // (len(value) + 1))
        field = self._chance.choice(["inputs", "outputs", "parameters", "options"])
        return Attack("crowd", (http(path, f'{{"{field}":[{",".join([value] * count)}]}}'.encode()),))

    def _nest(self) -> Attack:
        depth = self._size(100_000)
        value = self._chance.choice([b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])
        return Attack(
            "nest", (http(self._chance.choice(["/v1/classify", "/", "/predict"]), b'{"inputs":' + value + b"}"),)
        )

    def _pipeline(self) -> Attack:
        small = http("/v1/classify", as_json({"inputs": self._text(200)}))
        one = self._chance.choice(
            [small, *(http(p, b"", method="GET") for p in ("/", "/metrics", "/info", "/health", "/ui/"))]
        )
        count = self._size(3_000)
        return Attack("pipeline", (one * count,), answers=count)

    def _chunks(self) -> Attack:
        body = as_json({"inputs": self._text(100_000)})[:200_000]
        return Attack("chunks", (chunked("/v1/classify", body, self._size(4_000)),))

    def _packed(self) -> Attack:
        body = as_json({"inputs": self._some(2_000_000)})
        return Attack("gzip", (http("/v1/classify", gzip.compress(body, 1), "content-encoding: gzip"),))

    def _slow(self) -> Attack:
        whole = http("/v1/classify", as_json({"inputs": self._text(20_000)}))
        cut = self._chance.randrange(1, 6)
        step = len(whole) // cut + 1
        parts = tuple(whole[at : at + step] for at in range(0, len(whole), step))
        return Attack("slow", parts[: self._chance.randint(1, len(parts))], pause=self._chance.random() * 0.3)

    def _noise(self) -> Attack:
        whole = bytearray(http("/v1/classify", as_json({"inputs": self._text(2_000)})))
        for _ in range(self._size(20)):
            whole[self._chance.randrange(len(whole))] = self._chance.randrange(256)
        return Attack("noise", (bytes(whole),))

    def _heads(self) -> Attack:
        many = [f"x-{n}: {'a' * self._size(200)}" for n in range(self._size(400))]
        return Attack("heads", (http("/v1/classify", as_json({"inputs": "a"}), *many),))
