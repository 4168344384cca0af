"""`mintage.tokens` by itself: hostile input, bounds, secrets, and its command."""

from __future__ import annotations

import base64
import copy
import datetime
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import token_chain
from hypothesis import given, settings
from hypothesis import strategies as st

import mintage
from mintage.tokens import Token, TokenError, caveats_for_files, explain
from mintage.tokens._predicate import read

SOURCE = Path(__file__).resolve().parents[2] / "src"

SAMPLE = token_chain.append(
    token_chain.append(
        token_chain.mint(b"a root key made for this test", "index.example", "an identifier"),
        b'[1,["one"]]',
    ),
    b"[0,20,10]",
)
RAW = token_chain.raw_of(str(SAMPLE))


def test_a_token_error_is_an_error_of_the_package_and_a_value_error() -> None:
    with pytest.raises(TokenError) as refused:
        Token.parse("pypi-")
    assert isinstance(refused.value, mintage.Error) and isinstance(refused.value, ValueError)
    assert refused.value.reason is mintage.Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "pypi", "pypi-", "pypi--", "-AgEA", "pypi_test", "pypi-=", "pypi-====",
        "pypi-\0", "pypi-\ud800", "\ud800-AA", "pypi-é", "é-AgEA", "pypi- AgEA", " pypi-AgEA",
        "pypi-AgEA\n", "pypi-Ag\nEA", "pypi-AA==AA", "pypi-A", "pypi-AB", "pypi-AAB", "pypi-AA=A",
        "a" * 33 + "-AgEA", "py pi-AgEA", "py.pi-AgEA", "pypi-" + "A" * 16_379, "é" * 9_000,
        "pypi-" + "A" * 16_380, "A" * 10_000_000, "pypi-e30", "pypi-AgEA-AgEA", "٣-AgEA",
        "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
    ],
)  # fmt: skip
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(TokenError) as refused:
        Token.parse(text)
    assert len(refused.value.message) < 200 and refused.value.message.isprintable()


@pytest.mark.parametrize(
    "raw, words",
    [
        (b"", "nothing follows its prefix"),
        (RAW + b"\0", f"something follows after its end, at byte {len(RAW)}"),
        (b"\x02\x01\x8d\0" + RAW[3:], "the length at byte 2 is not well-formed"),
        (b"\x02\x01\xff\xff\xff\x7f", "the length at byte 2 is not well-formed"),
        (b"\x02\x01\xff\xff\x7f", "it ends too early, at byte 5"),
        (b"{}", "it is a macaroon in JSON form"),
        (b"\x03\0\0", "its first byte, 0x03, is that of no macaroon format"),
        (b"\x02\x02\0\0\0", "its identifier has 0 bytes instead of 1 to 256"),
        (b"\x02\x02\x81\x02" + b"i" * 257, "its identifier has 257 bytes"),
        (b"\x02\x01\x01x\0\0", "the field at byte 4 does not belong there"),
        (b"\x02\x02\x01i\0\x01\0\x02\x01c\0", "the field at byte 5 does not belong there"),
        (b"\x02\x02\x01i\0\0\x06\x02\x01\x01", "its signature has 2 bytes instead of 32"),
        (b"\x02\x02\x01i\x01\x01l\0", "the field at byte 4 does not belong there"),
        (b"0005x", "the field at byte 0 does not belong there"),
        (b"0004", "the length at byte 0 is not well-formed"),
        (b"00AFlocation", "the length at byte 0 is not well-formed"),
        (b"+001location", "its first byte, 0x2b, is that of no macaroon format"),
        (b"0 11location", "the length at byte 0 is not well-formed"),
        (b"ffff", "it ends too early, at byte 4"),
        (b"000", "it ends too early, at byte 3"),
        (b"0010location abc", "the field at byte 0 does not belong there"),
    ],
)
def test_hostile_bytes_are_refused_for_what_is_wrong(raw: bytes, words: str) -> None:
    with pytest.raises(TokenError) as refused:
        Token.parse(token_chain.text_of(raw))
    assert words in refused.value.message


