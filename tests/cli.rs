//! The command line as a person or a script meets it: the real binary, its
//! output, its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that fails panics"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use mintage::{
    caveat::{self, Caveat},
    clock::Timestamp,
    config::KeyringConfig,
    macaroon::{Embedded, Identifier, KeyId, Macaroon, MasterKey, RootKey, Subject, TokenPrefix},
};

/// The binary with these arguments and this standard input.
fn mintage(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mintage"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments doesn't wait for its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// 2026-11-21 23:07:49 UTC.
const MINTED: i64 = 1_795_302_469;

fn prefix() -> TokenPrefix {
    TokenPrefix::parse("pypi").unwrap()
}

fn identifier() -> Identifier {
    let key = KeyId::parse("2026-11").unwrap();
    let subject = Subject::publisher("42").unwrap();
    Identifier::new(key, Timestamp::from_seconds(MINTED), &[7; 10], subject)
}

fn root_key() -> RootKey {
    let identifier = identifier().to_string();
    MasterKey::new(&[1; 32]).unwrap().root_key("pypi", identifier.as_bytes())
}

fn token(predicates: &[&str]) -> String {
    let mut macaroon = Macaroon::mint(&root_key(), "index.example", &identifier().to_string());
    for predicate in predicates {
        macaroon.attenuate(predicate.as_bytes()).unwrap();
    }
    macaroon.write(&prefix()).unwrap()
}

/// The predicates of a token whose signature holds.
fn predicates(token: &str) -> Vec<String> {
    let macaroon = Macaroon::read(token, &prefix()).unwrap();
    let verified = macaroon.verify(&root_key()).unwrap();
    let text = |caveat| match caveat {
        Embedded::FirstParty(predicate) => String::from_utf8(predicate.to_vec()).unwrap(),
        Embedded::ThirdParty { .. } => panic!("nobody added one"),
    };
    verified.caveats().map(text).collect()
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [
        &[][..],
        &["mint"],
        &["serve"],
        &["config", "check"],
        &["keys", "generate"],
        &["token", "attenuate"],
        &["token", "attenuate", "--expires-in", "soon"],
        &["token", "attenuate", "--expires-in", "1m", "--expires-at", "1"],
        &["token", "attenuate", "--sha256", "abc"],
    ] {
        let output = mintage(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn every_command_has_a_help_text() {
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["config", "check", "--help"],
        &["keys", "generate", "--help"],
        &["token", "inspect", "--help"],
        &["token", "attenuate", "--help"],
        &["demo", "--help"],
    ] {
        let output = mintage(arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(out(&output).contains("Usage: mintage"), "{arguments:?}");
        assert!(!out(&output).contains('\u{1b}'), "plain in a pipe: {arguments:?}");
    }
}

#[test]
fn a_generated_key_is_new_private_and_named_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("new/keys");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let output = mintage(&["keys", "generate", "--directory", directory.to_str().unwrap()], "");
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
        ids.push(out(&output).strip_suffix('\n').unwrap().to_owned());
    }
    ids.sort();
    let current = KeyId::parse(&ids[0]).unwrap();
    let keyring = KeyringConfig { directory: directory.clone(), current }.load().unwrap();
    assert_eq!(keyring.ids().map(KeyId::as_str).collect::<Vec<_>>(), ids);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "no draft is left");
    for (path, mode) in [(directory.join(&ids[0]), 0o600), (directory, 0o700)] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_key_that_can_not_be_written_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = mintage(&["keys", "generate", "--directory", file.to_str().unwrap()], "");
    assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()));
    assert_eq!(
        err(&output),
        format!("error: {}: no key could be written: File exists (os error 17)\n", file.display())
    );
}

/// A configuration with a keyring beside it.
fn configured(folder: &Path, more: &str) -> String {
    let keys = folder.join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("2026-11"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
    let file = folder.join("mintage.toml");
    let text = format!(
        "{more}\n[keyring]\ndirectory = \"keys\"\ncurrent = \"2026-11\"\n\
         [indexes.pypi]\naudience = \"pypi\"\nlocation = \"index.example\"\n"
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_good_configuration_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), "");
    let output = mintage(&["config", "check", "--config", &file], "");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let expected = format!(
        "{file} is good.

  gRPC on   127.0.0.1:50051
  admin on  none
  keys      2026-11 (mints)
  store     memory, up to 500000 entries; for one replica
  callers   whoever reaches the port
  issuers   none
  indexes   pypi
"
    );
    assert_eq!(out(&output), expected);
}

