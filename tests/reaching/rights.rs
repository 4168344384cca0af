//! The rights of Mintage's user in Redis: exactly those that it needs, taken from
//! the README, so that an operator who copies them has given enough and no more.

use std::{collections::BTreeSet, path::Path};

use ::redis::Value;

use super::{
    refused::{cause, login, proving},
    *,
};

/// The README's line that makes this user.
fn line(user: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let line = readme.lines().find(|line| line.starts_with(&format!("ACL SETUSER {user} ")));
    line.unwrap().replace("PASSWORD", PASSWORD)
}

/// Makes the user, with further rules.
fn make_user(server: &RedisServer, more: &[&str]) {
    let line = line("mintage");
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.extend(more);
    server.command(&words);
    server.command(&["ACL", "LOG", "RESET"]);
    server.command(&["CONFIG", "RESETSTAT"]);
}

const AS_USER: &str = "username = \"mintage\"\npassword_file = \"password\"\n";

/// All that a store is asked for.
async fn use_all(replica: &Replica) {
    let mut client = replica.client().await;
    let of = |ip: &str| Some(proto::Client { ip: ip.to_owned(), user_agent: String::new() });
    for number in 0..8 {
        let mint = proto::MintRequest {
            request_id: "call".to_owned(),
            client: of(&format!("192.0.2.{number}")),
            features: vec!["single-use-token".to_owned()],
            ..replica.publishing(&number.to_string())
        };
        let minted = client.mint(mint.clone()).await.unwrap().into_inner().token;
        let again = client.mint(mint.clone()).await.unwrap().into_inner().token;
        assert_eq!(minted, again);
        let other = proto::MintRequest {
            request_id: "another".to_owned(),
            client: of(&format!("198.51.100.{number}")),
            ..mint
        };
        assert_eq!(client.mint(other).await.unwrap_err().code(), tonic::Code::AlreadyExists);
        let verify = proto::VerifyRequest {
            request_id: "call".to_owned(),
            client: of("192.0.2.1"),
            ..verifying(&minted)
        };
        for (request, allowed) in [
            (verify.clone(), true),
            (verify.clone(), true),
            (proto::VerifyRequest { request_id: String::new(), ..verify }, false),
        ] {
            let answer = client.verify(request).await.unwrap().into_inner();
            assert_eq!(answer.denials.is_empty(), allowed, "{answer:?}");
        }
        let of_user = client.mint(for_user(None)).await.unwrap().into_inner().token;
        for token in [minted, of_user] {
            let revoke = proto::RevokeRequest {
                index: "pypi".to_owned(),
                target: Some(proto::revoke_request::Target::Token(token.clone())),
                ..Default::default()
            };
            client.revoke(revoke.clone()).await.unwrap();
            client.revoke(revoke).await.unwrap();
            let answer = client.verify(verifying(&token)).await.unwrap().into_inner();
            assert_eq!(reasons(&answer), ["TOKEN_REVOKED"]);
        }
    }
}

/// The commands among these that were carried out.
fn used(server: &RedisServer, rights: &BTreeSet<String>) -> BTreeSet<String> {
    let calls = |right: &String| {
        let figures = server.info(&format!("cmdstat_{right}"));
        !figures.is_empty() && !figures.starts_with("calls=0,")
    };
    rights.iter().filter(|right| calls(right)).cloned().collect()
}

/// What was refused, but for the name that a client tells unasked: servers listen to
/// it from Redis 7.2 on, and the README says what to make of that.
fn refusals(server: &RedisServer) -> Vec<String> {
    let refused: Vec<Value> = server.ask(&["ACL", "LOG"]);
    let refused = refused.iter().map(|entry| format!("{entry:?}"));
    refused.filter(|entry| !entry.contains("client|setinfo")).collect()
}

