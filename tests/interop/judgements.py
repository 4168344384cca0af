"""The judgement table: caveats, accesses, Warehouse's answer and Mintage's.

Written by hand. Where the two differ, Warehouse lets something through that
Mintage denies, never the other way round.
"""

NOW = 1_700_000_000
PROJECT = "11111111-2222-3333-4444-555555555555"
OTHER_PROJECT = "99999999-2222-3333-4444-555555555555"
USER = "aaaaaaaa-2222-3333-4444-555555555555"
PUBLISHER = "bbbbbbbb-2222-3333-4444-555555555555"
OTHER_PUBLISHER = "cccccccc-2222-3333-4444-555555555555"


def access(subject, project="sampleproject", publishers=(), now=NOW, micros=0):
    return {
        "now_micros": now * 1_000_000 + micros,
        "subject": subject,
        "project": None if project is None else {"name": project, "id": PROJECT},
        "publisher_ids": list(publishers),
    }


BY_USER = access({"user": USER})
BY_USER_NOWHERE = access({"user": USER}, project=None)
BY_PUBLISHER = access({"publisher": PUBLISHER}, publishers=[PUBLISHER])


def to_project(name):
    return access({"user": USER}, project=name)


def at(seconds, micros=0):
    return access({"user": USER}, now=seconds, micros=micros)


ALLOW, DENY = "allow", "deny"
UNREADABLE = "CAVEAT_UNREADABLE"
PROJECT_REFUSED = "CAVEAT_PROJECT"
USER_REFUSED = "CAVEAT_USER"
PUBLISHER_REFUSED = "CAVEAT_PUBLISHER"
EXPIRED = "CAVEAT_EXPIRED"
NOT_YET = "CAVEAT_NOT_YET_VALID"
NOT_OFFERED = "CAVEAT_NOT_OFFERED"


def row(name, caveats, access, warehouse, *reasons, stored=(), note=None):
    """One row. Reasons: those of the denials in order, each alone (caveat 0) or
    with the position of its caveat. None: Mintage allows."""
    as_bytes = [c if isinstance(c, bytes) else c.encode() for c in _list(caveats)]
    return {
        "name": name,
        "caveats": as_bytes,
        "stored": [c.encode() for c in stored],
        "access": access,
        "warehouse": warehouse,
        "ours": DENY if reasons else ALLOW,
        "reasons": [r if isinstance(r, tuple) else (0, r) for r in reasons],
        "note": note,
    }


def _list(value):
    return value if isinstance(value, list) else [value]


def both_allow(access, rows):
    return [row(name, caveat, access, ALLOW) for name, caveat in rows]


def both_deny(access, reason, rows):
    return [row(name, caveat, access, DENY, reason) for name, caveat in rows]


def only_warehouse_allows(access, note, rows):
    return [row(name, caveat, access, ALLOW, UNREADABLE, note=note) for name, caveat in rows]