#[test]
fn a_shared_store_is_summed_up_without_its_credentials() {
    for (store, expected) in [
        (
            "url = \"rediss://mintage@redis.internal/3\"\npassword_file = \"password\"",
            "Redis at redis.internal:6379, over TLS; for any number of replicas",
        ),
        (
            "url = \"redis://one,[::1]:5\"\ntopology = \"sentinel\"\nsentinel_master = \"main\"",
            "Redis \"main\", by the sentinels one:26379, [::1]:5; for any number of replicas",
        ),
        (
            "url = \"redis://one,two\"\ntopology = \"cluster\"",
            "Redis cluster, by one:6379, two:6379; for any number of replicas",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), "hunter2\n").unwrap();
        let file = configured(folder.path(), &format!("[store]\nkind = \"redis\"\n{store}"));
        let output = mintage(&["config", "check", "--config", &file], "");
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
        let shown = out(&output);
        let store = shown.lines().find_map(|line| line.strip_prefix("  store     "));
        assert_eq!(store, Some(expected), "{shown}");
    }
}

#[test]
fn a_bad_configuration_exits_with_1_and_a_line_for_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), "listen = \"0.0.0.0:1\"\nlisten_too = 1");
    fs::write(folder.path().join("keys/2026-11"), "c2hvcnQ=").unwrap();
    for command in [&["config", "check"][..], &["serve"]] {
        let output = mintage(&[command, &["--config", &file]].concat(), "");
        assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()));
        let expected = format!(
            "error: listen: must be a loopback address where no [[callers]] are configured, \
             unless allow_anonymous_callers = true
error: listen_too: is unknown; known here: listen, admin_listen, keyring, store, indexes, callers, \
             allow_anonymous_callers, issuers, limits, log, server, telemetry
error: {}/keys/2026-11: holds 5 bytes; a key has at least 32\n",
            folder.path().display()
        );
        assert_eq!(err(&output), expected);
    }
}

#[test]
fn a_whole_token_is_shown_without_its_signature() {
    let token = token(&[
        "[4,\"42\"]",
        "[2,[\"1\",\"2\"]]",
        "[0,1795303369,1795302439]",
        "[64,\"nonce\",1]",
        "[5,\"later\"]",
        "[1,[\"\u{1b}[2J\u{202e}\"]]",
    ]);
    for arguments in
        [&["token", "inspect"][..], &["token", "inspect", "-"], &["token", "inspect", &token]]
    {
        let output = mintage(arguments, &format!("  {token}\n"));
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
        let shown = out(&output);
        for expected in [
            "prefix      pypi",
            "format      macaroon, version 2 (binary)",
            "location    index.example",
            "minted      2026-11-21 23:07:49 UTC, ",
            "for         publisher 42",
            "master key  2026-11",
            "only as publisher 42",
            "only the projects with the id 1, 2",
            "from 2026-11-21 23:07:19 UTC until 2026-11-21 23:22:49 UTC",
            "only once",
            "unreadable: [5,\"later\"]",
            "\\u{1b}[2J\\u{202e}",
            "Caveat 5 can't be read, so the token is denied.",
            "The signature was not checked: only the service has the master key \"2026-11\".",
        ] {
            assert!(shown.contains(expected), "{expected} is missing in:\n{shown}");
        }
        assert!(!shown.contains(&token[token.len() - 20..]));
    }
}

#[test]
fn a_damaged_token_is_explained_and_what_is_left_of_it_shown() {
    let whole = token(&["[4,\"42\"]", "[0,1795303369,1795302439]"]);
    let cut = 5 + (whole.len() - 30) / 4 * 4;
    let wrapped = format!("{}\n{}", &whole[..50], &whole[50..]);
    for (damaged, sentence, left) in [
        (&whole[..cut], "ends too early, at byte", "only as publisher 42"),
        (&whole[..cut + 1], "don't end where bytes end", "only as publisher 42"),
        (&whole[..61], "ends too early, at byte", "location  index.example"),
        (&whole[..61], "ends too early, at byte", "No caveat could be read of it"),
        (&whole[5..], "does not begin with a prefix and a hyphen", "only as publisher 42"),
        (&wrapped, "copied across a line break", "only as publisher 42"),
        (&format!("{whole}!"), "not base64url at character", "Its signature seems to be all there"),
        (&format!("'{whole}'"), "quotation marks", ""),
        ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "looks like an ID token (a JWT)", "Nothing else"),
        ("pypi-", "nothing follows its prefix", "Nothing else could be read"),
        ("hello", "does not begin with a prefix", "Nothing else could be read"),
        (&"pypi-AgEI".repeat(2_000), "longer than 16 KiB", ""),
    ] {
        let output = mintage(&["token", "inspect"], damaged);
        assert_eq!((output.status.code(), err(&output)), (Some(1), String::new()));
        let shown = out(&output);
        assert!(shown.contains("not a whole upload token"), "{shown}");
        assert!(shown.contains(sentence), "{sentence} is missing in:\n{shown}");
        assert!(shown.contains(left), "{left} is missing in:\n{shown}");
    }
    let output = mintage(&["token", "inspect"], " \n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "error: there is no upload token on standard input\n");
}

