"""What tests of the package share: the real service, an OIDC issuer, a front to lose answers in.

    from support import Service, Front, Issuer, certificates
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

sys.path[:0] = [str(REPOSITORY / "python" / "src"), str(REPOSITORY / "tests" / "interop")]

from issuer import Issuer  # noqa: E402  (found above)

from .front import Front  # noqa: E402
from .service import AUDIENCE, Keyring, Service  # noqa: E402
from .waiting import eventually  # noqa: E402

__all__ = ["AUDIENCE", "REPOSITORY", "Front", "Issuer", "Keyring", "Service", "eventually"]
