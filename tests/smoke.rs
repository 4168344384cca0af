//! `mintage smoke`, the real binary, against services that are well, and against ones
//! that aren't.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{fs, net::TcpListener, process::Command, sync::Arc};

use mintage::app::Server;
use support::{
    clock::ManualClock,
    process::Process,
    service::{BEGIN, SCANNER, WEB, configuration_with, server, sha256_hex},
    tls::{Authority, Home},
};
use tempfile::TempDir;

/// The issuer is never asked for anything.
const NOBODY: &str = "http://127.0.0.1:1";

fn start(bounds: &str, index_lines: &str, sections: &str) -> Server {
    let bounds = format!("shutdown_grace = \"1s\", threads = 1, {bounds}");
    let toml = configuration_with(&bounds, NOBODY, index_lines, sections);
    server(&toml, &Arc::new(ManualClock::at(BEGIN)))
}

/// What came of a run: its exit code, and all that it wrote.
struct Ran {
    code: Option<i32>,
    text: String,
}

impl Ran {
    /// The rows of its table: what was asked, and whether the answer was good.
    fn rows(&self) -> Vec<(&str, &str)> {
        let row = |line| {
            let line: &str = str::trim(line);
            Some((line.split("  ").next()?, line.split_whitespace().last()?))
        };
        let lines = self.text.lines().filter_map(row);
        lines.filter(|(_, good)| ["yes", "NO"].contains(good)).collect()
    }
}

async fn smoke(address: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    command.args(["smoke", "--address", address]).args(arguments);
    let mut process = Process::run(command);
    let code = process.end().await.code();
    let text = format!("{}\n{}", process.out(), process.err());
    assert!(!text.contains("pypi-"), "a token is shown: {text}");
    assert!(!text.contains(WEB), "a caller's token is shown: {text}");
    Ran { code, text }
}

