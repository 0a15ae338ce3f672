"""Settings: checked, from TOML or arguments."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pgb_core.config import CompressConfig, from_toml
from pgb_core.errors import ConfigError
from pgb_core.hub import located
from pgb_core.options import PGBOptions
from pgb_core.options.magnitude import MagnitudeOptions
from pgb_core.run.cache import place_of

WHOLE = "is for re-finetuning, and keep 1 exports the dense model unchanged; .* q8bert, qbert or quant-noise"
GOOD: dict[str, Any] = {"checkpoint": "c", "out": "o", "calibrate": "t.txt"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keep": 0.0}, "keep 0 is out of range; use 0.01 to 1"),
        ({"keep": 1.5}, "keep 1.5 is out of range"),
        ({"keep": float("nan")}, "out of range"),
        ({"epochs": -1.0}, "epochs"),
        ({"structure": "random"}, "structure 'random' is unknown; use one of auto, shared, disjoint, nested"),
        ({"device": "tpu"}, "device"),
        ({"calibrate": None}, "no data: give --train"),
        ({"samples": 0}, "samples 0"),
        ({"keep": [0.5, 0.3], "further": [0.1]}, "keep names several sizes already; leave further out"),
        ({"keep": True}, "keep must be a number, not True"),
        ({"keep": [True]}, "keep must be a share, or shares separated by commas"),
        ({"keep": [0.5, False]}, "keep must be a share, or shares separated by commas"),
        ({"further": [True]}, "further"),
        ({"further": 0.1}, "further must be a list, not 0.1"),
        ({"epochs": 0.0, "more_text": 1.0}, "--more-text is for re-finetuning, and --epochs 0 asks for none"),
        ({"epochs": 0.0, "best_state": True}, "--best-state is for re-finetuning, and --epochs 0 asks for none"),
        ({"epochs": 0.0, "learning_rate": 1e-4}, "--learning-rate is for re-finetuning, and --epochs 0 asks for none"),
        ({"epochs": 0.0, "noise": 0.5}, "--noise is for re-finetuning, and --epochs 0 asks for none"),
        ({"keep": 1.0, "epochs": 2.0}, f"--epochs {WHOLE}"),
        ({"keep": 1.0, "steps": 9}, f"--steps {WHOLE}"),
        ({"keep": 1.0, "learning_rate": 1e-4}, f"--learning-rate {WHOLE}"),
        ({"keep": 1.0, "more_text": 0.5}, f"--more-text {WHOLE}"),
        ({"keep": 1.0, "best_state": True}, f"--best-state {WHOLE}"),
        ({"keep": 1.0, "noise": 0.25}, f"--noise {WHOLE}"),
        ({"keep": 1.0, "forms": "fp32", "train": "t.tsv"}, f"--train {WHOLE}"),
        ({"forms": "fp32", "noise": 0.5}, "--noise rounds to int8 .* none of --forms is in int8; leave it out, or add"),
        ({"method": "q8bert", "noise": 0.5}, "--noise: q8bert quantises in training by itself"),
        ({"method": "quant-noise", "keep": 1.0, "noise": 0.5}, "--noise: quant-noise quantises in training by itself"),
        ({"epochs": 0.0, "tokens": 64}, "--tokens is for re-finetuning, and --epochs 0 asks for none"),
        ({"epochs": 0.0, "checkpoint_every": 9}, "--checkpoint-every is for re-finetuning, and --epochs 0 asks for"),
        ({"epochs": 0.0, "distill": False}, "--no-distill is for re-finetuning, and --epochs 0 asks for none"),
        ({"epochs": 0.0, "method": "layerdrop", "layer_drop": 0.3}, "--layer-drop is for re-finetuning"),
        ({"keep": 1.0, "tokens": 64}, f"--tokens {WHOLE}"),
        ({"keep": 1.0, "ridge": 0.1}, "--ridge is for pruning, and keep 1 exports the dense model unchanged"),
        ({"keep": 1.0, "budget": "flops"}, "--budget is for pruning, and keep 1 exports the dense model unchanged"),
        ({"keep": 1.0, "passes": 2}, "--passes is for pruning, and keep 1 exports the dense model unchanged"),
        ({"keep": 1.0, "method": "q8bert", "ridge": 0.1}, "--ridge is for pruning, and keep 1 prunes nothing"),
        ({"keep": 1.0, "calibrate": None, "samples": 64}, "--samples is for rows to learn from, and none are given"),
        ({"keep": 1.0, "calibrate": None, "max_length": 64}, "--max-length is for rows to learn from, and none are"),
        ({"method": "movement", "ridge": 0.1}, "--ridge is for compensation, and movement, as set, trains in place"),
        ({"method": "magnitude", "schedule": "cubic", "ridge": 0.1}, "--ridge is for compensation"),
        ({"method": "flop", "ridge": 0.1}, "--ridge is for compensation"),
        ({"method": "michel", "plan_for": "int8"}, "--plan-for names run times, and michel does not go by them"),
        ({"structure": "nested", "passes": 2}, "--passes limits the search for groups, and --structure nested has"),
        ({"g_max": 3}, "--g-max limits disjoint groups; give --structure disjoint too"),
        ({"learning_rate": 2.0}, "learning_rate"),
        ({"eval": ""}, "eval '' is empty; write a value, or leave the setting out"),
        ({"out": ""}, "out '' is empty"),
        ({"text_column": ""}, "text_column '' is empty"),
        ({"label_column": [""]}, "label_column '' is empty"),
        ({"threads": 0}, "threads 0 is out of range; use 1 to 1024"),
        ({"labels": "numbers"}, "labels 'numbers' is unknown; use one of names, ids, vector"),
    ],
)
def test_what_is_out_of_range_is_refused(changes: dict[str, Any], reason: str) -> None:
    """With the value and the remedy."""
    with pytest.raises(ConfigError, match=reason):
        CompressConfig(**(GOOD | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"keep": 1.0},
        {"keep": 1.0, "epochs": 0.0, "noise": 0.0, "more_text": 0.0, "best_state": False, "learning_rate": None},
        {"keep": 1.0, "train": "t.tsv"},
        {"keep": 1.0, "train": "t.tsv", "forms": "fp32", "vocabulary": "used"},
        {"keep": 1.0, "method": "q8bert", "epochs": 2.0, "learning_rate": 1e-4, "best_state": True, "forms": "fp32"},
        {"forms": "fp32", "noise": 0.0},
        {"forms": "fp32", "plan_for": "int8", "noise": 0.5},
        {"epochs": 0.0, "noise": 0.0},
        {"method": "magnitude", "ridge": 0.1},
        {"method": "q8bert", "plan_for": "int8", "ridge": 0.1},
        {"structure": "disjoint", "passes": 2, "g_max": 3},
        {"keep": 1.0, "samples": 64, "max_length": 64},
    ],
)
def test_what_acts_or_asks_for_nothing_may_be_given(changes: dict[str, Any]) -> None:
    """With keep 1 rows set the ranges of int8 forms, and say which tokens are used."""
    CompressConfig(**(GOOD | changes))


def test_toml_gives_settings_and_arguments_win(tmp_path: Path) -> None:
    """None means not given."""
    path = tmp_path / "run.toml"
    path.write_text('checkpoint = "c"\nout = "o"\ncalibrate = "t.txt"\nkeep = 0.25\nepochs = 2\n')
    config = from_toml(path, keep=0.12, seed=None)
    assert (config.keep, config.epochs, config.seed) == (0.12, 2, 0)


@pytest.mark.parametrize(
    ("file", "argument", "gone"),
    [
        ("epochs = 2", {"steps": 10}, "epochs"),
        ("steps = 10", {"epochs": 2.0}, "steps"),
        ("keep = 0.25", {"max_drop": 1.0}, "keep"),
        ("keep = [0.5, 0.25]", {"min_speedup": 4.0}, "further"),
        ("max_drop = 1.0", {"keep": 0.25}, "max_drop"),
        ("keep = 0.5\nfurther = [0.25]", {"max_drop": 1.0}, "further"),
        ("keep = 0.5\nfurther = [0.25]", {"keep": 0.3}, "further"),
    ],
)
def test_an_argument_replaces_what_it_cannot_stand_beside(
    tmp_path: Path, file: str, argument: dict[str, Any], gone: str
) -> None:
    """The file's setting counts as not given; the two in one file are still refused."""
    path = tmp_path / "run.toml"
    start = 'checkpoint = "c"\nout = "o"\ntrain = "t.tsv"\neval = "e.tsv"\n'
    path.write_text(start + file + "\n")
    config = from_toml(path, **argument)
    assert argument.items() <= config.model_dump().items()
    assert gone not in config.model_fields_set
    assert getattr(config, gone) == CompressConfig(**GOOD).model_dump()[gone]
    if not argument.keys() & tomllib.loads(file).keys():
        with pytest.raises(ConfigError, match="give"):
            CompressConfig(**GOOD, eval="e.tsv", **tomllib.loads(file), **argument)


