"""Makes tests/vectors/*.json with the libraries that PyPI and its users have.

    make_vectors.py            writes the files anew
    make_vectors.py --check    fails where they aren't what would be written

Everything in here is fixed, so that the same libraries give the same files.
All keys are test keys, made of labels; none has ever protected anything.
"""

import argparse
import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path

import pymacaroons
import pypitoken

import judgements
import warehouse

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
NOW = judgements.NOW


def test_key(label):
    """A key that nobody can take for a real one: the hash of what it is for."""
    return hashlib.sha256(f"mintage test key: {label}".encode()).digest()


def text_of(macaroon, prefix="pypi"):
    return f"{prefix}-{macaroon.serialize()}"


def hold(macaroon, key):
    """Whether pymacaroons finds the signature good, whatever the caveats say."""
    verifier = pymacaroons.Verifier()
    verifier.satisfy_general(lambda predicate: True)
    try:
        return verifier.verify(macaroon, key)
    except pymacaroons.exceptions.MacaroonInvalidSignatureException:
        return False


def as_version_2(macaroon):
    """The same macaroon in the form that Mintage writes: version 2."""
    copy = pymacaroons.Macaroon(
        location=macaroon.location,
        identifier=macaroon.identifier_bytes,
        signature=macaroon.signature,
        version=pymacaroons.MACAROON_V2,
    )
    for caveat in macaroon.caveats:
        copy.caveats.append(
            pymacaroons.Caveat(
                caveat_id=caveat.caveat_id_bytes,
                verification_key_id=caveat.verification_key_id,
                location=caveat.location,
                version=pymacaroons.MACAROON_V2,
            )
        )
    return copy


# Tokens of other makers.


def token(name, maker, macaroon, key, *, text=None, holds=True, prefix="pypi"):
    """One token as others made it, and what there is to know about it."""
    text = text or text_of(macaroon, prefix)
    narrowing = '[1,["narrowed-here"]]'
    narrowed = as_version_2(macaroon).add_first_party_caveat(narrowing)
    if not any(c.third_party() for c in macaroon.caveats):
        assert hold(macaroon, key) == holds, name
    return {
        "name": name,
        "made_by": maker,
        "token": text,
        "prefix": prefix,
        "root_key": key.hex(),
        "version": macaroon.version,
        "location": macaroon.location,
        "identifier": macaroon.identifier_bytes.hex(),
        "caveats": [
            {"third_party": caveat.location, "identifier": caveat.caveat_id_bytes.hex()}
            if caveat.third_party()
            else {"first_party": caveat.caveat_id_bytes.decode()}
            for caveat in macaroon.caveats
        ],
        "signature_holds": holds,
        "rewritten": text_of(as_version_2(macaroon), prefix),
        "narrowed_by": narrowing,
        # There is no room for a 129th caveat.
        "narrowed": text_of(narrowed, prefix) if len(narrowed.caveats) <= 128 else None,
    }


RESTRICTIONS = [
    ("no restriction", {}),
    ("DateRestriction", {"not_before": NOW - 30, "not_after": NOW + 900}),
    ("ProjectNamesRestriction", {"project_names": ["sampleproject", "other"]}),
    ("ProjectIDsRestriction", {"project_ids": [judgements.PROJECT]}),
    ("UserIDRestriction", {"user_id": judgements.USER}),
    ("LegacyNoopRestriction", {"legacy_noop": True}),
    ("LegacyProjectNamesRestriction", {"legacy_project_names": ["sampleproject"]}),
    ("LegacyDateRestriction", {"legacy_not_before": NOW - 30, "legacy_not_after": NOW + 900}),
    (
        "every restriction at once",
        {
            "not_before": NOW - 30,
            "not_after": NOW + 900,
            "project_names": ["sampleproject"],
            "project_ids": [judgements.PROJECT],
            "user_id": judgements.USER,
            "legacy_project_names": ["sampleproject"],
            "legacy_not_before": NOW - 30,
            "legacy_not_after": NOW + 900,
            "legacy_noop": True,
        },
    ),
]


