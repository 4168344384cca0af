//! What is counted, through the real ports: for each kind of call the counters that
//! it moves, by exactly one, and no others; that nothing a stranger writes becomes a
//! label; and that `docs/metrics.md` knows every metric, and none that isn't there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails panics"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mintage::{
    app::{Server, SystemClock, SystemRandomness, World},
    config::Config,
    grpc::proto::{self, caveat::Kind},
    macaroon::{KeyId, Keyring, MasterKey},
    ports::{Clock as _, Randomness},
};
use serde_json::json;
use support::{
    clock::ManualClock,
    http2,
    issuer::{Behaviour, TestIssuer, key_two},
    process::{Folder, Process},
    scrape::Scrape,
    service::{
        BEGIN, Client, MASTER_KEY, SCANNER, Scene, WEB, caveat, client, client_at, configuration,
        configuration_with, for_user, github_claims, project, publishing, trusted, uploading,
        verifying, verifying_access,
    },
    until,
};

/// The configuration with an admin port.
fn with_admin(toml: &str) -> String {
    format!("admin_listen = \"127.0.0.1:0\"\n{toml}")
}

async fn scene(index_lines: &str, sections: &str) -> Scene {
    let issuer = TestIssuer::start();
    let toml = with_admin(&configuration(&issuer.url(), index_lines, sections));
    Scene::start_at(issuer, &toml, BEGIN).await
}

fn scrape(server: &Server) -> Scrape {
    Scrape::of(server.admin_address().unwrap())
}

/// A series: `mintage_calls_total caller=web rpc=Mint`, in short.
fn series(short: &str) -> String {
    let mut words = short.split(' ');
    let name = words.next().unwrap();
    let labels: Vec<_> = words
        .map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            format!("{name}=\"{value}\"")
        })
        .collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// Who called what, and what it was told: two counters that every call moves.
fn called(caller: &str, rpc: &str, code: &str) -> Vec<String> {
    let duration = "rpc_server_call_duration_seconds_count";
    vec![
        series(&format!("mintage_calls_total caller={caller} rpc={rpc}")),
        series(&format!(
            "{duration} rpc_method=mintage.v1.TokenService/{rpc} rpc_response_status_code={code} \
             rpc_system_name=grpc"
        )),
    ]
}

/// Holds that exactly these counters moved, each by one.
struct Steps<'s> {
    server: &'s Server,
    before: Scrape,
}

impl<'s> Steps<'s> {
    fn new(server: &'s Server) -> Self {
        Self { server, before: scrape(server) }
    }

    fn moved(&mut self, what: &str, of_call: Vec<String>, others: &[&str]) {
        let now = scrape(self.server);
        let expected: BTreeSet<_> =
            of_call.into_iter().chain(others.iter().map(|short| series(short))).collect();
        let mut moved = now.since(&self.before);
        // Fetches are the issuers' business; calls wait for one or don't.
        moved.retain(|series| !series.starts_with("mintage_issuer_fetches_total"));
        assert_eq!(moved, expected, "{what}");
        self.before = now;
    }
}

fn refusal(rpc: &str, index: &str, issuer: &str, reason: &str) -> String {
    format!("mintage_refusals_total index={index} issuer={issuer} reason={reason} rpc={rpc}")
}

fn minted(issuer: &str, subject: &str, repeated: &str) -> String {
    format!(
        "mintage_tokens_minted_total index=pypi issuer={issuer} repeated={repeated} \
         subject={subject}"
    )
}

fn verdict(credential: &str, verdict: &str) -> String {
    format!("mintage_verdicts_total credential={credential} index=pypi verdict={verdict}")
}

fn denial(reason: &str) -> String {
    format!("mintage_denials_total index=pypi reason={reason}")
}

fn about_id_token(scene: &Scene, id_token: String) -> proto::VerifyRequest {
    let mut mint = scene.publishing_with(id_token);
    proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(trusted(&mut mint).clone())),
        ..Default::default()
    }
}

