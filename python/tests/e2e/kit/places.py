"""Where things lie in the repository, and where they are put."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]
PACKAGE = REPOSITORY / "python" / "src"
INTEROP = REPOSITORY / "tests" / "interop"
INTEGRATIONS = REPOSITORY / "python" / "integrations"
TRANSCRIPTS = REPOSITORY / "python" / "tests" / "e2e" / "transcripts"
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "debug" / "mintage"
VENV = REPOSITORY / ".venv"
TOOLS = Path(os.environ.get("MINTAGE_TEST_TOOLS", VENV / "tools"))
