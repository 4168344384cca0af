"""`python -m mintage.tokens`: look at an upload token, or narrow it to files.

The token is read from standard input alone, so that it lands in no shell's history.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import Token, TokenError, caveats_for_files, explain
from ._show import harmless

_MAX_INPUT_CHARACTERS = 64 * 1024
"""More than any token has, and enough to tell what is wrong with it."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        text = sys.stdin.buffer.read(_MAX_INPUT_CHARACTERS).decode("utf-8", "replace").strip()
        token = Token.parse(text)
        if options.command == "inspect":
            print(*explain(token), sep="\n")
        else:
            print(token.narrow(caveats_for_files(options.only)))
    except TokenError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}")
    return 0


def _failed(why: str) -> int:
    print(f"mintage.tokens: {harmless(why, 500)}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mintage.tokens",
        description="Look at the upload token on standard input, or narrow it. Works offline; "
        "the signature is not checked, so nothing that is shown is proven.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("inspect", help="say what it holds")
    attenuate = commands.add_parser("attenuate", help="print one for these files alone")
    attenuate.add_argument(
        "--only",
        metavar="FILE",
        nargs="+",
        required=True,
        help="wheels and sdists: the token gets their names, projects, versions and SHA-256",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
