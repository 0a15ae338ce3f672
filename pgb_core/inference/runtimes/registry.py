"""The table of all runtimes, and the function that opens one.

To add a runtime: write a file with a class that is a `Runtime` and takes an artifact and a `Setup`, and an entry in
`RUNTIMES`. The runtime of PyTorch is in `pgb_core.model`, next to the module that it runs. Settings, their help and the
chart's schema take the names of runtimes and devices from this table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata

from pgb_core.artifact import FP32, Artifact, FormRecord
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Runtime, Setup

_SAID = {"cpu": "the CPU", "cuda": "CUDA"}


@dataclass(frozen=True)
class Entry:
    """What is known of a runtime before it is imported, which takes a package that may not be there.

    module, opens: where its class is. package: of the Python package index, which brings it. extra: of pgb-serve, which
    brings that; empty when pgb-serve does by itself. devices: that it runs on, the usual one first.
    platform: as the Open Inference Protocol calls it. triton: platform and backend as a configuration of Triton names
    them; it knows a platform for some backends only.
    """

    module: str
    opens: str
    package: str
    extra: str
    devices: tuple[str, ...]
    platform: str
    triton: tuple[str, str]

    @property
    def installed_by(self) -> str:
        """What pip is to install."""
        return f".[{self.extra}]" if self.extra else "."


RUNTIMES: dict[str, Entry] = {
    "onnxruntime": Entry(
        module="pgb_core.inference.runtimes.onnx_runtime",
        opens="OnnxRuntime",
        package="onnxruntime",
        extra="",
        devices=("cpu", "cuda", "auto"),
        platform="onnx_onnxv1",
        triton=("onnxruntime_onnx", "onnxruntime"),
    ),
    "openvino": Entry(
        module="pgb_core.inference.runtimes.openvino_runtime",
        opens="OpenVinoRuntime",
        package="openvino",
        extra="openvino",
        devices=("cpu", "auto"),
        platform="onnx_onnxv1",
        triton=("", "openvino"),
    ),
    "torch": Entry(
        module="pgb_core.model.torch_runtime",
        opens="TorchRuntime",
        package="torch",
        extra="torch",
        devices=("cpu", "cuda", "auto"),
        platform="pytorch_safetensors",
        triton=("", "pytorch"),
    ),
}


def devices() -> tuple[str, ...]:
    """Those that a runtime takes."""
    return tuple(sorted({device for entry in RUNTIMES.values() for device in entry.devices}))


def installed(name: str) -> bool:
    """Whether a runtime can be imported here."""
    try:
        importlib.import_module(RUNTIMES[name].module)
    except ImportError:
        return False
    return True


def version_of(name: str) -> str:
    """The version of the installed package that brings a runtime; empty when it says none."""
    for package in (RUNTIMES[name].package, f"{RUNTIMES[name].package}-gpu"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(package)
    return ""


def open_runtime(
    artifact: Artifact, form: str = FP32, device: str = "cpu", threads: int = 0, runtime: str | None = None
) -> Runtime:
    """Load one form of an artifact.

    device: auto takes CUDA where the runtime has it. threads: 0 takes all usable cores.
    runtime: by default the form's usual one. Raises RuntimeUnavailable when the artifact does not carry the form, the
    runtime is not installed, does not run it on that device, or does not take the model.
    """
    if form not in artifact.manifest.forms:
        raise RuntimeUnavailable(
            f"{artifact.manifest.name}: carries no form {form}, only {', '.join(artifact.manifest.forms)}; choose one "
            "of these; pgb compress --forms makes others"
        )
    record = artifact.manifest.forms[form]
    name = runtime or usual_runtime(record)
    if name not in RUNTIMES:
        raise RuntimeUnavailable(f"there is no runtime {name}; choose one of {', '.join(RUNTIMES)}")
    _check(name, form, record, device)
    entry = RUNTIMES[name]
    try:
        opener: Callable[[Artifact, Setup], Runtime] = getattr(importlib.import_module(entry.module), entry.opens)
        return opener(artifact, Setup(form, device, threads))
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable(
            f"{error.name} is not installed; pip install '{entry.installed_by}' in a clone of pgb-serve"
        ) from error
    except ImportError as error:
        raise RuntimeUnavailable(
            f"{name} does not load ({error}); pip install --force-reinstall {entry.package}"
        ) from error


def usual_runtime(record: FormRecord) -> str:
    """The first runtime of a form that this version knows; the first of all where it knows none."""
    return next((one for one in record.runtimes if one in RUNTIMES), record.runtimes[0])


def _check(name: str, form: str, record: FormRecord, device: str) -> None:
    """Whether this runtime runs this form on this device."""
    if name not in record.runtimes:
        raise RuntimeUnavailable(f"form {form} is for runtime {' or '.join(record.runtimes)}, not for {name}")
    for what, devices in ((name, RUNTIMES[name].devices), (f"form {form}", (*record.devices, "auto"))):
        if device not in devices:
            only = " and ".join(_SAID.get(one, one) for one in devices if one != "auto")
            raise RuntimeUnavailable(f"{what} runs on {only} only; set device {devices[0]}, or choose another form")