ROWS = [
    # Time. No leeway; the second of the end no longer counts.
    row("the last moment before the end", f"[0,{NOW},0]", at(NOW - 1, 999_999), ALLOW),
    row("the very second of the end", f"[0,{NOW},0]", at(NOW), DENY, EXPIRED),
    row("a second after the end", f"[0,{NOW},0]", at(NOW + 1), DENY, EXPIRED),
    row("the very second of the beginning", f"[0,{NOW + 9},{NOW}]", at(NOW), ALLOW),
    row("the last moment before the beginning", f"[0,{NOW + 9},{NOW}]", at(NOW - 1, 999_999), DENY, NOT_YET),
    row("an end before its beginning, between them", f"[0,{NOW - 5},{NOW + 5}]", at(NOW), DENY, EXPIRED),
    row("a beginning before the epoch", f"[0,{NOW + 9},-5]", at(NOW), ALLOW),
    row("the longest time that 64 bits hold", "[0,9223372036854775807,-9223372036854775808]", at(NOW), ALLOW),
    row("the legacy form in time", f'{{"exp":{NOW + 9},"nbf":{NOW}}}', at(NOW), ALLOW),
    row("the legacy form, other order and spaces", f'{{"nbf": {NOW}, "exp": {NOW + 9}}}', at(NOW), ALLOW),
    row("the legacy form at its end", f'{{"exp":{NOW},"nbf":0}}', at(NOW), DENY, EXPIRED),
    row("the legacy form before its beginning", f'{{"exp":{NOW + 9},"nbf":{NOW + 1}}}', at(NOW), DENY, NOT_YET),
    row("time needs no project", f"[0,{NOW + 9},0]", BY_USER_NOWHERE, ALLOW),

    # Project names: the access's name is normalized, the list is compared as written.
    row("the project's name", '[1,["sampleproject"]]', BY_USER, ALLOW),
    row("one of several names", '[1,["a","sampleproject","b"]]', BY_USER, ALLOW),
    row("the name written twice", '[1,["sampleproject","sampleproject"]]', BY_USER, ALLOW),
    row("another project", '[1,["sampleproject"]]', to_project("sampleprojects"), DENY, PROJECT_REFUSED),
    row("a name that only begins alike", '[1,["sampleprojects"]]', BY_USER, DENY, PROJECT_REFUSED),
    row("the project in other case", '[1,["sampleproject"]]', to_project("SampleProject"), ALLOW),
    row("the project with other punctuation", '[1,["sample-project"]]', to_project("Sample__.-Project"), ALLOW),
    row("a dot where the list has a hyphen", '[1,["sample-project"]]', to_project("sample.project"), ALLOW),
    row("the list in other case", '[1,["SampleProject"]]', to_project("SampleProject"), DENY, PROJECT_REFUSED),
    row("the list with other punctuation", '[1,["sample_project"]]', to_project("sample_project"), DENY, PROJECT_REFUSED),
    row("punctuation left out", '[1,["sampleproject"]]', to_project("sample-project"), DENY, PROJECT_REFUSED),
    row("a space after the name", '[1,["sampleproject "]]', BY_USER, DENY, PROJECT_REFUSED),
    row("an empty list of names", "[1,[]]", BY_USER, DENY, PROJECT_REFUSED),
    row("an empty name", '[1,[""]]', BY_USER, DENY, PROJECT_REFUSED),
    row("names without a project", '[1,["sampleproject"]]', BY_USER_NOWHERE, DENY, PROJECT_REFUSED),
    row("an empty list of names without a project", "[1,[]]", BY_USER_NOWHERE, DENY, PROJECT_REFUSED),
    row("a name with an escape", '[1,["\\u0073ampleproject"]]', BY_USER, ALLOW),
    row("a name beside one that no project can have", '[1,["pr\u00f6ject","sampleproject"]]', BY_USER, ALLOW),
    row("a name beside one outside the basic plane", '[1,["\\ud83d\\udce6","sampleproject"]]', BY_USER, ALLOW),
    row("white space where JSON allows it", ' [ 1 ,\t[ "sampleproject" ]\r\n]\n', BY_USER, ALLOW),
    row("the legacy form of names", '{"version":1,"permissions":{"projects":["sampleproject"]}}', BY_USER, ALLOW),
    row("the legacy form, other order", '{"permissions": {"projects": ["sampleproject"]}, "version": 1}', BY_USER, ALLOW),
    row("the legacy form of another name", '{"version":1,"permissions":{"projects":["a"]}}', BY_USER, DENY, PROJECT_REFUSED),
    row("the legacy form of no name", '{"version":1,"permissions":{"projects":[]}}', BY_USER, DENY, PROJECT_REFUSED),

    # Project ids: compared as written.
    row("the project's id", f'[2,["{PROJECT}"]]', BY_USER, ALLOW),
    row("one of several ids", f'[2,["{OTHER_PROJECT}","{PROJECT}"]]', BY_USER, ALLOW),
    row("another project's id", f'[2,["{OTHER_PROJECT}"]]', BY_USER, DENY, PROJECT_REFUSED),
    row("the id without hyphens", f'[2,["{PROJECT.replace("-", "")}"]]', BY_USER, DENY, PROJECT_REFUSED),
    row("an empty list of ids", "[2,[]]", BY_USER, DENY, PROJECT_REFUSED),
    row("ids without a project", f'[2,["{PROJECT}"]]', BY_USER_NOWHERE, DENY, PROJECT_REFUSED),
    row("the name where an id stands", '[2,["sampleproject"]]', BY_USER, DENY, PROJECT_REFUSED),
    row("the legacy form of ids", f'{{"project_ids":["{PROJECT}"]}}', BY_USER, ALLOW),
    row("the legacy form of other ids", f'{{"project_ids":["{OTHER_PROJECT}"]}}', BY_USER, DENY, PROJECT_REFUSED),

    # Users.
    row("the user", f'[3,"{USER}"]', BY_USER, ALLOW),
    row("the user without a project", f'[3,"{USER}"]', BY_USER_NOWHERE, ALLOW),
    row("another user", '[3,"somebody"]', BY_USER, DENY, USER_REFUSED),
    row("the user's id in other case", f'[3,"{USER.upper()}"]', BY_USER, DENY, USER_REFUSED),
    row("no user's id", '[3,""]', BY_USER, DENY, USER_REFUSED),
    row("a user's caveat for a publisher", f'[3,"{USER}"]', BY_PUBLISHER, DENY, USER_REFUSED),
    row("a user's caveat with the publisher's id", f'[3,"{PUBLISHER}"]', BY_PUBLISHER, DENY, USER_REFUSED),
    row("the legacy form of the user", '{"version":1,"permissions":"user"}', BY_USER, ALLOW),
    row("the legacy form of the user, with spaces", '{"version": 1, "permissions": "user"}', BY_USER_NOWHERE, ALLOW),
    row("the legacy form of the user for a publisher", '{"version":1,"permissions":"user"}', BY_PUBLISHER, DENY, USER_REFUSED),

    # Publishers: it must be the subject, and on the project at the time of use.
    row("the publisher on its project", f'[4,"{PUBLISHER}"]', BY_PUBLISHER, ALLOW),
    row("the publisher among several", f'[4,"{PUBLISHER}"]', access({"publisher": PUBLISHER}, publishers=[OTHER_PUBLISHER, PUBLISHER]), ALLOW),
    row("the publisher no longer on the project", f'[4,"{PUBLISHER}"]', access({"publisher": PUBLISHER}, publishers=[OTHER_PUBLISHER]), DENY, PUBLISHER_REFUSED),
    row("the project has no publisher", f'[4,"{PUBLISHER}"]', access({"publisher": PUBLISHER}), DENY, PUBLISHER_REFUSED),
    row("the publisher without a project", f'[4,"{PUBLISHER}"]', access({"publisher": PUBLISHER}, project=None), DENY, PUBLISHER_REFUSED),
    row("publishers named, and no project", f'[4,"{PUBLISHER}"]', access({"publisher": PUBLISHER}, project=None, publishers=[PUBLISHER]), DENY, PUBLISHER_REFUSED),
    row("another publisher on the project", f'[4,"{OTHER_PUBLISHER}"]', access({"publisher": PUBLISHER}, publishers=[PUBLISHER, OTHER_PUBLISHER]), DENY, PUBLISHER_REFUSED),
    row("a publisher's caveat for a user", f'[4,"{PUBLISHER}"]', access({"user": USER}, publishers=[PUBLISHER]), DENY, PUBLISHER_REFUSED),
    row("a user whose id is the publisher's", f'[4,"{PUBLISHER}"]', access({"user": PUBLISHER}, publishers=[PUBLISHER]), DENY, PUBLISHER_REFUSED),
    row("the publisher's id in other case", f'[4,"{PUBLISHER.upper()}"]', BY_PUBLISHER, DENY, PUBLISHER_REFUSED),
    row("the old form with claims", f'[4,"{PUBLISHER}",{{"ref":"refs/heads/main","sha":"abc"}}]', BY_PUBLISHER, ALLOW),
    row("the old form without claims", f'[4,"{PUBLISHER}",null]', BY_PUBLISHER, ALLOW),
    row("the old form for another publisher", '[4,"other",{"ref":"refs/heads/main"}]', BY_PUBLISHER, DENY, PUBLISHER_REFUSED),

    # All of them, or none; and every reason at once.
    row("no caveat at all", [], BY_USER, ALLOW),
    row("what PyPI gives a trusted publisher", [f'[4,"{PUBLISHER}"]', f'[2,["{PROJECT}"]]', f"[0,{NOW + 900},{NOW - 30}]"], BY_PUBLISHER, ALLOW),
    row("the same for another project", [f'[4,"{PUBLISHER}"]', f'[2,["{OTHER_PROJECT}"]]', f"[0,{NOW + 900},{NOW - 30}]"], BY_PUBLISHER, DENY, (1, PROJECT_REFUSED)),
    row("everything wrong at once", ['[4,"other"]', "[2,[]]", f"[0,{NOW},0]", "[9999]", '[3,"x"]'], BY_PUBLISHER, DENY,
        (0, PUBLISHER_REFUSED), (1, PROJECT_REFUSED), (2, EXPIRED), (3, UNREADABLE), (4, USER_REFUSED)),
    row("a wide caveat after a narrow one", ['[1,["a"]]', '[1,["a","sampleproject"]]'], BY_USER, DENY, (0, PROJECT_REFUSED)),
    row("a later end after an earlier one", [f"[0,{NOW},0]", f"[0,{NOW + 99},0]"], BY_USER, DENY, (0, EXPIRED)),
    row("a stored caveat that clears", [f'[3,"{USER}"]'], BY_USER, ALLOW, stored=['[1,["sampleproject"]]']),
    row("a stored caveat that does not", [f'[3,"{USER}"]'], BY_USER, DENY, (1, PROJECT_REFUSED), stored=['[1,["a"]]']),
    row("an embedded and a stored one that do not", ['[3,"x"]'], BY_USER, DENY, (0, USER_REFUSED), (2, EXPIRED),
        stored=['[1,["sampleproject"]]', f"[0,{NOW},0]"]),

    # What nobody reads.
    *both_deny(BY_USER, UNREADABLE, [
        ("nothing", ""), ("a space", " "), ("null", "null"), ("a number", "1"), ("a string", '"foo"'),
        ("true", "true"), ("an empty array", "[]"), ("an empty object", "{}"), ("two values", '[1,["sampleproject"]] 1'),
        ("an unknown tag", "[5]"), ("a tag of the far future", "[9999999]"), ("a negative tag", f"[-1,{NOW + 9},0]"),
        ("a tag beyond 64 bits", "[18446744073709551617]"), ("a tag as text", f'["0",{NOW + 9},0]'), ("a tag of null", "[null]"),
        ("a broken tag", f"[0.5,{NOW + 9},0]"), ("a tag that is an array", f"[[0],{NOW + 9},0]"), ("a tag that is an object", f"[{{}},{NOW + 9},0]"),
        ("a tag alone", "[0]"), ("a beginning that is missing", f"[0,{NOW + 9}]"), ("an end as text", f'[0,"{NOW + 9}",0]'),
        ("an end with a fraction", f"[0,{NOW + 9}.0,0]"), ("an end with an exponent", "[0,2e9,0]"), ("an end of true", "[0,true,0]"),
        ("an end of null", "[0,null,0]"), ("an end that is no number", "[0,NaN,0]"), ("an end that is infinite", "[0,Infinity,0]"),
        ("a beginning of false", f"[0,{NOW + 9},false]"), ("a beginning that is infinite", f"[0,{NOW + 9},-Infinity]"),
        ("names that are missing", "[1]"), ("one name without a list", '[1,"sampleproject"]'), ("names of null", "[1,null]"),
        ("names in an object", '[1,{"sampleproject":1}]'), ("a number among names", '[1,["sampleproject",1]]'),
        ("null among names", '[1,["sampleproject",null]]'), ("a list among names", '[1,["sampleproject",["a"]]]'),
        ("names one by one", '[1,"sampleproject","other"]'), ("half a surrogate among names", '[1,["\\ud800","sampleproject"]]'),
        ("a raw control character in a name", '[1,["sampleproject","\n"]]'), ("a number for an id", "[2,[1]]"),
        ("one id without a list", f'[2,"{PROJECT}"]'), ("a user that is a number", "[3,1]"), ("a user that is missing", "[3]"),
        ("a user in a list", f'[3,["{USER}"]]'), ("a user of null", "[3,null]"),
        ("a comma too many", '[1,["sampleproject"],]'), ("a comma in the list", '[1,["sampleproject",]]'),
        ("a bracket too few", '[1,["sampleproject"]'), ("a bracket too many", '[1,["sampleproject"]]]'),
        ("single quotes", "[1,['sampleproject']]"), ("a comment", '[1,["sampleproject"]/**/]'), ("a leading zero", '[01,["sampleproject"]]'),
        ("a plus sign", '[+1,["sampleproject"]]'), ("a hexadecimal tag", '[0x1,["sampleproject"]]'),
        ("a form feed for white space", '[1,\x0c["sampleproject"]]'), ("a NUL after the end", '[1,["sampleproject"]]\x00'),
        ("a no-break space", '[1,\u00a0["sampleproject"]]'), ("an unknown escape", '[1,["sampleproject","\\x41"]]'),
        ("a name of the future", '{"version":2,"permissions":"user"}'), ("an unknown object", '{"user":"me"}'),
        ("permissions without a version", '{"permissions":"user"}'), ("a version without permissions", '{"version":1}'),
        ("permissions of null", '{"version":1,"permissions":null}'), ("permissions of a list", '{"version":1,"permissions":[]}'),
        ("unknown permissions", '{"version":1,"permissions":"admin"}'), ("permissions in other case", '{"version":1,"permissions":"User"}'),
        ("permissions without projects", '{"version":1,"permissions":{"otherkey":"foo"}}'),
        ("one legacy project without a list", '{"version":1,"permissions":{"projects":"sampleproject"}}'),
        ("a version as text", '{"version":"1","permissions":"user"}'), ("a legacy end alone", f'{{"exp":{NOW + 9}}}'),
        ("a legacy beginning alone", '{"nbf":0}'), ("a legacy end as text", f'{{"exp":"{NOW + 9}","nbf":0}}'),
        ("a legacy end with a fraction", f'{{"exp":{NOW + 9}.0,"nbf":0}}'), ("one legacy id without a list", f'{{"project_ids":"{PROJECT}"}}'),
        ("legacy keys in other case", f'{{"EXP":{NOW + 9},"NBF":0}}'),
        ("bytes that are not UTF-8", b'[1,["\xff","sampleproject"]]'), ("an overlong encoding", b'[1,["\xc0\xaf","sampleproject"]]'),
        ("an encoded surrogate", b'[1,["\xed\xa0\x80","sampleproject"]]'),
        ("a byte order mark", '\ufeff[1,["sampleproject"]]'), ("UTF-16", '[1,["sampleproject"]]'.encode("utf-16-le")),
        ("UTF-16 with its mark", '[1,["sampleproject"]]'.encode("utf-16")), ("UTF-32", '[1,["sampleproject"]]'.encode("utf-32-be")),
    ]),
    *both_deny(BY_PUBLISHER, UNREADABLE, [
        ("a publisher that is missing", "[4]"), ("a publisher that is a number", "[4,1]"),
        ("a publisher in a list", f'[4,["{PUBLISHER}"]]'),
        ("claims that are not UTF-8", f'[4,"{PUBLISHER}",{{"a":"'.encode() + b'\xff"}]'),
    ]),

    # What Mintage alone reads, for an index that has not switched it on.
    *both_deny(BY_USER, NOT_OFFERED, [
        ("Uses, not switched on", '[64,"nonce",1]'), ("Versions, not switched on", '[65,["1.0"]]'),
        ("Filenames, not switched on", '[66,["a.whl"]]'), ("Digests, not switched on", f'[67,["{"00" * 32}"]]'),
        ("ClientNetworks, not switched on", '[68,["0.0.0.0/0"]]'), ("Actions, not switched on", '[69,["upload"]]'),
    ]),

    # Where Python's leniency lets something through.
    *only_warehouse_allows(BY_USER, "Python finds the tag in a dictionary, where 1, 1.0 and True are one key", [
        ("true for tag 1", '[true,["sampleproject"]]'), ("1.0 for tag 1", '[1.0,["sampleproject"]]'),
        ("1e0 for tag 1", '[1e0,["sampleproject"]]'), ("almost 1 for tag 1", '[1.00000000000000000001,["sampleproject"]]'),
        ("false for tag 0", f"[false,{NOW + 9},0]"), ("0.0 for tag 0", f"[0.0,{NOW + 9},0]"),
        ("-0.0 for tag 0", f"[-0.0,{NOW + 9},0]"), ("3.0 for tag 3", f'[3.0,"{USER}"]'),
    ]),
    *only_warehouse_allows(BY_USER, "Warehouse drops fields that it does not know; a restriction may be in them", [
        ("a field too many after time", f"[0,{NOW + 9},0,1]"), ("a field too many after names", '[1,["sampleproject"],["1.0"]]'),
        ("null too many after names", '[1,["sampleproject"],null]'), ("a field too many after ids", f'[2,["{PROJECT}"],1]'),
        ("a field too many after the user", f'[3,"{USER}",1]'), ("a deep field too many", '[1,["sampleproject"],' + "[" * 99 + "]" * 99 + "]"),
        ("NaN too many", '[1,["sampleproject"],NaN]'), ("Infinity too many", '[1,["sampleproject"],-Infinity]'),
    ]),
    *only_warehouse_allows(BY_USER, "Python's integers have no end", [
        ("an end one beyond 64 bits", "[0,9223372036854775808,0]"), ("a beginning one beyond 64 bits", f"[0,{NOW + 9},-9223372036854775809]"),
        ("an end of a thousand digits", "[0," + "9" * 1000 + ",0]"), ("a legacy end beyond 64 bits", '{"exp":99999999999999999999,"nbf":0}'),
    ]),
    *only_warehouse_allows(BY_USER, "minus nought is an integer to Python, and a float to most others", [
        ("-0 for tag 0", f"[-0,{NOW + 9},0]"), ("a beginning of -0", f"[0,{NOW + 9},-0]"),
    ]),
    *only_warehouse_allows(BY_USER, "of a doubled key Python keeps the last; a reader that keeps the first sees another restriction", [
        ("a legacy end twice", f'{{"exp":{NOW},"exp":{NOW + 9},"nbf":0}}'),
        ("legacy ids twice", f'{{"project_ids":["{OTHER_PROJECT}"],"project_ids":["{PROJECT}"]}}'),
        ("legacy permissions twice", '{"version":1,"permissions":{"projects":["a"]},"permissions":"user"}'),
        ("legacy projects twice", '{"version":1,"permissions":{"projects":["a"],"projects":["sampleproject"]}}'),
        ("a key twice under another spelling", f'{{"exp":{NOW},"\\u0065xp":{NOW + 9},"nbf":0}}'),
    ]),
    *only_warehouse_allows(BY_USER, "Warehouse looks for known keys and drops the rest; a restriction may be in them", [
        ("a legacy time that also names ids", f'{{"exp":{NOW + 9},"nbf":0,"project_ids":["{OTHER_PROJECT}"]}}'),
        ("legacy permissions that have ended", f'{{"version":1,"permissions":"user","exp":{NOW},"nbf":0}}'),
        ("legacy ids with a key too many", f'{{"project_ids":["{PROJECT}"],"x":1}}'),
        ("legacy ids with NaN too many", f'{{"project_ids":["{PROJECT}"],"x":NaN}}'),
        ("legacy time with a key too many", f'{{"exp":{NOW + 9},"nbf":0,"x":1}}'),
        ("legacy time with another version", f'{{"version":2,"exp":{NOW + 9},"nbf":0}}'),
        ("legacy user with a key too many", '{"version":1,"permissions":"user","user":"somebody"}'),
        ("legacy projects with a key too many", '{"version":1,"permissions":{"projects":["sampleproject"],"versions":["1.0"]}}'),
    ]),
    *only_warehouse_allows(BY_USER, "to Python 1, 1.0 and True are equal", [
        ("a legacy version of true", '{"version":true,"permissions":"user"}'), ("a legacy version of 1.0", '{"version":1.0,"permissions":"user"}'),
    ]),
    *only_warehouse_allows(BY_PUBLISHER, "Warehouse drops fields that it does not know", [
        ("two fields too many after the publisher", f'[4,"{PUBLISHER}",{{}},1]'), ("4.0 for tag 4", f'[4.0,"{PUBLISHER}"]'),
        ("claims that are a list", f'[4,"{PUBLISHER}",[1]]'), ("claims that are no number", f'[4,"{PUBLISHER}",NaN]'),
        ("claims with a key twice", f'[4,"{PUBLISHER}",{{"a":1,"a":2}}]'),
        ("claims with a key twice further in", f'[4,"{PUBLISHER}",{{"a":{{"b":1,"b":2}}}}]'),
    ]),
]
