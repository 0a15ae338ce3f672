"""The serving runtime of KServe and the example that uses it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from service.settings import read_settings
from tests.deploy.tools import Manifest, kserve_faults

FOLDER = Path(__file__).parents[2] / "deploy" / "kserve"
RUNTIME: Manifest = yaml.safe_load((FOLDER / "servingruntime.yaml").read_text())
SERVICE: Manifest = yaml.safe_load((FOLDER / "inferenceservice.yaml").read_text())


@pytest.mark.parametrize("manifest", [RUNTIME, SERVICE], ids=["runtime", "service"])
def test_every_field_is_known_and_of_its_type(manifest: Manifest) -> None:
    """To KServe, and inside a container to Kubernetes."""
    assert kserve_faults(manifest) == []


def test_a_wrong_field_is_found_at_every_depth() -> None:
    """Or the test before this one would say nothing."""
    wrong = copy.deepcopy(RUNTIME)
    wrong["spec"]["modelFormats"] = []
    wrong["spec"]["protocolVersions"] = "v2"
    wrong["spec"]["supportedModelFormats"][0]["autoSelect"] = "yes"
    wrong["spec"]["containers"][0]["livenessProb"] = {}
    faults = " ".join(kserve_faults(wrong))
    for said in ("modelFormats: no such", "protocolVersions: not a list", "autoSelect: not bool", "livenessProb"):
        assert said in faults


def test_the_runtime_takes_what_the_service_asks_for() -> None:
    """The same format, version, protocol and name."""
    model = SERVICE["spec"]["predictor"]["model"]
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    assert model["modelFormat"].items() <= RUNTIME["spec"]["supportedModelFormats"][0].items()


def test_the_container_is_started_with_settings_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves what KServe mounted under the name that clients will use, and ends within the pod's grace."""
    (container,) = RUNTIME["spec"]["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    found = read_settings(
        [argument.replace("{{.Name}}", SERVICE["metadata"]["name"]) for argument in container["args"]]
    )
    assert found.artifacts == ("sst2=/mnt/models",)
    assert found.port == container["ports"][0]["containerPort"]
    assert SERVICE["spec"]["predictor"]["terminationGracePeriodSeconds"] > found.drain_seconds + found.stop_seconds
    for probe in ("startup", "readiness", "liveness"):
        assert container[f"{probe}Probe"]["httpGet"]["port"] == found.port
