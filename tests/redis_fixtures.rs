//! The servers that other tests rely on, and what spoils the way to them: where
//! they could lie, a test here finds out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use ::redis::{ConnectionLike as _, Value};
use support::{
    process::Process,
    redis::{
        self, Certificates, Cluster, Cutter, Fault, Kind, Memory, Options, PATIENCE, RedisServer,
        Replicated, SLOTS, Sentinels, binaries, binary, binary_rather, left_out, settled,
    },
};

#[tokio::test]
async fn a_server_of_every_kind_here_answers_as_itself() {
    if binary().is_none() {
        return;
    }
    for binary in binaries() {
        let server = RedisServer::start(binary).await;
        assert_eq!(server.info("process_id"), server.id().to_string());
        let field = if binary.kind == Kind::Valkey { "valkey_version" } else { "redis_version" };
        assert_eq!(server.info(field), binary.version);
    }
}

#[tokio::test]
async fn a_server_killed_comes_back_on_its_port_with_or_without_what_it_wrote() {
    let Some(binary) = binary() else { return };
    let always = Options::default().arguments(&["--appendonly", "yes", "--appendfsync", "always"]);
    for (memory, left) in [(Memory::Kept, 1), (Memory::Lost, 0)] {
        let mut server = RedisServer::start_with(binary, always.clone()).await;
        let (url, id) = (server.url(), server.id());
        server.command(&["SET", "key", "value"]);
        server.kill();
        assert!(server.try_info("process_id").is_err(), "nobody answers");
        server.start_again(memory).await;
        assert_eq!(server.url(), url);
        assert_ne!(server.id(), id);
        assert_eq!(server.ask::<u32>(&["EXISTS", "key"]), left, "{memory:?}");
    }
}

#[tokio::test]
async fn a_server_without_persistence_forgets_even_when_it_ends_in_good_order() {
    let Some(binary) = binary() else { return };
    let mut server = RedisServer::start(binary).await;
    server.command(&["SET", "key", "value"]);
    server.stop().await;
    server.start_again(Memory::Kept).await;
    assert_eq!(server.ask::<u32>(&["EXISTS", "key"]), 0);
}

#[tokio::test]
async fn a_paused_server_answers_once_it_goes_on() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let mut connection = server.connect().unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    server.pause();
    let ping = || ::redis::cmd("PING");
    assert!(ping().query::<String>(&mut connection).is_err());
    server.resume();
    assert_eq!(server.ask::<String>(&["PING"]), "PONG");
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let address = server.address();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