@settings(max_examples=2_000, deadline=None, database=None)
@given(
    text=st.one_of(
        st.text(),
        st.binary().map(token_chain.text_of),
        st.binary().map(lambda raw: token_chain.text_of(b"\x02" + raw)),
        st.binary().map(lambda raw: token_chain.text_of(b"0017location index.ex\n0005" + raw)),
        st.tuples(st.integers(0, len(RAW)), st.binary()).map(
            lambda cut: token_chain.text_of(RAW[: cut[0]] + cut[1] + RAW[cut[0] + 1 :])
        ),
    )
)
def test_no_text_raises_anything_but_a_token_error(text: str) -> None:
    try:
        token = Token.parse(text)
    except TokenError:
        return
    assert Token.parse(str(token)).caveats == token.caveats
    assert all(line.isprintable() for line in explain(token))
    repr(token), token.token_id, token.subject, token.minted_at, token.expires_at, token.location


@settings(max_examples=2_000, deadline=None, database=None)
@given(
    predicate=st.one_of(
        st.binary(), st.text().map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_no_caveat_raises_anything(predicate: bytes) -> None:
    caveat = read(predicate)
    assert isinstance(caveat, mintage.Unreadable) or predicate.strip()[:1] in (b"[", b"{")
    assert all(line.isprintable() for line in explain(token_chain.append(SAMPLE, predicate)))


odd = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.text(), st.binary(),
    st.lists(st.one_of(st.none(), st.integers(), st.text(), st.binary())).map(tuple),
)  # fmt: skip


@settings(max_examples=1_000, deadline=None, database=None)
@given(
    kind=st.sampled_from(
        [mintage.ProjectNames, mintage.ProjectIds, mintage.UserId, mintage.PublisherId,
         mintage.Uses, mintage.Versions, mintage.Filenames, mintage.Digests,
         mintage.ClientNetworks, mintage.Actions, mintage.Unreadable]
    ),
    value=odd,
)  # fmt: skip
def test_nothing_that_is_asked_for_raises_anything_but_a_token_error(kind: Any, value: Any) -> None:
    for caveat in (kind(value), mintage.Expiration(0, value), mintage.Expiration(value, 2**40)):
        try:
            narrower = SAMPLE.narrow([caveat])
        except TokenError as error:
            assert error.reason is mintage.Reason.REQUEST_INVALID
            assert error.field == "caveats[0]"
        else:
            # What is written reads back as a restriction that the service can read.
            assert not isinstance(Token.parse(str(narrower)).caveats[-1], mintage.Unreadable)


def test_one_name_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(TokenError, match="a list was expected"):
        SAMPLE.narrow([mintage.ProjectNames("sample")])  # type: ignore[arg-type]


def test_nothing_to_add_is_refused() -> None:
    with pytest.raises(TokenError, match="at least one caveat") as refused:
        SAMPLE.narrow([])
    assert refused.value.field == "caveats"


def test_the_first_caveat_at_fault_is_named() -> None:
    with pytest.raises(TokenError) as refused:
        SAMPLE.narrow([mintage.Actions(("upload",)), mintage.Versions(("latest",))])
    assert refused.value.field == "caveats[1]"
    assert refused.value.message == '"latest" is not a version (PEP 440)'


def test_uses_need_an_end_in_the_same_token() -> None:
    endless = token_chain.mint(b"k", "index.example", "i")
    with pytest.raises(TokenError, match="needs an expiration"):
        endless.narrow([mintage.Uses(1)])
    both = endless.narrow([mintage.Uses(1), mintage.Expiration(0, 9)])
    assert isinstance(both.caveats[0], mintage.Expiration)
    assert isinstance(both.narrow([mintage.Uses(1)]).caveats[-1], mintage.Uses)


def test_bounds_are_held() -> None:
    wide = mintage.Filenames(tuple("f" * 200 for _ in range(62)))
    with pytest.raises(TokenError, match="longer than 16 KiB") as refused:
        SAMPLE.narrow([wide])
    assert refused.value.reason is mintage.Reason.TOKEN_TOO_LARGE
    many = SAMPLE.narrow([mintage.Actions(("upload",))] * 126)
    assert len(Token.parse(str(many)).caveats) == 128
    with pytest.raises(TokenError, match="more than 128 caveats"):
        many.narrow([mintage.Actions(("upload",))])


def test_a_narrower_token_leaves_the_wider_one_as_it_was() -> None:
    before = str(SAMPLE)
    narrower = SAMPLE.narrow([mintage.Actions(("upload",))])
    assert str(SAMPLE) == before and len(narrower.caveats) == 3
    assert token_chain.holds(narrower, b"a root key made for this test")
    assert narrower.caveats[:2] == SAMPLE.caveats


def test_an_older_format_is_narrowed_into_the_newer_one() -> None:
    packets = [
        (b"location", b"pypi.org"), (b"identifier", b"i"), (b"cid", b'{"nbf":1,"exp":2}'),
        (b"signature", b"s" * 32),
    ]  # fmt: skip
    raw = b"".join(
        b"%04x%s %s\n" % (len(key) + len(value) + 6, key, value) for key, value in packets
    )
    token = Token.parse(token_chain.text_of(raw))
    assert (token.version, token.caveats) == (1, (mintage.Expiration(1, 2),))
    assert Token.parse(str(token)).version == 2
    assert token.narrow([mintage.Actions(("upload",))]).version == 2


def test_no_repr_and_no_error_holds_the_secret() -> None:
    narrower = SAMPLE.narrow([mintage.Actions(("upload",))])
    for token in (SAMPLE, narrower):
        secret = token._macaroon.signature
        shown = f"{token!r} {token._macaroon!r} {explain(token)} {vars(TokenError('x'))}"
        assert repr(secret)[2:12] not in shown and secret.hex()[:8] not in shown
        assert base64.urlsafe_b64encode(secret).decode()[:8] not in shown
        assert str(token)[-20:-8] not in shown
    for at in range(0, len(str(SAMPLE)), 7):
        mangled = str(SAMPLE)[:at] + "!" + str(SAMPLE)[at:]
        with pytest.raises(TokenError) as refused:
            Token.parse(mangled)
        assert str(SAMPLE)[-12:] not in str(refused.value)


def test_tokens_are_equal_by_their_text() -> None:
    assert SAMPLE == Token.parse(str(SAMPLE) + "=" * (-len(RAW) % 3))
    assert SAMPLE != Token.parse(str(SAMPLE).replace("pypi-", "test-")) and SAMPLE != str(SAMPLE)
    assert len({SAMPLE, Token.parse(str(SAMPLE))}) == 1
    assert copy.copy(SAMPLE) == pickle.loads(pickle.dumps(SAMPLE)) == SAMPLE


def test_a_stranger_s_text_does_a_terminal_no_harm() -> None:
    hostile = "\x1b[2J\u202egnp\u2028\x9b31m\u200b".encode()
    token = token_chain.mint(b"k", hostile.decode(), hostile)
    for predicate in (hostile, b'[3,"\\u001b[2J\\u202e"]', b'[66,["\\u0007","a\\nb"]]'):
        token = token_chain.append(token, predicate)
    assert all(line.isprintable() for line in [*explain(token), repr(token)])


def test_moments_beyond_every_calendar_stay_numbers() -> None:
    token = token_chain.append(
        token_chain.mint(b"k", "l", b"m1.k._____________________w.u:1"),
        b"[0,9223372036854775807,-9223372036854775808]",
    )
    assert token.minted_at is None and token.subject == mintage.Subject(user_id="1")
    lines = "\n".join(explain(token))
    assert "until Unix second 9223372036854775807" in lines
    past = token_chain.append(token, b"[0,-9223372036854775808,0]")
    assert "It is over since Unix second -9223372036854775808" in "\n".join(explain(past))


@pytest.mark.parametrize(
    "identifier",
    [
        b"m1", b"m2.k.AZAAAAAAAAAAAAAAAAAAAA.u:1", b"m1..AZAAAAAAAAAAAAAAAAAAAA.u:1",
        b"m1.k k.AZAAAAAAAAAAAAAAAAAAAA.u:1", b"m1.k.AZAAAAAAAAAAAAAAAAAAA.u:1",
        b"m1.k.AZAAAAAAAAAAAAAAAAAAAB.u:1", b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.x:1",
        b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:", b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.u",
        b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:1\n", b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:\xc3\xa9",
        b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:" + b"x" * 129, b"\xff\xfe",
    ],
)  # fmt: skip
def test_another_service_s_identifier_tells_nothing(identifier: bytes) -> None:
    token = token_chain.mint(b"k", "l", identifier)
    assert (token.subject, token.key_id, token.minted_at) == (None, None, None)
    assert token.identifier == identifier and token.token_id.isascii()


def test_an_explanation_says_whether_the_token_is_in_time() -> None:
    token = token_chain.append(token_chain.mint(b"k", "l", "i"), b"[0,2000,1000]")
    at = datetime.datetime.fromtimestamp
    for second, words in [
        (0, "1. from 1970-01-01 00:16:40 UTC until 1970-01-01 00:33:20 UTC (begins in 16 minutes)"),
        (0, "It is not valid before 1970-01-01 00:16:40 UTC, in 16 minutes."),
        (1000, "It is in time for another 16 minutes."),
        (1999, "It is in time for another 1 second."),
        (2000, "It is over since 1970-01-01 00:33:20 UTC, just now."),
        (2200, "It is over since 1970-01-01 00:33:20 UTC, 3 minutes ago."),
    ]:
        assert words in explain(token, at(second, datetime.timezone.utc))
    with pytest.raises(ValueError, match="aware"):
        explain(token, datetime.datetime(2026, 1, 1))


def test_every_kind_of_caveat_has_its_words() -> None:
    token = token_chain.mint(b"k", "l", "i")
    for predicate, words in [
        (b'[4,"p"]', "only as publisher p, and only for projects that it is registered to by then"),
        (b'{"version":1,"permissions":"user"}', "only as the user that the index has it for"),
        (b'[67,["%s","zz"]]' % (b"ab" * 32), f"SHA-256 {'ab' * 32}, (none that a file could have)"),
        (b"[1,[]]", "no project at all (denies)"),
        (b"[68,[]]", "from no network at all (denies)"),
        (b'[64,"n",0]', "at most 0 times (denies)"),
        (b'[3,""]', 'unreadable: [3,""] (denies)'),
        (b"[70]", "unreadable: [70] (denies)"),
    ]:
        token = token_chain.append(token, predicate)
        line = explain(token)[4 + len(token.caveats) + 1]
        assert words in line and line.startswith(f"{len(token.caveats)}. "), line
    assert "Caveat 8 can't be read, so the token is denied." in explain(token)


@pytest.mark.parametrize(
    "name",
    ["", "a", "sample.tar.gz", "sample-latest.tar.gz", "sample-1.0.whl", "-1.0.tar.gz",
     "sample-1.0.exe", "sample-1.0-py3-none.whl", "s-1.0-1-2-py3-none-any.whl",
     "sample-1.0.tar.bz2",
     "sample-1.0-py3-none-any.WHL", "_-1.0.tar.gz", "sämple-1.0.tar.gz"],
)  # fmt: skip
def test_a_file_that_is_not_named_like_a_release_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TokenError, match="is not named as a wheel or an sdist"):
        caveats_for_files([tmp_path / name] if name else [tmp_path])