fn revoking(target: proto::revoke_request::Target) -> proto::RevokeRequest {
    proto::RevokeRequest { index: "pypi".to_owned(), target: Some(target), ..Default::default() }
}

#[tokio::test]
async fn every_mint_moves_its_counters_by_one_and_no_others() {
    let scene = scene("", "").await;
    let url = scene.issuer.url();
    let mut steps = Steps::new(&scene.server);

    scene.mint(for_user(None)).await.unwrap();
    steps.moved("for a user", called("web", "Mint", "OK"), &[&minted("", "user", "false")]);

    let mut request = scene.publishing("1");
    request.request_id = "the call".to_owned();
    scene.mint(request.clone()).await.unwrap();
    let fresh = minted(&url, "publisher", "false");
    steps.moved("for a publisher", called("web", "Mint", "OK"), &[&fresh]);
    scene.mint(request.clone()).await.unwrap();
    let again = minted(&url, "publisher", "true");
    steps.moved("the same again", called("web", "Mint", "OK"), &[&again]);

    request.request_id = "another call".to_owned();
    let claims = scene.github_claims("2");
    let mut elsewhere = claims.clone();
    elsewhere["repository"] = "octo/other".into();
    let mut nowhere = scene.publishing("3");
    nowhere.index = "nowhere".to_owned();
    let mut lasting = scene.publishing("4");
    lasting.lifetime = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let forged = scene.issuer.id_token_by(key_two(), &claims);
    let mut strange = claims.clone();
    strange["iss"] = "https://issuer.example".into();
    for (what, request, index, issuer, reason, code) in [
        ("reused", request, "pypi", url.as_str(), "ID_TOKEN_REUSED", "ALREADY_EXISTS"),
        (
            "of another repository",
            scene.publishing_with(scene.issuer.id_token(&elsewhere)),
            "pypi",
            &url,
            "PUBLISHER_NOT_FOUND",
            "PERMISSION_DENIED",
        ),
        (
            "by another key",
            scene.publishing_with(forged),
            "pypi",
            "",
            "ID_TOKEN_KEY_UNKNOWN",
            "PERMISSION_DENIED",
        ),
        (
            "of a strange issuer",
            scene.publishing_with(scene.issuer.id_token(&strange)),
            "pypi",
            "",
            "ISSUER_UNKNOWN",
            "PERMISSION_DENIED",
        ),
        (
            "malformed",
            scene.publishing_with("x".to_owned()),
            "pypi",
            "",
            "ID_TOKEN_MALFORMED",
            "INVALID_ARGUMENT",
        ),
        ("for no index", nowhere, "", "", "INDEX_UNKNOWN", "INVALID_ARGUMENT"),
        ("for a second", lasting, "pypi", "", "REQUEST_INVALID", "INVALID_ARGUMENT"),
    ] {
        let refused = scene.mint(request).await.unwrap_err();
        assert_eq!(refused.reason, reason, "{what}");
        let refusal = refusal("Mint", index, issuer, reason);
        steps.moved(what, called("web", "Mint", code), &[&refusal]);
    }

    for (token, caller, reason, code) in [
        (None, "", "CALLER_UNKNOWN", "UNAUTHENTICATED"),
        (Some("a stranger's"), "", "CALLER_UNKNOWN", "UNAUTHENTICATED"),
        (Some(SCANNER), "scanner", "CALLER_FORBIDDEN", "PERMISSION_DENIED"),
    ] {
        let mut client = client(&scene.server, token).await;
        client.mint(for_user(None)).await.unwrap_err();
        let refusal = refusal("Mint", "", "", reason);
        steps.moved(reason, called(caller, "Mint", code), &[&refusal]);
    }
}

