//! The service as a process: how it starts, how it ends, and what a person reads
//! who did something wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use mintage::{
    app::SystemClock,
    grpc::proto::{self, caveat::Kind},
    ports::Clock as _,
};
use support::{
    http2::{self, Peer},
    issuer::{Behaviour, TestIssuer},
    process::{Folder, PATIENCE, Process},
    service::{
        Client, SCANNER, WEB, caveat, client_at, configuration, configuration_with, for_user,
        github_claims, publishing, reasons, sha256_hex, trusted, verifying,
    },
    until,
};
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// A configuration whose service nobody else's port is in the way of.
fn plain() -> String {
    configuration("http://127.0.0.1:1", "", "")
}

/// The same on a port of the test's choice.
fn on_port(address: SocketAddr) -> String {
    plain().replace("127.0.0.1:0", &address.to_string())
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn mint(client: &Client) -> String {
    client.clone().mint(for_user(None)).await.unwrap().into_inner().token
}

async fn verify(client: &Client, token: &str) -> proto::VerifyResponse {
    client.clone().verify(verifying(token)).await.unwrap().into_inner()
}

#[tokio::test]
async fn told_to_stop_it_answers_running_calls_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let issuer = TestIssuer::start();
        issuer.behave(Behaviour::Held);
        let folder = Folder::new(&configuration(&issuer.url(), "", ""));
        let mut process = Process::start(&folder);
        let address = process.grpc();
        let channel = tonic::transport::Channel::from_shared(format!("http://{address}"));
        let channel = channel.unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

        let mut client = client_at(address, Some(WEB)).await;
        let id_token = issuer.id_token(&github_claims(SystemClock.now().seconds(), "1"));
        let request = publishing(&issuer.url(), id_token);
        let running = tokio::spawn(async move { client.mint(request).await });
        until("the issuer is asked", || issuer.discoveries() > 0).await;

        process.signal(signal);
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        until("nobody is let in any more", || TcpStream::connect(address).is_err()).await;
        assert!(process.runs(), "a call still runs");
        issuer.behave(Behaviour::Normal);
        let minted = running.await.unwrap().unwrap().into_inner();
        assert!(minted.token.starts_with("pypi-"));
        assert_eq!(process.end().await.code(), Some(0), "{}", process.err());
        assert!(process.err().contains("stopped"), "{}", process.err());
        assert_eq!(process.out(), "");
    }
}

