"""What the chart renders, run: the real program with just the arguments, the environment, the
ConfigMaps and the Secrets of the YAML, asked by the probes of the YAML, and by `helm test`'s pod.

`node` says how. Redis is a real one wherever it is asked for anything.
"""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import node
from kit.mintage import redis_server
from kit.places import BINARY, REPOSITORY
from node import Cluster, Node, container_of
from rendered import NAMESPACE, RELEASE, SCENARIOS, Helm, Rendered
from support.certificates import Authority

SERVICE = f"{RELEASE}-mintage.{NAMESPACE}.svc"
HOSTS = [SERVICE, "redis.internal", f"{RELEASE}-mintage-valkey"]

CALLER = b"test"
"""The token whose SHA-256 the scenarios have, of the caller `web`."""

PASSWORD = "a password, made for tests".replace(" ", "-")

SLOWLY = {"config.server.drain_delay": "10m", "terminationGracePeriodSeconds": 640}
"""A pod leaves as slowly as this machine may look at it; told again, it hurries."""

RIGHTS = (
    "~mintage:* +info +select +eval +evalsha +get +getrange +set +del +hmget +hset +time +wait"
    " +cluster|slots +asking"
)
"""What the README gives to Mintage's user of Redis."""


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    if not BINARY.is_file():
        subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=REPOSITORY, check=True)


@pytest.fixture
def a_node(tmp_path: Path) -> Node:
    why = node.refused()
    if why is not None:
        pytest.skip(f"NOT TESTED, that the rendered pods run: no namespaces here: {why}")
    folder = tmp_path / "node"
    folder.mkdir()
    return Node(folder, HOSTS)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Everything that the scenarios find in their cluster, made on the spot."""
    authority = Authority()
    ca = authority.pem

    def pair(name: str) -> dict[str, bytes]:
        certificate, key = authority.issue(name)
        return {"tls.crt": certificate, "tls.key": key, "ca.crt": ca}

    server, redis = pair(SERVICE), pair("redis.internal")
    client = pair("spiffe://index.internal/ns/index/sa/web")
    key = b"\n".join([base64.b64encode(os.urandom(32)), b""])
    other = base64.b64encode(os.urandom(32))
    store = {
        "password": PASSWORD.encode() + b"\n",
        "sentinel-password": b"another",
        "url": f"rediss://:{PASSWORD}@redis.internal".encode(),
        "ca.pem": ca,
    }
    return Cluster(
        {
            "mintage-keyring": {"2026-11-21-k3fz": key, "2026-11": other},
            "mintage-redis": {**redis, **store},
            "mintage-callers": {"web": CALLER + b"\n"},
            "mintage-otlp": {"headers": b"x-token: swordfish\n", "ca.pem": ca},
            "mintage-smoke-client": client,
            "company-authorities": {"gitlab.pem": ca},
            "spiffe-trust-bundle": {"bundle.pem": ca},
            f"{RELEASE}-mintage-tls": server,
        },
        {"spiffe.csi.cert-manager.io": server},
    )


def check(rendered: Rendered, cluster: Cluster) -> dict[str, Any]:
    """The pod that says what its configuration comes to."""
    arguments = ["config", "check", *rendered.container["args"][1:]]
    return container_of(rendered.pod["spec"], cluster.with_release(rendered), arguments)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_service_takes_every_scenarios_configuration(
    helm4: Helm, cluster: Cluster, a_node: Node, scenario: str
) -> None:
    rendered = helm4.render(scenario)
    ran = a_node.run({"pod": check(rendered, cluster)})
    assert ran["code"] == 0, ran["log"]
    assert "is good." in ran["log"]
    for index in ("pypi", "internal"):
        assert (f"indexes.{index}]" in rendered.toml) == (index in ran["log"].split())


def serve(
    node: Node, rendered: Rendered, cluster: Cluster, **more: Any
) -> dict[str, Any]:
    """The Deployment's pod and, with `smoke`, that of `helm test` beside it."""
    everything = cluster.with_release(rendered)
    plan: dict[str, Any] = {"serve": True, "pod": container_of(rendered.pod["spec"], everything)}
    if rendered.has("Pod"):
        plan["smoke"] = container_of(rendered.one("Pod", "-smoke")["spec"], everything)
    ran = node.run({**plan, **more})
    assert ran["status"] == {
        "Uid": ["65532"] * 4, "Gid": ["65532"] * 4, "Groups": ["65532"],
        "CapEff": ["0" * 16], "CapBnd": ["0" * 16], "NoNewPrivs": ["1"],
    }
    assert ran["writes"] is False, "the root is read-only"
    assert ran["code"] == 0, ran["log"]
    assert ran["leaving"] == {"live": True, "listens": True} and ran["listens"] is False
    for secret in (PASSWORD, "pypi-Ag"):
        assert secret not in ran["log"]
    return ran


def asked(smoke: dict[str, Any]) -> list[str]:
    """What `helm test` asked, where all of it was answered as it should be."""
    assert smoke["code"] == 0, smoke["log"]
    rows = [line.strip().split("  ")[0] for line in smoke["log"].splitlines() if line.endswith("yes")]
    return rows


