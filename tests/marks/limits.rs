//! Limits admit exactly what they say, charge whom they should, and can't be
//! spent by somebody else.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use mintage::{grpc::proto, ports::Clock as _};
use tonic::Code;

use super::{
    Backing, TICK,
    support::{
        issuer::key_two,
        service::{Refused, Scene, for_user, github_publisher, trusted, verifying},
    },
};

/// Makes a test of each rule, over each store.
macro_rules! over_each_store {
    ($($rule:ident)*) => {
        mod in_memory {
            $(
                #[tokio::test]
                async fn $rule() {
                    super::$rule(crate::Backing::in_memory()).await;
                }
            )*
        }
        mod in_redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    // Where there is no server, that was said loudly.
                    if let Some(backing) = crate::Backing::in_redis().await {
                        super::$rule(backing).await;
                    }
                }
            )*
        }
    };
}

over_each_store! {
    each_limit_admits_its_burst_and_tells_the_true_wait
    a_clock_that_is_put_back_locks_nobody_out
    a_limit_per_client_is_each_clients_own_and_none_without_an_address
    one_client_has_many_addresses
    each_limit_can_be_switched_off_and_all_of_them
    a_spent_limit_spends_no_other_and_the_longer_wait_is_told
    nobody_spends_a_publishers_limit_without_its_id_token
    a_repeated_mint_spends_nothing_even_where_nothing_is_left
    refusals_charge_for_the_credential_and_for_nothing_else
    denials_charge_and_allowed_verifies_are_not_touched
}

/// One unit of [`limit`] comes back in so long: a third of ten seconds, rounded up.
const INTERVAL: Duration = Duration::from_micros(3_333_334);

/// A section for one limit.
fn limit(name: &str, burst: u32) -> String {
    format!("[limits.{name}]\nburst = {burst}\ncount = 3\nperiod = \"10s\"\n")
}

/// Ways to spend a limit.
#[derive(Clone, Copy, Debug)]
enum Way {
    Mint,
    UserMint,
    RefusedMint,
    DeniedVerify,
    DeniedIdToken,
}

/// Spends one unit in this way. Err where the limit is in the way.
async fn spend(scene: &Scene, way: Way, ip: &str) -> Result<(), Refused> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let jti = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    let answer = match way {
        Way::Mint => scene.mint(from(ip, scene.publishing(&jti))).await.map(drop),
        Way::UserMint => scene.mint(from(ip, for_user(None))).await.map(drop),
        Way::RefusedMint => scene.mint(from(ip, of_nobody(scene))).await.map(drop),
        Way::DeniedVerify => {
            let client = Some(client(ip));
            let request = proto::VerifyRequest { client, ..verifying("pypi-nonsense") };
            scene.verify(request).await.map(drop)
        }
        Way::DeniedIdToken => {
            let credential = trusted(&mut of_nobody(scene)).clone();
            let request = proto::VerifyRequest {
                index: "pypi".to_owned(),
                credential: Some(proto::verify_request::Credential::IdToken(credential)),
                client: Some(client(ip)),
                ..Default::default()
            };
            scene.verify(request).await.map(drop)
        }
    };
    match answer {
        Err(refused) if refused.reason == "RATE_LIMITED" => Err(refused),
        Err(refused) if matches!(way, Way::RefusedMint) => {
            assert_eq!(refused.reason, "PUBLISHER_NOT_FOUND");
            Ok(())
        }
        other => other,
    }
}

/// A Mint that no candidate matches. Its ID token is never redeemed.
fn of_nobody(scene: &Scene) -> proto::MintRequest {
    let mut request = scene.publishing("nobody's");
    trusted(&mut request).candidates.clear();
    request
}

fn client(ip: &str) -> proto::Client {
    proto::Client { ip: ip.to_owned(), user_agent: String::new() }
}

fn from(ip: &str, request: proto::MintRequest) -> proto::MintRequest {
    proto::MintRequest { client: Some(client(ip)), ..request }
}

const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

const ALL: [(&str, Way); 6] = [
    ("mint_per_client", Way::Mint),
    ("mint_per_client", Way::UserMint),
    ("mint_per_publisher", Way::Mint),
    ("refused_mint_per_client", Way::RefusedMint),
    ("denied_verify_per_client", Way::DeniedVerify),
    ("denied_verify_per_client", Way::DeniedIdToken),
];

