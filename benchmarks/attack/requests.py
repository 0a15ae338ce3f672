"""Costly requests as bytes for a socket, each with a name."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass

BODY = (4 << 20) - 4096  # bytes: just under the default limit
Value = object


@dataclass(frozen=True)
class Attack:
    """pieces: what is sent, one after the other, with so many seconds of silence between. answers: how many responses
    are read; fewer may come."""

    name: str
    pieces: tuple[bytes, ...]
    pause: float = 0.0
    answers: int = 1


def http(path: str, body: bytes, *headers: str, kind: str = "application/json", method: str = "POST") -> bytes:
    """One request."""
    lines = [f"{method} {path} HTTP/1.1", "host: a", f"content-type: {kind}", f"content-length: {len(body)}", *headers]
    return "\r\n".join((*lines, "", "")).encode() + body


def as_json(value: Value) -> bytes:
    """Compact."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def v2(model: str, inputs: list[dict[str, Value]], tail: bytes = b"", **more: Value) -> bytes:
    """An inference request of the open protocol, with what stands behind its header."""
    header = as_json({"inputs": inputs, **more})
    length = [f"inference-header-content-length: {len(header)}"] if tail else []
    return http(f"/v2/models/{model}/infer", header + tail, *length, kind="application/octet-stream")


def texts(data: list[str], **more: Value) -> dict[str, Value]:
    """A tensor of texts."""
    return {"name": "text", "shape": [len(data), 1], "datatype": "BYTES", "data": data, **more}


