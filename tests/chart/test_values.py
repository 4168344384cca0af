"""What the chart says to values that are wrong: the schema to what is of a wrong form, the
templates to what can't work together."""

from __future__ import annotations

from typing import Any

import pytest

from rendered import CHART, Helm

Values = dict[str, Any]

UNKNOWN = "additional properties {} not allowed"

WRONG_FORM: dict[str, tuple[Values, str]] = {
    "an unknown value": ({"replica": 2}, "at '': " + UNKNOWN.format("'replica'")),
    "an unknown part": ({"image.name": "x"}, "at '/image': " + UNKNOWN.format("'name'")),
    "an unknown key of the configuration": (
        {"config.server.max_inflight": 5}, "at '/config/server': " + UNKNOWN.format("'max_inflight'"),
    ),
    "what the chart sets itself": (
        {"config.listen": "0.0.0.0:1"}, "at '/config': " + UNKNOWN.format("'listen'"),
    ),
    "a word for a number": ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    "a negative number": ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
    "a word for a switch": ({"tls.enabled": "yes"}, "at '/tls/enabled': got string, want boolean"),
    "a tag for a digest": ({"image.digest": "latest"}, "at '/image/digest': 'latest' does not match"),
    "a pull policy that isn't one": (
        {"image.pullPolicy": "Sometimes"},
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    "a time without a unit": (
        {"config.server.shutdown_grace": "soon"}, "at '/config/server/shutdown_grace': 'soon' does not",
    ),
    "a provider that isn't one": (
        {"config.issuers": [{"url": "https://a.example", "provider": "bitbucket"}]},
        "at '/config/issuers/0/provider': value must be one of 'github', 'gitlab'",
    ),
    "a caller without rights": (
        {"config.callers": [{"name": "web", "san": "a.example"}]},
        "at '/config/callers/0': missing property 'may'",
    ),
    "a right that isn't one": (
        {"config.callers": [{"name": "web", "san": "a.example", "may": ["mint"]}]},
        "at '/config/callers/0/may/0': value must be one of 'mint-publisher', 'mint-user'",
    ),
    "an index without a location": (
        {"config.indexes.pypi": {"audience": "pypi"}}, "at '/config/indexes/pypi': missing prop",
    ),
    "a store that isn't one": (
        {"config.store": {"kind": "postgres"}},
        "at '/config/store/kind': value must be one of 'memory', 'redis'",
    ),
    "a password in the configuration": (
        {"config.store": {"password": "x"}}, "at '/config/store': " + UNKNOWN.format("'password'"),
    ),
    "a port that isn't one": ({"ports.grpc": 70000}, "at '/ports/grpc': maximum: got 70,000, want 65"),
    "an address with a port": ({"ports.address": "0.0.0.0:1"}, "at '/ports/address': '0.0.0.0:1' does"),
    "a share of more than all": (
        {"config.telemetry": {"trace_ratio": 2}},
        "at '/config/telemetry/trace_ratio': maximum: got 2, want 1",
    ),
    "a key id that no Secret can be called by": (
        {"keyring.generate.keys": ["Key_1"]}, "at '/keyring/generate/keys/0': 'Key_1' does not match",
    ),
    "no key at all": ({"keyring.generate.keys": []}, "at '/keyring/generate/keys': minItems: got 0"),
    "a budget of words": (
        {"podDisruptionBudget.maxUnavailable": "one"},
        "at '/podDisruptionBudget/maxUnavailable': 'one' does not match",
    ),
    "a number for a label": ({"podLabels": {"tier": 1}}, "at '/podLabels/tier': got number, want string"),
    "a spread without a key": (
        {"topologySpreadConstraints": [{"maxSkew": 1}]},
        "at '/topologySpreadConstraints/0': missing properties 'topologyKey', 'whenUnsatisfiable'",
    ),
    "a Secret's name that can't be": (
        {"keyring.existingSecret": "My_Secret"}, "at '/keyring/existingSecret': 'My_Secret' does not",
    ),
}


@pytest.mark.parametrize("case", WRONG_FORM)
def test_the_schema_names_the_value_and_what_it_should_be(helm: Helm, case: str) -> None:
    values, sentence = WRONG_FORM[case]
    said = helm.refuses("memory", values)
    assert sentence in said, said
    assert len(said.splitlines()) <= 6, said


TOKEN = {"name": "web", "token_sha256": "0" * 64, "may": ["verify"]}
REDIS: Values = {"config.store": {"kind": "redis", "url": "redis://redis.internal"}}
MEMORY_IS_FOR_ONE = (
    "needs Redis (config.store.kind=redis): each pod with a memory store remembers for itself which"
    " ID tokens were redeemed."
)

CAN_NOT_WORK: dict[str, tuple[str, Values, str]] = {
    "several pods with a memory each": ("memory", {"replicas": 2}, f"replicas=2 {MEMORY_IS_FOR_ONE}"),
    "as many pods with a memory each as it takes": (
        "memory", {"autoscaling.enabled": True}, f"autoscaling.enabled {MEMORY_IS_FOR_ONE}",
    ),
    "two pods with a memory each during a rollout": (
        "memory", {"strategy": {"type": "RollingUpdate"}},
        "strategy must be Recreate with the memory store, or two pods would redeem an ID token once"
        " each during a rollout.",
    ),
    "nobody named who may call": (
        "memory", {"config.callers": []},
        "config.callers is empty: name who may call, or say config.allow_anonymous_callers=true where"
        " a mesh or a NetworkPolicy decides who reaches the port.",
    ),
    "everybody, and somebody": (
        "memory", {"config.allow_anonymous_callers": True},
        "config.allow_anonymous_callers must not be true where there are config.callers.",
    ),
    "a caller's token in place of its SHA-256": (
        "memory", {"config.callers": [{**TOKEN, "token_sha256": "swordfish"}]},
        'config.callers: the token_sha256 of "web" must be 64 hexadecimal digits: the token\'s'
        " SHA-256, and not the token.",
    ),
    "a caller without a proof": (
        "memory", {"config.callers": [{"name": "web", "may": ["verify"]}]},
        'config.callers: "web" needs token_sha256 or san, to prove itself by.',
    ),
    "a caller by certificate without certificates": (
        "memory", {"config.callers": [{"name": "web", "san": "a.example", "may": ["verify"]}]},
        'config.callers: "web" proves itself by a certificate, which needs tls.enabled and'
        " tls.clientCa.",
    ),
    "a caller of an index that isn't there": (
        "memory", {"config.callers": [{**TOKEN, "indexes": ["other"]}]},
        'config.callers: "other" is not among config.indexes.',
    ),
    "no index": (
        "memory", {"config.indexes": None},
        "config.indexes is empty: configure at least one index, as in config.indexes.pypi with"
        " audience and location.",
    ),
    "an issuer that isn't configured": (
        "memory", {"config.issuers": []},
        "config.indexes.pypi.issuers names https://token.actions.githubusercontent.com, which is not"
        " among config.issuers.",
    ),
    "an authority that isn't mounted": (
        "generated-keyring", {"issuerCa.existingConfigMap": ""},
        "config.issuers: the ca_file of https://gitlab.example:8443 needs issuerCa.existingConfigMap.",
    ),
    "no keyring": (
        "memory", {"keyring.existingSecret": ""},
        "keyring is missing: name a Secret with master keys in keyring.existingSecret, or say"
        " keyring.generate.enabled=true.",
    ),
    "no key that mints": (
        "memory", {"keyring.current": ""},
        "keyring.current is empty: say which key of the Secret mintage-keyring mints.",
    ),
    "two keyrings": (
        "memory", {"keyring.generate.enabled": True},
        "keyring.existingSecret and keyring.generate.enabled exclude each other.",
    ),
    "a generated key that isn't generated": (
        "generated-keyring", {"keyring.current": "2027-01"},
        "keyring.current must be one of keyring.generate.keys, which are 2026-11, 2026-12.",
    ),
    "a Redis without an address": (
        "memory", {"config.store": {"kind": "redis"}},
        "config.store.url is missing: say where Redis is, or name the Secret's entry with its URL in"
        " redis.secretKeys.url.",
    ),
    "a Redis with two addresses": (
        "cluster", {"config.store.url": "redis://redis.internal"},
        "config.store.url and redis.secretKeys.url exclude each other.",
    ),
    "a Redis of another kind of address": (
        "memory", {"config.store": {"kind": "redis", "url": "http://redis.internal"}},
        "config.store.url must begin with redis:// or, for TLS, rediss://.",
    ),
    "a password in a ConfigMap": (
        "memory", {"config.store": {"kind": "redis", "url": "redis://web:swordfish@redis.internal"}},
        "config.store.url holds a password, and a ConfigMap is no place for one: use"
        " redis.secretKeys.",
    ),
    "entries of no Secret": (
        "memory", {**REDIS, "redis.secretKeys.password": "password"},
        "redis.secretKeys names entries of a Secret, but redis.existingSecret is empty.",
    ),
    "a Secret without entries": (
        "memory", {**REDIS, "redis.existingSecret": "redis"},
        "redis.existingSecret is there, but redis.secretKeys names none of its entries.",
    ),
    "Redis's password for a memory": (
        "memory", {"redis.existingSecret": "redis", "redis.secretKeys.password": "password"},
        "redis.secretKeys is for config.store.kind=redis only.",
    ),
    "two Redises": (
        "memory", {**REDIS, "valkey.enabled": True},
        "valkey.enabled brings its own config.store.kind and url, without a password: leave them, and"
        " redis, empty.",
    ),
    "fewer pods than at least": (
        "production", {"autoscaling.maxReplicas": 2},
        "autoscaling.minReplicas must not be more than autoscaling.maxReplicas.",
    ),
    "a percentage of nothing": (
        "production", {"resources.requests.cpu": None},
        "autoscaling.targetCPUUtilizationPercentage needs resources.requests.cpu, of which it is a"
        " percentage.",
    ),
    "nothing to scale by": (
        "production", {"autoscaling.targetCPUUtilizationPercentage": None},
        "autoscaling has nothing to steer by: give it targetCPUUtilizationPercentage or metrics.",
    ),
    "less time to end than running calls get": (
        "memory", {"terminationGracePeriodSeconds": 30},
        "terminationGracePeriodSeconds=30 must be longer than config.server.drain_delay and"
        " config.server.shutdown_grace together, which are 30 seconds: running calls would be cut off.",
    ),
    "running calls that get longer than there is": (
        "memory", {"config.server.shutdown_grace": "1m500ms"},
        "terminationGracePeriodSeconds=40 must be longer than config.server.drain_delay and"
        " config.server.shutdown_grace together, which are 66 seconds: running calls would be cut off.",
    ),
    "a delay that leaves running calls no time": (
        "memory", {"config.server.drain_delay": 15},
        "terminationGracePeriodSeconds=40 must be longer than config.server.drain_delay and"
        " config.server.shutdown_grace together, which are 40 seconds: running calls would be cut off.",
    ),
    "less time to end than the service's own defaults": (
        "memory",
        {"config.server.drain_delay": None, "config.server.shutdown_grace": None,
         "terminationGracePeriodSeconds": 25},
        "terminationGracePeriodSeconds=25 must be longer than config.server.drain_delay and"
        " config.server.shutdown_grace together, which are 25 seconds: running calls would be cut off.",
    ),
    "TLS without a certificate": (
        "memory", {"tls.enabled": True},
        "tls.enabled needs a certificate: tls.existingSecret, tls.volume or tls.certManager.enabled.",
    ),
    "TLS with two certificates": (
        "tls", {"tls.existingSecret": "mintage-tls"},
        "tls.existingSecret and tls.certManager.enabled exclude each other.",
    ),
    "a certificate without TLS": (
        "memory", {"tls.existingSecret": "mintage-tls"},
        "tls.existingSecret is there, but tls.enabled is false.",
    ),
    "certificates of clients without TLS": (
        "memory", {"tls.clientCa.existingSecret": "clients"},
        "tls.clientCa is there, but tls.enabled is false.",
    ),
    "two authorities of clients": (
        "tls", {"tls.clientCa.fromServer": True},
        "tls.clientCa has existingConfigMap and fromServer, which exclude each other.",
    ),
    "a certificate by nobody": (
        "memory",
        {"tls.enabled": True, "tls.certManager.enabled": True},
        "tls.certManager.issuerRef.name is empty: name cert-manager's issuer.",
    ),
    "gRPC probes over TLS": (
        "tls", {"probes.readiness": "grpc"},
        "probes.readiness=grpc doesn't work with tls.enabled: the kubelet's gRPC probes don't speak"
        " TLS.",
    ),
    "gRPC probes past Linkerd": (
        "linkerd", {"probes.readiness": "grpc"},
        "probes.readiness=grpc doesn't work with mesh.linkerd.authorization.enabled: Linkerd lets the"
        " kubelet's HTTP probes through, and no others.",
    ),
    "a budget of nothing": (
        "production", {"podDisruptionBudget.maxUnavailable": 0},
        "podDisruptionBudget.maxUnavailable=0 lets no pod be evicted, so no node can be drained.",
    ),
    "a budget that keeps all": (
        "linkerd", {"podDisruptionBudget.minAvailable": 3},
        "podDisruptionBudget.minAvailable=3 lets none of 3 pods be evicted, so no node can be drained.",
    ),
    "a budget that keeps all when rounded": (
        "linkerd", {"podDisruptionBudget.minAvailable": "67%"},
        "podDisruptionBudget.minAvailable=67% lets none of 3 pods be evicted, so no node can be"
        " drained.",
    ),
    "a budget that keeps the least": (
        "production", {"podDisruptionBudget.minAvailable": 3, "podDisruptionBudget.maxUnavailable": ""},
        "podDisruptionBudget.minAvailable=3 lets none of 3 pods be evicted, so no node can be drained.",
    ),
    "two budgets": (
        "production", {"podDisruptionBudget.minAvailable": 1},
        "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other.",
    ),
    "a policy that lets nobody in": (
        "production", {"networkPolicy.clients": []},
        "networkPolicy.clients is empty: nobody could call; name the web tier's pods.",
    ),
    "a policy that can't know Redis's port": (
        "cluster", {"networkPolicy.egress.redisPorts": []},
        "networkPolicy.egress.redisPorts is empty, and Redis's URL is in a Secret, which nobody reads"
        " here: name the ports.",
    ),
    "one port for two things": (
        "memory", {"ports.admin": 50051}, "ports.grpc and ports.admin must differ.",
    ),
    "two meshes": (
        "istio", {"mesh.linkerd.enabled": True},
        "mesh.linkerd.enabled and mesh.istio.enabled exclude each other.",
    ),
    "Linkerd's word without Linkerd": (
        "linkerd", {"mesh.linkerd.enabled": False},
        "mesh.linkerd.authorization.enabled needs mesh.linkerd.enabled: nothing else would hold to it.",
    ),
    "Linkerd's word for nobody": (
        "linkerd", {"mesh.linkerd.authorization.clients": []},
        "mesh.linkerd.authorization.clients is empty: nobody could call.",
    ),
    "Istio's word without Istio": (
        "istio", {"mesh.istio.enabled": False},
        "mesh.istio.authorization.enabled needs mesh.istio.enabled: nothing else would hold to it.",
    ),
    "Istio's word for nobody": (
        "istio", {"mesh.istio.authorization.principals": []},
        "mesh.istio.authorization.principals is empty: nobody could call.",
    ),
    "TLS that a mesh can't look into": (
        "tls", {"mesh.istio.enabled": True},
        "tls.enabled hides the calls from the mesh, which could then neither balance nor count them:"
        " leave TLS to the mesh.",
    ),
    "everything counted twice": (
        "production", {"metrics.podMonitor.enabled": True},
        "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled exclude each other: everything"
        " would be counted twice.",
    ),
    "a test that trusts nobody": (
        "tls-volume", {"test.enabled": True, "tls.clientCa.clientCertificates": "optional"},
        "test.caSecret is empty: name a Secret with the ca.crt that helm test trusts, or say"
        " test.enabled=false.",
    ),
    "a test that has no certificate": (
        "tls", {"test.clientCertificateSecret": ""},
        "test.clientCertificateSecret is empty, but clients must show certificates: name one for helm"
        " test, or say test.enabled=false.",
    ),
    "a test of an index that isn't there": (
        "memory", {"test.index": "other"}, "test.index names other, which is not among config.indexes.",
    ),
    "a test of any of several indexes": (
        "headless", {"test.existingSecret": "callers"},
        "test.index is empty: say for which of the indexes internal, pypi helm test mints.",
    ),
}


def sentences(said: str) -> list[str]:
    """Those that the chart itself says."""
    return [line.removeprefix("  - ") for line in said.splitlines() if line.startswith("  - ")]


def test_a_pod_that_waits_for_nothing_needs_no_time_to_end(helm4: Helm) -> None:
    for nothing in (0, "0s"):
        helm4.render("memory", {
            "config.server.drain_delay": nothing, "config.server.shutdown_grace": nothing,
            "terminationGracePeriodSeconds": 1,
        })


@pytest.mark.parametrize("case", CAN_NOT_WORK)
def test_what_can_not_work_is_refused_with_one_sentence(helm4: Helm, case: str) -> None:
    scenario, values, sentence = CAN_NOT_WORK[case]
    said = helm4.refuses(scenario, values)
    assert sentences(said) == [sentence], said
    assert "swordfish" not in said


def test_everything_that_can_not_work_is_said_at_once(helm: Helm) -> None:
    said = helm.refuses(None, {"replicas": 3})
    assert [sentence.split(" ")[0] for sentence in sentences(said)] == [
        "config.callers", "config.indexes", "keyring", "replicas=3",
    ], said


def test_every_refusal_of_the_templates_has_its_case() -> None:
    """Sentences are found by their first words up to what a template fills in."""
    template = (CHART / "templates" / "_refusals.tpl").read_text()
    lines = [line for line in template.splitlines() if line.endswith(".") and "{{/*" not in line]
    refusals = [line.split("}}", 1)[-1] if line.startswith("{{") else line for line in lines]
    refusals = [line for line in refusals if not line.startswith(" ")]
    known = [sentence for _, _, sentence in CAN_NOT_WORK.values()]
    for refusal in refusals:
        parts = [part for part in _between_templates(refusal) if len(part) > 12]
        assert parts, refusal
        assert any(all(part in sentence for part in parts) for sentence in known), refusal


def _between_templates(line: str) -> list[str]:
    return [part.split("}}", 1)[-1] for part in line.split("{{")]