async fn each_limit_admits_its_burst_and_tells_the_true_wait(backing: Backing) {
    for (name, way) in ALL {
        let scene = backing.scene(&limit(name, 3)).await;
        for at in 0..3 {
            assert_eq!(spend(&scene, way, HERE).await, Ok(()), "{name}, {way:?}: {at}");
        }
        let refused = spend(&scene, way, HERE).await.unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted, "{name}, {way:?}");
        assert_eq!(refused.retry_after, Some(INTERVAL), "{name}, {way:?}");

        scene.clock.advance(INTERVAL - TICK);
        let refused = spend(&scene, way, HERE).await.unwrap_err();
        assert_eq!(refused.retry_after, Some(TICK), "{name}, {way:?}");
        scene.clock.advance(TICK);
        assert_eq!(spend(&scene, way, HERE).await, Ok(()), "{name}, {way:?}: after the wait");
        assert!(spend(&scene, way, HERE).await.is_err(), "{name}, {way:?}: one came back");

        scene.clock.advance(INTERVAL * 100);
        for at in 0..4 {
            let within = spend(&scene, way, HERE).await.is_ok();
            assert_eq!(within, at < 3, "{name}, {way:?}: never more than the burst");
        }
    }
}

async fn a_clock_that_is_put_back_locks_nobody_out(backing: Backing) {
    for (name, way) in ALL {
        let scene = backing.scene(&limit(name, 2)).await;
        let began = scene.clock.now();
        scene.clock.advance(Duration::from_secs(3600));
        for within in [true, true, false] {
            assert_eq!(spend(&scene, way, HERE).await.is_ok(), within, "{name}, {way:?}");
        }
        scene.clock.set(began);
        for within in [true, true, false] {
            assert_eq!(spend(&scene, way, HERE).await.is_ok(), within, "{name}, {way:?}: back");
        }
        let refused = spend(&scene, way, HERE).await.unwrap_err();
        assert_eq!(refused.retry_after, Some(INTERVAL), "{name}, {way:?}: back");
    }
}

async fn a_limit_per_client_is_each_clients_own_and_none_without_an_address(backing: Backing) {
    for (name, way) in ALL.into_iter().filter(|(name, _)| name.ends_with("client")) {
        let scene = backing.scene(&limit(name, 1)).await;
        assert_eq!(spend(&scene, way, HERE).await, Ok(()));
        assert!(spend(&scene, way, HERE).await.is_err(), "{name}, {way:?}");
        assert_eq!(spend(&scene, way, THERE).await, Ok(()), "{name}, {way:?}");
        for _ in 0..5 {
            assert_eq!(spend(&scene, way, "").await, Ok(()), "{name}, {way:?}");
        }
    }
}

async fn one_client_has_many_addresses(backing: Backing) {
    let scene = backing.scene(&limit("mint_per_client", 1)).await;
    for (first, second, same) in [
        ("192.0.2.10", "::ffff:192.0.2.10", true),
        ("::ffff:192.0.2.11", "::ffff:c000:20b", true),
        ("192.0.2.12", "192.0.2.13", false),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
        ("2001:db8:0:2::1", "2001:DB8:0:2::1", true),
        ("2001:db8:0:3::1", "2001:db8:0:4::1", false),
        ("::ffff:192.0.2.14", "::ffff:192.0.2.15", false),
    ] {
        assert_eq!(spend(&scene, Way::UserMint, first).await, Ok(()), "{first}");
        let limited = spend(&scene, Way::UserMint, second).await.is_err();
        assert_eq!(limited, same, "{first} and {second}");
    }
}

async fn each_limit_can_be_switched_off_and_all_of_them(backing: Backing) {
    let off = |name| format!("{}enabled = false\n", limit(name, 1));
    let all: String = ["mint_per_client", "mint_per_publisher", "refused_mint_per_client"]
        .into_iter()
        .chain(["denied_verify_per_client"])
        .map(|name| limit(name, 1))
        .collect();
    for (name, way) in ALL {
        for sections in [off(name), format!("[limits]\nenabled = false\n{all}")] {
            let scene = backing.scene(&sections).await;
            for _ in 0..5 {
                assert_eq!(spend(&scene, way, HERE).await, Ok(()), "{name}, {way:?}");
            }
        }
    }
    // One switched off leaves the others.
    let others = off("mint_per_client") + &limit("mint_per_publisher", 1);
    let scene = backing.scene(&others).await;
    assert_eq!(spend(&scene, Way::Mint, HERE).await, Ok(()));
    assert!(spend(&scene, Way::Mint, HERE).await.is_err());
    assert_eq!(spend(&scene, Way::UserMint, HERE).await, Ok(()));
}

async fn a_spent_limit_spends_no_other_and_the_longer_wait_is_told(backing: Backing) {
    let slow = "[limits.mint_per_publisher]\nburst = 2\ncount = 1\nperiod = \"60s\"\n";
    let scene = backing.scene(&(limit("mint_per_client", 1) + slow)).await;
    assert_eq!(spend(&scene, Way::Mint, HERE).await, Ok(()));
    for _ in 0..5 {
        let refused = spend(&scene, Way::Mint, HERE).await.unwrap_err();
        assert_eq!(refused.retry_after, Some(INTERVAL));
    }
    assert_eq!(spend(&scene, Way::Mint, THERE).await, Ok(()), "the publisher's second");
    let refused = spend(&scene, Way::Mint, THERE).await.unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(60)), "the longer of both");
}

