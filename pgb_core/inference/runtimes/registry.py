"""Every runtime there is, and the one function that opens one.

To add one: a file with a class that is a `Runtime` and is made from an artifact and a `Setup`, and an entry in
`RUNTIMES`. The one that is PyTorch stands beside the module that it runs, in `pgb_core.model`. Settings, their help and
the chart's schema take names, devices and precisions from there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pgb_core.artifact import Artifact
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Runtime, Setup

_SAID = {"cpu": "the CPU", "cuda": "CUDA"}


@dataclass(frozen=True)
class Entry:
    """What is known of a runtime before it is imported, which takes a package that may not be there.

    module, opens: where its class is. package: of the Python package index, which brings it. extra: of pgb-serve, which
    brings that; empty when pgb-serve does by itself. devices, precisions: what it takes, the usual one first.
    instead: for a device or a precision that it does not take, the runtimes that a message then names.
    platform: as the Open Inference Protocol calls it. triton: platform and backend as a configuration of Triton names
    them; it knows a platform for some backends only.
    """

    module: str
    opens: str
    package: str
    extra: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    platform: str
    triton: tuple[str, str]
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def installed_by(self) -> str:
        """What pip is to install."""
        return f"pgb-serve[{self.extra}]" if self.extra else "pgb-serve"


RUNTIMES: dict[str, Entry] = {
    "onnxruntime": Entry(
        module="pgb_core.inference.runtimes.onnx_runtime",
        opens="OnnxRuntime",
        package="onnxruntime",
        extra="",
        devices=("cpu", "cuda", "auto"),
        precisions=("float32",),
        platform="onnx_onnxv1",
        triton=("onnxruntime_onnx", "onnxruntime"),
        instead={"bfloat16": ("openvino",)},
    ),
    "openvino": Entry(
        module="pgb_core.inference.runtimes.openvino_runtime",
        opens="OpenVinoRuntime",
        package="openvino",
        extra="openvino",
        devices=("cpu", "auto"),
        precisions=("float32", "bfloat16"),
        platform="onnx_onnxv1",
        triton=("", "openvino"),
        instead={"cuda": ("onnxruntime", "torch")},
    ),
    "torch": Entry(
        module="pgb_core.model.torch_runtime",
        opens="TorchRuntime",
        package="torch",
        extra="torch",
        devices=("cpu", "cuda", "auto"),
        precisions=("float32", "bfloat16"),
        platform="pytorch_safetensors",
        triton=("", "pytorch"),
    ),
}


def devices() -> tuple[str, ...]:
    """Those that a runtime takes."""
    return tuple(sorted({device for entry in RUNTIMES.values() for device in entry.devices}))


def precisions() -> tuple[str, ...]:
    """Those that a runtime takes."""
    return tuple(dict.fromkeys(precision for entry in RUNTIMES.values() for precision in entry.precisions))


def open_runtime(artifact: Artifact, name: str, device: str, precision: str, threads: int) -> Runtime:
    """Load an artifact. device: auto takes CUDA where the runtime has it. threads: 0 takes all usable cores.

    Raises RuntimeUnavailable when there is no such runtime, it is not installed, cannot do what is asked, or does not
    take the model.
    """
    if name not in RUNTIMES:
        raise RuntimeUnavailable(f"there is no runtime of that name; choose one of {', '.join(RUNTIMES)}")
    entry = RUNTIMES[name]
    _check(name, entry, device, precision)
    try:
        opener: Callable[[Artifact, Setup], Runtime] = getattr(importlib.import_module(entry.module), entry.opens)
        return opener(artifact, Setup(device, precision, threads))
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable(f"{error.name} is not installed; pip install '{entry.installed_by}'") from error
    except ImportError as error:
        raise RuntimeUnavailable(
            f"{name} does not load ({error}); pip install --force-reinstall {entry.package}"
        ) from error


def _check(name: str, entry: Entry, device: str, precision: str) -> None:
    """Whether it takes these."""
    wanted = (("precision", precision, entry.precisions, "these graphs in"), ("device", device, entry.devices, "on"))
    for setting, asked, taken, how in wanted:
        if asked not in taken:
            only = " and ".join(_SAID.get(one, one) for one in taken if one != "auto")
            others = " or ".join(entry.instead.get(asked, ()))
            remedy = f"set {setting} {taken[0]}" + (f", or runtime {others}" if others else "")
            raise RuntimeUnavailable(f"{name} runs {how} {only} only; {remedy}")
