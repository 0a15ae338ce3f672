"""Merging: equal to what PEFT itself makes of the same directory."""

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from examples.make_adapters import factor
from pgb_core.checkpoints import adapters
from pgb_core.errors import CheckpointError
from tests.conftest import hf_config

pytestmark = pytest.mark.filterwarnings("ignore")


def test_merging_equals_peft(tmp_path: Path) -> None:
    """A real PEFT adapter with biases and saved modules, merged by PEFT and by us."""
    torch.manual_seed(0)
    base = transformers.BertForSequenceClassification(hf_config("bert")).eval()
    base.bert.save_pretrained(tmp_path / "base")
    model = peft.get_peft_model(
        base,
        peft.LoraConfig(
            task_type="SEQ_CLS",
            r=4,
            lora_alpha=8,
            target_modules=["query", "dense"],
            bias="all",
            modules_to_save=["classifier"],
        ),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pooler" not in name:
                parameter.add_(
                    0.05 * torch.randn_like(parameter) * ("lora" in name or "bias" in name or "classifier" in name)
                )
    model.save_pretrained(tmp_path / "adapter")
    wanted = model.merge_and_unload().state_dict()
    adapters.merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged", {"architectures": ["x"]})
    found = load_file(tmp_path / "merged" / "model.safetensors")
    for name, value in wanted.items():
        if "position_ids" not in name:
            torch.testing.assert_close(found[name].float(), value.float(), rtol=2e-3, atol=2e-3)


def test_factors_of_full_rank_are_exact() -> None:
    """And a lower rank is the closest there is."""
    delta = torch.randn(20, 12)
    up, down = factor(delta, 12)
    torch.testing.assert_close(up @ down, delta, rtol=1e-4, atol=1e-4)
    up, down = factor(delta, 5)
    singular = torch.linalg.svdvals(delta)
    assert float((delta - up @ down).square().sum()) == pytest.approx(float(singular[5:].square().sum()), rel=1e-3)


def test_an_adapter_of_another_kind_or_model_is_refused(tmp_path: Path) -> None:
    """By its config, and by its shapes."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises(CheckpointError, match="only plain LoRA"):
        adapters.merge(tmp_path, tmp_path, tmp_path / "out", {})
    with pytest.raises(CheckpointError, match="does not fit its base"):
        adapters.merge_state(
            {"a.weight": torch.ones(2, 2)},
            {
                "base_model.model.a.lora_A.weight": torch.ones(1, 3),
                "base_model.model.a.lora_B.weight": torch.ones(2, 1),
            },
            1.0,
        )


def test_the_shipped_adapters_are_peft_directories() -> None:
    """PEFT reads their config, and they stay small."""
    folder = Path(__file__).parents[2] / "examples" / "adapters"
    for name, rank in (("sst2", 32), ("qa", 64)):
        config = peft.PeftConfig.from_pretrained(str(folder / name))
        assert (config.peft_type, config.r) == ("LORA", rank)
        assert (folder / name / "adapter_model.safetensors").stat().st_size < 6_000_000
