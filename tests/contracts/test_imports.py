"""What must not be loaded, seen in a fresh interpreter."""

import subprocess
import sys

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
    """Plan, artifact, config and errors load nothing else."""
    found = loaded("import pgb_core.plan, pgb_core.artifact, pgb_core.config, pgb_core.errors, pgb_core.machine")
    assert found.isdisjoint((*HEAVY, "numpy", "onnxruntime", "pydantic", "tokenizers"))


def test_help_needs_nothing_heavy() -> None:
    """`pgb --help` answers in an installation without the compress extra."""
    assert loaded("import pgb_core.cli\ntry:\n  pgb_core.cli.main(['--help'])\nexcept SystemExit: pass").isdisjoint(
        HEAVY
    )