def pypitoken_tokens():
    key = test_key("pypitoken")
    identifier = "0d3b1c2a-0000-4000-8000-00000000beef"
    for version in (pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2):
        for name, restrictions in RESTRICTIONS:
            made = pypitoken.Token.create(
                domain="pypi.org", identifier=identifier, key=key, version=version
            ).restrict(**restrictions)
            yield token(f"{name}, version {version}", "pypitoken", made._macaroon, key, text=made.dump())


def pymacaroons_tokens():
    v1, v2 = pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2

    def make(version, location="index.example", identifier="an identifier", key=None, caveats=()):
        key = key or test_key("pymacaroons")
        macaroon = pymacaroons.Macaroon(
            location=location, identifier=identifier, key=key, version=version
        )
        for caveat in caveats:
            macaroon.add_first_party_caveat(caveat)
        return macaroon, key

    for version in (v1, v2):
        for name, parts in [
            ("no caveat", {}),
            ("no location", {"location": ""}),
            ("a caveat beyond ASCII", {"caveats": ['[1,["pr\u00f6ject","\U0001f4e6"]]']}),
            ("an empty caveat", {"caveats": ["", "[0,20,10]"]}),
            ("a caveat with spaces and newlines", {"caveats": ['[1, ["a"]]\n', "cid [0,20,10]\n"]}),
            ("a caveat of 127 bytes", {"caveats": ["x" * 127]}),
            ("a caveat of 128 bytes", {"caveats": ["x" * 128]}),
            ("a caveat of 9,000 bytes", {"caveats": ["[2,[" + "x" * 8995 + "]"]}),
            ("128 caveats", {"caveats": [f"[0,{NOW},{n}]" for n in range(128)]}),
            ("an identifier of one byte", {"identifier": "i"}),
            ("an identifier of 256 bytes", {"identifier": "i" * 256}),
            ("a root key of one byte", {"key": b"k"}),
            ("a root key of 64 bytes", {"key": test_key("a") + test_key("b")}),
            ("a root key of 65 bytes", {"key": test_key("a") + test_key("b") + b"c"}),
        ]:
            macaroon, key = make(version, **parts)
            yield token(f"{name}, version {version}", "pymacaroons", macaroon, key)

        macaroon, key = make(version, caveats=["[0,20,10]"])
        macaroon.add_third_party_caveat(
            "https://third.example", "a shared key", "what the third party knows", nonce=b"n" * 24
        )
        macaroon.add_first_party_caveat('[1,["after"]]')
        yield token(f"a third party's caveat, version {version}", "pymacaroons", macaroon, key)

        macaroon, _ = make(version, caveats=["[0,20,10]"])
        other = test_key("another")
        yield token(f"another root key, version {version}", "pymacaroons", macaroon, other, holds=False)

        macaroon, key = make(version, caveats=["[0,20,10]"])
        macaroon.caveats.pop()
        yield token(f"a caveat taken away, version {version}", "pymacaroons", macaroon, key, holds=False)

        macaroon, key = make(version, caveats=["[0,20,10]", '[1,["a"]]'])
        macaroon.caveats.reverse()
        yield token(f"caveats in other order, version {version}", "pymacaroons", macaroon, key, holds=False)

        macaroon, key = make(version, caveats=["[0,20,10]"])
        macaroon.location = "elsewhere.example"
        yield token(f"another location, version {version}", "pymacaroons", macaroon, key)

    # pymacaroons counts characters for version 1's lengths, and can't write these.
    macaroon, key = make(v2, location="\u00edndex.example", caveats=["[0,20,10]"])
    yield token("a location beyond ASCII", "pymacaroons", macaroon, key)
    macaroon, key = make(v2, identifier="\u00edd", caveats=["[0,20,10]"])
    yield token("an identifier beyond ASCII", "pymacaroons", macaroon, key)
    macaroon, key = make(v2, identifier=bytes(range(256)))
    yield token("an identifier of every byte", "pymacaroons", macaroon, key)
    macaroon, key = make(v2, caveats=["[0,20,10]"])
    yield token("another prefix", "pymacaroons", macaroon, key, prefix="test_index")
    for n in range(3):
        macaroon, key = make(v2, caveats=["x" * n])
        text = text_of(macaroon)
        padded = text + "=" * (-(len(text) - len("pypi-")) % 4)
        yield token(f"padding of {len(padded) - len(text)}", "pymacaroons", macaroon, key, text=padded)