def command(*arguments: str | Path, given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mintage.tokens", *map(str, arguments)],
        input=given, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip


def test_the_command_inspects_and_narrows_what_is_on_standard_input(tmp_path: Path) -> None:
    shown = command("inspect", given=f"  {SAMPLE}\n")
    assert shown.returncode == 0 and "1. only the project one (decided at use)" in shown.stdout
    file = tmp_path / "sample-1.0.tar.gz"
    file.write_bytes(b"sdist")
    narrower = command("attenuate", "--only", file, given=str(SAMPLE))
    assert Token.parse(narrower.stdout.strip()) == SAMPLE.narrow(caveats_for_files([file]))


def test_the_command_fails_with_a_sentence(tmp_path: Path) -> None:
    for arguments, given in [
        (("inspect",), "pypi-\x1b"),
        (("inspect",), ""),
        (("attenuate", "--only", tmp_path / "gone-1.0.tar.gz"), str(SAMPLE)),
        (("attenuate", "--only", tmp_path), str(SAMPLE)),
    ]:
        done = command(*arguments, given=given)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("mintage.tokens: ") and done.stderr[:-1].isprintable()
    assert command(given=str(SAMPLE)).returncode == 2
    assert command("inspect", str(SAMPLE), given="").returncode == 2


def test_reading_tokens_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys\n"
        "class Deny:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('grpc', 'google', 'pymacaroons', 'packaging', 'id'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Deny())\n"
        "import mintage.tokens, mintage.exchange.__main__\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SOURCE)})