#[tokio::test]
async fn every_other_call_moves_its_counters_by_one_and_no_others() {
    let scene = scene("", "").await;
    let url = scene.issuer.url();
    let token = scene.mint(scene.publishing("1")).await.unwrap().token;
    let mut steps = Steps::new(&scene.server);
    let ok = |rpc| called("web", rpc, "OK");

    scene.verify(verifying(&token)).await.unwrap();
    steps.moved("allowed", ok("Verify"), &[&verdict("upload_token", "allowed")]);
    let mut access = support::service::upload();
    access.project = Some(project("id-9", "another"));
    access.publisher_ids = vec!["p9".to_owned()];
    scene.verify(verifying_access(&token, access)).await.unwrap();
    let denied = verdict("upload_token", "denied");
    let reasons = [denial("CAVEAT_PUBLISHER"), denial("CAVEAT_PROJECT")];
    steps.moved("denied twice over", ok("Verify"), &[&denied, &reasons[0], &reasons[1]]);
    scene.verify(verifying("pypi-")).await.unwrap();
    steps.moved("no token", ok("Verify"), &[&denied, &denial("TOKEN_MALFORMED")]);

    let id_token = scene.github_id_token("2");
    scene.verify(about_id_token(&scene, id_token)).await.unwrap();
    steps.moved("an ID token", ok("Verify"), &[&verdict("id_token", "allowed")]);
    scene.verify(about_id_token(&scene, "a.b.c".to_owned())).await.unwrap();
    let denied_id = verdict("id_token", "denied");
    steps.moved("no ID token", ok("Verify"), &[&denied_id, &denial("ID_TOKEN_MALFORMED")]);

    let digests = caveat(Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] }));
    let narrow = |token: &str, caveats| proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: token.to_owned(),
        caveats,
    };
    scene.attenuate(narrow(&token, vec![digests.clone()])).await.unwrap();
    let narrowed = "mintage_tokens_attenuated_total index=pypi";
    steps.moved("narrowed", ok("Attenuate"), &[narrowed]);
    scene.attenuate(narrow("pypi-", vec![digests])).await.unwrap_err();
    let refused = refusal("Attenuate", "pypi", "", "TOKEN_MALFORMED");
    steps.moved("not narrowed", called("web", "Attenuate", "INVALID_ARGUMENT"), &[&refused]);

    let mut scanner = client(&scene.server, Some(SCANNER)).await;
    let target = || proto::revoke_request::Target::Token(token.clone());
    scanner.revoke(revoking(target())).await.unwrap();
    let revoked = "mintage_tokens_revoked_total index=pypi";
    steps.moved("revoked", called("scanner", "Revoke", "OK"), &[revoked]);
    scene.verify(verifying(&token)).await.unwrap();
    steps.moved("revoked before", ok("Verify"), &[&denied, &denial("TOKEN_REVOKED")]);
    scene.revoke(proto::RevokeRequest::default()).await.unwrap_err();
    let refused = refusal("Revoke", "pypi", "", "REQUEST_INVALID");
    steps.moved("nothing to revoke", called("web", "Revoke", "INVALID_ARGUMENT"), &[&refused]);

    // What no message can be read from, and a method that the contract doesn't know.
    let (raw, _connection) = http2::client(scene.server.grpc_address()).await;
    let bearer = format!("Bearer {WEB}");
    let proof = [("authorization", bearer.as_str())];
    let verify = http2::head("/mintage.v1.TokenService/Verify", &proof);
    http2::status_of(&raw, verify, &http2::message(&[0x0f])).await.unwrap();
    let refused = refusal("Verify", "", "", "REQUEST_INVALID");
    steps.moved("unreadable", called("web", "Verify", "INVALID_ARGUMENT"), &[&refused]);
    let unheard = http2::head("/mintage.v1.TokenService/Unheard", &proof);
    http2::status_of(&raw, unheard, &http2::message(&[])).await.unwrap();
    steps.moved("unheard of", vec![], &[]);
    let nobody = http2::head("/mintage.v1.TokenService/Unheard", &[]);
    http2::status_of(&raw, nobody, &http2::message(&[])).await.unwrap();
    steps.moved("unheard of, by nobody", vec![], &[]);

    let now = scrape(&scene.server);
    assert_eq!(now.value("mintage_ready"), 1.0);
    assert_eq!(now.value("mintage_keyring_keys"), 1.0);
    assert!(now.value("mintage_connections") >= 3.0, "{}", now.text);
    assert_eq!(now.values("mintage_tokens_minted_total", "issuer"), [String::new(), url].into());
}