def chunked(path: str, body: bytes, size: int) -> bytes:
    """The body in chunks of that size."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    frames = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + frames + b"0\r\n\r\n"


def filled(value: str, around: str = '{{"inputs":[{}]}}') -> bytes:
    """As many copies of a value as a body takes."""
    count = (BODY - len(around)) // (len(value) + 1)
    return around.format(",".join([value] * count)).encode()


def many_texts(word: str, count: int, size: int) -> list[str]:
    """So many texts of about so many characters, all of one word."""
    return [(word * (size // len(word) + 1))[:size]] * count


def listed(classifier: str, answers: str, bomb_bytes: int = 1 << 30) -> list[Attack]:
    """Every attack that has a name, for a classification and a QA model. bomb_bytes: what the gzip bomb becomes."""
    answer, classify, tei, hf = "/v1/answer", "/v1/classify", "/predict", "/"
    bomb = gzip.compress(bytes(bomb_bytes), 6)
    small = as_json({"inputs": "A warm, funny film."})
    long = many_texts("word and ", 20, 199_000)

    def asked(**more: Value) -> bytes:
        return http(answer, as_json({"question": "a", "model": answers, **more}))

    def labelled(inputs: Value, path: str = classify, **more: Value) -> bytes:
        return http(path, as_json({"inputs": inputs, **more}))

    return [
        Attack("windows: 200,000 marks, stride 378", (asked(context="!" * 200_000, max_length=384, stride=378),)),
        Attack("windows: 40,000 marks, stride 378", (asked(context="!" * 40_000, max_length=384, stride=378),)),
        Attack("windows: 200,000 marks, defaults", (asked(context="!" * 200_000),)),
        Attack("windows of 16 tokens", (asked(context="word and " * 22_000, max_length=16, stride=8),)),
        Attack("windows: 20 contexts of 199,000 characters", (http(answer, as_json({"inputs": [
            {"question": "a", "context": text} for text in long]})),)),
        Attack("windows: 20 contexts of one word of 199,000", (http(answer, as_json({"inputs": [
            {"question": "a", "context": text} for text in many_texts("a", 20, 199_000)]})),)),
        Attack("windows: a question of 190,000 characters", (http(answer, as_json(
            {"question": "who? " * 38_000, "context": "a b"})),)),
        Attack("windows: 128 questions of 30,000 characters", (http(answer, as_json({"inputs": [
            {"question": "who? " * 6_000, "context": "a b"}] * 128})),)),
        Attack("windows through Hugging Face", (http(hf, as_json(
            {"inputs": {"question": "a", "context": "!" * 200_000},
             "parameters": {"max_seq_len": 384, "doc_stride": 378}})),)),
        Attack("windows through v2", (v2(answers, [
            {"name": "question", "shape": [20, 1], "datatype": "BYTES", "data": ["a"] * 20},
            {"name": "context", "shape": [20, 1], "datatype": "BYTES", "data": many_texts("!", 20, 199_000)}]),)),
        Attack("answers: 100 of long words, 20 contexts", (http(answer, as_json({"inputs": [
            {"question": "a", "context": ("x" * 399 + " ") * 490}] * 20, "top_k": 100,
            "max_answer_length": 4096})),)),
        Attack("answers: 100 of any length in 200 windows of 1,000 marks", (asked(context="!?" * 500, max_length=384,
            stride=377, top_k=100, max_answer_length=4096),)),
        Attack("answers: 100 each to 128 questions", (http(answer, as_json({"inputs": [
            {"question": "who?", "context": f"the {n} keeper lit lamp {n} and " * 12} for n in range(128)],
            "top_k": 100, "max_answer_length": 8})),)),
        Attack("answers: 100 of 4,096 tokens, 128 questions", (http(answer, as_json({"inputs": [
            {"question": "a", "context": "word and " * 110}] * 128, "top_k": 100, "max_answer_length": 4096})),)),
        Attack("v2: 128 texts, one output 20,000 times", (v2(classifier, [texts(["a"] * 128)],
            outputs=[{"name": "scores"}] * 20_000),)),
        Attack("v2: 128 texts, one output 100,000 times", (v2(classifier, [texts(["a"] * 128)],
            outputs=[{"name": "scores"}] * 100_000),)),
        Attack("v2: 233,000 outputs", (v2(classifier, [texts(["a"])], outputs=[{"name": "a"}] * 233_000),)),
        Attack("v2: 100,000 inputs", (v2(classifier, [{"name": "a", "shape": [1], "datatype": "B"}] * 90_000),)),
        Attack("v2: a million empty texts, binary", (v2(classifier, [
            {"name": "text", "shape": [1_000_000, 1], "datatype": "BYTES",
             "parameters": {"binary_data_size": 4_000_000}}], bytes(4_000_000)),)),
        Attack("v2: a shape of a million", (v2(classifier, [
            {"name": "text", "shape": [1] * 1_000_000, "datatype": "BYTES", "data": ["a"]}]),)),
        Attack("v2: a million parameters", (v2(classifier, [texts(["a"], parameters={
            f"{n:x}": 0 for n in range(400_000)})]),)),
        Attack("v2: data of a million lists", (v2(classifier, [
            {"name": "text", "shape": [1], "datatype": "BYTES", "data": [[]] * 1_000_000}]),)),
        Attack("repository index of a million", (http("/v2/repository/index", filled("[]", '{{"ready":[{}]}}')),)),
        *(
            Attack(f"{name}: {what}", (http(path, filled(value)),))
            for name, path in (("native", classify), ("answer", answer), ("Hugging Face", hf), ("TEI", tei))
            for what, value in (
                ("numbers", "7"), ("empty lists", "[]"), ("empty objects", "{}"), ("empty texts", '""'),
                ("texts of a letter", '"a"'), ("nulls", "null"),
                ("pairs", '{"text":"a","text_pair":"b"}'), ("questions", '{"question":"a","context":"b"}'),
            )
        ),
        Attack("native: a million fields", (http(classify, b"{" + b",".join(
            b'"%x":0' % n for n in range(380_000)) + b"}"),)),
        Attack("native: one integer of 4,000,000 digits", (http(classify, b'{"inputs":' + b"9" * BODY + b"}"),)),
        Attack("native: one number of 4,000,000 digits", (http(classify, b'{"inputs":0.' + b"9" * BODY + b"}"),)),
        Attack("native: 4,000,000 brackets", (http(classify, b"[" * BODY),)),
        Attack("native: a string of 700,000 escapes", (http(classify, b'{"inputs":"' + b"\\u0041" * 690_000 + b'"}'),)),
        Attack("native: a string of 2,000,000 quotes", (http(classify, b'{"inputs":"' + b'\\"' * 2_000_000 + b'"}'),)),
        Attack("native: 4,000,000 spaces", (http(classify, b" " * BODY),)),
        Attack("native: one text of 4,000,000", (labelled("a" * (BODY - 20)),)),
        Attack("texts: 20 of 199,000 characters", (labelled(long),)),
        Attack("texts: 20 of one word of 199,000", (labelled(many_texts("a", 20, 199_000)),)),
        Attack("texts: 20 of 199,000 marks", (labelled(many_texts("!", 20, 199_000)),)),
        Attack("texts: 20 of 66,000 ideographs", (labelled(many_texts("漢", 20, 66_000)),)),
        Attack("texts: 128 of 31,000 characters", (labelled(many_texts("word and ", 128, 31_000)),)),
        Attack("texts: 128 pairs of 2 x 15,000", (labelled([{"text": t, "pair": t}
            for t in many_texts("word and ", 128, 15_000)]),)),
        Attack("texts: 128 pairs of 2 x 4,000 marks", (labelled([{"text": t, "pair": t}
            for t in many_texts("!", 128, 4_000)]),)),
        Attack("texts: 128 pairs of 2 x 15,000 marks", (labelled([{"text": t, "pair": t}
            for t in many_texts("!", 128, 15_000)]),)),
        Attack("texts: 20 of 199,000, cut on the left", (http(tei, as_json(
            {"inputs": [[t] for t in long], "truncation_direction": "Left"})),)),
        Attack("texts: 20 of 198,000 blanks, cut on the left", (http(tei, as_json(
            {"inputs": [["ab" + " " * 198_000]] * 20, "truncation_direction": "Left"})),)),
        Attack("texts: 20 of long words that nobody knows", (labelled(many_texts("x" * 96 + " ", 20, 198_000)),)),
        Attack("texts: 20 of accents that combine", (labelled(many_texts("\u0301", 20, 99_000)),)),
        Attack("gzip: 4,000,000 spaces", (http(classify, gzip.compress(b" " * BODY), "content-encoding: gzip"),)),
        Attack("gzip: a bomb of a gigabyte", (http(classify, bomb, "content-encoding: gzip"),)),
        Attack("deflate: a million lists", (http(classify, zlib.compress(filled("[]")), "content-encoding: deflate"),)),
        Attack("pipeline: 10,000 GET /", (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 10_000,), answers=10_000),
        Attack("pipeline: 10,000 GET /metrics", (b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n" * 10_000,), 0.0, 10_000),
        Attack("pipeline: 10,000 GET /openapi.json", (b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n" * 10_000,),
            answers=10_000),
        Attack("pipeline: 2,000 classifications", (http(classify, small) * 2_000,), answers=2_000),
        Attack("chunks of one byte", (chunked(classify, small + b" " * 500_000, 1),)),
        Attack("chunks of 20 bytes", (chunked(classify, small + b" " * 3_000_000, 20),)),
        Attack("chunk extensions", (chunked(classify, small, 5).replace(b"\r\n{", b";" + b"x" * BODY + b"\r\n{", 1),)),
        Attack("8,000 headers", (http(classify, small, *["a:"] * 8_000),)),
        Attack("a header of 30,000 commas", (http(classify, small, f"accept: {',' * 30_000}"),)),
        Attack("if-none-match of 30,000", (http("/ui/", b"", f"if-none-match: {'a,' * 15_000}", method="GET"),)),
        Attack("a path of 30,000 escapes", (http("/v1/models/" + "%41" * 9_000 + "/classify", small),)),
        Attack("a query of 30,000", (http("/v1/classify?" + "a=b&" * 7_000, small),)),
        Attack("a timeout of 30,000 digits", (http(classify, small, f"x-request-timeout-ms: {'9' * 30_000}"),)),
        Attack("a timeout of 30,000 digits and a letter",
            (http(classify, small, f"x-request-timeout-ms: {'9' * 30_000}x"),)),
        Attack("a key of 30,000 letters", (http(classify, small, f"authorization: Bearer {'k' * 30_000}"),)),
        Attack("a head in pieces of one byte", tuple(bytes([b]) for b in http(classify, small, f"x: {'a' * 3_000}"))),
        Attack("trailers", (chunked(classify, small, 9)[:-2] + b"a: b\r\n" * 5_000 + b"\r\n",)),
    ]  # fmt: skip


def paired(ranks: str, entails: str) -> list[Attack]:
    """Those that pair one text with many, for a model that ranks and one that knows entailment."""
    long, labels = "word and " * 22_000, [f"label {n}" for n in range(128)]

    def ranked(query: str, documents: list[str], **more: Value) -> bytes:
        return http("/v2/rerank", as_json({"model": ranks, "query": query, "documents": documents, **more}))

    def chosen(inputs: Value, named: Value, **more: Value) -> bytes:
        return http(
            f"/models/{entails}", as_json({"inputs": inputs, "parameters": {"candidate_labels": named, **more}})
        )

    return [
        Attack("rerank: a query of 198,000 and 128 texts", (ranked(long, ["a"] * 128),)),
        Attack("rerank: 128 texts of 30,000", (ranked("who?", many_texts("word and ", 128, 30_000)),)),
        Attack("rerank: 128 texts of 30,000, repeated", (ranked("who?", many_texts("word and ", 128, 30_000),
            return_documents=True),)),
        Attack("rerank: a million texts", (http("/v2/rerank", filled('"a"', '{{"query":"a","documents":[{}]}}')),)),
        Attack("rerank: 3,000 texts", (ranked("a", ["a"] * 3_000),)),
        Attack("TEI: a million texts to rank", (http("/rerank", filled('"a"', '{{"query":"a","texts":[{}]}}')),)),
        Attack("zero-shot: 128 labels of a text of 198,000", (chosen(long, labels),)),
        Attack("zero-shot: 60 labels of each of 60 texts", (chosen(["a"] * 60, labels[:60]),)),
        Attack("zero-shot: a label of 189,000 and 128 texts", (chosen(["a"] * 128, ["word and " * 21_000]),)),
        Attack("zero-shot: a label of 95,000 ideographs and 128 texts", (chosen(["a"] * 128, ["漢 " * 95_000]),)),
        Attack("zero-shot: 128 labels in a template of 1,000", (chosen("a", labels,
            hypothesis_template="!" * 998 + "{}"),)),
        Attack("zero-shot: a million labels", (http(f"/models/{entails}", filled(
            '"a"', '{{"inputs":"a","parameters":{{"candidate_labels":[{}]}}}}')),)),
        Attack("zero-shot: 2,000,000 labels between commas", (chosen("a", "a," * 2_000_000),)),
    ]  # fmt: skip


def warm_up(classifier: str, answers: str) -> list[Attack]:
    """What lets a runtime take the memory of the largest batches."""
    label = as_json({"inputs": many_texts("word and ", 16, 6_000), "model": classifier})
    answer = as_json({"question": "a", "context": "word and " * 4_000, "max_length": 512, "model": answers})
    return [Attack("labels", (http("/v1/classify", label),)), Attack("answers", (http("/v1/answer", answer),))] * 2