/// A file with a caller's token, as a Secret would have it.
fn token(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{text}\n")).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_well_answers_every_question_as_it_should() {
    let server = start("", "", "");
    let address = format!("http://{}", server.grpc_address());
    let (_folder, file) = token(WEB);
    let ran = smoke(&address, &["--token-file", &file, "--index", "pypi"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let asked = [
        "health",
        "mint for a user",
        "verify for its project",
        "verify for another project",
        "revoke",
        "verify once more",
    ];
    assert_eq!(ran.rows(), asked.map(|asked| (asked, "yes")), "{}", ran.text);
    for reason in ["SERVING", "CAVEAT_PROJECT", "TOKEN_REVOKED"] {
        assert!(ran.text.contains(reason), "{}", ran.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_may_not_revoke_leaves_the_token_to_its_end() {
    let verifier = format!(
        "[[callers]]\nname = \"smoke\"\ntoken_sha256 = \"{}\"\nmay = [\"mint-user\", \"verify\"]",
        sha256_hex("another token, made for tests"),
    );
    let server = start("", "", &verifier);
    let (_folder, file) = token("another token, made for tests");
    let ran = smoke(&format!("http://{}", server.grpc_address()), &["--token-file", &file]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_eq!(ran.rows().last(), Some(&("revoke", "yes")), "{}", ran.text);
    assert!(ran.text.contains("it ends by itself"), "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_good_is_shown_and_fails_the_run() {
    let server = start("", "min_lifetime = \"5m\"", "");
    let address = format!("http://{}", server.grpc_address());
    let ((_one, web), (_other, scanner)) = (token(WEB), token(SCANNER));
    for (arguments, reason) in [
        (&[][..], "CALLER_UNKNOWN"),
        (&["--token-file", &scanner], "CALLER_FORBIDDEN"),
        (&["--token-file", &web, "--index", "other"], "INDEX_UNKNOWN"),
        (&["--token-file", &web], "REQUEST_INVALID"),
    ] {
        let ran = smoke(&address, arguments).await;
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.text);
        assert_eq!(ran.rows(), [("health", "yes"), ("mint for a user", "NO")], "{}", ran.text);
        assert!(ran.text.contains(reason), "{arguments:?}: {}", ran.text);
        assert!(ran.text.contains("1 of these answers should have been others"), "{}", ran.text);
    }
    let ran = smoke(&address, &["--token-file", &web, "--lifetime", "5m"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_store_is_not_well() {
    // Nobody listens there: the port was free, and is closed again.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = format!("[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:{free}\"");
    let server = start("", "", &store);
    let ran = smoke(&format!("http://{}", server.grpc_address()), &["--health-only"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    assert_eq!(ran.rows(), [("health", "NO")], "{}", ran.text);
    assert!(ran.text.contains("NOT_SERVING"), "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_it_trusts_the_authority_that_it_is_given_and_shows_its_certificate() {
    let (servers, clients) = (Authority::new("of servers"), Authority::new("of clients"));
    let home = Home::with_clients(&servers.server(), &clients);
    let own = clients.client(&["spiffe://index.internal/smoke"]);
    home.put("own.pem", &own.certificate);
    home.put("own.key", &own.key);
    home.put("ca.pem", &servers.certificate);
    let caller = "[[callers]]\nname = \"smoke\"\nsan = \"spiffe://index.internal/smoke\"\n\
                  may = [\"mint-user\", \"verify\", \"revoke\"]";
    let server = start(&home.mutual("required"), "", caller);
    let address = format!("https://{}", server.grpc_address());
    let path = |name: &str| -> String { home.path(name).to_str().unwrap().to_owned() };
    let (ca, stranger) = (path("ca.pem"), path("clients.pem"));
    let (certificate, key) = (path("own.pem"), path("own.key"));
    let mine = ["--certificate-file", &certificate, "--key-file", &key];

    let ran = smoke(&address, &[&["--ca-file", &ca], &mine[..]].concat()).await;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_eq!(ran.rows().len(), 6, "{}", ran.text);
    for (arguments, why) in [
        (vec![], "needs the authority of its certificate"),
        ([&["--ca-file", &stranger], &mine[..]].concat(), "invalid peer certificate"),
        ([&["--ca-file", &key], &mine[..]].concat(), "holds no readable certificate"),
    ] {
        let ran = smoke(&address, &arguments).await;
        assert_eq!(ran.code, Some(1), "{}", ran.text);
        assert!(ran.text.contains(why), "{arguments:?}: {}", ran.text);
    }
    // It isn't let in: with TLS 1.3 it hears so only with the first answer.
    let ran = smoke(&address, &["--ca-file", &ca]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    let plain = smoke(&format!("http://{}", server.grpc_address()), &["--ca-file", &ca]).await;
    assert!(plain.text.contains("needs no certificates"), "{}", plain.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_or_a_token_that_can_not_be_is_one_sentence() {
    let (_folder, empty) = token("");
    let (_other, odd) = token("two\nlines");
    for (address, arguments, sentence) in [
        ("http://127.0.0.1:1", &["--health-only"][..], "http://127.0.0.1:1 can't be reached"),
        ("127.0.0.1:1", &[], "127.0.0.1:1 must begin with http:// or https://"),
        ("http://127.0.0.1", &[], "http://127.0.0.1 must name a host and a port"),
        ("http://127.0.0.1:1", &["--token-file", &empty], "is empty"),
        ("http://127.0.0.1:1", &["--token-file", &odd], "holds what no header can"),
        ("http://127.0.0.1:1", &["--token-file", "/nowhere"], "/nowhere can't be read"),
    ] {
        let ran = smoke(address, arguments).await;
        assert_eq!(ran.code, Some(1), "{address}: {}", ran.text);
        assert!(ran.text.contains(sentence), "{address}: {}", ran.text);
        assert_eq!(ran.text.trim().lines().count(), 1, "{}", ran.text);
    }
}
