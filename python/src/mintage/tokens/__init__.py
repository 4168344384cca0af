"""Upload tokens offline: read one, explain it, narrow it.

Whoever holds an upload token can add restrictions (caveats) to it, without a service, a network
or a key, and nobody can take one away again:

    token = Token.parse(text)
    print(*explain(token), sep="\\n")
    narrower = token.narrow(caveats_for_files(["dist/sample-1.0.tar.gz"]))

Tokens are PyPI's, bit for bit: version 2 binary macaroons, and PyPI's version 1 ones of 2019.
Only the standard library is needed. What this isn't: a check. Whether a token is good takes
the index's key (`mintage.Client.verify`), so nothing that is read here is proven.
"""

from ._errors import TokenError
from ._files import caveats_for_files
from ._token import Token
from ._words import explain

__all__ = ["Token", "TokenError", "caveats_for_files", "explain"]