# Damaged tokens.


def packet_1(key, value):
    return b"%04x%s %s\n" % (4 + len(key) + 1 + len(value) + 1, key, value)


def field_2(kind, value):
    assert len(value) < 128
    return bytes([kind, len(value)]) + value


def encoded(data):
    return "pypi-" + base64.urlsafe_b64encode(data).decode().rstrip("=")


def damaged_tokens():
    """Name, text, what is wrong (a short name; see tests/vectors.rs)."""
    sound = pymacaroons.Macaroon(
        location="index.example", identifier="an identifier", key=test_key("damage"), version=2
    )
    sound.add_first_party_caveat("[0,20,10]")
    body = sound.serialize()
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    location, identifier = field_2(1, b"index.example"), field_2(2, b"an identifier")
    caveat, signature = field_2(2, b"[0,20,10]"), field_2(6, raw[-32:])
    assert raw == b"\x02" + location + identifier + b"\0" + caveat + b"\0\0" + signature

    yield "no prefix", body, "prefix"
    yield "another prefix", "npm-" + body, "prefix"
    yield "the prefix in other case", "PyPI-" + body, "prefix"
    yield "a longer prefix", "pypitest-" + body, "prefix"
    yield "the prefix without its hyphen", "pypi" + body, "prefix"
    yield "nothing", "", "prefix"
    yield "white space before", " pypi-" + body, "prefix"
    yield "the prefix alone", "pypi-", "empty"
    yield "white space after", f"pypi-{body} ", "base64"
    yield "a newline after", f"pypi-{body}\n", "base64"
    yield "a newline within", f"pypi-{body[:64]}\n{body[64:]}", "base64"
    yield "the standard alphabet", encoded(b"\x02\xff\xef\xbe").replace("_", "/").replace("-", "+").replace("pypi+", "pypi-"), "base64"
    yield "a character too few", "pypi-" + body[: len(body) // 4 * 4 + 1], "base64"
    yield "padding and more after it", f"pypi-{body}==AAAA", "base64"
    yield "padding alone", "pypi-====", "base64"
    yield "characters beyond ASCII", f"pypi-{body}\u00e9", "base64"
    yield "bits left over in the last character", encoded(raw[:1])[:-1] + "h", "base64"
    yield "a NUL after", f"pypi-{body}\0", "base64"

    as_json = sound.serialize(serializer=pymacaroons.serializers.JsonSerializer())
    yield "the JSON form, bare", as_json, "prefix"
    yield "the JSON form after the prefix", "pypi-" + as_json, "base64"
    yield "the JSON form in base64", encoded(as_json.encode()), "json"
    yield "an array of JSON forms", encoded(b"[" + as_json.encode() + b"]"), "format"
    yield "version 0", encoded(b"\0" + raw[1:]), "format"
    yield "version 3", encoded(b"\3" + raw[1:]), "format"

    parts = [location, identifier, b"\0", caveat, b"\0", b"\0", signature]

    def with_parts(changes):
        return encoded(b"\x02" + b"".join(changes.get(n, part) for n, part in enumerate(parts)))

    yield "no identifier", with_parts({1: b""}), "field"
    yield "an empty identifier", with_parts({1: field_2(2, b"")}), "identifier"
    yield "an identifier of 257 bytes", with_parts({1: b"\x02\x81\x02" + b"i" * 257}), "identifier"
    yield "the identifier before the location", with_parts({0: identifier, 1: location}), "field"
    yield "the location twice", with_parts({0: location + location}), "field"
    yield "the identifier twice", with_parts({1: identifier + identifier}), "field"
    yield "an unknown field", with_parts({1: identifier + field_2(3, b"x")}), "field"
    yield "a verification id in the head", with_parts({1: identifier + field_2(4, b"x")}), "field"
    yield "a first party's caveat with a location", with_parts({3: field_2(1, b"here") + caveat}), "field"
    yield "a caveat without an identifier", with_parts({3: field_2(4, b"x")}), "field"
    yield "a caveat whose verification id comes first", with_parts({3: field_2(4, b"x") + caveat}), "field"
    yield "no signature", encoded(b"\x02" + b"".join(parts[:-1])), "truncated"
    yield "a signature of 31 bytes", with_parts({6: field_2(6, raw[-31:])}), "signature"
    yield "a signature of 33 bytes", with_parts({6: field_2(6, b"x" + raw[-32:])}), "signature"
    yield "an empty signature", with_parts({6: field_2(6, b"")}), "signature"
    yield "the signature before the end of the caveats", with_parts({5: signature, 6: b"\0"}), "field"
    yield "a NUL after the end", encoded(raw + b"\0"), "trailing"
    yield "a second macaroon after the first", encoded(raw + raw), "trailing"
    yield "a length with a needless byte", with_parts({0: b"\x01\x8d\x00index.example"}), "length"
    yield "a length with needless bytes", with_parts({0: b"\x01\x8d\x80\x80\x80\x00index.example"}), "length"
    yield "a length of 70 bits", with_parts({0: b"\x01" + b"\xff" * 9 + b"\x7f"}), "length"
    yield "a length beyond the end", with_parts({6: b"\x06\x7f" + raw[-32:]}), "truncated"
    yield "a field type with a needless byte", with_parts({0: b"\x81\x00" + location[1:]}), "field"

    caveats = [b"[0,20,10]"] * 129
    many = b"\x02" + location + identifier + b"\0" + b"".join(field_2(2, c) + b"\0" for c in caveats)
    yield "129 caveats", encoded(many + b"\0" + signature), "too many caveats"
    yield "more than 16 KiB", "pypi-" + "A" * (16 * 1024 - 4), "too many bytes"

    ones = [
        packet_1(b"location", b"index.example"), packet_1(b"identifier", b"an identifier"),
        packet_1(b"cid", b"[0,20,10]"), packet_1(b"signature", raw[-32:]),
    ]
    swapped = [ones[1], ones[0], ones[2], ones[3]]
    yield "version 1: the identifier before the location", encoded(b"".join(swapped)), "field"
    yield "version 1: no location", encoded(b"".join(ones[1:])), "field"
    yield "version 1: no identifier", encoded(ones[0] + ones[2] + ones[3]), "field"
    yield "version 1: no signature", encoded(b"".join(ones[:3])), "truncated"
    yield "version 1: a caveat after the signature", encoded(b"".join([*ones, ones[2]])), "trailing"
    yield "version 1: the signature twice", encoded(b"".join([*ones, ones[3]])), "trailing"
    yield "version 1: a verification id without its caveat", encoded(ones[0] + ones[1] + packet_1(b"vid", b"x") + ones[3]), "field"
    yield "version 1: a verification id without a location", encoded(ones[0] + ones[1] + ones[2] + packet_1(b"vid", b"x") + ones[3]), "field"
    yield "version 1: an unknown packet", encoded(ones[0] + ones[1] + packet_1(b"note", b"x") + ones[3]), "field"
    yield "version 1: an empty identifier", encoded(ones[0] + packet_1(b"identifier", b"") + ones[3]), "identifier"
    yield "version 1: a signature of 31 bytes", encoded(b"".join(ones[:3]) + packet_1(b"signature", raw[-31:])), "signature"
    yield "version 1: a length of nought", encoded(ones[0] + b"0000" + ones[1]), "length"
    yield "version 1: a length of less than itself", encoded(ones[0] + b"0003" + ones[1]), "length"
    yield "version 1: a length in upper case", encoded(ones[0] + b"001E" + ones[1][4:]), "length"
    yield "version 1: a length with a sign", encoded(ones[0] + b"+01e" + ones[1][4:]), "length"
    yield "version 1: a length with a space", encoded(ones[0] + b" 01e" + ones[1][4:]), "length"
    yield "version 1: a length beyond the end", encoded(ones[0] + b"ffff" + ones[1][4:]), "truncated"
    yield "version 1: a packet without its newline", encoded(ones[0] + ones[1][:-1] + b"x" + ones[3]), "field"
    yield "version 1: a trailing byte", encoded(b"".join(ones) + b"\n"), "trailing"


def mangled_tokens():
    """Two tokens, and what pymacaroons makes of every bit that is flipped in
    them and every length that they are cut to: `u`nreadable, a signature that
    does not `m`atch, or one that `h`olds. Mintage may be stricter, never laxer."""
    for version in (1, 2):
        key = test_key("mangled")
        macaroon = pymacaroons.Macaroon(location="l.example", identifier="id", key=key, version=version)
        macaroon.add_first_party_caveat('[1,["a"]]')
        raw = base64.urlsafe_b64decode(macaroon.serialize() + "==")
        flipped = (
            raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]
            for bit in range(len(raw) * 8)
        )
        yield {
            "version": version,
            "root_key": key.hex(),
            "token": text_of(macaroon),
            "location": {"start": raw.index(b"l.example"), "end": raw.index(b"l.example") + len(b"l.example")},
            "flipped": "".join(outcome(data, key) for data in flipped),
            "cut": "".join(outcome(raw[:length], key) for length in range(len(raw))),
        }


