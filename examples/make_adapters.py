"""The recipe of the two adapters beside this file.

Each is the best low-rank approximation of what fine-tuning changed: for every linear map of the
encoder the singular value decomposition of (fine-tuned - base), cut at --rank; biases, layer norms
and the head are kept whole. The result is an ordinary PEFT directory.

    python examples/make_adapters.py --base DIR_OF_ALL_MINILM_L6_V2 \
        --checkpoint ../shared/models/minilm-l6-sst2 --out examples/adapters/sst2
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pgb_core.checkpoints.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PREFIX

HEADS = {"classification": ["pooler", "classifier"], "qa": ["qa_outputs"]}


def main(argv: Sequence[str] | None = None) -> None:
    """Factor one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--task", choices=HEADS, required=True)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    base = {f"bert.{name}": value for name, value in load_file(args.base / "model.safetensors").items()}
    tuned = load_file(args.checkpoint / "model.safetensors")
    state: dict[str, Tensor] = {}
    for name, value in tuned.items():
        module, _, kind = name.rpartition(".")
        if ".encoder." in name and kind == "weight" and "LayerNorm" not in name:
            up, down = factor(value.float() - base[name].float(), args.rank)
            state[f"{PREFIX}{module}.lora_B.weight"] = up.half()
            state[f"{PREFIX}{module}.lora_A.weight"] = down.half()
        elif ".encoder." in name and kind == "bias" and "LayerNorm" not in name:
            state[f"{PREFIX}{module}.base_layer.bias"] = value.half()
        elif "LayerNorm" in name or "token_type" in name or name not in base or "pooler" in name:
            state[PREFIX + name] = value.half()
    args.out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, args.out / ADAPTER_WEIGHTS, {"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if args.task == "classification" else "QUESTION_ANS",
        "base_model_name_or_path": "sentence-transformers/all-MiniLM-L6-v2",
        "r": args.rank,
        "lora_alpha": args.rank,
        "lora_dropout": 0.0,
        "bias": "all",
        "target_modules": r".*encoder\.layer\.\d+\..*(query|key|value|dense)",
        "modules_to_save": ["LayerNorm", "token_type_embeddings", *HEADS[args.task]],
        "inference_mode": True,
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
    }
    (args.out / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(f"{args.out}: rank {args.rank}, {size / 1e6:.1f} MB")


def factor(delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best rank-`rank` pair (B [out, rank], A [rank, in]) of a weight difference, by SVD."""
    u, s, v = torch.linalg.svd(delta.float(), full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root.unsqueeze(1) * v[:rank]


if __name__ == "__main__":
    main()