async fn nobody_spends_a_publishers_limit_without_its_id_token(backing: Backing) {
    let scene = backing.scene(&limit("mint_per_publisher", 2)).await;
    let used = scene.publishing("used");
    scene.mint(used.clone()).await.unwrap();

    let claims = scene.github_claims("forged");
    let signed = scene.issuer.id_token(&claims);
    let (unsigned, _) = signed.rsplit_once('.').unwrap();
    let mut foreign = claims.clone();
    foreign["repository"] = "octo/other".into();
    let attacks = [
        ("ID_TOKEN_REUSED", used.clone()),
        ("ID_TOKEN_SIGNATURE", scene.publishing_with(format!("{unsigned}."))),
        (
            "ID_TOKEN_KEY_UNKNOWN",
            scene.publishing_with(scene.issuer.id_token_by(key_two(), &claims)),
        ),
        ("ID_TOKEN_MALFORMED", scene.publishing_with(unsigned.to_owned())),
        ("PUBLISHER_NOT_FOUND", scene.publishing_with(scene.issuer.id_token(&foreign))),
    ];
    for (reason, request) in attacks {
        for _ in 0..5 {
            assert_eq!(scene.mint(request.clone()).await.unwrap_err().reason, reason);
        }
    }
    // Nor does another publisher.
    let mut other = scene.publishing("another's");
    trusted(&mut other).candidates = vec![github_publisher(&scene.issuer.url(), "p2")];
    scene.mint(other).await.unwrap();

    assert_eq!(spend(&scene, Way::Mint, HERE).await, Ok(()), "the second of two");
    assert!(spend(&scene, Way::Mint, HERE).await.is_err());
    let still = scene.mint(used).await.unwrap_err();
    assert_eq!(still.reason, "ID_TOKEN_REUSED", "no limit is asked about a used ID token");
}

async fn a_repeated_mint_spends_nothing_even_where_nothing_is_left(backing: Backing) {
    let both = limit("mint_per_client", 2) + &limit("mint_per_publisher", 2);
    let scene = backing.scene(&both).await;
    let call = from(HERE, scene.publishing("repeated"));
    let call = proto::MintRequest { request_id: "call".to_owned(), ..call };
    let first = scene.mint(call.clone()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(scene.mint(call.clone()).await.unwrap(), first);
    }
    assert_eq!(spend(&scene, Way::Mint, HERE).await, Ok(()), "the second of two");
    assert!(spend(&scene, Way::Mint, HERE).await.is_err());
    assert_eq!(scene.mint(call).await.unwrap(), first);
}

async fn refusals_charge_for_the_credential_and_for_nothing_else(backing: Backing) {
    let scene = backing.scene(&limit("refused_mint_per_client", 1)).await;
    let mut wrong_request = from(HERE, scene.publishing("1"));
    wrong_request.features = vec!["gold".to_owned()];
    for _ in 0..5 {
        let refused = scene.mint(wrong_request.clone()).await.unwrap_err();
        assert_eq!(refused.reason, "FEATURE_UNSUPPORTED", "the index is at fault, not its client");
    }
    assert_eq!(spend(&scene, Way::RefusedMint, HERE).await, Ok(()));
    for _ in 0..3 {
        assert!(spend(&scene, Way::RefusedMint, HERE).await.is_err());
        assert_eq!(spend(&scene, Way::Mint, HERE).await, Ok(()), "what is minted isn't touched");
        assert_eq!(spend(&scene, Way::UserMint, HERE).await, Ok(()));
        assert_eq!(spend(&scene, Way::DeniedVerify, HERE).await, Ok(()));
    }
    let refused = scene.mint(wrong_request).await.unwrap_err();
    assert_eq!(refused.reason, "FEATURE_UNSUPPORTED");
}

async fn denials_charge_and_allowed_verifies_are_not_touched(backing: Backing) {
    let scene = backing.scene(&limit("denied_verify_per_client", 1)).await;
    let token = scene.mint(scene.publishing("1")).await.unwrap().token;
    let allowed = proto::VerifyRequest { client: Some(client(HERE)), ..verifying(&token) };
    assert_eq!(spend(&scene, Way::DeniedVerify, HERE).await, Ok(()));
    for _ in 0..3 {
        assert!(spend(&scene, Way::DeniedVerify, HERE).await.is_err());
        assert!(spend(&scene, Way::DeniedIdToken, HERE).await.is_err(), "the same limit");
        let answer = scene.verify(allowed.clone()).await.unwrap();
        assert!(answer.denials.is_empty());
        assert_eq!(spend(&scene, Way::RefusedMint, HERE).await, Ok(()));
    }
}