#[tokio::test]
async fn every_limit_that_is_reached_is_counted_under_its_name() {
    let limits = [
        "mint_per_client",
        "mint_per_publisher",
        "refused_mint_per_client",
        "denied_verify_per_client",
    ];
    for limit in limits {
        let one = "{ burst = 1, count = 1, period = \"1h\" }";
        let scene = scene("", &format!("[limits]\n{limit} = {one}")).await;
        let url = scene.issuer.url();
        let asking = proto::Client { ip: "192.0.2.1".to_owned(), ..Default::default() };
        let mint = |id_token| {
            let mut request = scene.publishing_with(id_token);
            request.client = Some(asking.clone());
            request
        };
        let verify = || proto::VerifyRequest { client: Some(asking.clone()), ..verifying("pypi-") };
        let bad = || mint("a.b.c".to_owned());
        match limit {
            "denied_verify_per_client" => drop(scene.verify(verify()).await.unwrap()),
            "refused_mint_per_client" => drop(scene.mint(bad()).await.unwrap_err()),
            _ => drop(scene.mint(mint(scene.github_id_token("1"))).await.unwrap()),
        }
        let mut steps = Steps::new(&scene.server);
        let (rpc, issuer) = match limit {
            "denied_verify_per_client" => {
                scene.verify(verify()).await.unwrap_err();
                ("Verify", "")
            }
            "refused_mint_per_client" => {
                scene.mint(bad()).await.unwrap_err();
                ("Mint", "")
            }
            _ => {
                scene.mint(mint(scene.github_id_token("2"))).await.unwrap_err();
                ("Mint", url.as_str())
            }
        };
        let refused = refusal(rpc, "pypi", issuer, "RATE_LIMITED");
        let reached = format!("mintage_limits_reached_total limit={limit}");
        steps.moved(limit, called("web", rpc, "RESOURCE_EXHAUSTED"), &[&refused, &reached]);
    }
}

#[tokio::test]
async fn a_store_out_of_reach_counts_what_is_allowed_without_it_and_what_is_refused() {
    let dead = "[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:1\"";
    let scene = scene("", dead).await;
    let url = scene.issuer.url();
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let mut steps = Steps::new(&scene.server);
    scene.verify(verifying(&token)).await.unwrap();
    let without = "mintage_verified_without_store_total index=pypi";
    let allowed = verdict("upload_token", "allowed");
    steps.moved("allowed", called("web", "Verify", "OK"), &[&allowed, without]);
    scene.mint(scene.publishing("1")).await.unwrap_err();
    let refused = refusal("Mint", "pypi", &url, "UNAVAILABLE");
    steps.moved("refused", called("web", "Mint", "UNAVAILABLE"), &[&refused]);
    assert_eq!(scrape(&scene.server).value("mintage_ready"), 0.0);
}

#[tokio::test]
async fn a_call_too_many_is_counted_and_those_in_flight_are_told() {
    let issuer = TestIssuer::start();
    issuer.behave(Behaviour::Held);
    let bounds = "max_in_flight = 1, max_connections = 7, threads = 1";
    let toml = with_admin(&configuration_with(bounds, &issuer.url(), "", ""));
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let (mut waiting, request) = (scene.client.clone(), scene.publishing("1"));
    let running = tokio::spawn(async move { waiting.mint(request).await });
    until("the call runs", || scene.issuer.discoveries() > 0).await;
    let mut steps = Steps::new(&scene.server);
    scene.verify(verifying("pypi-")).await.unwrap_err();
    let duration = called("", "Verify", "UNAVAILABLE").split_off(1);
    let refused = refusal("Verify", "", "", "UNAVAILABLE");
    steps.moved("one too many", duration, &[&refused, "mintage_overload_refusals_total"]);
    let now = scrape(&scene.server);
    for (gauge, expected) in [
        ("mintage_calls_in_flight", 1.0),
        ("mintage_calls_in_flight_limit", 1.0),
        ("mintage_connections_limit", 7.0),
    ] {
        assert_eq!(now.value(gauge), expected, "{gauge}");
    }
    scene.issuer.behave(Behaviour::Normal);
    running.await.unwrap().unwrap();
    until("nothing runs", || scrape(&scene.server).value("mintage_calls_in_flight") == 0.0).await;
}