WHOLE = [
    "health", "mint for a user", "verify for its project", "verify for another project", "revoke",
    "verify once more",
]


def test_a_pod_with_its_memory_runs_and_takes_what_changes_without_a_new_pod(
    helm4: Helm, cluster: Cluster, a_node: Node
) -> None:
    """The README's way to change keys, and other callers after that."""
    rendered = helm4.render("memory", SLOWLY)
    keys = {**cluster.objects["mintage-keyring"], "2026-12": base64.b64encode(os.urandom(32))}
    later = Cluster({**cluster.objects, "mintage-keyring": keys})
    moved = {**SLOWLY, "keyring.current": "2026-12"}
    others = [{"name": "new", "token_sha256": "0" * 64, "may": ["verify"]}]

    def change(path: str, values: dict[str, Any], says: str) -> dict[str, Any]:
        fresh = helm4.render("memory", values)
        assert fresh.pod == rendered.pod, "there would be a rollout"
        container = container_of(fresh.pod["spec"], later.with_release(fresh))
        return {"path": path, "volume": container["mounts"][path], "says": says}

    ran = serve(a_node, rendered, cluster, changes=[
        change("/etc/mintage/keys", SLOWLY, "the keyring changed"),
        change("/etc/mintage/config", moved, r'current: \"2026-12\"'),
        change("/etc/mintage/config", {**moved, "config.callers": others}, "the callers changed"),
    ])
    known, minting, stranger = ran["smokes"]
    assert [asked(smoke) for smoke in (ran["smoke"], known, minting)] == [WHOLE] * 3
    # The caller that `helm test` calls as is not among the new ones.
    assert stranger["code"] == 1 and "CALLER_UNKNOWN" in stranger["log"]
    before, _, after = ran["log"].partition(r'current: \"2026-12\"')
    assert "m1.2026-11-21-k3fz." in before and "m1.2026-12." not in before
    assert "m1.2026-12." in after and "m1.2026-11-21-k3fz." not in after
    assert "in what needs a restart" not in ran["log"]


def test_a_pod_with_tls_runs_and_knows_its_callers_by_their_spiffe_ids(
    helm4: Helm, cluster: Cluster, a_node: Node
) -> None:
    ran = serve(a_node, helm4.render("tls", SLOWLY), cluster)
    assert asked(ran["smoke"]) == WHOLE


def test_a_pod_with_what_a_csi_driver_mounts_runs(
    helm4: Helm, cluster: Cluster, a_node: Node
) -> None:
    serve(a_node, helm4.render("tls-volume", SLOWLY), cluster)


def test_a_pod_with_generated_keys_runs(helm4: Helm, cluster: Cluster, a_node: Node) -> None:
    rendered = helm4.render("generated-keyring", SLOWLY)
    ran = serve(a_node, rendered, cluster)
    assert asked(ran["smoke"]) == ["health"]


def redis() -> str:
    program = redis_server()
    if program is None:
        pytest.skip("NOT TESTED with Redis: there is no redis-server; see scripts/redis-server")
    return program


def test_pods_of_production_run_with_redis_over_tls_and_take_another_password(
    helm4: Helm, cluster: Cluster, a_node: Node, tmp_path: Path
) -> None:
    program, files = redis(), cluster.objects["mintage-redis"]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    config = tmp_path / "redis.conf"
    config.write_text(f"""
port 0
tls-port 6380
bind 127.0.0.1
tls-cert-file {tmp_path}/tls.crt
tls-key-file {tmp_path}/tls.key
tls-ca-cert-file {tmp_path}/ca.pem
tls-auth-clients no
dir {tmp_path}
save ""
maxmemory-policy noeviction
user default off
user mintage on >{PASSWORD} >{PASSWORD}-too {RIGHTS}
""")
    server = {"command": [program, str(config)], "port": 6380}
    # A debug build on a machine that stalls takes its time to shake hands.
    rendered = helm4.render("production", {**SLOWLY, "config.store.timeout": "10s"})
    secret = {**files, "password": f"{PASSWORD}-too".encode()}
    later = Cluster({**cluster.objects, "mintage-redis": secret}).with_release(rendered)
    path = "/etc/mintage/redis"
    ran = serve(a_node, rendered, cluster, servers=[server], changes=[{
        "path": path, "volume": container_of(rendered.pod["spec"], later)["mounts"][path],
        "says": "the store's credentials changed",
    }])
    assert [asked(smoke) for smoke in (ran["smoke"], *ran["smokes"])] == [WHOLE] * 2
    assert "connected to Redis" in ran["log"]
    assert "in what needs a restart" not in ran["log"]


def test_pods_beside_the_charts_own_valkey_run(
    helm4: Helm, cluster: Cluster, a_node: Node
) -> None:
    rendered = helm4.render("valkey", SLOWLY)
    [valkey] = rendered.one("Deployment", "-valkey")["spec"]["template"]["spec"]["containers"]
    [port] = valkey["ports"]
    server = {"command": [redis(), *valkey["args"]], "port": port["containerPort"]}
    ran = serve(a_node, rendered, cluster, servers=[server])
    assert asked(ran["smoke"]) == WHOLE
    assert "connected to Redis" in ran["log"]
