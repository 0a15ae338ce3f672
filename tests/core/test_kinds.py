"""Directories and models as people have them: read right, or refused with a line that says what to do."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from pgb_core.artifact import POINTER
from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.errors import CheckpointError
from tests.core.small import changed, checkpoint


class _Trap:
    """A pickle that ends the test when it is read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was read",)


def sound(folder: Path, *files: str, **settings: object) -> Path:
    """A checkpoint that can be read, with more files and settings of config.json."""
    checkpoint(folder, "bert", "classification")
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(_Trap()) if "." in name and "json" not in name else b"{}")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


def refused(folder: Path) -> str:
    """The line that says why a directory is not read."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(folder))
    return said.removeprefix(str(folder))


TRAINER = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_0.pth")


def test_a_checkpoint_of_a_trainer_is_read_and_its_pickles_are_not(tmp_path: Path) -> None:
    """Whatever lies beside the weights."""
    folder = sound(tmp_path / "checkpoint-20", *TRAINER, "pytorch_model.bin", "trainer_state.json")
    assert load_checkpoint(folder).labels == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(("where", "slash"), [("", "/"), ("checkpoint-1000", "/"), ("checkpoint-1000", "\\")])
def test_a_folder_of_checkpoints_says_which_is_the_best(where: str, slash: str, tmp_path: Path) -> None:
    """By trainer_state.json, at the top or in the last one, wherever the training ran."""
    for n in (1000, 500, 20):
        sound(tmp_path / f"checkpoint-{n}")
    (tmp_path / where / "trainer_state.json").write_text(
        json.dumps({"best_model_checkpoint": f"C:{slash}out{slash}checkpoint-500"})
    )
    said = refused(tmp_path)
    assert "no config.json; it holds checkpoint-20, checkpoint-500, checkpoint-1000;" in said
    assert said.endswith(f"trainer_state.json says that the best is checkpoint-500: name {tmp_path / 'checkpoint-500'}")
    assert load_checkpoint(said.rpartition("name ")[2]).labels


def test_a_folder_of_checkpoints_without_a_best_names_them(tmp_path: Path) -> None:
    """The last six, and how many there are before them; adapters are checkpoints, too."""
    for n in range(1, 10):
        (tmp_path / f"checkpoint-{n}00").mkdir()
        (tmp_path / f"checkpoint-{n}00" / "adapter_config.json").write_text("{}")
    for content in ("[", "[]", '{"best_model_checkpoint": null}', '{"best_model_checkpoint": "out/checkpoint-7"}'):
        (tmp_path / "trainer_state.json").write_text(content)
        said = refused(tmp_path)
        assert "it holds checkpoint-400, checkpoint-500" in said
        assert "checkpoint-900 and 3 before them; nothing says which is the best" in said
        assert said.endswith(f"such as the last, {tmp_path / 'checkpoint-900'}")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "bert", "architectures": ["BertForQuestionAnswering"]})
    )
    assert "no safetensors weights (model.safetensors); it holds checkpoint-400" in refused(tmp_path)


def test_a_single_checkpoint_inside_is_named(tmp_path: Path) -> None:
    """Whatever its name is."""
    sound(tmp_path / "model")
    assert refused(tmp_path).endswith(f"no config.json; it holds model: name {tmp_path / 'model'}")
    (tmp_path / "model" / "config.json").unlink()
    assert refused(tmp_path).endswith("no config.json; name a directory that save_pretrained wrote")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (TRAINER, "(model.safetensors); load the model where it was trained and save it again with save_pretrained()"),
        ((*TRAINER, "pytorch_model.bin"), "pytorch_model.bin is not read, for pickled weights are not read"),
        (("tf_model.h5",), "tf_model.h5 is not read"),
        (
            ("model.onnx",),
            "model.onnx was exported for another program and is not read; name the checkpoint from which",
        ),
        (("onnx/model_quantized.onnx",), "onnx/model_quantized.onnx was exported for another program"),
        (("model-q4.gguf",), "model-q4.gguf was exported"),
        (
            ("model-00001-of-00002.safetensors", "pytorch_model.bin"),
            "model-00001-of-00002.safetensors is there, and no index names it; copy the whole",
        ),
        (("model.fp16.safetensors",), "call the file model.safetensors if it is the only one"),
    ],
)
def test_a_directory_without_its_weights_says_what_it_has(files: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Pickles of a training are no weights; graphs for other programs are none, either."""
    folder = sound(tmp_path / "model", *files)
    (folder / "model.safetensors").unlink()
    assert said in refused(folder)