/// Chance that can be lost, so that a call panics.
struct Dice(AtomicBool);

impl Randomness for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        assert!(!self.0.load(Ordering::SeqCst), "the dice are lost");
        SystemRandomness.fill(bytes);
    }
}

#[tokio::test]
async fn a_panic_is_counted_as_a_defect() {
    let toml = with_admin(&configuration("http://127.0.0.1:1", "", ""));
    let config = Config::parse(&toml, Path::new("/"), std::iter::empty()).unwrap();
    let key_id = KeyId::parse("k1").unwrap();
    let keys = [(key_id.clone(), MasterKey::new(&MASTER_KEY).unwrap())];
    let dice = Arc::new(Dice(AtomicBool::new(false)));
    let world =
        World { clock: Arc::new(ManualClock::at(BEGIN)), randomness: Arc::clone(&dice) as _ };
    let keyring = Keyring::new(keys.into(), key_id).unwrap();
    let server = Server::start(&config, keyring, world).unwrap();
    let mut client = client(&server, Some(WEB)).await;
    let mut steps = Steps::new(&server);
    dice.0.store(true, Ordering::SeqCst);
    client.mint(for_user(None)).await.unwrap_err();
    let refused = refusal("Mint", "", "", "INTERNAL");
    steps.moved("a panic", called("web", "Mint", "INTERNAL"), &[&refused, "mintage_panics_total"]);
}

#[tokio::test]
async fn nothing_that_a_stranger_writes_becomes_a_label() {
    let issuer = TestIssuer::start();
    let toml = with_admin(&configuration(&issuer.url(), "", ""));
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    // Without labels of its own nothing grows: as many series as one such round makes.
    hostile_round(&scene, 0).await;
    let first = scrape(&scene.server);
    for round in 1..20 {
        hostile_round(&scene, round).await;
    }
    let last = scrape(&scene.server);
    let known = |scrape: &Scrape| scrape.series.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(known(&last), known(&first));
    assert!(!last.text.contains("hostile"), "{}", last.text);
    let url = scene.issuer.url();
    let set = |values: &[&str]| values.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    for (metric, label, expected) in [
        ("mintage_refusals_total", "index", set(&["", "pypi"])),
        ("mintage_refusals_total", "issuer", set(&["", &url])),
        ("mintage_calls_total", "caller", set(&["", "web", "scanner"])),
        ("mintage_denials_total", "index", set(&["pypi"])),
    ] {
        assert_eq!(last.values(metric, label), expected, "{metric} {label}");
    }
}

