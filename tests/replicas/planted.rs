//! Who can write to Redis plants what no replica would have left there.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mintage::{app::SystemClock, clock::Timestamp, ports::Clock as _};

use super::{
    REUSED,
    support::{
        redis::{RedisServer, binary},
        replicas::{Replicas, named, over},
    },
    told,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The window in which the same call comes again (`Replicas::start`).
const WINDOW: Duration = MINUTE.saturating_mul(10);

/// The same seed as if the first call had been at that moment: its second to ninth byte.
fn moved(seed: &str, to: Timestamp) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(seed).unwrap();
    bytes[1..9].copy_from_slice(&to.micros().to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn a_seed_of_another_time_makes_no_token_that_lives_then() {
    let Some(binary) = binary() else { return };
    let redis = RedisServer::start(binary).await;
    let replicas = Replicas::start(2, &over(&redis.url())).await;
    let request = named(replicas.fresh(), "call");
    let first = replicas.mint(0, request.clone()).await.unwrap();
    let keys: Vec<String> = redis.ask(&["KEYS", "*:redeemed:*"]);
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let mark: String = redis.ask(&["GET", key]);
    let (rest, seed) = mark.rsplit_once(' ').unwrap();

    let now = SystemClock.now();
    for (what, at, repeated) in [
        ("as it was", None, true),
        ("a minute ago", Some(now.minus(MINUTE)), true),
        ("before the window", Some(now.minus(WINDOW + MINUTE)), false),
        ("far ahead", Some(now.plus(MINUTE * 60 * 24 * 365)), false),
        ("a little ahead", Some(now.plus(MINUTE * 5)), false),
    ] {
        let planted = at.map_or(seed.to_owned(), |at| moved(seed, at));
        redis.command(&["SET", key, &format!("{rest} {planted}"), "KEEPTTL"]);
        let answer = replicas.mint(1, request.clone()).await;
        let expected = if repeated { "minted" } else { REUSED };
        assert_eq!(told(&answer), expected, "{what}");
        if at.is_none() {
            assert_eq!(answer.unwrap().token, first.token);
        }
    }
}