@pytest.mark.parametrize("stem", ["module", "_orig_mod", "model", "0"])
def test_the_weights_of_a_model_within_another_are_called_that(stem: str, tmp_path: Path) -> None:
    """By what all names of its tensors begin with."""
    folder = sound(tmp_path / "model")
    weights = folder / "model.safetensors"
    save_file({f"{stem}.{name}": value for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    assert f"the names of its tensors begin with {stem}., as those of a model within another do" in refused(folder)


def test_a_tensor_that_two_files_hold_is_refused(tmp_path: Path) -> None:
    """An index says which is meant, and transformers takes the last file's."""
    folder = sound(tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / "model.safetensors").rename(folder / first)
    index = dict.fromkeys(state, first) | {"classifier.bias": second}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for name, held in (("classifier.bias", {"classifier.bias"}), ("classifier.weight", {*state} - {"classifier.bias"})):
        save_file({name: state[name].zero_() for name in held}, folder / second, {"format": "pt"})
        assert f"{first} and {second} both hold " in refused(folder), name


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_checkpoint_that_git_lfs_did_not_fetch_says_so(name: str, tmp_path: Path) -> None:
    """Of the files that are read."""
    folder = sound(tmp_path / "model", "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    load_checkpoint(folder)
    (folder / name).write_bytes(POINTER)
    assert refused(folder) == f"/{name}: is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("config_setfit.json", "model_head.pkl", "modules.json"), "is a SetFit model, whose head is a pickle"),
        (("config_setfit.json",), "is a SetFit model"),
        (
            ("modules.json", "config_sentence_transformers.json"),
            "is a sentence-transformers model, which gives vectors",
        ),
        (("sentence_bert_config.json",), "is a sentence-transformers model"),
        (("quant_config.json",), "quantised (AWQ); name the checkpoint from which it was made"),
    ],
)
def test_a_directory_of_another_program_is_named(files: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Though it has a config and weights that could be read."""
    assert said in refused(sound(tmp_path / "model", *files))


@pytest.mark.parametrize("settings", [{"bits": 4, "group_size": 128}, {"quant_method": "gptq"}])
def test_a_directory_of_gptq_is_told_from_one_of_transformers_js(settings: dict[str, Any], tmp_path: Path) -> None:
    """Both have a file of one name; what transformers.js quantised lies elsewhere, and the weights are floats."""
    folder = sound(tmp_path / "model")
    file = folder / "quantize_config.json"
    file.write_text(json.dumps(settings))
    assert "quantised (GPTQ); name the checkpoint from which it was made" in refused(folder)
    for others in ({"modes": ["q8"], "per_channel": True, "reduce_range": True}, {}, [4]):
        file.write_text(json.dumps(others))
        assert load_checkpoint(folder).labels


def test_an_adapter_of_another_library_is_called_that(tmp_path: Path) -> None:
    """Its file of settings has the name that PEFT's has."""
    (tmp_path / "adapter_config.json").write_text(
        '{"config": {"reduction_factor": 16}, "model_name": "bert-base-uncased"}'
    )
    (tmp_path / "adapter.safetensors").touch()
    assert "names no peft_type, so it is no adapter of PEFT's" in refused(tmp_path)


def test_a_cross_encoder_of_sentence_transformers_is_a_classifier(tmp_path: Path) -> None:
    """It has the same files as one that gives vectors, and a head."""
    folder = sound(tmp_path / "model", "modules.json", "sentence_bert_config.json")
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    assert load_checkpoint(folder).labels
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "SentenceTransformer"}')
    assert "gives vectors" in refused(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
    ],
)
def test_a_cross_encoder_whose_scores_are_logits_is_told(settings: dict[str, Any], tmp_path: Path) -> None:
    """The artifact gives their sigmoid; a head that gives a number gives what it gives there."""
    folder = checkpoint(tmp_path / "model", "bert", "classification", num_labels=1, **settings)
    assert any("their sigmoid, as transformers" in text for text in load_checkpoint(folder).warnings)
    changed(folder / "config.json", problem_type="regression")
    assert not any("sigmoid" in text for text in load_checkpoint(folder).warnings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"prompts": {"query": "query: "}, "default_prompt_name": "query"}, True),
        ({"prompts": {"query": "query: "}, "default_prompt_name": None}, False),
        ({"prompts": {"query": ""}, "default_prompt_name": "query"}, False),
        ({"prompts": {}, "default_prompt_name": "query"}, False),
        ({"prompts": ["query: "], "default_prompt_name": "query"}, False),
        ({}, False),
    ],
)
def test_a_prompt_that_the_artifact_does_not_add_is_told(settings: dict[str, Any], told: bool, tmp_path: Path) -> None:
    """Where sentence-transformers adds it to every text, because it is the default."""
    folder = sound(tmp_path / "model", "modules.json")
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({"model_type": "CrossEncoder", **settings}))
    warned = [text for text in load_checkpoint(folder).warnings if "names the default prompt 'query: '" in text]
    assert bool(warned) == told


