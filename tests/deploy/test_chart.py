"""The Helm chart: what it renders is valid, confined, and gives the service what was asked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.helm.chart_files import COPIES
from deploy.helm.settings_schema import SCHEMA, settings_schema
from service.app import create_app
from service.observe.instruments import Instruments
from service.settings import Settings, read_settings
from tests.deploy.tools import Manifest, crd_faults, helm, k8s_faults

__all__ = ["crd_faults", "helm"]
CHART = SCHEMA.parent
ROOT = CHART.parents[2]
SETS = [*sorted((CHART / "ci").glob("*.yaml")), CHART / "values-production.yaml"]
NAMES = [path.stem for path in SETS]
# What whoever installs with values-production.yaml still has to say.
OWN = ("--set", "image.repository=registry.example/ml/pgb-serve", "--set", f"image.digest=sha256:{'1' * 64}")
# The oldest that the chart allows, one in between, the newest known.
VERSIONS = ("1.27", "1.33", "1.37")
# Groups of objects that are no part of Kubernetes.
CRDS = ("keda.sh/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")


def _helm(helm: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *args], capture_output=True, text=True)


def given(values: Path | str) -> tuple[str | Path, ...]:
    """The arguments of a set of values."""
    path = values if isinstance(values, Path) else CHART / "ci" / f"{values}.yaml"
    return ("-f", path, *(OWN if path.stem == "values-production" else ()))


def render(helm: Path, values: Path | str, *args: str, release: str = "web") -> list[Manifest]:
    """The objects of a set of values, as a cluster would get them."""
    done = _helm(helm, "template", release, CHART, "-n", "ml", *given(values), *args)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def one(objects: list[Manifest], kind: str) -> Manifest:
    """The only object of a kind."""
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


def pod(objects: list[Manifest]) -> Any:
    """What the pods are made of."""
    return one(objects, "Deployment")["spec"]["template"]


@pytest.mark.parametrize("values", SETS, ids=NAMES)
def test_the_chart_has_nothing_to_complain_of(values: Path, helm: Path) -> None:
    """Not even a warning."""
    done = _helm(helm, "lint", "--strict", CHART, *given(values))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", SETS, ids=NAMES)
def test_every_object_is_valid_and_has_no_unknown_field(values: Path, helm: Path) -> None:
    """By the schemas of three versions of Kubernetes."""
    known = [item for item in render(helm, values) if not item["apiVersion"].startswith(CRDS)]
    assert len(known) >= 2
    for version in VERSIONS:
        if values.stem == "image" and version == "1.27":
            continue  # has no such volume
        for item in known:
            assert k8s_faults(item, version) == []


def test_a_field_that_is_misspelt_is_found(helm: Path) -> None:
    """Or the test before this one would say nothing."""
    deployment = one(render(helm, "claim"), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    assert "readinessProb" in k8s_faults(deployment, "1.33")[0]


def test_objects_of_keda_prometheus_and_the_gateway_are_valid(
    helm: Path, crd_faults: Callable[[list[Manifest]], list[str]]
) -> None:
    """By their own schemas; and one that is wrong is found."""
    objects = [*render(helm, "keda-monitoring-gpu"), *render(helm, "init-hpa-keys")]
    extra = [item for item in objects if item["apiVersion"].startswith(CRDS)]
    assert {item["kind"] for item in extra} == {"ScaledObject", "PodMonitor", "PrometheusRule", "HTTPRoute"}
    assert crd_faults(extra) == [""] * 4
    one(extra, "ScaledObject")["spec"]["triggers"][0]["metadata"]["threshold"] = 0.1
    one(extra, "PodMonitor")["spec"]["podMetricsEndpoints"] = {}
    one(extra, "PrometheusRule")["spec"]["groups"][0].pop("name")
    one(extra, "HTTPRoute")["spec"]["parentRefs"][0].pop("name")
    assert all(crd_faults(extra))


def test_what_the_chart_ships_is_what_the_stack_has() -> None:
    """`python deploy/helm/chart_files.py` copies it."""
    assert set((CHART / "files").iterdir()) == set(COPIES)
    for copy, source in COPIES.items():
        assert copy.read_bytes() == source.read_bytes()


def test_pods_are_scraped_under_the_labels_that_tell_services_apart(helm: Path) -> None:
    """The rules and the autoscaler of a release ask for the same."""
    objects = render(helm, "keda-monitoring-gpu")
    (endpoint,) = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [
        {"targetLabel": "job", "replacement": "pgb"},
        {"targetLabel": "service", "replacement": "web-pgb-serve"},
        {"action": "drop", "sourceLabels": ["__meta_kubernetes_pod_phase"], "regex": "Pending"},
    ]
    (port,) = pod(objects)["spec"]["containers"][0]["ports"]
    assert endpoint["port"] == port["name"]
    assert endpoint["authorization"] == {"credentials": {"name": "scrape", "key": "key"}}
    (group,) = one(objects, "PrometheusRule")["spec"]["groups"]
    assert group["rules"][0]["expr"] == 'up{job="pgb", namespace="ml", service="web-pgb-serve"} == 0'


def test_the_rules_of_a_release_see_that_release_alone(helm: Path, tmp_path: Path) -> None:
    """Every selector of every rule names it; and nothing else about the rules is changed."""
    spec = one(render(helm, CHART / "values-production.yaml", release="other"), "PrometheusRule")["spec"]
    found, source = json.dumps(spec), yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text())
    every, own = r"job=\"pgb\"", r"job=\"pgb\", namespace=\"ml\", service=\"other-pgb-serve\""
    assert found.count(own) == json.dumps(source).count(every) == found.count(every)
    assert json.loads(found.replace(own, every)) == source
    promtool = shutil.which("promtool")
    if promtool is not None:
        (tmp_path / "rules.yml").write_text(json.dumps(spec))  # JSON is YAML
        checked = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rules_of_one_s_own_are_of_the_release_however_yaml_writes_them(helm: Path, tmp_path: Path) -> None:
    """Between double quotes each mark of the selector has a backslash before it."""
    rules = tmp_path / "rules.yml"
    rules.write_text(r"""{groups: [{name: a, rules: [{alert: Down, expr: "up{job=\"pgb\"} < 1"}]}]}""")
    spec = one(render(helm, "claim", "--set-file", f"prometheusRule.file={rules}"), "PrometheusRule")["spec"]
    assert spec["groups"][0]["rules"][0]["expr"] == 'up{job="pgb", namespace="ml", service="web-pgb-serve"} < 1'


def test_the_dashboard_is_a_config_map_that_grafana_finds(helm: Path) -> None:
    """Whole, under the label that its sidecar looks for."""
    found = one(render(helm, "image"), "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = found["data"].values()
    assert json.loads(text) == json.loads((ROOT / "docker/grafana/dashboards/service.json").read_text())


def test_the_ways_in_lead_to_the_service(helm: Path) -> None:
    """By the host that was set, and none is there unless asked for."""
    objects = render(helm, "image")
    service = one(objects, "Service")
    spec = one(objects, "Ingress")["spec"]
    (rule,) = spec["rules"]
    assert rule["host"] == "pgb.example"
    assert rule["http"]["paths"][0]["backend"] == {
        "service": {"name": service["metadata"]["name"], "port": {"name": service["spec"]["ports"][0]["name"]}}
    }
    assert spec["tls"] == [{"hosts": ["pgb.example"], "secretName": "pgb-tls"}]
    objects = render(helm, "init-hpa-keys")
    spec = one(objects, "HTTPRoute")["spec"]
    service = one(objects, "Service")
    assert spec["rules"] == [
        {"backendRefs": [{"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}]}
    ]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
    assert not {"Ingress", "HTTPRoute"} & {item["kind"] for item in render(helm, "claim")}


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("image.repository=", "image.repository is empty"),
        ("image.tag=", "image.tag and image.digest are both empty"),
        ("keys.enabled=true", "keys.secret is empty"),
        ("settings.metrics_key=true", "keys.enabled is false"),
        (
            "keys.enabled=true,keys.secret=a,settings.metrics_key=true,settings.metrics=false",
            "settings.metrics is false. No metrics are served",
        ),
        (
            "keys.enabled=true,keys.secret=a,settings.metrics_key=true,podMonitor.enabled=true",
            "podMonitor.keySecret.name is empty",
        ),
        ("ingress.enabled=true", "ingress.host is empty"),
        ("httpRoute.enabled=true", "httpRoute.gateways is empty"),
        ("rollingUpdate.maxSurge=0", "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0"),
        (
            "autoscaling.engine=hpa,autoscaling.min=5,autoscaling.max=3",
            "autoscaling.min is 5, but autoscaling.max is 3",
        ),
        ("settings.metrics=false,podMonitor.enabled=true", "podMonitor.enabled asks for metrics"),
        ("settings.metrics=false,prometheusRule.enabled=true", "prometheusRule asks for metrics"),
        ("settings.metrics=false,autoscaling.engine=hpa", "autoscaling.engine asks for metrics"),
        ("settings.otlp_endpoint=http://a:4318", "settings.otlp_endpoint is set, but networkPolicy.egress is empty"),
        ("settings.max_load_seconds=600", "settings.max_load_seconds is 600, but startupSeconds is 300"),
        ("startupSeconds=60", "settings.max_load_seconds is 300, but startupSeconds is 60"),
        (
            "settings.max_body_bytes=4194304",
            "settings.max_pending_bytes is 4194304, but settings.max_body_bytes is 4194304",
        ),
        ("settings.max_body_bytes=null", "settings.max_body_bytes is 4194304"),
        (
            "podLabels.app\\.kubernetes\\.io/name=web",
            "podLabels has app.kubernetes.io/name, which the chart itself gives",
        ),
        ("dashboard.labels.helm\\.sh/chart=web", "dashboard.labels has helm.sh/chart, which the chart itself gives"),
        ("prometheusRule.file=rules.yml", "prometheusRule.file is no file of rules: "),
        ("prometheusRule.file=rules: []", "prometheusRule.file is no file of rules: it has no list named groups"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_told_in_words(sets: str, said: str, helm: Path) -> None:
    """With what to set; nothing is rendered."""
    done = _helm(helm, "template", "web", CHART, *given("claim"), "--set", sets)
    assert done.returncode != 0
    assert said in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("release", ["1web", "web.2"])
def test_a_release_that_no_service_may_be_named_after_is_told(release: str, helm: Path) -> None:
    """Helm takes these names, and a cluster refuses the Service."""
    done = _helm(helm, "template", release, CHART, *given("claim"))
    assert done.returncode != 0
    assert f"the release is named {release}, and no Service may be" in done.stderr


@pytest.mark.parametrize(
    "sets",
    [
        "autoscaling.min=5,autoscaling.max=3",  # nothing scales
        "rollingUpdate.maxSurge=0,rollingUpdate.maxUnavailable=25%",
        "settings.metrics=false",
        "settings.max_load_seconds=600,startupSeconds=600",
        "settings.otlp_endpoint=http://a:4318,networkPolicy.enabled=false",
        "settings.otlp_endpoint=http://a:4318,networkPolicy.egress[0].ports[0].port=4318",
        "settings.max_body_bytes=4194304,settings.max_pending_bytes=10485760",
        "settings.max_pending_bytes=null,settings.max_body_bytes=null",
        "podLabels.app\\.kubernetes\\.io/version=seven",  # no Service asks for it
    ],
)
def test_values_that_fit_are_taken(sets: str, helm: Path) -> None:
    """Or the tests before these two would say nothing."""
    assert pod(render(helm, "claim", "--set", sets))


def test_the_chart_counts_with_what_the_service_has_where_nothing_is_set(helm: Path) -> None:
    """The defaults of those that must fit others."""
    text = (CHART / "templates" / "_helpers.tpl").read_text()
    found = {name: int(value) for name, value in re.findall(r"\$s\.(max_\w+) \| default (\d+)", text)}
    names = ("max_body_bytes", "max_pending_bytes", "max_load_seconds")
    assert found == {name: Settings.model_fields[name].default for name in names}


def test_keys_are_asked_for_and_pages_are_off_unless_switched(helm: Path) -> None:
    """The chart's own values, with no more than what has to be said."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["image"] == {**values["image"], "repository": "", "tag": "", "digest": ""}
    done = _helm(helm, "template", "web", CHART, *OWN, "--set", "models.claim.name=models", "--set", "keys.secret=pgb")
    assert done.returncode == 0, done.stderr
    container = pod([item for item in yaml.safe_load_all(done.stdout) if item])["spec"]["containers"][0]
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (env["PGB_KEYS_FILE"], env["PGB_UI"]) == ("/etc/pgb/keys", "false")
    assert container["image"] == f"registry.example/ml/pgb-serve@sha256:{'1' * 64}"
    without = pod(render(helm, "claim", "--set", "keys.secret=left"))["spec"]["containers"][0]["env"]
    assert "PGB_KEYS_FILE" not in {variable["name"] for variable in without}


