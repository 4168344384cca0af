"""What Helm tells a person after an install. Helm 4 shows it without a cluster; the template is the
same one for Helm 3."""

from __future__ import annotations

import pytest

from rendered import CHART, NAMESPACE, RELEASE, SCENARIOS, Helm, values_of


def notes(helm: Helm, scenario: str) -> str:
    run = helm.run("install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=client",
                   "--values", values_of(scenario))
    assert run.returncode == 0, run.stderr
    return run.stdout.partition("\nNOTES:\n")[2]


WARNINGS = {
    "ONE POD": {"memory", "generated-keyring", "tls", "tls-volume", "telemetry"},
    "FOR TRYING OUT": {"valkey"},
    "NO CALLER PROVES ITSELF": {"valkey", "linkerd"},
    "Nothing in this release keeps anybody away": set[str](),
    "NO ISSUER": {"tls-volume"},
    "The keys outlive the release": {"generated-keyring", "valkey"},
    "Ask it whether it works": set(SCENARIOS) - {"tls-volume", "linkerd", "istio"},
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_notes_say_where_it_is_and_what_to_look_out_for(helm4: Helm, scenario: str) -> None:
    told = notes(helm4, scenario)
    scheme = "https" if scenario.startswith("tls") else "http"
    assert f"  gRPC      {scheme}://tried-mintage.index.svc:50051\n" in told
    assert "kubectl --namespace index rollout status deployment/tried-mintage" in told
    for words, scenarios in WARNINGS.items():
        assert (words in told) == (scenario in scenarios), f"{words}\n{told}"
    assert max(map(len, told.splitlines())) <= 100
    assert "\n\n\n" not in told and "<no value>" not in told