/// Everything that can be named, named by a stranger.
async fn hostile_round(scene: &Scene, round: usize) {
    let name = format!("hostile-{round}");
    let mut stranger = client(&scene.server, Some(&name)).await;
    stranger.mint(for_user(None)).await.unwrap_err();
    let mut elsewhere = for_user(None);
    elsewhere.index.clone_from(&name);
    elsewhere.client = Some(proto::Client { ip: String::new(), user_agent: name.clone() });
    scene.mint(elsewhere).await.unwrap_err();
    let mut claims = scene.github_claims(&name);
    claims["repository"] = json!(name);
    let proven = scene.publishing_with(scene.issuer.id_token(&claims));
    scene.mint(proven).await.unwrap_err();
    claims["iss"] = json!(format!("https://{name}.example"));
    let strange = scene.publishing_with(scene.issuer.id_token(&claims));
    scene.mint(strange).await.unwrap_err();
    // A known issuer's name, with another's key, is nobody's proof.
    let forged = scene.issuer.id_token_by(key_two(), &scene.github_claims(&name));
    scene.mint(scene.publishing_with(forged)).await.unwrap_err();
    let mut featured = scene.publishing(&name);
    featured.features = vec![name.clone()];
    scene.mint(featured).await.unwrap_err();
    let mut access = support::service::upload();
    access.project = Some(project(&name, &name));
    let token = scene.mint(for_user(None)).await.unwrap().token;
    scene.verify(verifying_access(&token[..token.len() - 4], access)).await.unwrap();
    let mut kept = verifying(&token);
    uploading(&mut kept).kept = Some(proto::KeptToken {
        root_key: name.clone().into_bytes(),
        subject: Some(proto::Subject { kind: Some(proto::subject::Kind::UserId(name.clone())) }),
    });
    scene.verify(kept).await.unwrap();
    scene.revoke(revoking(proto::revoke_request::Target::TokenId(name.clone()))).await.unwrap();
    let (raw, _connection) = http2::client(scene.server.grpc_address()).await;
    let path = format!("/mintage.v1.TokenService/{name}");
    http2::status_of(&raw, http2::head(&path, &[]), &http2::message(&[])).await.unwrap();
}

/// A row of `docs/metrics.md`: type and labels, by name.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = table("| `", 5);
    let row = |cells: Vec<String>| {
        let labels = quoted(&cells[2]).into_iter().collect();
        (cells[0].trim_matches('`').to_owned(), (cells[1].clone(), labels))
    };
    rows.into_iter().map(row).collect()
}

/// The values of each label; None: they come from elsewhere.
fn documented_values() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let contract = read("proto/mintage/v1/error_reason.proto");
    let reasons: BTreeSet<String> = contract
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ERROR_REASON_")?.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect();
    let row = |cells: Vec<String>| {
        let values: BTreeSet<String> = match cells[0].as_str() {
            "`reason`" => reasons.clone(),
            _ => quoted(&cells[1]).into_iter().collect(),
        };
        let empty = cells[1].contains("or empty").then(String::new);
        let values = Some(values).filter(|values| !values.is_empty());
        let values = values.map(|values| values.into_iter().chain(empty).collect());
        (cells[0].trim_matches('`').to_owned(), values)
    };
    table("| `", 2).into_iter().map(row).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows with so many cells that begin so.
fn table(begin: &str, cells: usize) -> Vec<Vec<String>> {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with(begin)).map(|line| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    });
    rows.filter(|row| row.len() == cells).collect()
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A bit of everything, with a real process; and one that has TLS.
async fn everything() -> [Scrape; 2] {
    let issuer = TestIssuer::start();
    let collector = "[telemetry]\notlp_endpoint = \"http://127.0.0.1:1\"\n";
    let limit = "[limits]\nmint_per_client = { burst = 1, count = 1, period = \"1h\" }\n";
    let toml = configuration(&issuer.url(), "", &format!("{collector}{limit}"));
    let folder = Folder::new(&with_admin(&toml));
    let process = Process::start(&folder);
    let mut client = client_at(process.grpc(), Some(WEB)).await;
    let now = || SystemClock.now().seconds();
    let mint = |claims| publishing(&issuer.url(), issuer.id_token(&claims));
    // Issued before the store's memory begins.
    client.mint(mint(github_claims(now() - 200, "old"))).await.unwrap_err();
    let token = fresh_token(&mut client, &issuer).await;
    client.verify(verifying(&token)).await.unwrap();
    client.verify(verifying("pypi-")).await.unwrap();
    let digests = caveat(Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] }));
    let narrow = proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: token.clone(),
        caveats: vec![digests],
    };
    client.attenuate(narrow).await.unwrap();
    client.revoke(revoking(proto::revoke_request::Target::Token(token))).await.unwrap();
    let mut stranger = client_at(process.grpc(), None).await;
    stranger.mint(for_user(None)).await.unwrap_err();
    let admin = process.admin();
    until("the store was probed", || Scrape::of(admin).value("mintage_store_up") > 0.0).await;

    let authority = support::tls::Authority::new("an authority");
    let home = support::tls::Home::new(&authority.server());
    let bounds = format!("shutdown_grace = \"5s\", threads = 1, {}", home.section(""));
    let toml = with_admin(&configuration_with(&bounds, "http://127.0.0.1:1", "", ""));
    let with_tls = support::service::server(&toml, &Arc::new(ManualClock::at(BEGIN)));
    [Scrape::of(admin), scrape(&with_tls)]
}

