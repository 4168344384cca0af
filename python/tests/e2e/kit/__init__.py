"""What the end-to-end tests stand on: real tools, real services, and a CI provider of their own.

Nothing here imitates a part of this project. What is imitated is the world around it: a CI runner
that hands out ID tokens, a certificate authority, a network that cuts connections.
"""

import sys

import pytest

from .places import INTEGRATIONS, INTEROP, PACKAGE

pytest.register_assert_rewrite("kit.index", "kit.transcripts")
sys.path[:0] = [str(PACKAGE), str(INTEGRATIONS), str(INTEROP)]
