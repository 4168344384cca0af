"""Where things lie in the repository."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "helm" / "mintage" / "files" / "rules.yaml"
DASHBOARD = REPOSITORY / "helm" / "mintage" / "files" / "dashboard.json"
METRICS = REPOSITORY / "docs" / "metrics.md"
RUNBOOK = REPOSITORY / "docs" / "alerts.md"
DASHBOARD_PAGE = REPOSITORY / "docs" / "dashboard.md"
VENV = REPOSITORY / ".venv"
E2E = REPOSITORY / "python" / "tests" / "e2e"