/// Minted as soon as the store remembers the second that the ID token was issued in.
async fn fresh_token(client: &mut Client, issuer: &TestIssuer) -> String {
    for number in 0.. {
        let claims = github_claims(SystemClock.now().seconds(), &number.to_string());
        let answer = client.mint(publishing(&issuer.url(), issuer.id_token(&claims))).await;
        match answer {
            Ok(minted) => return minted.into_inner().token,
            Err(_) if number < 10_000 => {}
            Err(status) => panic!("{status}"),
        }
    }
    panic!("numbers have ended")
}

#[tokio::test]
async fn the_documented_metrics_are_those_that_there_are_with_their_labels() {
    let scrapes = everything().await;
    let mut there = BTreeMap::new();
    for scrape in &scrapes {
        for (name, (kind, labels)) in scrape.metrics() {
            let of = there.entry(name).or_insert((kind, BTreeSet::new()));
            of.1.extend(labels);
        }
    }
    let documented = documented();
    assert!(documented.len() > 30, "{documented:?}");
    let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (there_names, known) = (names(&there), names(&documented));
    let silent: Vec<_> = there_names.difference(&known).collect();
    assert!(silent.is_empty(), "docs/metrics.md is silent on {silent:?}");
    let invented: Vec<_> = known.difference(&there_names).collect();
    assert!(invented.is_empty(), "there is no {invented:?}");
    assert_eq!(there, documented);

    let values = documented_values();
    let labels: BTreeSet<_> = there.values().flat_map(|(_, labels)| labels).cloned().collect();
    assert_eq!(labels, values.keys().cloned().collect(), "the table of labels");
    for (metric, (_, labels)) in &there {
        for (label, scrape) in
            labels.iter().flat_map(|label| scrapes.each_ref().map(|one| (label, one)))
        {
            let Some(known) = &values[label] else { continue };
            let unknown: Vec<_> = scrape.values(metric, label).difference(known).cloned().collect();
            assert!(unknown.is_empty(), "{metric} has {label} {unknown:?}");
        }
    }
    for line in scrapes[0].text.lines() {
        assert!(!line.contains("otel_scope"), "{line}");
    }
    let help = scrapes[0].text.lines().filter(|line| line.starts_with("# HELP ")).count();
    assert_eq!(help, scrapes[0].metrics().len(), "each has its sentence");
}

#[test]
fn the_page_about_the_audit_trail_knows_every_field_and_its_examples_are_events() {
    let page = read("docs/audit.md");
    let source = read("src/grpc/audit.rs");
    let (_, event) = source.split_once("target: TARGET,\n        rpc,").unwrap();
    let (fields, _) = event.split_once("\"{rpc}").unwrap();
    let names = fields.lines().filter_map(|line| line.trim().split([' ', ',']).next());
    let is_name = |name: &&str| name.starts_with(|one: char| one.is_ascii_lowercase());
    let names = names.filter(is_name);
    let mut known = 0;
    for name in names.chain(["rpc"]) {
        let told = page.lines().any(|line| {
            line.starts_with("| `")
                && line.split('|').nth(1).unwrap().contains(&format!("`{name}`"))
        });
        assert!(told, "docs/audit.md is silent on {name}");
        known += 1;
    }
    assert_eq!(known, 16);
    let examples: Vec<_> = page.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let event: serde_json::Value = serde_json::from_str(example).unwrap();
        assert_eq!(event["target"], "mintage::audit");
        for name in event["fields"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
