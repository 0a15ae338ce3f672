"""Fixtures that every suite shares."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings

from pgb_core.checkpoints.config import encoder_config_of
from pgb_core.model.encoder import Encoder, EncoderConfig

pytest_plugins = ["tests.pace", "tests.made", "tests.served"]  # the last imports the one before
os.environ["PGB_CACHE"] = tempfile.mkdtemp(prefix="pgb-tests-")  # not the user's
atexit.register(shutil.rmtree, os.environ["PGB_CACHE"], ignore_errors=True)
settings.register_profile("steady", deadline=None)  # a machine that is busy is not a failure
settings.load_profile("steady")
_NUMBERS = itertools.count()
SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parent.parent.parent / "shared"))
ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "xlm-roberta", "camembert")
# What concerns layers alone is tried on these: the others' are BERT's.
CORE_ARCHITECTURES = ARCHITECTURES[:3]
TASKS = ("classification", "qa")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test scored, another scores again."""
    monkeypatch.setenv("PGB_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{next(_NUMBERS)}"))


def hf_config(architecture: str, **changes: object) -> transformers.PreTrainedConfig:
    """A small shape of each architecture: 4 layers, 96 wide, 6 heads, 62 or more tokens; ELECTRA's tables 40 wide."""
    if architecture == "distilbert":
        return transformers.DistilBertConfig(
            **{
                "vocab_size": 400,
                "dim": 96,
                "n_layers": 4,
                "n_heads": 6,
                "hidden_dim": 384,
                "max_position_embeddings": 64,
            }
            | changes
        )
    offset = {"pad_token_id": 1, "max_position_embeddings": 66}
    kind, extra = {
        "bert": (transformers.BertConfig, {}),
        "roberta": (transformers.RobertaConfig, offset),
        "xlm-roberta": (transformers.XLMRobertaConfig, offset),
        "camembert": (transformers.CamembertConfig, offset),
        "electra": (transformers.ElectraConfig, {"embedding_size": 40}),
    }[architecture]
    settings = {
        "vocab_size": 400,
        "hidden_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "intermediate_size": 384,
        "max_position_embeddings": 64,
    }
    return kind(**(settings | extra | changes))


def small_encoder(architecture: str, task: str, seed: int = 0, **changes: object) -> Encoder:
    """A random encoder with weights large enough for answers to differ."""
    torch.manual_seed(seed)
    config: EncoderConfig = encoder_config_of(hf_config(architecture, **changes), task)
    model = Encoder(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and checkpoints, which are not part of the project."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"no real checkpoints at {SHARED}; set SHARED_DATA to a folder with models/ and data/")
    return SHARED


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