def test_a_truth_value_is_no_share_in_a_file_either(tmp_path: Path) -> None:
    """The file is named."""
    path = tmp_path / "run.toml"
    path.write_text('checkpoint = "c"\nout = "o"\ntrain = "t.tsv"\nkeep = [true]\n')
    with pytest.raises(ConfigError, match=r"run\.toml: keep must be a share, or shares"):
        from_toml(path)


def test_an_argument_wins_over_the_options_of_the_file(tmp_path: Path) -> None:
    """Wherever they stand in it; the other options stay."""
    path = tmp_path / "run.toml"
    path.write_text('checkpoint = "c"\nout = "o"\ntrain = "t.tsv"\n[options]\nstructure = "shared"\npasses = 2\n')
    options = from_toml(path, structure="disjoint").options
    assert isinstance(options, PGBOptions)
    assert (options.structure, options.passes) == ("disjoint", 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("keep = ", "not TOML"),
        ('kepe = 0.5\ncheckpoint="c"\nout="o"', "'kepe' is unknown; did you mean 'keep'?"),
        ("max-drop = 1", "'max-drop' is unknown; did you mean 'max_drop'?"),
        ("[compress]\nkeep = 0.5", "write them at the top of the file"),
        ("\ufeffkepe = 0.5", "'kepe' is unknown"),
        ("keep = true", "keep must be a number, not True"),
        ("train = 2026-11-27", "train must be a text, not 2026-11-27; write it in quotes"),
        ("keep = 07:32:00", "keep must be a number, not 07:32:00$"),
        ("labels = 2026-11-27", "labels 2026-11-27 is unknown; use one of names, ids, vector"),
        (f"keep = [{9**400}, 0.5]", "keep must be a share, or shares separated by commas"),
        (f"samples = {'9' * 5000}", "not TOML"),
        (f"keep = {'[' * 5000}", "not TOML"),
        ('train = "a\\u0000b"', "train 'a.x00b' has a NUL character"),
        ('cache = "a\\u0000b"', "cache 'a.x00b' has a NUL character"),
        ("label_column = 3", "label_column must be a text or a list of texts, not 3"),
        ("label_column = [1]", "label_column must be a text or a list of texts"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, reason: str) -> None:
    """Syntax, unknown names, wrong types."""
    path = tmp_path / "run.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=reason):
        from_toml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        from_toml(tmp_path / "absent.toml")
    path.write_text('train = "größe.csv"', "latin-1")
    with pytest.raises(ConfigError, match=r"run\.toml: not UTF-8 at byte 11 of the file; save the file as UTF-8"):
        from_toml(path)


@pytest.mark.parametrize("given", ["a", ["a"], ("a",)])
def test_label_columns_are_one_or_many(given: object) -> None:
    """Always the same in the config."""
    assert CompressConfig(**{**GOOD, "label_column": given}).label_column == ("a",)
    assert CompressConfig(**GOOD).label_column == ()


def test_options_of_a_method_stand_beside_the_other_settings() -> None:
    """And are checked by the method's own model; an option that no method has is unknown."""
    config = CompressConfig(**{**GOOD, "structure": "disjoint", "g_max": 3})
    assert config.options == PGBOptions(structure="disjoint", g_max=3)
    with pytest.raises(ConfigError, match="passes 0 is out of range; use 1 or more"):
        CompressConfig(**{**GOOD, "passes": 0})


def test_options_may_be_a_table() -> None:
    """A config that is written out gives the same when it is read; nothing is dropped or said twice."""
    config = CompressConfig(**GOOD, options={"structure": "disjoint"}, passes=2)
    assert config.options == PGBOptions(structure="disjoint", passes=2)
    assert CompressConfig(**config.model_dump()) == config
    assert CompressConfig(**GOOD, options=config.options) == config
    for options, reason in (
        ({"bogus": 1}, "'bogus' is unknown"),
        ({"passes": 3}, "passes is given twice"),
        (MagnitudeOptions(), "options are those of another method than pgb"),
        (3, "options must be a table"),
    ):
        with pytest.raises(ConfigError, match=reason):
            CompressConfig(**GOOD, options=options, passes=2)
    with pytest.raises(ConfigError, match="method must be a text"):
        CompressConfig(**GOOD, method=["pgb"])


def test_places_may_be_paths() -> None:
    """As a program has them."""
    assert CompressConfig(checkpoint=Path("c"), out=Path("o"), train=Path("t")).checkpoint == "c"


def test_a_path_may_begin_with_the_user_s_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file, where no shell writes it out, as in an argument; a file whose name begins so is written with ./."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "run.toml"
    path.write_text('checkpoint = "~/bert"\nout = "~/small"\ntrain = "~/t.tsv"\neval = "./~/e.tsv"\ncache = "~/c"\n')
    config = from_toml(path, calibrate="~/t.txt")
    found = (config.checkpoint, config.out, config.train, config.calibrate, config.cache)
    assert found == tuple(str(tmp_path / name) for name in ("bert", "small", "t.tsv", "t.txt", "c"))
    assert config.eval == "./~/e.tsv"
    monkeypatch.setenv("PGB_CACHE", "~/kept")
    assert place_of(None) == tmp_path / "kept"
    assert located("~/small") == tmp_path / "small"