def outcome(data, key):
    try:
        macaroon = pymacaroons.Macaroon.deserialize(base64.urlsafe_b64encode(data).decode())
        holds = hold(macaroon, key)
    except Exception:
        return "u"
    return "h" if holds else "m"


# Tokens that Mintage mints.


def root_key_of(master_key, index, identifier):
    """HKDF-SHA256-Expand (RFC 5869) for one block, with nothing but `hmac`."""
    info = b"mintage/v1/root-key\0" + index.encode() + b"\0" + identifier.encode()
    return hmac.new(master_key, info + b"\x01", hashlib.sha256).digest()


def identifier_of(key_id, minted_at_millis, random, subject):
    """m1.<key id>.<UUIDv7>.<subject>, the UUID as in RFC 9562."""
    uuid = bytearray(minted_at_millis.to_bytes(6, "big") + random)
    uuid[6] = uuid[6] & 0x0F | 0x70
    uuid[8] = uuid[8] & 0x3F | 0x80
    return f"m1.{key_id}.{base64.urlsafe_b64encode(uuid).decode().rstrip('=')}.{subject}"


def minted_tokens():
    for name, index, key_id, subject, caveats in [
        ("a user's token", "pypi", "2026-11", f"u:{judgements.USER}", []),
        ("a restricted user's token", "pypi", "2026-11", f"u:{judgements.USER}",
         [f'[3,"{judgements.USER}"]', f"[0,{NOW + 900},{NOW - 30}]"]),
        ("a publisher's token", "pypi", "2026-11", f"p:{judgements.PUBLISHER}",
         [f'[4,"{judgements.PUBLISHER}"]', f'[2,["{judgements.PROJECT}"]]', f"[0,{NOW + 900},{NOW - 30}]"]),
        ("every caveat of Mintage's own", "pypi", "2026-11", "p:7",
         ['[4,"7"]', f"[0,{NOW + 900},{NOW - 30}]", '[64,"AAECAwQFBgcICQoLDA0ODw",1]', '[65,["1.0"]]',
          '[66,["sampleproject-1.0-py3-none-any.whl"]]', f'[67,["{"ab" * 32}"]]', '[68,["192.0.2.0/24","2001:db8::/32"]]', '[69,["upload"]]']),
        ("the same identifier in another index", "test", "2026-11", f"u:{judgements.USER}", []),
        ("the same identifier under another key", "pypi", "2026-12", f"u:{judgements.USER}", []),
        ("the longest identifier", "pypi", "K" * 32, "p:" + "9" * 128, []),
        ("a subject with dots and colons", "pypi", "k", "u:a.b:c d", []),
        ("an index without a name", "", "k", "u:1", []),
    ]:
        master_key = test_key(f"master key {key_id}")
        random = test_key("uuid")[:10]
        millis = NOW * 1000 + 123
        identifier = identifier_of(key_id, millis, random, subject)
        root_key = root_key_of(master_key, index, identifier)
        macaroon = pymacaroons.Macaroon(
            location="index.example", identifier=identifier, key=root_key, version=pymacaroons.MACAROON_V2
        )
        for caveat in caveats:
            macaroon.add_first_party_caveat(caveat)
        assert hold(macaroon, root_key)
        yield {
            "name": name,
            "master_key": master_key.hex(),
            "key_id": key_id,
            "index": index,
            "minted_at_micros": millis * 1000 + 456,
            "random": random.hex(),
            "subject": subject,
            "location": "index.example",
            "caveats": caveats,
            "identifier": identifier,
            "token": text_of(macaroon),
        }


