"""The example index's commands: say who may publish what; mint a user's token."""

from __future__ import annotations

import argparse
import hashlib
from datetime import timedelta
from pathlib import Path

import mintage
from mintage import MULTI_USE, SINGLE_USE, Caveat, Digests, ProjectNames, rows

from . import DATABASE, MINTAGE, Database


def publisher(asked: argparse.Namespace) -> None:
    database = Database(DATABASE)
    fields = dict(field.partition("=")[::2] for field in asked.fields)
    issuer = asked.issuer or rows.ISSUERS[asked.provider]
    database.register(asked.project, asked.user, issuer, rows.identity(asked.provider, fields))
    if database.project(asked.project) is None:
        print(f"Pending: {asked.project} will be {asked.user}'s once it is published.")


def token(asked: argparse.Namespace) -> None:
    caveats: list[Caveat] = []
    if asked.project:
        caveats.append(ProjectNames(tuple(asked.project)))
    if asked.only:
        contents = (path.read_bytes() for path in asked.only)
        caveats.append(Digests(tuple(hashlib.sha256(one).digest() for one in contents)))
    features = (SINGLE_USE if asked.single_use else MULTI_USE,)
    with mintage.Client(MINTAGE) as client:
        hour = timedelta(hours=1)
        minted = client.mint_for_user(asked.user, caveats=caveats, lifetime=hour, features=features)
    print(minted.token)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m example_index", description=__doc__)
    commands = whole.add_subparsers(required=True)
    command = commands.add_parser("publisher", help="register one, for a project yet to be too")
    command.add_argument("project")
    command.add_argument("user", help="whose the project is, or will be")
    command.add_argument("provider", choices=rows.ISSUERS)
    command.add_argument("fields", nargs="+", metavar="FIELD=VALUE", help="as in mintage.GitHub")
    command.add_argument("--issuer", help="of a self-managed provider")
    command.set_defaults(run=publisher)
    command = commands.add_parser("token", help="mint one for a user, as narrow as you like")
    command.add_argument("user")
    command.add_argument("--project", action="append", help="only this project")
    command.add_argument("--only", type=Path, nargs="+", metavar="FILE", help="only these files")
    command.add_argument("--single-use", action="store_true", help="for one upload")
    command.set_defaults(run=token)
    return whole


if __name__ == "__main__":
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except (ValueError, mintage.Error) as error:
        raise SystemExit(str(error)) from None