#[test]
fn a_narrowed_token_has_the_caveats_asked_for_and_a_signature_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Sample_Package-1.0-py3-none-any.whl");
    fs::write(&file, "content").unwrap();
    let original = token(&["[4,\"42\"]"]);
    let output = mintage(
        &[
            "token",
            "attenuate",
            "--uses",
            "2",
            "--file",
            file.to_str().unwrap(),
            "--project",
            "sample.package",
            "--action",
            "upload",
            "--client-network",
            "192.0.2.7",
            "--client-network",
            "2001:db8::/32",
            "--expires-at",
            "2100-01-01T00:00:00Z",
        ],
        &original,
    );
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let found = predicates(out(&output).strip_suffix('\n').unwrap());
    let (nonce, rest): (Vec<&String>, Vec<&String>) =
        found.iter().partition(|predicate| predicate.starts_with("[64"));
    assert_eq!(
        rest,
        [
            "[4,\"42\"]",
            "[0,4102444800,0]",
            "[1,[\"sample-package\"]]",
            "[65,[\"1.0\"]]",
            "[66,[\"Sample_Package-1.0-py3-none-any.whl\"]]",
            "[67,[\"ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\"]]",
            "[69,[\"upload\"]]",
            "[68,[\"192.0.2.7/32\",\"2001:db8::/32\"]]",
        ]
    );
    assert!(matches!(
        caveat::read(nonce[0].as_bytes()).unwrap(),
        Caveat::Uses { count: 2, nonce } if nonce.len() == 22
    ));
}

#[test]
fn a_narrowing_that_makes_no_sense_is_refused() {
    let token = token(&[]);
    for (arguments, input, sentence) in [
        (
            &["--uses", "1"][..],
            &*token,
            "a number of uses needs an end: add --expires-in or --expires-at",
        ),
        (&["--expires-at", "1"], &token, "the token would be over already: choose a later end"),
        (&["--filename", "a/b"], &token, "\"a/b\" is not a file name"),
        (
            &["--client-network", "home"],
            &token,
            "\"home\" is not an IPv4 or IPv6 network in CIDR form",
        ),
        (
            &["--file", "/nowhere/x-1.0.tar.gz"],
            &token,
            "/nowhere/x-1.0.tar.gz: can't be read: No such file or directory (os error 2)",
        ),
        (&["--action", "upload"], "", "there is no upload token on standard input"),
        (
            &["--action", "upload"],
            "pypi-",
            "the upload token is damaged: nothing follows its prefix; `mintage token inspect` says more",
        ),
        (
            &["--action", "upload"],
            "x",
            "this is no upload token: it has no prefix such as \"pypi-\"; `mintage token inspect` says more",
        ),
    ] {
        let output = mintage(&[&["token", "attenuate"], arguments].concat(), input);
        assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()));
        assert_eq!(err(&output), format!("error: {sentence}\n"));
    }
}

/// A running command whose standard error is read line by line.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mintage"))
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The first line with this in it.
    fn line(&mut self, wanted: &str) -> String {
        self.lines.by_ref().map_while(Result::ok).find(|line| line.contains(wanted)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(child: &Child) {
    let kill = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
}

#[test]
fn serve_says_where_it_listens_and_stops_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), "listen = \"127.0.0.1:0\"");
    let mut service = Running::start(&["serve", "--config", &file]);
    let line = service.line("listening");
    assert!(line.contains("grpc=127.0.0.1:") && !line.contains("grpc=127.0.0.1:0 "), "{line}");
    terminate(&service.child);
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), &format!("listen = \"{address}\""));
    let output = mintage(&["serve", "--config", &file], "");
    assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()));
    assert_eq!(
        err(&output),
        format!("error: listen = \"{address}\": another program listens there already\n")
    );
}

#[test]
fn a_file_that_is_no_toml_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mintage.toml");
    fs::write(&file, "listen = \n").unwrap();
    let output = mintage(&["serve", "--config", file.to_str().unwrap()], "");
    assert_eq!((output.status.code(), err(&output).lines().count()), (Some(1), 1));
    assert!(err(&output).contains("mintage.toml, line 1, column "), "{}", err(&output));
}

/// The demo, with a folder for temporary files that must be empty afterwards.
fn demo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    command.arg("demo").env("TMPDIR", folder).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_goes_as_told_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).output().unwrap();
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    assert!(out(&output).contains("All 9 steps went as told."), "{}", out(&output));
    assert!(!out(&output).contains('\u{1b}'), "plain in a pipe");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_that_is_stopped_takes_its_service_and_its_folder_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        demo(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let service = lines.find(|line| line.contains("speaks gRPC")).unwrap();
    let address = service.split_whitespace().nth(1).unwrap().trim_end_matches(',').to_owned();
    terminate(&child);
    let code = child.wait().unwrap().code();
    assert!(code == Some(1) || lines.any(|line| line.contains("went as told")), "{code:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(TcpStream::connect(&address).is_err(), "nobody listens on {address} any more");
}
