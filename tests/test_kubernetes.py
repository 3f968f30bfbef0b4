"""The manifests of examples/kubernetes: against Kubernetes' own schemas, our commands and settings, and each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from featurestore import config
from featurestore.config import Config
from featurestore.serving import workers
from monitor.baselines import baselines_folder
from tests.our_commands import check_command

FOLDER = Path(__file__).parent.parent / "examples" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
#: The oldest release with everything that they use (a pause by `preStop: sleep`), and a present one.
RELEASES = ("1.30", "1.37")
MANIFESTS: list[dict[str, Any]] = [
    one
    for file in sorted(FOLDER.glob("*.yaml"))
    if file.name != "kustomization.yaml"
    for one in yaml.safe_load_all(file.read_text())
]
#: Of the Prometheus operator, which Kubernetes' schemas do not know.
PLAIN = [one for one in MANIFESTS if one["kind"] != "PodMonitor"]


def name_of(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def template_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    if manifest["kind"] == "CronJob":
        manifest = manifest["spec"]["jobTemplate"]
    template: dict[str, Any] | None = manifest["spec"].get("template")
    return template


#: What runs, with its pod.
PODS = {name_of(one): template for one in PLAIN if (template := template_of(one)) is not None}
SERVERS = ("Deployment featurestore-server", "StatefulSet featurestore-push")


def containers(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from template["spec"].get("initContainers", [])
    yield from template["spec"]["containers"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return the settings, with a URL in the place of the file that has it."""
    folder = tmp_path_factory.mktemp("kubernetes")
    (folder / "url").write_text("postgresql+psycopg://features:hush@postgres/features")
    text = (FOLDER / "featurestore.toml").read_text()
    (folder / config.FILE_NAME).write_text(text.replace("/run/secrets/featurestore/database_url", "url"))
    return config.load(folder)


