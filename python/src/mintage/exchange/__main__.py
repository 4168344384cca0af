"""The command line of `mintage.exchange`."""

from __future__ import annotations

import argparse
import glob
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .._caveats import Caveat, Expiration
from ..tokens import Token, TokenError, caveats_for_files
from ..tokens._words import moment
from ._exchange import Exchanged, Wanted, exchange
from ._failed import Failed
from ._http import Http
from ._identity import identify
from ._origin import UploadUrl
from ._say import Voice

_DESCRIPTION = """\
Exchange this CI job's identity for an upload token (trusted publishing, PEP 807), and print
that token.

Asks the index for its endpoints, the CI for an ID token, and the index for the upload token.
Standard output holds the token alone; whatever else there is to say goes to standard error.
"""

_EPILOG = """\
example, in a job that may get ID tokens (GitHub: permissions: id-token: write):
  export TWINE_USERNAME=__token__
  TWINE_PASSWORD="$(python -m mintage.exchange https://index.example/legacy/ --only dist/*)"
  export TWINE_PASSWORD
  twine upload --repository-url https://index.example/legacy/ dist/*

exit status: 0 with a token, 1 without one (a sentence says why), 2 for a wrong command line.
Proxies and authorities are taken from HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
"""

_GOES_ALONG = (".asc", ".attestation")
"""Files that are uploaded as a part of another one's upload, and have no name of their own."""

_SPAN = re.compile(r"([0-9]{1,6})([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        upload_url = UploadUrl.parse(options.upload_url, options.trust_host)
    except Failed as error:
        parser.error(str(error))
    voice = Voice()
    try:
        print(_token(upload_url, options, voice))
    except (Failed, TokenError) as error:
        voice.say(str(error))
        return 1
    return 0


def _token(upload_url: UploadUrl, options: argparse.Namespace, voice: Voice) -> str:
    # Files first: a mistake there is better heard of before an ID token is spent.
    caveats: list[Caveat] = list(_only(options.only, voice)) if options.only else []
    exchanged = exchange(
        upload_url,
        Wanted(single_use=options.single_use, root_paths=options.root_paths),
        http=Http(voice.say),
        identify=identify,
        conceal=voice.conceal,
    )
    voice.conceal(exchanged.token)
    voice.say(_end(exchanged))
    if options.expires_in is not None:
        caveats.append(Expiration(0, int(time.time()) + options.expires_in))
    if not caveats:
        return exchanged.token
    narrower = _narrowed(exchanged.token, caveats)
    voice.conceal(narrower)
    return narrower


def _narrowed(text: str, caveats: list[Caveat]) -> str:
    try:
        return str(Token.parse(text).narrow(caveats))
    except TokenError as error:
        raise Failed(
            f"the index gave an upload token that can't be narrowed here ({error}), so it is "
            "not printed"
        ) from None


def _only(patterns: Sequence[str], voice: Voice) -> Sequence[Caveat]:
    paths = []
    for path in _expanded(patterns):
        if path.suffix in _GOES_ALONG:
            voice.say(f"{path.name} goes along with its file, so the token doesn't name it")
        else:
            paths.append(path)
    try:
        return caveats_for_files(paths)
    except OSError as error:
        raise Failed(f"{error.filename or 'a file'} can't be read: {error.strerror}") from None


def _expanded(patterns: Sequence[str]) -> Sequence[Path]:
    """The files, also where no shell has expanded a pattern."""
    paths: list[Path] = []
    for pattern in patterns:
        found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))
        if not found:
            raise Failed(f"there is no file {pattern!r} to narrow the token to")
        paths += map(Path, found)
    return paths


def _end(exchanged: Exchanged) -> str:
    if exchanged.expires is None:
        until = "for at least 15 minutes"
    else:
        until = f"until {moment(exchanged.expires)}"
    once = exchanged.features == ("single-use-token",)
    return f"got an upload token, good {'for one upload ' if once else ''}{until}"


def _span(text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError("a time is written as 90s, 15m or 2h")
    return int(match[1]) * _UNITS[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mintage.exchange",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("upload_url", metavar="UPLOAD_URL", help="as the uploading tool has it, slash and all")
    add(
        "--only",
        metavar="FILE",
        nargs="+",
        help="narrow the token to these wheels and sdists: their names, projects, versions and "
        "SHA-256 (the index has to know Mintage's caveats: any other refuses such a token)",
    )
    add("--single-use", action="store_true", help="ask for a token that is good for one upload")
    add(
        "--expires-in",
        metavar="TIME",
        type=_span,
        help="narrow the token to end sooner than the index says: 90s, 5m",
    )
    add(
        "--root-paths",
        action="store_true",
        help="don't ask the index for its endpoints, but take those that PyPI has, /_/oidc/… "
        "(without this, they are taken where the index doesn't know PEP 807)",
    )
    add(
        "--trust-host",
        metavar="HOST",
        action="append",
        default=[],
        help="speak to this host over plain http too, since nobody listens in its network",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