def test_what_a_pod_asks_for_is_what_was_measured() -> None:
    """More than a flood took, at most twice as much, as machines differ; and room for as much again."""
    measured = json.loads((ROOT / "benchmarks/results/containers.json").read_text())["flood_in_512_mb"]
    most = max(flood["resident_mb_at_most"] for flood in measured)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    asked, limit = (int(values["resources"][kind]["memory"].removesuffix("Mi")) for kind in ("requests", "limits"))
    assert most <= asked <= 2 * most
    assert limit == 2 * asked


@pytest.mark.parametrize("values", SETS, ids=NAMES)
def test_a_pod_may_do_nothing_that_it_need_not(values: Path, helm: Path) -> None:
    """No root, no writing, no capability, no token of the cluster; every container of it."""
    spec = pod(render(helm, values))["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert all(mount["readOnly"] for mount in mounts)
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize(("drain", "stop", "grace"), [(10, 30, 50), (0.5, 4.2, 15), (0, 0.1, 11), (120, 600, 730)])
def test_a_pod_gets_longer_to_end_than_the_service_needs(drain: float, stop: float, grace: int, helm: Path) -> None:
    """Draining, work in flight, and ten seconds."""
    times = json.dumps({"drain_seconds": drain, "stop_seconds": stop})
    found = pod(render(helm, "claim", "--set-json", f"settings={times}"))["spec"]["terminationGracePeriodSeconds"]
    assert found == grace > drain + stop


@pytest.mark.parametrize("startup", [2, 300, 1800])
def test_a_rollout_waits_longer_than_its_pods_may_load(startup: int, helm: Path) -> None:
    """Kubernetes would call it failed after ten minutes. A node needs time for the image before that."""
    values = f"startupSeconds={startup},settings.max_load_seconds=2"
    spec = one(render(helm, "claim", "--set", values), "Deployment")["spec"]
    assert spec["progressDeadlineSeconds"] == startup + 300


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            "claim",
            {
                "artifacts": ("/models/sst2", "answers=/models/qa/3"),
                "models_dir": Path("/models"),
                "host": "0.0.0.0",  # noqa: S104
                "drain_seconds": 10,
            },
        ),
        ("image", {"artifacts": (), "max_pending_bytes": 268435456, "drain_seconds": 0.5, "stop_seconds": 4.2}),
        (
            "init-hpa-keys",
            {
                "ui": False,
                "cors_origins": ("https://a.example", "https://b.example"),
                "metrics_key": True,
                "log_level": "warning",
                "keys_file": Path("/etc/pgb/keys"),
            },
        ),
        ("keda-monitoring-gpu", {"device": "cuda", "max_batch_tokens": 16384}),
    ],
)
def test_the_service_reads_what_was_set(
    values: str, expected: dict[str, object], helm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container's environment, read by the service itself."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PGB_{name.upper()}", raising=False)
    for variable in pod(render(helm, values))["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    found = read_settings([])
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.port == 8000


def test_names_stay_text_however_they_look(helm: Path) -> None:
    """A date, a number and a switch of YAML, each of which a cluster takes for a name."""
    names = "models.claim.subPath=2026-11-27,models.claim.name=1,keys.secret=2,keys.key=3,priorityClassName=4"
    more = "serviceAccountName=5,ingress.className=6,ingress.tlsSecret=7"
    switched = ("--set", "keys.enabled=true,ingress.enabled=true,ingress.host=a.example")
    objects = render(helm, "claim", "-n", "123", "--set-string", f"{names},{more}", *switched, release="on")
    assert [fault for item in objects for fault in k8s_faults(item, "1.33")] == []
    assert pod(objects)["spec"]["containers"][0]["volumeMounts"][0]["subPath"] == "2026-11-27"


@pytest.mark.parametrize("tag", ["_1", "1.0-", f"{'1' * 62}-rc"])
def test_a_tag_makes_a_label_that_a_cluster_takes(tag: str, helm: Path) -> None:
    """A tag may begin or end with what no label does, and be longer."""
    labels = one(render(helm, "claim", "--set-string", f"image.tag={tag}"), "Deployment")["metadata"]["labels"]
    assert re.fullmatch(r"(?=.{1,63}\Z)[^\W_]([\w.-]*[^\W_])?", labels["app.kubernetes.io/version"])


def test_a_pod_listens_at_its_addresses_of_ipv6_if_told(helm: Path) -> None:
    """And otherwise at that of IPv4, which every node can give."""
    for args, expected in (((), "0.0.0.0"), (("--set", "host=::"), "::")):  # noqa: S104
        found = pod(render(helm, "claim", *args))["spec"]["containers"][0]["env"]
        assert {"name": "PGB_HOST", "value": expected} in found


@pytest.mark.parametrize(("name", "empty"), [("cors_origins", []), ("otlp_endpoint", "")])
def test_an_empty_setting_is_the_default(name: str, empty: object, helm: Path) -> None:
    """The service would refuse an empty value in its environment, and no pod would start."""
    settings = json.dumps({name: empty, "drain_seconds": 0, "stop_seconds": 30, "ui": False})
    found = pod(render(helm, "claim", "--set-json", f"settings={settings}"))["spec"]["containers"][0]["env"]
    env = {variable["name"]: variable["value"] for variable in found}
    assert f"PGB_{name.upper()}" not in env
    assert (env["PGB_DRAIN_SECONDS"], env["PGB_UI"]) == ("0", "false")


def test_the_schema_of_the_settings_is_that_of_the_service() -> None:
    """`python deploy/helm/settings_schema.py` writes it."""
    assert json.loads(SCHEMA.read_text())["properties"]["settings"] == settings_schema()


@pytest.mark.parametrize(
    "wrong",
    [
        "replicas=-1",
        "replica=3",
        "image.tag=a b",
        "image.digest=sha256:12",
        "models.from=disk",
        "models.claim.name=",
        "models.from=image",
        "models.from=init",
        "models.serve={/elsewhere}",
        "models.serve={a=b=c}",
        "settings.drain_seconds=-1",
        "settings.drain_seconds=null",
        "settings.max_item=3",
        "settings.port=80",
        "settings.host=::",
        "host=127.0.0.1",
        "settings.runtime=magic",
        "settings.max_body_bytes=many",
        "settings.cors_origins={https://a.example/path}",
        "settings.otlp_endpoint=collector:4318",
        "autoscaling.engine=magic",
        "autoscaling.engine=keda",
        "autoscaling.queueWaitSeconds=0",
        "disruptionBudget.maxUnavailable=0",
        "serviceMonitor.enabled=true",
        "podMonitor.interval=15",
        "keys.enabled=maybe",
        "ingress.host=a b",
        "httpRoute.hosts[0]=",
        "rollingUpdate.maxSurge=half",
        "user=0",
        "env[0].name=PGB_PORT",
        "env[0].name=pgb_port",
        "resources.limits.cpu=two",
        "service.port=0",
    ],
)
def test_wrong_values_are_refused(wrong: str, helm: Path) -> None:
    """By the schema, before anything is rendered, and naming the value."""
    done = _helm(helm, "template", "web", CHART, "-f", CHART / "ci" / "claim.yaml", "--set", wrong)
    assert done.returncode != 0
    assert "schema" in done.stderr
    assert wrong.partition(".")[0].partition("=")[0].partition("[")[0] in done.stderr


@pytest.mark.parametrize("values", SETS, ids=NAMES)
def test_selectors_select(values: Path, helm: Path) -> None:
    """Deployment, Service, disruption budget, network policy and monitor the pods."""
    objects = render(helm, values, "--set", "podLabels.more=x")
    labels = pod(objects)["metadata"]["labels"].items()
    assert ("more", "x") in labels
    for item in (item for item in objects if "spec" in item):
        spec = item["spec"]
        if item["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
            assert spec["selector"]["matchLabels"].items() <= labels
        elif item["kind"] == "Service":
            assert spec["selector"].items() <= labels
        elif item["kind"] == "NetworkPolicy":
            assert spec["podSelector"]["matchLabels"].items() <= labels
        elif item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            assert spec["scaleTargetRef"]["name"] == one(objects, "Deployment")["metadata"]["name"]
    spread = pod(objects)["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert spread.items() <= labels


def test_probes_ask_what_the_service_answers(helm: Path) -> None:
    """Ready and started once the models are; alive as long as the process is."""
    container = pod(render(helm, "claim"))["spec"]["containers"][0]
    (port,) = container["ports"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/health", "readiness": "/health", "liveness": "/v2/health/live"}
    assert {container[f"{name}Probe"]["httpGet"]["port"] for name in paths} == {port["name"]}
    assert set(paths.values()) <= set(create_app(Settings()).openapi()["paths"])


def test_the_autoscaler_asks_for_a_metric_that_the_service_has(helm: Path) -> None:
    """By the name under which Prometheus knows it."""
    query = one(render(helm, "keda-monitoring-gpu"), "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    instruments = Instruments()
    instruments.stages["queue"].labels("m", "1").observe(1)
    (named,) = set(re.findall(r"pgb_\w+", query))
    assert f"{named}{{" in instruments.text().decode()
    assert 'namespace="ml",service="web-pgb-serve"' in query


def test_the_autoscaler_sees_waiting_and_no_traffic_as_no_waiting(helm: Path, tmp_path: Path) -> None:
    """Prometheus evaluates the query: nine in ten waited 50 ms or less, the last half a second at most; then nobody.
    Then the pod is not scraped, and nobody knows."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    query = one(render(helm, "keda-monitoring-gpu"), "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    name = 'pgb_queue_duration_seconds_bucket{namespace="ml",service="web-pgb-serve",le="%s",pod="a"}'
    more = {"0.05": "0+90x20 1800x20", "0.25": "0+90x20 1800x20", "0.5": "0+100x20 2000x20", "+Inf": "0+100x20 2000x20"}
    up = {"series": 'up{job="pgb",namespace="ml",service="web-pgb-serve",pod="a"}', "values": "1x40 0x40"}
    expected = [("4m", [0.375]), ("9m", [0]), ("15m", [])]
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "evaluation_interval": "15s",
                "tests": [
                    {
                        "interval": "15s",
                        "input_series": [up, *({"series": name % le, "values": more[le]} for le in more)],
                        "promql_expr_test": [
                            {
                                "expr": f"round({query}, 0.001)",
                                "eval_time": time,
                                "exp_samples": [{"labels": "{}", "value": value} for value in values],
                            }
                            for time, values in expected
                        ],
                    }
                ],
            }
        )
    )
    done = subprocess.run([promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_autoscaling_leaves_the_number_of_pods_alone(helm: Path) -> None:
    """Or every upgrade would set it back."""
    objects = render(helm, "init-hpa-keys")
    assert "replicas" not in one(objects, "Deployment")["spec"]
    target = one(objects, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]
    assert target == {"type": "AverageValue", "averageValue": "50m"}
    assert one(render(helm, "claim"), "Deployment")["spec"]["replicas"] == 2