#[tokio::test]
async fn the_readmes_rights_are_enough_and_none_is_too_much() {
    if binary().is_none() {
        return;
    }
    let line = line("mintage");
    let rights: BTreeSet<String> = line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix('+'))
        .map(str::to_owned)
        .collect();
    for binary in binaries() {
        let mut needed = with_a_replica(binary, &rights).await;
        needed.extend(as_a_cluster(binary, &rights).await);
        // Sent only while a slot moves, which takes two nodes.
        needed.insert("asking".to_owned());
        assert_eq!(needed, rights, "{binary:?}");
    }
}

/// What is used of a primary whose replica is waited for.
async fn with_a_replica(binary: &'static Binary, rights: &BTreeSet<String>) -> BTreeSet<String> {
    let primary = RedisServer::start(binary).await;
    let replica = RedisServer::start(binary).await;
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    redis::settled("the replica has everything", || replica.info("master_link_status") == "up")
        .await;
    make_user(&primary, &[]);
    let url = format!("url = \"{}/3\"\nwait_replicas = 1\n", primary.url());
    use_all(&Replica::start(&(url + AS_USER), &[("password", PASSWORD)])).await;
    assert_eq!(refusals(&primary), [""; 0]);
    used(&primary, rights)
}

/// What is used of a cluster, of one node that has everything.
async fn as_a_cluster(binary: &'static Binary, rights: &BTreeSet<String>) -> BTreeSet<String> {
    let options = Options::default().arguments(&["--cluster-enabled", "yes"]);
    let node = RedisServer::start_with(binary, options).await;
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    redis::settled("the cluster is whole", || {
        node.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    })
    .await;
    make_user(&node, &[]);
    let url = format!("{}topology = \"cluster\"\n", at(&node));
    use_all(&Replica::start(&(url + AS_USER), &[("password", PASSWORD)])).await;
    assert_eq!(refusals(&node), [""; 0]);
    used(&node, rights)
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    for binary in binaries() {
        a_right_that_is_missing_is_named_by(binary).await;
    }
}

async fn a_right_that_is_missing_is_named_by(binary: &'static Binary) {
    let server = RedisServer::start(binary).await;
    // Inside a script: before Redis 8, which one it was is in its own `ACL LOG` only.
    let in_a_script = match binary.kind {
        Kind::Redis => "The user executing the script can't run this command",
        Kind::Redis8 | Kind::Valkey | Kind::Given => "no permissions to run the 'hset' command",
    };
    for (more, part) in [
        (&["-info"][..], "no permissions to run the 'info' command"),
        (&["-evalsha"], "no permissions to run the 'evalsha' command"),
        (&["-eval"], "no permissions to run the 'eval' command"),
        (&["-select"], "no permissions to run the 'select' command"),
        (&["-hset"], in_a_script),
        (&["resetkeys", "~another:*"], "key"),
    ] {
        server.command(&["ACL", "DELUSER", "mintage"]);
        server.command(&["SCRIPT", "FLUSH"]);
        server.command(&["FLUSHALL"]);
        make_user(&server, more);
        let login = login("mintage", PASSWORD);
        let proving = proving(&server, login, None);
        let cause = cause(mintage::store::RedisSettings { database: 3, ..proving }).await;
        assert!(cause.contains(part), "{more:?}: {cause}");
    }
}

#[tokio::test]
async fn the_readmes_rights_at_sentinels_are_enough() {
    let Some(binary) = binary() else { return };
    let group = Sentinels::start(binary, &Options::default(), &Options::default()).await;
    for sentinel in &group.sentinels {
        let line = line("mintage-asks");
        sentinel.command(&line.split_whitespace().collect::<Vec<_>>());
    }
    let store = format!(
        "url = \"{}\"\ntopology = \"sentinel\"\nsentinel_master = \"{}\"\n\
         sentinel_username = \"mintage-asks\"\nsentinel_password_file = \"password\"",
        group.url(),
        Sentinels::NAME
    );
    Replica::start(&store, &[("password", PASSWORD)]).mints_once().await;
}
