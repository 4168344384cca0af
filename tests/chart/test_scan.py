"""checkov over what every scenario renders. What it finds is mended, or stands here with its reason."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from rendered import SCENARIOS, Helm

# By check and kind of object; each for every scenario but those named.
ACCEPTED: dict[tuple[str, str], tuple[str, set[str]]] = {
    ("CKV_K8S_11", "Deployment"): (
        "No CPU limit: it stops all calls of a pod for the rest of each tenth of a second in which"
        " it is reached. The threads that serve are bounded in its place.", set(),
    ),
    ("CKV_K8S_11", "Pod"): ("The same image, for the second that `helm test` takes.", set()),
    ("CKV_K8S_43", "Deployment"): (
        "The digest is known to whoever built the image, not to the chart.", {"production"},
    ),
    ("CKV_K8S_43", "Pod"): ("The same.", {"production"}),
    ("CKV_K8S_15", "Deployment"): (
        "Always asking the registry makes a pod's start depend on it; a tag of this chart's is a"
        " version, and a digest can't change.", set(),
    ),
    ("CKV_K8S_15", "Pod"): ("The same.", set()),
    ("CKV_K8S_8", "Pod"): ("Nobody restarts the pod of `helm test`: it runs once.", set()),
    ("CKV_K8S_9", "Pod"): ("Nobody sends calls to it.", set()),
    ("CKV2_K8S_6", "Pod"): ("It is called by nobody.", set()),
}


def test_checkov_finds_nothing_but_what_is_meant_so(
    helm4: Helm, tools: Path, tmp_path: Path
) -> None:
    for scenario in SCENARIOS:
        (tmp_path / f"{scenario}.yaml").write_text(helm4.render(scenario).text)
    command = [
        tools / "checkov" / "bin" / "checkov", "--directory", tmp_path, "--framework", "kubernetes",
        "--output", "json", "--quiet", "--compact", "--skip-download", "--soft-fail",
    ]
    run = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "HOME": str(tmp_path), "LOG_LEVEL": "ERROR"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] > 50, report["summary"]
    assert report["summary"]["passed"] > 1_000, "it looked"
    met: set[tuple[str, str]] = set()
    for found in report["results"]["failed_checks"]:
        scenario = Path(found["file_path"]).stem
        place = (found["check_id"], found["resource"].split(".")[0])
        _, but_for = ACCEPTED.get(place, ("", set(SCENARIOS)))
        assert scenario not in but_for, f"{found['check_name']}: {found['resource']} in {scenario}"
        met.add(place)
    assert met == set(ACCEPTED), "nothing is accepted that isn't found"
