"""What Warehouse, the software behind PyPI, makes of a caveat.

A model, in this project's own words, of the rules in
``warehouse/macaroons/caveats`` (read at commits 23edf1c and 789d21f): JSON by
Python's ``json`` module, tags by a dictionary look-up, fields checked strictly
by type, and what is beyond the known fields dropped. pymacaroons decodes a
predicate as UTF-8 before Warehouse sees it.

Held against the hand-written answers in ``make_vectors.py``.
"""

import json
import re


def normalized(name):
    """PEP 503, as Warehouse's database does it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def allows(caveat: bytes, access: dict) -> bool:
    """Whether Warehouse would let this access through."""
    try:
        tag, fields = _read(json.loads(caveat.decode("utf-8")), access)
        kinds, clears = _CAVEATS[tag]
        # Missing fields are refused, surplus ones are never looked at.
        fields = fields[: len(kinds)]
        return (
            len(fields) == len(kinds)
            and all(kind(field) for kind, field in zip(kinds, fields))
            and clears(access, *fields)
        )
    except Exception:  # Warehouse denies on whatever is raised.
        return False


def _read(value, access):
    if isinstance(value, dict):
        return _read_legacy(value, access)
    if isinstance(value, list):
        return value[0], value[1:]
    raise ValueError("neither an array nor an object")


def _read_legacy(value, access):
    if value.get("version") == 1:
        permissions = value["permissions"]
        if permissions == "user":
            return 3, [access["subject"]["user"]]
        return 1, [permissions["projects"]]
    if "exp" in value and "nbf" in value:
        return 0, [value["exp"], value["nbf"]]
    return 2, [value["project_ids"]]


def _integer(value):
    return type(value) is int


def _string(value):
    # A lone surrogate can't be encoded, and pydantic refuses it.
    return type(value) is str and value.encode("utf-8") is not None


def _strings(value):
    return type(value) is list and all(_string(item) for item in value)


def _in_time(access, expires_at, not_before):
    now = access["now_micros"] // 1_000_000
    return not_before <= now < expires_at


def _project_name(access, names):
    project = access["project"]
    return project is not None and normalized(project["name"]) in names


def _project_id(access, ids):
    project = access["project"]
    return project is not None and project["id"] in ids


def _user(access, user_id):
    return access["subject"].get("user") == user_id


def _publisher(access, publisher_id):
    project = access["project"]
    return (
        access["subject"].get("publisher") == publisher_id
        and project is not None
        and publisher_id in access["publisher_ids"]
    )


_CAVEATS = {
    0: ([_integer, _integer], _in_time),
    1: ([_strings], _project_name),
    2: ([_strings], _project_id),
    3: ([_string], _user),
    4: ([_string], _publisher),
}
