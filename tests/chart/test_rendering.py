"""What Helm makes of the chart: for every scenario in `ci/`, by Helm 3 and 4, held against what
Kubernetes 1.31 to 1.37 take."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from rendered import CHART, NAMESPACE, SCENARIOS, Document, Helm, Rendered, values_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KUBERNETES = [f"1.{minor}" for minor in range(31, 38)]

# Kinds that Kubernetes itself doesn't know, by whose they are. Nothing here holds them to a schema.
NOT_KUBERNETES = {
    ("cert-manager.io/v1", "Certificate"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"),
    ("policy.linkerd.io/v1beta3", "Server"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
}


def pods(rendered: Rendered) -> list[Document]:
    """The specs of all pods, `helm test`'s too."""
    templates = [one["spec"]["template"]["spec"] for one in rendered.all("Deployment")]
    return templates + [one["spec"] for one in rendered.all("Pod")]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_passes_a_strict_lint(helm: Helm, scenario: str) -> None:
    run = helm.run("lint", "--strict", "--quiet", CHART, "--values", values_of(scenario))
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_object_is_one_that_kubernetes_takes(helm: Helm, scenario: str) -> None:
    documents = helm.render(scenario).documents
    assert documents
    for document in documents:
        if (document["apiVersion"], document["kind"]) in NOT_KUBERNETES:
            continue
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)


