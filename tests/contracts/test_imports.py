"""What must not be loaded, seen in a fresh interpreter."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

HEAVY = ("torch", "transformers", "scipy", "onnx")


def loaded(statement: str) -> set[str]:
    """Top-level modules after running a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_service_loads_neither_torch_nor_transformers() -> None:
    """Also not through a package's __init__, which import rules do not see."""
    assert loaded("import service.app, service.__main__").isdisjoint(HEAVY)


def test_the_boundary_needs_the_standard_library_only() -> None:
    """Plan, artifact and errors load nothing else; settings load pydantic besides."""
    found = loaded("import pgb_core.plan, pgb_core.artifact, pgb_core.errors, pgb_core.machine")
    assert found.isdisjoint((*HEAVY, "numpy", "onnxruntime", "pydantic", "tokenizers"))
    assert loaded("import pgb_core.config").isdisjoint((*HEAVY, "numpy", "onnxruntime", "tokenizers"))


def test_importing_the_package_imports_nothing_else() -> None:
    """`pgb_core.load` brings what it needs when it is called."""
    found = loaded("import pgb_core; assert callable(pgb_core.load)")
    assert found.isdisjoint((*HEAVY, "numpy", "onnxruntime", "pydantic", "tokenizers"))


def test_inference_loads_neither_torch_nor_transformers() -> None:
    """Nor a runtime that was not asked for."""
    names = "load, batches, tokenizer, tasks, runtimes.registry, runtimes.selfcheck"
    found = loaded(", ".join(f"import pgb_core.inference.{name}" for name in names.split(", ")).replace(", ", "; "))
    assert found.isdisjoint((*HEAVY, "onnxruntime", "openvino"))


def test_a_loaded_artifact_answers_without_torch(artifacts: tuple[Path, Path]) -> None:
    """From the directory to the label."""
    found = loaded(f"import pgb_core; pgb_core.load({str(artifacts[0])!r}, threads=1).classify(['dull'])")
    assert found.isdisjoint((*HEAVY, "openvino"))


def test_help_needs_nothing_heavy() -> None:
    """`pgb --help` answers in an installation without the compress extra."""
    assert loaded("import pgb_core.cli\ntry:\n  pgb_core.cli.main(['--help'])\nexcept SystemExit: pass").isdisjoint(
        HEAVY
    )


def test_the_runtime_that_is_pytorch_needs_nothing_else_of_the_job() -> None:
    """An installation with the torch extra has PyTorch and safetensors, and no SciPy, transformers or onnx."""
    found = loaded("import pgb_core.model.torch_runtime")
    assert found.isdisjoint({"scipy", "transformers", "onnx", "rich"})


def test_both_packages_say_that_they_are_typed() -> None:
    """Type checkers read the hints of a package that has `py.typed` (PEP 561)."""
    assert [(resources.files(name) / "py.typed").is_file() for name in ("pgb_core", "service")] == [True, True]
