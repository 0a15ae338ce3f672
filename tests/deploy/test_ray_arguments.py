"""What `serve run` or a YAML file gives the application of Ray, whether ray is installed or not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from service.settings import Settings, SettingsError


@pytest.fixture
def ray_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, beside a ray of which it only has the names."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PGB_{name.upper()}", raising=False)
    monkeypatch.setitem(sys.modules, "ray", Mock())
    monkeypatch.setitem(sys.modules, "ray.serve", Mock())
    sys.modules.pop("deploy.ray_app", None)
    yield importlib.import_module("deploy.ray_app")
    del sys.modules["deploy.ray_app"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"artifacts": ["/a", "x=/b"]}, {"artifacts": ("/a", "x=/b")}),
        ({"artifacts": "/a,x=/b", "threads": "2"}, {"artifacts": ("/a", "x=/b"), "threads": 2}),
        ({"cors_origins": ["http://a", "http://b"]}, {"cors_origins": ("http://a", "http://b")}),
        ({"ui": False, "threads": 2, "max_form_drop": 0.25}, {"ui": False, "threads": 2, "max_form_drop": 0.25}),
        ({"keys_file": "/etc/keys"}, {"keys_file": Path("/etc/keys")}),
    ],
)
def test_values_are_read_as_yaml_and_the_command_line_have_them(
    given: dict[str, Any], expected: dict[str, Any], ray_app: ModuleType
) -> None:
    """A list as a list, a switch as a switch, a number as a number."""
    replicas, settings = ray_app.read_arguments(given)
    assert replicas == 1
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize("value", ["3", 3])
def test_the_number_of_replicas_is_no_setting(value: object, ray_app: ModuleType) -> None:
    """It is Ray's."""
    assert ray_app.read_arguments({"replicas": value})[0] == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"artifacts": {"a": "/a"}}, "artifacts: of type dict; give"),
        ({"artifacts": ["/a", ["/b"]]}, "artifacts: of type list and str; give"),
        ({"threads": None}, "threads: of type NoneType; give"),
        ({"threads": [1, 2]}, "threads: "),
        ({"replicas": 0}, "replicas: 0 is no number of replicas; give a whole number above 0"),
        ({"replicas": "two"}, "replicas: two is no number"),
        ({"replicas": True}, "replicas: True is no number"),
    ],
)
def test_what_is_no_value_is_told_in_one_line(given: dict[str, Any], said: str, ray_app: ModuleType) -> None:
    """With its name, and what to give in its place."""
    with pytest.raises(SettingsError) as error:
        ray_app.read_arguments(given)
    assert str(error.value).startswith(said)