def test_no_kind_is_excepted_that_the_scenarios_do_not_make(helm4: Helm) -> None:
    made = {
        (document["apiVersion"], document["kind"])
        for scenario in SCENARIOS
        for document in helm4.render(scenario).documents
    }
    assert NOT_KUBERNETES <= made
    # Whatever else can be made is in some scenario, and so held to Kubernetes's schemas.
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.yaml"))
    assert set(re.findall(r"^kind: (\w+)$", templates, re.M)) <= {kind for _, kind in made}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_text_is_neat(helm4: Helm, scenario: str) -> None:
    lines = helm4.render(scenario).text.splitlines()
    for number, line in enumerate(lines):
        assert line == line.rstrip(), f"line {number} ends in white space: {line!r}"
        assert "<no value>" not in line and "%!" not in line, line
        assert line or not lines[number - 1].endswith(":"), f"a hole after {lines[number - 1]!r}"
    names = [
        (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])
        for one in helm4.render(scenario).documents
    ]
    assert len(set(names)) == len(names), "two objects of one name"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_pod_meets_the_restricted_standard(helm4: Helm, scenario: str) -> None:
    """Kubernetes' Pod Security Standard, point by point, and a little more."""
    for pod in pods(helm4.render(scenario)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for volume in pod.get("volumes", []):
            [kind] = set(volume) - {"name"}
            assert kind in {"configMap", "secret", "projected", "csi"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not any("hostPort" in port for port in container.get("ports", []))
            assert container["resources"]["limits"]["memory"]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_everything_that_selects_pods_selects_the_right_ones(helm4: Helm, scenario: str) -> None:
    rendered = helm4.render(scenario)
    server = rendered.pod["metadata"]["labels"]
    others = [
        one["metadata"]["labels"] for one in rendered.all("Pod")
    ] + [
        one["spec"]["template"]["metadata"]["labels"]
        for one in rendered.all("Deployment")
        if one["metadata"]["name"].endswith("-valkey")
    ]
    assert others or scenario in {"tls-volume", "linkerd", "istio"}

    def held(kind: str, *path: str) -> None:
        for one in rendered.all(kind):
            selector: Any = one["spec"]
            for part in path:
                selector = selector[part]
            of_valkey = one["metadata"]["name"].endswith("-valkey")
            assert selects(selector, server) is not of_valkey, (kind, one["metadata"]["name"])
            assert any(selects(selector, other) for other in others) is of_valkey, (kind, selector)

    held("Deployment", "selector", "matchLabels")
    held("Service", "selector")
    held("PodDisruptionBudget", "selector", "matchLabels")
    held("NetworkPolicy", "podSelector", "matchLabels")
    held("PodMonitor", "selector", "matchLabels")
    held("PeerAuthentication", "selector", "matchLabels")
    held("Server", "podSelector", "matchLabels")
    for spread in rendered.pod["spec"]["topologySpreadConstraints"]:
        assert selects(spread["labelSelector"]["matchLabels"], server)
    for monitor in rendered.all("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        found = [one for one in rendered.all("Service") if selects(wanted, one["metadata"]["labels"])]
        assert [one["metadata"]["name"] for one in found] == ["tried-mintage-metrics"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ports_have_the_same_name_wherever_they_are_named(helm4: Helm, scenario: str) -> None:
    rendered = helm4.render(scenario)
    ports = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    config = tomllib.loads(rendered.toml)
    assert ports == {
        "grpc": int(config["listen"].rpartition(":")[2]),
        "admin": int(config["admin_listen"].rpartition(":")[2]),
    }
    for service in rendered.all("Service"):
        if not service["metadata"]["name"].endswith("-valkey"):
            for port in service["spec"]["ports"]:
                assert port["targetPort"] in ports and port["targetPort"] == port["name"]
                assert service["spec"].get("clusterIP") != "None" or port["port"] == ports[port["name"]]
    for policy in rendered.all("NetworkPolicy"):
        if not policy["metadata"]["name"].endswith("-valkey"):
            opened = [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]]
            assert opened in ([ports["grpc"]], [ports["grpc"], ports["admin"]])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_mounted_is_what_the_configuration_reads(helm4: Helm, scenario: str) -> None:
    rendered = helm4.render(scenario)
    volumes = {volume["name"] for volume in rendered.pod["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in rendered.container["volumeMounts"]}
    assert set(mounts.values()) == volumes, "nothing is mounted for nothing"
    for mount in rendered.container["volumeMounts"]:
        assert mount["readOnly"]
        assert not {"subPath", "subPathExpr"} & set(mount), "what changes would never arrive"
    named = re.findall(r'= "(/[^"]+)"', rendered.toml) + rendered.container["args"][2:]
    folders = {path if path in mounts else str(Path(path).parent) for path in named}
    assert folders == set(mounts)


def test_the_configuration_is_what_the_values_say(helm: Helm) -> None:
    """Numbers, lists, tables, tables in tables, and whatever a string may hold."""
    odd = 'a "b" \\ c\n<é> & \u2028 \t\'#'
    rendered = helm.render("memory", {
        "test.enabled": False,
        "config.log.filter": odd,
        "config.limits": {"mint_per_client": {"burst": 1000000, "period": "1m"}, "enabled": True},
        "config.store": {"max_entries": 100000000},
        "config.telemetry": {"trace_ratio": 1, "metrics_interval": 60, "otlp_endpoint": "http://c:1"},
        "config.indexes.a\\.b": {"audience": "x", "location": "y", "issuers": [], "retry_window": 0},
    })
    config = tomllib.loads(rendered.toml)
    assert config["log"]["filter"] == odd
    assert config["limits"] == {
        "enabled": True, "mint_per_client": {"burst": 1_000_000, "period": "1m"},
    }
    assert config["store"] == {"kind": "memory", "max_entries": 100_000_000}
    assert type(config["store"]["max_entries"]) is int
    assert config["telemetry"]["trace_ratio"] == 1.0
    assert type(config["telemetry"]["trace_ratio"]) is float
    assert config["telemetry"]["metrics_interval"] == 60
    assert config["indexes"]["a.b"] == {
        "audience": "x", "location": "y", "issuers": [], "retry_window": 0,
    }
    assert config["keyring"] == {"directory": "/etc/mintage/keys", "current": "2026-11-21-k3fz"}
    assert [caller["name"] for caller in config["callers"]] == ["web"]
    half = helm.render("memory", {"config.telemetry": {"trace_ratio": 0.25}})
    assert tomllib.loads(half.toml)["telemetry"] == {"trace_ratio": 0.25}


def test_callers_and_the_key_that_mints_change_without_new_pods_and_the_rest_with_them(
    helm4: Helm,
) -> None:
    before = helm4.render("memory")
    other = [{"name": "other", "token_sha256": "0" * 64, "may": ["verify"]}]
    for taken in ({"config.callers": other}, {"keyring.current": "2026-12"}):
        after = helm4.render("memory", taken)
        assert after.toml != before.toml and after.pod == before.pod, taken
    # The first caller and the last are taken with a restart.
    nobody = {"config.callers": [], "config.allow_anonymous_callers": True}
    for changed in (nobody, {"config.log.filter": "debug"}):
        assert helm4.render("memory", changed).checksum != before.checksum, changed


def test_a_generated_key_begins_to_mint_without_new_pods_and_comes_and_goes_with_them(
    helm4: Helm,
) -> None:
    before = helm4.render("generated-keyring")
    moved = helm4.render("generated-keyring", {"keyring.current": "2026-12"})
    assert moved.toml != before.toml and moved.pod == before.pod
    another = {"keyring.generate.keys": ["2026-11", "2026-12", "2027-01"]}
    assert helm4.render("generated-keyring", another).pod != before.pod


def test_the_pod_takes_calls_for_a_while_once_it_is_told_to_stop_and_has_time_to_end(
    helm4: Helm,
) -> None:
    rendered = helm4.render("memory")
    server = tomllib.loads(rendered.toml)["server"]
    assert (server["drain_delay"], server["shutdown_grace"]) == ("5s", "25s")
    assert rendered.pod["spec"]["terminationGracePeriodSeconds"] == 40 > 5 + 25
    assert "lifecycle" not in rendered.container, "nothing has to be waited for before"
    own = {"preStop": {"httpGet": {"path": "/livez", "port": "admin"}}}
    assert helm4.render("memory", {"lifecycle": own}).container["lifecycle"] == own


def test_pods_are_replaced_one_after_the_other_and_with_a_memory_of_their_own_never_together(
    helm4: Helm,
) -> None:
    assert helm4.render("memory").one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    rolling = helm4.render("sentinel").one("Deployment")["spec"]["strategy"]
    assert rolling["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_autoscaler_alone_says_how_many_pods_there_are(helm4: Helm) -> None:
    rendered = helm4.render("production")
    assert "replicas" not in rendered.one("Deployment")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "tried-mintage"
    assert scaler["metrics"][0]["containerResource"]["container"] == rendered.container["name"]


def test_probes_go_where_the_kubelet_can_ask(helm4: Helm) -> None:
    http = {"httpGet": {"path": "/readyz", "port": "admin"}}
    for scenario in SCENARIOS:
        rendered = helm4.render(scenario)
        container = rendered.container
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/livez", "port": "admin"}, scenario
        if scenario in {"tls", "tls-volume", "linkerd", "istio"}:
            assert http.items() <= container["readinessProbe"].items(), scenario
        else:
            assert container["readinessProbe"]["grpc"] == {"port": 50051}, scenario


def rules(rendered: Rendered, direction: str) -> list[Any]:
    found: list[Any] = rendered.one("NetworkPolicy")["spec"][direction]
    return found


def test_the_network_policy_opens_the_ports_that_the_configuration_names(helm4: Helm) -> None:
    def opened(scenario: str, values: dict[str, Any] | None = None) -> list[list[int]]:
        egress = rules(helm4.render(scenario, values), "egress")
        return [[port["port"] for port in rule["ports"]] for rule in egress]

    assert opened("production") == [[53, 53], [6380], [443, 8443]]
    assert opened("sentinel") == [[53, 53], [6379, 26379, 26380], [443]]
    assert opened("cluster") == [[53, 53], [6379, 6380], [443]]
    assert opened("telemetry") == [[53, 53], [443], [4317]]
    assert opened("telemetry", {"config.telemetry.otlp_endpoint": "http://c"})[-1] == [80]
    assert opened("valkey") == [[53, 53], [6379], [443]]
    extra = {"networkPolicy.egress.extra": [{"ports": [{"port": 1}]}]}
    assert opened("production", extra)[-1] == [1]
    closed = helm4.render("production", {"networkPolicy.egress.enabled": False})
    assert "egress" not in closed.one("NetworkPolicy")["spec"]
    assert closed.one("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]


def test_names_fit_however_long_the_release_is_called(helm4: Helm) -> None:
    run = helm4.run("template", "a" * 53, CHART, "--values", values_of("generated-keyring"),
                    "--set", "service.headless.enabled=true,metrics.service.enabled=true")
    assert run.returncode == 0, run.stderr
    for name in re.findall(r"^  name: (\S+)$", run.stdout, re.M):
        assert len(name) <= 63, name


def test_extra_objects_are_templates_as_objects_and_as_text(helm4: Helm) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-text\n  namespace: x\n"
    made = {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "{{ .Release.Name }}-object", "namespace": "x"}}
    rendered = helm4.render("memory", {"extraObjects": [text, made]})
    names = {one["metadata"]["name"] for one in rendered.all("ConfigMap")}
    assert names == {"tried-mintage", "tried-text", "tried-object"}, names
    assert NAMESPACE == rendered.one("ConfigMap")["metadata"]["namespace"]


def test_a_scraper_calls_the_job_as_the_rules_and_the_dashboard_do(helm4: Helm) -> None:
    own = [{"targetLabel": "cluster", "replacement": "one"}]
    job = {"targetLabel": "job", "replacement": "mintage"}
    service = helm4.render("production", {"metrics.serviceMonitor.relabelings": own})
    [endpoint] = service.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["relabelings"] == [job, *own] and endpoint["path"] == "/metrics"
    [endpoint] = helm4.render("linkerd").one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [job]


def test_rules_and_dashboard_come_as_they_are(helm4: Helm) -> None:
    rendered = helm4.render("production")
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert rendered.one("PrometheusRule")["spec"] == rules and rules["groups"]
    dashboard = rendered.one("ConfigMap", "-dashboard")
    assert json.loads(dashboard["data"]["mintage.json"]) == json.loads(
        (CHART / "files" / "dashboard.json").read_text()
    )
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    elsewhere = helm4.render("telemetry").one("PrometheusRule")
    assert elsewhere["metadata"]["namespace"] == "monitoring"
