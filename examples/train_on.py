"""Train on from an artifact: its compact model is a torch.nn.Module, and stays as small as it is.

    pgb compress ./my-bert --train train.tsv --out ./small --forms fp32,torch
    python examples/train_on.py ./small examples/data/sentiment.jsonl --out trained.safetensors

The rows are JSON lines with `text` and `label`, one of the artifact's labels. The tensors that are written have the
names of the artifact's `weights.safetensors`, so that `load_state_dict` of `pgb_core.module("./small")` takes them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional

import pgb_core
from pgb_core.artifact import Artifact, open_artifact
from pgb_core.inference.batches import prepare_texts
from pgb_core.inference.runtimes.base import pad
from pgb_core.inference.tokenizer import Tokenizer


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print the loss before and after, write the tensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=5e-5)
    args = parser.parse_args(argv)
    batch, labels = read(open_artifact(args.artifact), args.rows)
    model = pgb_core.module(args.artifact).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate)
    losses = []
    for _ in range(args.steps):
        loss = functional.cross_entropy(model(**batch), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, args.out)
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}; {args.out} written")


def read(artifact: Artifact, rows: Path, most: int = 32) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The first rows of a file as one batch, tokenised as the service does, and their labels by index."""
    manifest = artifact.manifest
    found = [json.loads(line) for line in rows.read_text("utf-8").splitlines()[:most]]
    tokenizer = Tokenizer.open(artifact.tokenizer, manifest.max_length)
    arrays = pad(prepare_texts(tokenizer, [row["text"] for row in found]), manifest.pad_id)
    labels = torch.tensor([manifest.labels.index(row["label"]) for row in found])
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, labels


if __name__ == "__main__":
    main()