/// Not a test: what [`a_killed_test_leaves_no_server_behind`] kills.
#[tokio::test]
#[ignore = "another test runs it and kills it"]
async fn hold_a_server() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    redis::say(&format!("holding {}", server.address()));
    tokio::time::sleep(PATIENCE).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_test_leaves_no_server_behind() {
    if binary().is_none() {
        return;
    }
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--ignored", "--exact", "hold_a_server"]);
    let environment = [("PATH", std::env::var("PATH").unwrap())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut test = Process::run_with(test, &environment);
    let line = test.wait_for_line("holding ");
    let address: SocketAddr = line.split_once("holding ").unwrap().1.parse().unwrap();
    assert!(TcpStream::connect(address).is_ok());
    test.signal("KILL");
    test.wait();
    settled("the server ends too", || TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start_with(binary, Options::default().password("hush")).await;
    assert_eq!(server.ask::<String>(&["PING"]), "PONG");
    let mut stranger = ::redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let refused = ::redis::cmd("PING").query::<String>(&mut stranger).unwrap_err();
    assert!(refused.to_string().contains("NOAUTH"), "{refused}");
}

#[tokio::test]
async fn a_server_with_tls_wants_the_clients_certificate_where_told_to() {
    let Some(binary) = tls_binary().await else { return };
    let certificates = Arc::new(Certificates::new());
    for (mutual, options) in [
        (false, Options::default().tls(&certificates)),
        (true, Options::default().mutual_tls(&certificates)),
    ] {
        let server = RedisServer::start_with(binary, options).await;
        assert_eq!(server.ask::<String>(&["PING"]), "PONG");
        let ca = std::fs::read(certificates.ca()).unwrap();
        let trust = ::redis::TlsCertificates { client_tls: None, root_cert: Some(ca) };
        let stranger = ::redis::Client::build_with_tls(server.url(), trust).unwrap();
        let pinged = stranger
            .get_connection()
            .and_then(|mut stranger| ::redis::cmd("PING").query::<String>(&mut stranger));
        assert_eq!(pinged.is_err(), mutual, "{pinged:?}");
        assert!(TcpStream::connect(server.address()).is_ok());
    }
}

/// A program that speaks TLS.
async fn tls_binary() -> Option<&'static redis::Binary> {
    binary()?;
    for binary in binaries() {
        if binary.speaks_tls().await {
            return Some(binary);
        }
    }
    left_out("no server here was built with TLS");
    None
}

#[tokio::test]
async fn tests_share_a_server_and_no_prefix() {
    for kind in [Kind::Redis, Kind::Redis8, Kind::Valkey] {
        let Some(url) = redis::shared(kind).await else { continue };
        assert_eq!(redis::shared(kind).await, Some(url));
    }
    assert_ne!(redis::prefix(), redis::prefix());
}

#[tokio::test]
async fn a_replica_has_what_its_primary_had_and_can_be_promoted() {
    let Some(binary) = binary() else { return };
    let mut group = Replicated::start(binary, &Options::default(), 1).await;
    group.primary.command(&["SET", "key", "value"]);
    group.in_step().await;
    let refused = group.replicas[0].try_ask::<()>(&["SET", "key", "other"]).unwrap_err();
    assert_eq!(refused.code(), Some("READONLY"));
    group.primary.kill();
    group.promote(0);
    assert_eq!(group.replicas[0].ask::<String>(&["GET", "key"]), "value");
    group.replicas[0].command(&["SET", "key", "other"]);
}

#[tokio::test]
async fn sentinels_make_a_replica_the_primary_and_the_old_one_follows_it() {
    let Some(binary) = binary() else { return };
    let (servers, sentinels) =
        (Options::default().password("hush"), Options::default().password("watch"));
    let mut group = Sentinels::start(binary, &servers, &sentinels).await;
    let first = group.agreed().await;
    group.servers[first].command(&["SET", "key", "value"]);
    group.in_step().await;
    let old = group.fail_over().await;
    group.servers[old].start_again(Memory::Kept).await;
    group.follows(old).await;
    let key = |server: &RedisServer| server.try_ask::<String>(&["GET", "key"]);
    settled("all have what the first primary was told", || {
        group.servers.iter().all(|server| key(server).is_ok_and(|value| value == "value"))
    })
    .await;
}

#[tokio::test]
async fn a_cluster_serves_every_slot_and_moves_one_with_its_keys() {
    let Some(binary) = binary_rather(Kind::Valkey) else { return };
    let cluster = Cluster::start(binary, &Options::default()).await;
    for slot in [0, SLOTS / 2, SLOTS - 1] {
        assert!(cluster.master_of(slot).is_some(), "{slot}");
    }
    let slot = cluster.slot_of("{tag}1");
    let from = cluster.master_of(slot).unwrap();
    let to = (from + 1) % 3;
    for key in ["{tag}1", "{tag}2", "{tag}3"] {
        cluster.nodes[from].command(&["SET", key, "value"]);
    }
    let elsewhere = cluster.nodes[to].try_ask::<()>(&["GET", "{tag}1"]).unwrap_err();
    assert_eq!(elsewhere.code(), Some("MOVED"));

    cluster.begin_move(slot, from, to);
    let asked = cluster.nodes[from].try_ask::<()>(&["GET", "{tag}4"]).unwrap_err();
    assert_eq!(asked.code(), Some("ASK"));
    assert_eq!(cluster.carry_over(slot, from, to), 3);
    cluster.end_move(slot, to).await;

    assert_eq!(cluster.master_of(slot), Some(to));
    assert_eq!(cluster.nodes[to].ask::<String>(&["GET", "{tag}3"]), "value");
    let moved = cluster.nodes[from].try_ask::<()>(&["GET", "{tag}1"]).unwrap_err();
    assert_eq!(moved.code(), Some("MOVED"));
    assert_eq!(cluster.move_slot(slot, from).await, 3);
}

#[tokio::test]
async fn a_cluster_that_lost_a_master_elects_its_replica() {
    let Some(binary) = binary_rather(Kind::Valkey) else { return };
    let mut cluster = Cluster::with_replicas(binary, &Options::default()).await;
    let slot = cluster.slot_of("key");
    let master = cluster.master_of(slot).unwrap();
    cluster.nodes[master].command(&["SET", "key", "value"]);
    settled("its replica has it", || {
        cluster.nodes[master + 3].is_in_step_with(&cluster.nodes[master])
    })
    .await;
    assert_eq!(cluster.lose_master_of(slot).await, master);
    let elected = cluster.master_of(slot).unwrap();
    assert_eq!(elected, master + 3, "its replica");
    assert_eq!(cluster.nodes[elected].ask::<String>(&["GET", "key"]), "value");
    cluster.nodes[master].start_again(Memory::Kept).await;
    settled("the lost master follows", || {
        cluster.nodes[master].is_in_step_with(&cluster.nodes[elected])
    })
    .await;
}

/// A connection through a proxy.
fn through(cutter: &Cutter) -> ::redis::RedisResult<::redis::Connection> {
    let connection = ::redis::Client::open(cutter.url())?.get_connection()?;
    connection.set_read_timeout(Some(Duration::from_millis(300)))?;
    Ok(connection)
}

fn set(key: &str) -> ::redis::Cmd {
    let mut set = ::redis::cmd("SET");
    set.arg(key).arg("value");
    set
}

#[tokio::test]
async fn a_reply_is_cut_after_the_server_did_as_it_was_told() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cutter = Cutter::before(server.address()).await;
    // Every byte of `+OK\r\n`, and none.
    for bytes in 0..7 {
        let key = format!("key {bytes}");
        let mut connection = through(&cutter).unwrap();
        cutter.spoil("SET", Fault::CutReply(bytes));
        assert_eq!(::redis::cmd("PING").query::<String>(&mut connection).unwrap(), "PONG");
        assert_eq!(cutter.to_come(), 1, "a PING is no SET");
        let cut = set(&key).exec(&mut connection).unwrap_err();
        assert!(cut.is_connection_dropped() || cut.is_io_error(), "{cut:?}");
        assert_eq!(cutter.to_come(), 0);
        assert_eq!(server.ask::<u32>(&["EXISTS", &key]), 1, "{bytes}");
        set(&key).exec(&mut through(&cutter).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_request_is_cut_before_the_server_hears_of_it() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cutter = Cutter::before(server.address()).await;
    let mut connection = through(&cutter).unwrap();
    cutter.spoil("SET", Fault::CutRequest);
    set("key").exec(&mut connection).unwrap_err();
    assert_eq!(server.ask::<u32>(&["EXISTS", "key"]), 0);
}

#[tokio::test]
async fn an_error_stands_in_for_a_reply_in_its_place_among_others() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cutter = Cutter::before(server.address()).await;
    let mut connection = through(&cutter).unwrap();
    cutter.spoil_some("SET", Fault::Answer("TRYAGAIN not now"), 2);
    let mut pipeline = ::redis::pipe();
    pipeline.cmd("PING").cmd("SET").arg("key").arg("value").cmd("ECHO").arg("after");
    let answers = connection.req_packed_commands(&pipeline.get_packed_pipeline(), 0, 3).unwrap();
    let [ping, spoiled, echo] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(matches!(ping, Value::SimpleString(text) if text == "PONG"), "{ping:?}");
    let refused = spoiled.clone().extract_error().unwrap_err();
    assert_eq!(refused.code(), Some("TRYAGAIN"));
    assert!(matches!(echo, Value::BulkString(text) if text == b"after"), "{echo:?}");
    assert_eq!(cutter.to_come(), 1);
    assert!(set("key").exec(&mut connection).is_err());
    assert_eq!(server.ask::<u32>(&["EXISTS", "key"]), 0);
    set("key").exec(&mut connection).unwrap();
}

#[tokio::test]
async fn a_proxy_holds_replies_back_refuses_and_passes_again() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cutter = Cutter::before(server.address()).await;
    let mut connection = through(&cutter).unwrap();
    cutter.hold().await;
    assert!(set("held").exec(&mut connection).unwrap_err().is_timeout());
    assert_eq!(server.ask::<u32>(&["EXISTS", "held"]), 1, "the request went through");
    cutter.pass().await;

    let mut connection = through(&cutter).unwrap();
    cutter.refuse().await;
    assert!(set("refused").exec(&mut connection).is_err());
    assert!(through(&cutter).is_err_and(|error| error.is_connection_refusal()));
    cutter.pass().await;
    set("passed").exec(&mut through(&cutter).unwrap()).unwrap();
    assert_eq!(server.ask::<u32>(&["EXISTS", "refused", "passed"]), 1);
}

#[tokio::test]
async fn a_server_that_loads_its_memory_says_so() {
    let Some(binary) = binary() else { return };
    let mut server = RedisServer::start_with(binary, Options::default().slow_to_load()).await;
    server.grow(20_000).await;
    server.begin_again();
    settled("it is loading", || {
        let refused = server.try_ask::<u32>(&["EXISTS", "key:1"]);
        refused.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    settled("it is ready", || server.try_ask(&["EXISTS", "key:1"]) == Ok(1)).await;
}
