"""Keys that the chart makes: good ones, and never made again where they can be found.

There is no cluster here. Helm looks for what is there as it does in one, and an API server of the
tests' own answers; that the cluster refuses to change an immutable Secret is Kubernetes' part.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import yaml

from api_server import ApiServer
from rendered import CHART, NAMESPACE, RELEASE, Document, Helm, values_of

Keys = dict[str, bytes]


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.close()


def upgraded(helm: Helm, api: ApiServer | None, *options: str) -> list[Document]:
    """The keys' Secrets, as Helm would lay them down: with a look at the cluster, or without."""
    looking = ["--dry-run=server", "--disable-openapi-validation", "--kube-apiserver"]
    run = helm.run(
        "template", RELEASE, CHART, "--namespace", NAMESPACE, "--values",
        values_of("generated-keyring"), "--show-only", "templates/keyring.yaml",
        *([*looking, api.url] if api else []), *options,
    )
    assert run.returncode == 0, run.stderr
    return list(yaml.safe_load_all(run.stdout))


def laid_down(secret: Document) -> Document:
    """The same as it is in the cluster, where Helm has written whose it is."""
    owner = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
    annotations = {**secret["metadata"]["annotations"], **owner}
    return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}}


def keys(secrets: list[Document]) -> Keys:
    found: Keys = {}
    for secret in secrets:
        [(name, text)] = secret["data"].items()
        assert secret["metadata"]["name"] == f"{RELEASE}-mintage-key-{name}"
        found[name] = base64.b64decode(text)
    return found


def test_a_key_is_32_random_bytes_as_the_service_reads_them(helm: Helm) -> None:
    made = keys(upgraded(helm, None))
    assert list(made) == ["2026-11", "2026-12"]
    assert all(len(base64.b64decode(key, validate=True)) == 32 for key in made.values())
    again = keys(upgraded(helm, None))
    assert len({*made.values(), *again.values()}) == 4, "each one is another"


def test_an_upgrade_keeps_the_keys_that_are_there_and_makes_those_that_are_not(
    helm: Helm, api: ApiServer
) -> None:
    made = upgraded(helm, api)
    for secret in made:
        api.add(laid_down(secret))
    assert upgraded(helm, api) == made, "nothing changes"
    first = keys(made)
    third = ["--set", "keyring.generate.keys={2026-11,2026-12,2027-01}"]
    later = keys(upgraded(helm, api, *third))
    assert later.items() >= first.items() and list(later)[2:] == ["2027-01"]
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/{RELEASE}-mintage-key-2027-01"
    assert path in api.asked, "it was looked for before it was made"


def test_a_key_outlives_its_release_and_can_not_be_replaced(helm4: Helm) -> None:
    for secret in upgraded(helm4, None):
        assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert secret["immutable"] is True


def test_without_being_told_to_the_chart_makes_no_key(helm4: Helm) -> None:
    assert not helm4.render("memory").has("Secret")


def test_ids_that_yaml_takes_for_something_else_stay_ids(helm4: Helm) -> None:
    for name in ("2026-11-21", "123", "1e3", "null", "no"):
        options = ["--set-string", f"keyring.generate.keys={{{name}}},keyring.current={name}"]
        assert list(keys(upgraded(helm4, None, *options))) == [name]