@pytest.mark.parametrize("name", ["torch.nn.modules.activation.Sigmoid", "torch.nn.modules.activation.LogSigmoid"])
def test_a_cross_encoder_that_scores_each_label_by_itself_is_told(name: str, tmp_path: Path) -> None:
    """The artifact gives a softmax over the labels unless config.json says otherwise."""
    settings = {"sentence_transformers": {"activation_fn": name, "version": "4.1.0"}}
    folder = checkpoint(tmp_path / "model", "bert", "classification", num_labels=3, **settings)
    said = 'write "problem_type": "multi_label_classification" into config.json'
    assert any(said in text for text in load_checkpoint(folder).warnings) == name.endswith(".Sigmoid")
    for problem in ("multi_label_classification", "regression"):
        changed(folder / "config.json", problem_type=problem)
        assert not any("sigmoid" in text for text in load_checkpoint(folder).warnings)
    one = checkpoint(tmp_path / "one", "bert", "classification", num_labels=1, **settings)
    assert not any("sigmoid" in text for text in load_checkpoint(one).warnings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            "is set: the weights are quantised by 'bitsandbytes';",
        ),
        ({"quant_method": "gptq", "bits": 4}, "quantised by 'gptq'; name the checkpoint from which they were made"),
        ({"quant_method": "awq"}, "quantised by 'awq'"),
        ({"load_in_8bit": True}, "the weights are quantised; name the checkpoint"),
        ([1], "the weights are quantised; name the checkpoint"),
    ],
)
def test_quantised_weights_are_refused_by_their_method(settings: object, said: str, tmp_path: Path) -> None:
    """Before a weight is read."""
    assert said in refused(sound(tmp_path / "model", quantization_config=settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pruned_heads": {"0": [1]}}, "pruned_heads is set: heads are left out of some layers"),
        ({"add_cross_attention": True}, "add_cross_attention is set: that is of a decoder"),
    ],
)
def test_what_changes_the_layers_is_refused_by_its_setting(settings: Any, said: str, tmp_path: Path) -> None:
    """Before a weight is read; off, it changes nothing."""
    assert said in refused(sound(tmp_path / "model", **settings))
    load_checkpoint(sound(tmp_path / "off", pruned_heads={}, add_cross_attention=False))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("deberta", "its attention compares relative positions"),
        ("deberta-v2", "its attention compares relative positions"),
        ("mpnet", "its attention adds a bias for relative positions"),
        ("albert", "all of its layers share one set of weights"),
        ("modernbert", "its positions rotate queries and keys"),
        ("t5", "it has a decoder besides its encoder"),
        ("bart", "it has a decoder besides its encoder"),
        ("gpt2", "it is a decoder, in which a token sees only those before it"),
        ("llama", "it is a decoder"),
        ("xlm-roberta-xl", "it normalises before each sublayer"),
    ],
)
def test_a_model_of_another_kind_is_refused_with_why_and_what_to_do(kind: str, why: str, tmp_path: Path) -> None:
    """The types that are read are listed."""
    said = refused(sound(tmp_path / "model", model_type=kind))
    assert f"model type '{kind}' is not supported: {why}" in said
    assert said.endswith("; fine-tune a checkpoint of one of " + ", ".join(ARCHITECTURES))