#[tokio::test]
async fn silent_peers_hold_up_its_end_no_longer_than_its_grace() {
    let toml = configuration_with("shutdown_grace = \"1s\"", "http://127.0.0.1:1", "", "");
    let folder = Folder::new(&toml);
    let mut process = Process::start(&folder);
    let address = process.grpc();
    let _silent = Peer::silent(address);
    let mut deaf = Peer::greeted(address);
    let bearer = format!("Bearer {WEB}");
    let call = http2::call("/mintage.v1.TokenService/Mint", &[("authorization", &bearer)]);
    deaf.send(&http2::headers(1, &call, false));
    mint(&client_at(address, Some(WEB)).await).await;

    let began = Instant::now();
    process.signal("TERM");
    assert_eq!(process.end().await.code(), Some(0), "{}", process.err());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_one_sentence() {
    let folder = Folder::new(&plain());
    let first = Process::start(&folder);
    let client = client_at(first.grpc(), Some(WEB)).await;
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    for (taken, key) in [
        (first.grpc(), "listen"),
        (stranger.local_addr().unwrap(), "listen"),
        (stranger.local_addr().unwrap(), "admin_listen"),
    ] {
        let toml = match key {
            "listen" => on_port(taken),
            _ => format!("admin_listen = \"{taken}\"\n{}", plain()),
        };
        let folder = Folder::new(&toml);
        let mut second = Process::spawn(&folder);
        assert_eq!(second.end().await.code(), Some(1), "it must not share the port");
        let sentence = format!("error: {key} = \"{taken}\": another program listens there already");
        assert_eq!((second.err(), second.out()), (sentence, String::new()));
        mint(&client).await;
    }
}

#[tokio::test]
async fn of_several_that_start_at_once_on_one_port_one_serves() {
    let folder = Folder::new(&on_port(free_port()));
    let mut processes: Vec<_> = (0..6).map(|_| Process::spawn(&folder)).collect();
    let mut serving = 0;
    for process in &mut processes {
        until("it serves or has ended", || process.err().contains("listening") || !process.runs())
            .await;
        serving += process.err().matches("listening grpc").count();
    }
    assert_eq!(serving, 1);
}

#[tokio::test]
async fn it_starts_again_at_once_on_the_same_port() {
    let folder = Folder::new(&on_port(free_port()));
    for _ in 0..3 {
        let mut process = Process::start(&folder);
        mint(&client_at(process.grpc(), Some(WEB)).await).await;
        process.signal("TERM");
        assert_eq!(process.end().await.code(), Some(0), "{}", process.err());
    }
    // Even while the one before still answers its last call.
    let mut before = Process::start(&folder);
    let mut deaf = Peer::greeted(before.grpc());
    let bearer = format!("Bearer {WEB}");
    let call = http2::call("/mintage.v1.TokenService/Mint", &[("authorization", &bearer)]);
    deaf.send(&http2::headers(1, &call, false));
    mint(&client_at(before.grpc(), Some(WEB)).await).await;
    before.signal("TERM");
    let address = before.grpc();
    until("nobody is let in any more", || TcpStream::connect(address).is_err()).await;
    let after = Process::start(&folder);
    mint(&client_at(after.grpc(), Some(WEB)).await).await;
    assert!(before.runs());
}

#[tokio::test]
async fn a_key_is_known_as_soon_as_its_file_is_there_and_ends_with_it() {
    let folder = Folder::new(&plain());
    let process = Process::start(&folder);
    let client = client_at(process.grpc(), Some(WEB)).await;
    let own = mint(&client).await;

    // Another replica mints with a key that this one doesn't have yet.
    let elsewhere = Folder::new(&plain().replace("current = \"k1\"", "current = \"k2\""));
    elsewhere.key("k2", &[0x77; 32]);
    let other = Process::start(&elsewhere);
    let foreign = mint(&client_at(other.grpc(), Some(WEB)).await).await;
    assert_eq!(reasons(&verify(&client, &foreign).await), ["TOKEN_KEY_UNKNOWN"]);

    folder.key("k2", &[0x77; 32]);
    process.wait_for_line("the keyring changed");
    assert_eq!(reasons(&verify(&client, &foreign).await), [""; 0]);

    // A broken file changes nothing, and is told once.
    folder.key_file("k3", "no key at all");
    let line = process.wait_for_line("the keyring can't be read again");
    assert!(line.contains("k3: does not hold one line of standard base64"), "{line}");
    for token in [&own, &foreign] {
        assert_eq!(reasons(&verify(&client, token).await), [""; 0]);
    }
    folder.remove_key("k2");

    // Mended, it is taken with everything that changed meanwhile.
    folder.remove_key("k3");
    until("the keyring changes again", || {
        process.err().matches("the keyring changed").count() == 2
    })
    .await;
    assert_eq!(reasons(&verify(&client, &foreign).await), ["TOKEN_KEY_UNKNOWN"]);
    assert_eq!(reasons(&verify(&client, &own).await), [""; 0]);
    assert_eq!(process.err().matches("the keyring can't be read again").count(), 1);
}

#[tokio::test]
async fn callers_come_and_go_with_the_configuration_and_a_broken_one_changes_nothing() {
    let folder = Folder::new(&plain());
    let process = Process::start(&folder);
    let web = client_at(process.grpc(), Some(WEB)).await;
    let newcomer = client_at(process.grpc(), Some("the web tier's next token")).await;
    let scanner = client_at(process.grpc(), Some(SCANNER)).await;
    let may_mint = async |client: &Client| {
        client.clone().mint(for_user(None)).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(may_mint(&web).await, Ok(()));
    assert_eq!(may_mint(&newcomer).await, Err(Code::Unauthenticated));
    assert_eq!(may_mint(&scanner).await, Err(Code::PermissionDenied));

    // A broken file changes nothing, and is told once; nor may the last caller go.
    folder.configure(&plain().replace("may = [\"revoke\"]", "may = [\"everything\"]"));
    let line = process.wait_for_line("the configuration can't be read again");
    assert!(line.contains("callers[1].may[0]: must be one of"), "{line}");
    let (before, rest) =
        plain().split_once("[[callers]]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (_, after) = rest.split_once("[[issuers]]").unwrap();
    folder.configure(&format!("{before}[[issuers]]{after}"));
    process.wait_for_line("the first one comes, and the last one goes, with a restart");
    assert_eq!(may_mint(&web).await, Ok(()));
    assert_eq!(may_mint(&newcomer).await, Err(Code::Unauthenticated));

    // Another token for one, another right for the other; the same connections.
    let next = plain()
        .replace(&sha256_hex(WEB), &sha256_hex("the web tier's next token"))
        .replace("may = [\"revoke\"]", "may = [\"mint-user\"]");
    folder.configure(&next);
    process.wait_for_line("the callers changed");
    assert_eq!(may_mint(&web).await, Err(Code::Unauthenticated));
    assert_eq!(may_mint(&newcomer).await, Ok(()));
    assert_eq!(may_mint(&scanner).await, Ok(()));
    assert_eq!(process.err().matches("the configuration can't be read again").count(), 2);
}

#[tokio::test]
async fn every_call_is_one_line_of_the_audit_trail_whatever_it_brings() {
    let issuer = TestIssuer::start();
    issuer.behave(Behaviour::Held);
    let bounds = "request_timeout = \"250ms\"";
    let json = "[log]\nformat = \"json\"";
    for (log, escaped) in [("", false), (json, true)] {
        let folder = Folder::new(&configuration_with(bounds, &issuer.url(), "", log));
        let process = Process::start(&folder);
        let before = process.err().lines().count();
        let mut client = client_at(process.grpc(), Some(WEB)).await;
        let mut stranger = client_at(process.grpc(), Some("another")).await;
        let id_token = issuer.id_token(&github_claims(SystemClock.now().seconds(), "1"));
        let mut rude = for_user(None);
        rude.client = Some(proto::Client {
            ip: "192.0.2.1".to_owned(),
            user_agent: "a\r\nb\u{1b}[2J\u{7}".to_owned(),
        });
        client.mint(rude).await.unwrap();
        stranger.mint(for_user(None)).await.unwrap_err();
        client.verify(proto::VerifyRequest::default()).await.unwrap_err();
        client.mint(publishing(&issuer.url(), id_token)).await.unwrap_err();

        process.wait_for_line("Mint unanswered");
        let err = process.err();
        let lines: Vec<_> = err.lines().skip(before).collect();
        assert_eq!(lines.len(), 4, "{err}");
        for (line, told) in lines.iter().zip(["minted", "CALLER_UNKNOWN", "REQUEST_INVALID", ""]) {
            assert!(line.contains("mintage::audit") && line.contains(told), "{line}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).is_ok(), escaped);
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[tokio::test]
async fn the_audit_trail_tells_whose_token_it_was_and_by_which_text() {
    let issuer = TestIssuer::start();
    let json = "[log]\nformat = \"json\"";
    let folder = Folder::new(&configuration(&issuer.url(), "", json));
    let process = Process::start(&folder);
    let mut client = client_at(process.grpc(), Some(WEB)).await;
    let mut stranger = client_at(process.grpc(), Some("another")).await;
    // Until the store remembers the second that an ID token was issued in.
    let (id_token, minted) = loop {
        let id_token = issuer.id_token(&github_claims(SystemClock.now().seconds(), "1"));
        let answer = client.mint(publishing(&issuer.url(), id_token.clone())).await;
        if let Ok(minted) = answer {
            break (id_token, minted.into_inner());
        }
    };
    let (token, token_id) = (minted.token, minted.token_id);
    let other = issuer.id_token(&github_claims(SystemClock.now().seconds(), "2"));
    let (signed, _) = other.rsplit_once('.').unwrap();
    let forged = format!("{signed}.AAAA");
    let wanted = |id_token: &str| {
        let mut request = publishing(&issuer.url(), id_token.to_owned());
        trusted(&mut request).projects = vec!["Sample".to_owned(), "other-project".to_owned()];
        request
    };
    client.mint(wanted(&id_token)).await.unwrap_err();
    client.mint(publishing(&issuer.url(), forged.clone())).await.unwrap_err();
    client.verify(verifying(&token)).await.unwrap();
    let about = proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(
            trusted(&mut wanted(&other)).clone(),
        )),
        ..Default::default()
    };
    client.verify(about).await.unwrap();
    client.mint(for_user(None)).await.unwrap();
    let caveats = vec![caveat(Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] }))];
    let index = || "pypi".to_owned();
    let narrow = proto::AttenuateRequest { index: index(), token: token.clone(), caveats };
    client.attenuate(narrow).await.unwrap();
    let target = Some(proto::revoke_request::Target::Token(token.clone()));
    let revoke = proto::RevokeRequest { index: index(), target, ..Default::default() };
    client.revoke(revoke).await.unwrap();
    stranger.verify(verifying(&token)).await.unwrap_err();
    process.wait_for_line("CALLER_UNKNOWN");

    let url = issuer.url();
    let (of_id, of_other, of_token) =
        (sha256_hex(&id_token), sha256_hex(&other), sha256_hex(&token));
    let of_forged = sha256_hex(&forged);
    let publisher = ("publisher:p1", "p1");
    let expected = [
        ("minted", token_id.as_str(), publisher, url.as_str(), "sample,Other.Project", &*of_id),
        ("refused", "", publisher, &url, "sample,other-project", &of_id),
        ("refused", "", ("", ""), "", "", &of_forged),
        ("allowed", &token_id, publisher, "", "sample", &of_token),
        ("allowed", "", ("", "p1"), &url, "", &of_other),
        ("minted", "…", ("user:u1", ""), "", "", ""),
        ("attenuated", &token_id, ("", ""), "", "", &of_token),
        ("revoked", &token_id, publisher, "", "", &of_token),
        ("refused", "", ("", ""), "", "", ""),
    ];
    let err = process.err();
    let trail: Vec<_> = err.lines().filter(|line| line.contains("mintage::audit")).collect();
    let (_before, trail) = trail.split_at(trail.len() - expected.len());
    let lines: Vec<serde_json::Value> =
        trail.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, (outcome, token_id, (subject, publisher), issuer, projects, sum)) in
        lines.iter().zip(expected)
    {
        let told = |name: &str| line["fields"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!(told("outcome"), outcome, "{line}");
        if token_id != "…" {
            assert_eq!(told("token_id"), token_id, "{line}");
        }
        assert_eq!((told("subject").as_str(), told("publisher").as_str()), (subject, publisher));
        assert_eq!((told("issuer").as_str(), told("projects").as_str()), (issuer, projects));
        assert_eq!(told("credential_sha256"), sum, "{line}");
        assert!(line["fields"]["without_store"].is_null());
    }
}

#[tokio::test]
async fn what_the_store_could_not_answer_for_is_told_and_without_a_trail_nothing_is() {
    let dead = "[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:1\"\n";
    let trail = |filter: &str| format!("[log]\nformat = \"json\"\nfilter = \"{filter}\"");
    for (filter, told) in [("error,mintage::audit=info", 2), ("error,mintage::audit=off", 0)] {
        let toml = configuration("http://127.0.0.1:1", "", &format!("{dead}{}", trail(filter)));
        let folder = Folder::new(&toml.replace("127.0.0.1:0", &free_port().to_string()));
        let mut process = Process::spawn(&folder);
        let address = toml_listen(&folder);
        until("it listens", || TcpStream::connect(address).is_ok()).await;
        let mut client = client_at(address, Some(WEB)).await;
        let token = client.mint(for_user(None)).await.unwrap().into_inner().token;
        client.verify(verifying(&token)).await.unwrap();
        process.signal("TERM");
        assert!(process.end().await.success());
        let err = process.err();
        let trail: Vec<_> = err.lines().filter(|line| line.contains("mintage::audit")).collect();
        assert_eq!(trail.len(), told, "{err}");
        if let [_, verified] = trail.as_slice() {
            let event: serde_json::Value = serde_json::from_str(verified).unwrap();
            assert_eq!(event["fields"]["without_store"], true, "{verified}");
        }
    }
}

/// Where a configuration has its service listen.
fn toml_listen(folder: &Folder) -> SocketAddr {
    let toml = fs::read_to_string(folder.configuration()).unwrap();
    let (_, rest) = toml.split_once("listen = \"").unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_call_and_is_whole_once_it_is_read() {
    let folder = Folder::new(&configuration("http://127.0.0.1:1", "", "[log]\nformat = \"json\""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    command.arg("serve").arg("--config").arg(folder.configuration()).env_clear();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it did not start");
    }
    let (_, address) = line.split_once("\"grpc\":\"").unwrap();
    let address = address.split('"').next().unwrap().parse().unwrap();

    // Four times as much as the pipe holds.
    let mut client = client_at(address, Some(WEB)).await;
    let calls = async {
        for _ in 0..CALLS {
            let mut request = for_user(None);
            let user_agent = "x".repeat(512);
            request.client = Some(proto::Client { ip: String::new(), user_agent });
            client.mint(request).await.unwrap();
        }
    };
    if timeout(PATIENCE, calls).await.is_err() {
        child.kill().unwrap();
        panic!("calls wait for somebody to read the log");
    }

    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let audited = log.lines().filter(|line| line.as_ref().unwrap().contains("mintage::audit"));
    assert_eq!(audited.count(), CALLS);
    assert!(child.wait().unwrap().success());
}

const CALLS: usize = 400;

#[tokio::test]
async fn it_is_ready_soon_and_small() {
    let folder = Folder::new(&plain());
    let began = Instant::now();
    let process = Process::spawn(&folder);
    let line = process.wait_for_line("listening");
    let listening = began.elapsed();
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", process.grpc()));
    let mut health = HealthClient::new(channel.unwrap().connect().await.unwrap());
    let checked = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    println!(
        "listening after {listening:?}, serving after {:?}, {} KiB resident\n{line}",
        began.elapsed(),
        process.resident_kib()
    );
}

#[test]
fn what_is_wrong_with_a_start_is_one_sentence_each_on_standard_error() {
    for (what, toml, keys, sentences) in [
        ("no TOML", "listen = ", "", vec!["mintage.toml, line 1, column 10: is not TOML"]),
        (
            "a missing section",
            "listen = \"127.0.0.1:0\"",
            "",
            vec![
                "keyring.directory: is missing",
                "keyring.current: is missing",
                "indexes: must hold",
            ],
        ),
        (
            "several mistakes",
            "listen = \"everywhere\"\nstoar = 1\n[keyring]\ndirectory = \"keys\"\ncurrent = \"no/key\"",
            "",
            vec!["listen: ", "stoar: is unknown", "keyring.current: is no key id", "indexes: "],
        ),
        (
            "a damaged key",
            &plain(),
            "!!!",
            vec!["keys/k1: does not hold one line of standard base64"],
        ),
        (
            "a short key",
            &plain(),
            "c2hvcnQ=",
            vec!["keys/k1: holds 5 bytes; a key has at least 32"],
        ),
        ("no key", &plain(), "none", vec!["keys: has no key \"k1\", which keyring.current names"]),
    ] {
        let folder = Folder::new(toml);
        match keys {
            "" => {}
            "none" => folder.remove_key("k1"),
            content => folder.key_file("k1", content),
        }
        let mut process = Process::spawn(&folder);
        assert_eq!(process.wait().code(), Some(1), "{what}");
        assert_eq!(process.out(), "", "{what}");
        let err = process.err();
        for sentence in sentences {
            let told = |line: &&str| line.starts_with("error: ") && line.contains(sentence);
            assert_eq!(err.lines().filter(told).count(), 1, "{what}, {sentence:?}:\n{err}");
        }
    }
    let folder = Folder::new(&plain());
    fs::remove_file(folder.configuration()).unwrap();
    let mut process = Process::spawn(&folder);
    assert_eq!(process.wait().code(), Some(1));
    assert_eq!(process.err().lines().count(), 1, "{}", process.err());
}