@pytest.mark.parametrize("release", RELEASES)
def test_they_are_what_kubernetes_says(release: str) -> None:
    for manifest in PLAIN:
        kubernetes_validate.validate(manifest, release, strict=True)
    slip = {**PLAIN[0], "spec": {**PLAIN[0]["spec"], "backofLimit": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(slip, release, strict=True)


def test_every_file_belongs_to_the_kustomization_or_is_offered_by_it() -> None:
    text = (FOLDER / "kustomization.yaml").read_text()
    files = {one.name for one in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) < files
    assert files - set(KUSTOMIZATION["resources"]) == {"podmonitor.yaml", "stream.yaml"}
    assert all(f"# - {one}" in text for one in ("podmonitor.yaml", "stream.yaml"))
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert all((FOLDER / one).is_file() for one in generated["files"])
    names = [name_of(one) for one in MANIFESTS]
    assert len(names) == len(set(names))


def test_every_command_is_one_of_ours() -> None:
    run = {one["name"]: one["args"] for template in PODS.values() for one in containers(template)}
    for arguments in run.values():
        check_command(["featurestore", *arguments])
    assert set(run) == {"server", "push", "monitor", "stream", "apply", "materialize", "compact", "gc"}


def test_no_pod_may_do_more_than_it_needs() -> None:
    for name, template in PODS.items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for one in containers(template):
            guards = one["securityContext"]
            assert guards["readOnlyRootFilesystem"], name
            assert guards["allowPrivilegeEscalation"] is False, name
            assert guards["capabilities"] == {"drop": ["ALL"]}, name
            assert one["resources"]["limits"]["memory"], name
            assert one["resources"]["requests"].keys() == {"cpu", "memory"}, name


def test_servers_are_probed_by_the_health_service_and_have_the_time_to_drain(settings: Config) -> None:
    for name in SERVERS:
        spec = PODS[name]["spec"]
        (server,) = spec["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert server[probe]["grpc"] == {"port": settings.serving.port}
        pause = server["lifecycle"]["preStop"]["sleep"]["seconds"]
        longest = pause + settings.serving.drain_seconds + workers._EXIT_SECONDS
        assert spec["terminationGracePeriodSeconds"] > longest
    (monitor,) = PODS["Deployment featurestore-monitor"]["spec"]["containers"]
    assert monitor["readinessProbe"]["grpc"] == {"port": settings.signals.port}
    # One that stands by has no port, and must not be ended for it.
    assert not {"livenessProbe", "startupProbe"} & set(monitor)


def test_ports_are_those_of_the_settings(settings: Config) -> None:
    found = {
        (one["name"], port["name"], port["containerPort"])
        for template in PODS.values()
        for one in containers(template)
        for port in one.get("ports", [])
    }
    assert found == {
        *((name, "grpc", settings.serving.port) for name in ("server", "push")),
        *((name, "metrics", settings.serving.metrics_port) for name in ("server", "push")),
        ("monitor", "signals", settings.signals.port),
        ("monitor", "metrics", settings.monitor.metrics_port),
        ("stream", "metrics", settings.streaming.metrics_port),
    }
    assert settings.serving.metrics_host == settings.monitor.metrics_host == settings.signals.host == "0.0.0.0"
    policy = next(one for one in MANIFESTS if one["kind"] == "NetworkPolicy")["spec"]
    allowed = [port for rule in policy["ingress"] for port in rule["ports"]]
    for _, _, number in found:
        assert any(one["port"] <= number <= one.get("endPort", one["port"]) for one in allowed), number


def test_what_selects_pods_selects_some_and_meets_their_ports() -> None:
    labels = {name: template["metadata"]["labels"] for name, template in PODS.items()}
    for manifest in MANIFESTS:
        spec = manifest["spec"]
        wanted = {
            "Service": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(manifest["kind"], lambda spec: spec.get("selector", {}).get("matchLabels"))(spec)
        if wanted is None:
            continue
        selected = [name for name, own in labels.items() if wanted.items() <= own.items()]
        assert selected, name_of(manifest)
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            assert selected == [name_of(manifest)]
        if manifest["kind"] == "Service":
            assert spec["clusterIP"] == "None"
            (one,) = selected
            named = {port["name"] for container in containers(PODS[one]) for port in container["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= named
    (scaled,) = [one["spec"]["scaleTargetRef"] for one in MANIFESTS if one["kind"] == "HorizontalPodAutoscaler"]
    assert f"{scaled['kind']} {scaled['name']}" in PODS
    for one in MANIFESTS:
        if one["kind"] == "StatefulSet":
            assert f"Service {one['spec']['serviceName']}" in map(name_of, MANIFESTS)


def test_volumes_are_there_and_secrets_are_files_that_the_settings_read() -> None:
    claims = {one["metadata"]["name"] for one in MANIFESTS if one["kind"] == "PersistentVolumeClaim"}
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    text = (FOLDER / "kustomization.yaml").read_text()
    told = {word.removeprefix("--from-file=") for word in text.split() if word.startswith("--from-file=")}
    lines = [line for line in (FOLDER / "featurestore.toml").read_text().splitlines() if not line.startswith("#")]
    read = {line.rpartition("/")[2].strip('"') for line in lines if "file:/run/secrets/featurestore/" in line}
    assert read | {"aws_credentials"} == told
    for manifest in PLAIN:
        template = template_of(manifest)
        if template is None:
            continue
        made = {one["metadata"]["name"] for one in manifest["spec"].get("volumeClaimTemplates", [])}
        volumes = {one["name"]: one for one in template["spec"]["volumes"]}
        for volume in volumes.values():
            assert volume.get("configMap", generated)["name"] == generated["name"]
            assert volume.get("secret", {"secretName": "featurestore"})["secretName"] == "featurestore"
            assert {volume.get("persistentVolumeClaim", {}).get("claimName")} - {None} <= claims
        for one in containers(template):
            assert {mount["name"] for mount in one["volumeMounts"]} <= set(volumes) | made
            places = {mount["mountPath"]: mount for mount in one["volumeMounts"]}
            assert places["/store/featurestore.toml"]["subPath"] in generated["files"]
            assert places["/store/definitions.py"]["subPath"] in generated["files"]


def test_what_outlives_a_pod_lies_on_a_volume_that_does(settings: Config) -> None:
    log, feedback, push, quarantine = (
        f"/store/{path}"
        for path in (
            settings.serving.log_path,
            settings.serving.feedback_path,
            settings.push.path,
            settings.streaming.path,
        )
    )
    lasting = {
        name: {
            mount["mountPath"]
            for one in containers(template)
            for mount in one["volumeMounts"]
            if mount["name"] in ("logs", "push")
        }
        for name, template in PODS.items()
    }
    assert lasting["Deployment featurestore-server"] == {log, feedback}
    fitted = Path("/store") / baselines_folder(settings).parent.relative_to(settings.root)
    assert lasting["Deployment featurestore-monitor"] == {log, feedback, str(fitted)}
    assert lasting["StatefulSet featurestore-push"] == {log, feedback, push}
    assert lasting["StatefulSet featurestore-stream"] == {push, quarantine}
    # Where gc removes old files.
    assert lasting["CronJob featurestore-upkeep"] == {log, feedback}


def test_both_examples_serve_the_same_definitions() -> None:
    other = FOLDER.parent / "compose" / "store" / "definitions.py"
    assert (FOLDER / "definitions.py").read_text() == other.read_text()
