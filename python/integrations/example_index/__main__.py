"""The example index's commands: serve it, say who may publish what, mint a user's token."""

from __future__ import annotations

import argparse
import hashlib
from datetime import timedelta
from pathlib import Path

import uvicorn
from packaging.utils import InvalidName

import mintage
import mintage.asgi
from mintage import MULTI_USE, SINGLE_USE, Caveat, Digests, GitHub, GitLab, ProjectNames, pep807

from .app import UPLOAD_PATH, ExampleIndex
from .database import Database, Taken
from .publishing import Client
from .server import Protocol

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"


def main() -> None:
    arguments = parser().parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    try:
        arguments.run(arguments, Database(arguments.data / "index.sqlite"))
    except Taken:
        raise SystemExit("There is a project of this name already.") from None
    except InvalidName:
        raise SystemExit("That is no name for a project.") from None
    except mintage.Error as error:
        raise SystemExit(f"Mintage: {error}") from None


def _serve(arguments: argparse.Namespace, database: Database) -> None:
    # One address: there is no healthier replica, and what works without the store is to go on.
    client = Client(arguments.mintage, database=database, health_checks=False)
    index = pep807.Index(
        upload_path=UPLOAD_PATH,
        audience=arguments.audience,
        find_publishers=database.find_publishers,
        features=(MULTI_USE, SINGLE_USE),
    )
    own = ExampleIndex(arguments.data, database, client).application()
    uvicorn.run(
        mintage.asgi.Application(client, [index], own),
        host=arguments.host,
        port=arguments.port,
        ssl_certfile=arguments.certificate,
        ssl_keyfile=arguments.key,
        http=Protocol,
        proxy_headers=False,  # behind a proxy: True, or its address is everybody's
    )


def _project(arguments: argparse.Namespace, database: Database) -> None:
    database.create_project(arguments.project, arguments.user)


def _publisher(arguments: argparse.Namespace, database: Database) -> None:
    identity = _identity(arguments)
    issuer = arguments.issuer or (GITHUB if isinstance(identity, GitHub) else GITLAB)
    project = database.project(arguments.project)
    if project is not None:
        database.register(project, issuer, identity)
        return
    database.register_pending(arguments.project, arguments.user, issuer, identity)
    print(f"Pending: {arguments.project} will be {arguments.user}'s once it is published.")


def _identity(arguments: argparse.Namespace) -> GitHub | GitLab:
    if arguments.github and not arguments.owner_id:
        raise SystemExit("--owner-id is missing: names of owners change hands, numbers don't")
    owner, _, repository = (arguments.github or arguments.gitlab).rpartition("/")
    workflow, environment = arguments.workflow, arguments.environment
    if arguments.github:
        return GitHub(owner, arguments.owner_id, repository, workflow, environment)
    return GitLab(owner, repository, workflow, environment)


def _token(arguments: argparse.Namespace, database: Database) -> None:
    caveats: list[Caveat] = []
    if arguments.project:
        caveats.append(ProjectNames(tuple(arguments.project)))
    if arguments.only:
        caveats.append(Digests(tuple(_sha256(path) for path in arguments.only)))
    with mintage.Client(arguments.mintage) as client:
        minted = client.mint_for_user(
            arguments.user,
            caveats=caveats,
            lifetime=timedelta(hours=arguments.hours),
            features=(SINGLE_USE if arguments.single_use else MULTI_USE,),
        )
    print(minted.token)


def _sha256(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m example_index", description=__doc__)
    whole.add_argument("--data", type=Path, default="index-data", help="folder for all it keeps")
    whole.add_argument("--mintage", default="127.0.0.1:50051", help="address of the service")
    commands = whole.add_subparsers(required=True)

    serve = commands.add_parser("serve", help="serve the index")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--audience", default="pypi", help="as in Mintage's configuration")
    serve.add_argument("--certificate", help="for HTTPS: the certificate's PEM file")
    serve.add_argument("--key", help="for HTTPS: the private key's PEM file")
    serve.set_defaults(run=_serve)

    project = commands.add_parser("project", help="create a project")
    project.add_argument("project")
    project.add_argument("--user", required=True, help="who maintains it")
    project.set_defaults(run=_project)

    publisher = commands.add_parser(
        "publisher", help="register a trusted publisher, for a project yet to be created too"
    )
    publisher.add_argument("project")
    publisher.add_argument("--user", required=True, help="whose the project will be, if it is new")
    provider = publisher.add_mutually_exclusive_group(required=True)
    provider.add_argument("--github", metavar="OWNER/REPOSITORY")
    provider.add_argument("--gitlab", metavar="NAMESPACE/PROJECT")
    publisher.add_argument("--owner-id", default="", help="GitHub's number of OWNER")
    publisher.add_argument("--workflow", required=True, help="release.yml, .gitlab-ci.yml")
    publisher.add_argument("--environment", default="")
    publisher.add_argument("--issuer", help="of a self-managed GitHub or GitLab")
    publisher.set_defaults(run=_publisher)

    token = commands.add_parser("token", help="mint a token for a user, as narrow as you like")
    token.add_argument("user")
    token.add_argument("--project", action="append", help="only this project")
    token.add_argument("--only", type=Path, nargs="+", metavar="FILE", help="only these very files")
    token.add_argument("--single-use", action="store_true", help="for one upload")
    token.add_argument("--hours", type=float, default=1.0)
    token.set_defaults(run=_token)
    return whole


if __name__ == "__main__":
    main()
