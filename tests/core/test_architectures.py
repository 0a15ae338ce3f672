"""What is known of each architecture, and that it is known in one place."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from transformers.activations import ACT2CLS, ACT2FN

from pgb_core.checkpoints import config, weights
from pgb_core.checkpoints.architectures import ARCHITECTURES, titles
from pgb_core.errors import CheckpointError
from pgb_core.model.blocks import ACTIVATIONS
from pgb_core.model.encoder import Encoder
from tests import conftest
from tests.conftest import TASKS, hf_config

ROOT = Path(__file__).parents[2] / "pgb_core"


def test_every_architecture_is_tested() -> None:
    """What the registry has, the parametrised tests run."""
    assert set(conftest.ARCHITECTURES) == set(ARCHITECTURES)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_tensor_of_the_encoder_has_its_own_place(architecture: str, task: str) -> None:
    """No two of our tensors are read from one of the checkpoint's."""
    shape = config.encoder_config_of(hf_config(architecture), task)
    with torch.device("meta"):
        wanted = Encoder(shape).state_dict()
    names = weights.parameter_names(ARCHITECTURES[architecture], shape, wanted)
    assert list(names) == list(wanted)
    assert len(set(names.values())) == len(wanted)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_transformers_writes_of_its_own_accord_raises_no_suspicion(architecture: str) -> None:
    """An ordinary config.json has no setting that might change the model: those that are off are not named either."""
    given = hf_config(architecture).to_dict() | {"position_embedding_type": "absolute"}
    assert config.unread_settings(given) == {}
    assert config.unread_settings({**given, "is_decoder": True}) == {"is_decoder": True}
    assert config.unread_settings({**given, "is_decoder": False, "chunk_size_feed_forward": 4}) == {
        "chunk_size_feed_forward": 4
    }


def test_a_setting_of_another_architecture_is_not_read() -> None:
    """DistilBERT's width is no setting of BERT."""
    assert config.unread_settings({"model_type": "bert", "dim": 96}) == {"dim": 96}
    assert config.unread_settings({"model_type": "distilbert", "dim": 96}) == {}


def test_a_fixed_number_is_so_whatever_the_config_says() -> None:
    """DistilBERT's epsilon, and that it has no token types."""
    given = transformers.DistilBertConfig(layer_norm_eps=0.5, type_vocab_size=7)
    shape = config.encoder_config_of(given, "qa")
    assert (shape.norm_eps, shape.types) == (1e-12, 0)


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "8", None])
def test_a_size_that_is_no_whole_number_is_refused_by_its_name(value: object) -> None:
    """With what it is."""
    with pytest.raises(CheckpointError, match=r"config\.json: width is .*; it must be a whole number"):
        config.number_of(SimpleNamespace(width=value), "hidden", "width")


@pytest.mark.parametrize("value", [0, 1, -0.1, True, float("nan"), "1e-5", None])
def test_an_epsilon_that_is_no_small_number_is_refused_by_its_name(value: object) -> None:
    """With what it is."""
    with pytest.raises(CheckpointError, match=r"config\.json: eps is .*; it must be a small number"):
        config.number_of(SimpleNamespace(eps=value), "norm_eps", "eps")


@pytest.mark.parametrize("name", ACT2CLS)
def test_every_name_of_a_known_activation_is_read(name: str) -> None:
    """By the function that transformers has for it: the same one as ours, or none of ours."""
    x = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    theirs = ACT2FN[name].double()(x)
    if name in {*ACTIVATIONS, *config.ALIASES}:
        shape = config.encoder_config_of(hf_config("bert", hidden_act=name), "qa")
        assert shape.activation == (name if name in ACTIVATIONS else config.ALIASES[name])
        torch.testing.assert_close(ACTIVATIONS[shape.activation](x), theirs, rtol=0, atol=1e-9)
        return
    assert not any(torch.allclose(ours(x), theirs, rtol=0, atol=1e-4) for ours in ACTIVATIONS.values())
    with pytest.raises(
        CheckpointError, match=rf"config\.json: hidden_act is '{name}', which is not supported; .* gelu,"
    ):
        config.encoder_config_of(hf_config("bert", hidden_act=name), "qa")


def test_the_names_of_activations_are_those_of_transformers() -> None:
    """An alias is no name of ours, so that manifests have one name for a function that was read before."""
    assert {*ACTIVATIONS, *config.ALIASES} <= set(ACT2CLS)
    assert not set(ACTIVATIONS) & set(config.ALIASES)
    assert set(config.ALIASES.values()) <= set(ACTIVATIONS)


def test_no_other_code_compares_with_an_architecture_s_name() -> None:
    """The registry's keys are written in no string of the job outside of `checkpoints.architectures`."""
    home = ROOT / "checkpoints" / "architectures"
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        if home not in path.parents
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in {*ARCHITECTURES, *map("{}.".format, ARCHITECTURES)}
    ]
    assert found == []


def test_the_command_names_every_architecture() -> None:
    """In prose."""
    assert titles().startswith("BERT, ")
    assert all(architecture.title in titles() for architecture in ARCHITECTURES.values())