@pytest.mark.parametrize("kind", ["an-encoder-of-tomorrow", "x" * 5000, "", None, 3, ["bert"], {"a": 1}])
def test_an_unknown_model_type_is_refused_in_one_short_line(kind: object, tmp_path: Path) -> None:
    """Whatever stands there."""
    said = refused(sound(tmp_path / "model", model_type=kind))
    assert ("is not supported; fine-tune" if isinstance(kind, str) else "names no model type") in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"architectures": ["BertForTokenClassification"]}, "which labels every token; only sequence classification"),
        ({"architectures": ["BertForMultipleChoice"]}, "chooses among several texts"),
        ({"architectures": ["BertModel"]}, "has no head for a task; fine-tune it"),
        (
            {"auto_map": {"AutoModel": "own.Model"}},
            "auto_map names code of its own, which is never run; use a checkpoint",
        ),
    ],
)
def test_a_head_or_code_of_another_kind_is_refused(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    """By what config.json says."""
    assert said in refused(sound(tmp_path / "model", **settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"problem_type": "multilabel"}, "problem_type is 'multilabel' in config.json; use one of single_label_"),
        ({"problem_type": ["regression"]}, "problem_type is a list in config.json; use one of"),
        ({"id2label": ["bad", "good"]}, "id2label of config.json must be an object such as"),
        ({"id2label": {"first": "bad", "second": "good"}}, "id2label of config.json must be an object such as"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 2}, "num_labels is 2 in config.json, and id2label"),
        ({"id2label": {"0": None, "1": "good"}}, "id2label has null in place of a name; name each label"),
        ({"id2label": {"0": " ", "1": "good"}}, "id2label has an empty name; name each label"),
    ],
)
def test_what_says_nothing_of_the_labels_is_refused(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    """transformers passes over most of it, and picks one label of several, named LABEL_0 and so on."""
    assert said in refused(sound(tmp_path / "model", **settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label2id": {"bad": 0, "good": 1}}, ["bad, good in label2id alone"]),
        ({"label2id": {"LABEL_0": 0, "LABEL_1": 1}}, []),
        ({"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": "0", "good": "1"}}, []),
        ({"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": "1", "good": "0"}}, ["disagree on bad, good"]),
    ],
)
def test_names_that_are_not_read_are_told(settings: dict[str, Any], said: list[str], tmp_path: Path) -> None:
    """transformers reads id2label; numbers may be in quotes."""
    warned = [text for text in load_checkpoint(sound(tmp_path / "model", **settings)).warnings if "label2id" in text]
    assert len(warned) == len(said)
    assert all(part in text for part, text in zip(said, warned, strict=True))


@pytest.mark.parametrize(
    ("words", "lower", "said"),
    [
        (["The", "film", "Film"], None, ["have capital letters, so they are never read"]),
        (["The", "film", "Film"], False, []),
        (["the", "film"], None, []),
        (["the", "film"], False, ["no word of the vocabulary has a capital letter, so words with one are unknown"]),
    ],
)
def test_a_vocabulary_of_another_case_than_texts_are_read_in_is_told(
    words: list[str], lower: bool | None, said: list[str], tmp_path: Path
) -> None:
    """Such as a cased one without tokenizer_config.json: transformers puts texts in lower case then, and so does it."""
    folder = sound(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({} if lower is None else {"do_lower_case": lower}))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in (*special, *words)))
    found = [text for text in load_checkpoint(folder).warnings if "capital letter" in text]
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def test_a_vocabulary_that_needs_sentencepiece_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed; and what else would do."""
    folder = sound(tmp_path / "model", "sentencepiece.bpe.model")
    (folder / "tokenizer.json").unlink()
    monkeypatch.setattr("pgb_core.checkpoints.tokenization.importlib.util.find_spec", lambda name: None)
    said = refused(folder)
    assert "sentencepiece.bpe.model is read by sentencepiece, which is not installed; pip install sentencepiece" in said