# Judgements.


def judged():
    for row in judgements.ROWS:
        predicates = row["caveats"] + row["stored"]
        answer = all(warehouse.allows(predicate, row["access"]) for predicate in predicates)
        assert answer == (row["warehouse"] == judgements.ALLOW), f"the model and the table differ: {row['name']}"
        assert row["ours"] == judgements.DENY or answer, f"laxer than Warehouse: {row['name']}"
        out = {key: value for key, value in row.items() if value not in (None, [])}
        out["caveats"] = [shown(caveat) for caveat in row["caveats"]]
        out["stored"] = [shown(caveat) for caveat in row["stored"]]
        out["reasons"] = [{"caveat": position, "reason": reason} for position, reason in row["reasons"]]
        yield out


def shown(caveat):
    """As text where it is text that a person can read, else in hexadecimal."""
    try:
        text = caveat.decode()
    except UnicodeDecodeError:
        return {"hex": caveat.hex()}
    return {"text": text} if text.isprintable() else {"hex": caveat.hex()}


FILES = {
    "tokens.json": ("Tokens made by pypitoken 7.1.1 and pymacaroons 0.13.0.",
                    lambda: [*pypitoken_tokens(), *pymacaroons_tokens()]),
    "damaged.json": ("Tokens that can't be read, and what is wrong with each.",
                     lambda: [{"name": n, "token": t, "wrong": w} for n, t, w in damaged_tokens()]),
    "mangled.json": ("What pymacaroons 0.13.0 makes of flipped bits and cut ends.", lambda: [*mangled_tokens()]),
    "minted.json": ("Tokens that Mintage mints from these parts, byte for byte; signed and verified by pymacaroons 0.13.0.",
                    lambda: [*minted_tokens()]),
    "warehouse.json": ("Caveats, accesses, Warehouse's answer and Mintage's.", lambda: [*judged()]),
}


def written(about, rows):
    """One row a line, so that a change shows as the rows that it changes."""
    about += " Made by tests/interop/make_vectors.py; all keys are test keys."
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    return f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    stale = []
    for file, (about, make) in FILES.items():
        rows = make()
        names = [row.get("name") for row in rows if "name" in row]
        assert len(names) == len(set(names)), f"{file}: two rows of one name"
        text = written(about, rows)
        path = FOLDER / file
        if check and (not path.exists() or path.read_text() != text):
            stale.append(file)
        elif not check:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
        print(f"{file}: {len(rows)} rows")
    if stale:
        sys.exit(f"not what the libraries make today: {', '.join(stale)}; run `make vectors` and look at the difference")


if __name__ == "__main__":
    main()
