//! Attacks on the real binary: whatever one peer does, another one is answered,
//! and the memory that it costs stays within bounds. The figures are printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{net::SocketAddr, time::Duration};

use support::{
    http2::{Peer, call, data, frame, headers, kind, literal, open_headers, reset, settings},
    process::{Folder, Process},
    service::{WEB, client_at, configuration_with, for_user},
};
use tokio::time::Instant;

const VERIFY: &str = "/mintage.v1.TokenService/Verify";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The most by which resident memory may grow under any attack of a stranger…
const MOST_GROWTH_KIB: u64 = 20 * 1024;

/// …and of a caller who proved itself: what all calls together may hold beyond.
const MOST_HELD_KIB: u64 = 64 * 1024;

/// The longest that another call may take meanwhile; a hundred times what it takes
/// on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one attacker does, with the connections that it leaves open.
type Attack = fn(SocketAddr) -> Vec<Peer>;

const ATTACKS: &[(&str, Attack, u64)] = &[
    ("streams opened and reset at once", rapid_resets, MOST_GROWTH_KIB),
    ("headers without an end", endless_headers, MOST_GROWTH_KIB),
    ("many headers in the smallest frames", small_continuations, MOST_GROWTH_KIB),
    ("pings whose answers nobody reads", pings, MOST_GROWTH_KIB),
    ("settings whose answers nobody reads", many_settings, MOST_GROWTH_KIB),
    ("empty data frames", empty_data, MOST_GROWTH_KIB),
    ("messages of which the end is missing", half_messages, MOST_GROWTH_KIB),
    (
        "the same from a caller who proved itself",
        half_messages_of_a_caller,
        MOST_GROWTH_KIB + MOST_HELD_KIB,
    ),
    ("answers that nobody reads", unread_answers, MOST_GROWTH_KIB),
    ("health watched on every stream", watches, MOST_GROWTH_KIB),
    ("many idle connections", idle_connections, MOST_GROWTH_KIB),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_stops_the_service_or_fills_its_memory() {
    // An idle connection holds 33 KiB: their bound is one of memory too.
    let bounds = "max_connections = 512";
    let folder = Folder::new(&configuration_with(bounds, "http://127.0.0.1:1", "", ""));
    let mut too_much = Vec::new();
    for (name, attack, most_growth) in ATTACKS {
        let process = Process::start(&folder);
        let address = process.grpc();
        let mut honest = client_at(address, Some(WEB)).await;
        for _ in 0..100 {
            honest.mint(for_user(None)).await.unwrap();
        }
        let before = process.resident_kib();
        let attacking = std::thread::spawn(move || attack(address));
        let (mut calls, mut longest, mut most) = (0, Duration::ZERO, before);
        while !attacking.is_finished() || calls < 10 {
            let began = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, honest.mint(for_user(None))).await;
            answer.unwrap_or_else(|_| panic!("no answer under: {name}")).unwrap();
            calls += 1;
            longest = longest.max(began.elapsed());
            most = most.max(process.resident_kib());
        }
        let left_open = attacking.join().unwrap();
        let fresh = client_at(address, Some(WEB)).await.mint(for_user(None)).await;
        assert!(fresh.is_ok(), "a new connection under: {name}");
        drop(left_open);
        let growth = most - before;
        println!("{name:<45} +{growth:>6} KiB  {calls:>5} calls, longest {longest:?}");
        if growth > *most_growth {
            too_much.push(format!("{name}: {growth} KiB"));
        }
    }
    assert_eq!(too_much, [""; 0]);
}

fn rapid_resets(address: SocketAddr) -> Vec<Peer> {
    // The server ends such a connection soon; the attacker comes back.
    for _ in 0..50 {
        let mut peer = Peer::greeted(address);
        let block = call(VERIFY, &[]);
        for at in 0..1_000 {
            let stream = 2 * at + 1;
            if !peer.send(&[headers(stream, &block, false), reset(stream)].concat()) {
                break;
            }
        }
    }
    vec![]
}

fn endless_headers(address: SocketAddr) -> Vec<Peer> {
    floods(address, 20, 2_000, |peer| {
        peer.send(&open_headers(1, &call(VERIFY, &[])));
        frame(kind::CONTINUATION, 0, 1, &literal("a", &"x".repeat(10_000)))
    })
}

fn small_continuations(address: SocketAddr) -> Vec<Peer> {
    floods(address, 20, 20_000, |peer| {
        peer.send(&open_headers(1, &call(VERIFY, &[])));
        frame(kind::CONTINUATION, 0, 1, &[])
    })
}

fn pings(address: SocketAddr) -> Vec<Peer> {
    floods(address, 20, 20_000, |_| frame(kind::PING, 0, 0, b"12345678"))
}

fn many_settings(address: SocketAddr) -> Vec<Peer> {
    floods(address, 20, 20_000, |_| settings(&[(4, 65_535), (1, 4_096)]))
}

fn empty_data(address: SocketAddr) -> Vec<Peer> {
    floods(address, 20, 20_000, |peer| {
        peer.send(&headers(
            1,
            &call(VERIFY, &[("authorization", &format!("Bearer {WEB}"))]),
            false,
        ));
        data(1, &[], false)
    })
}

/// The same frame again and again, on some connections.
fn floods(
    address: SocketAddr,
    connections: usize,
    frames: usize,
    begin: impl Fn(&mut Peer) -> Vec<u8>,
) -> Vec<Peer> {
    let flood = |_| {
        let mut peer = Peer::greeted(address);
        peer.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let many = begin(&mut peer).repeat(100);
        let _ = (0..frames / 100).all(|_| peer.send(&many));
        peer
    };
    (0..connections).map(flood).collect()
}

fn half_messages(address: SocketAddr) -> Vec<Peer> {
    half_messages_with(address, &[])
}

fn half_messages_of_a_caller(address: SocketAddr) -> Vec<Peer> {
    half_messages_with(address, &[("authorization", &format!("Bearer {WEB}"))])
}

/// Messages of nearly 4 MiB on every stream, each but for its last byte. Windows
/// are opened by the server as it reads, so this sends what it may, and again.
fn half_messages_with(address: SocketAddr, more: &[(&str, &str)]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::greeted(address)).collect();
    let begin = [&[0, 0, 0x3f, 0xff, 0xff][..], &[0; 16_000]].concat();
    let piece = vec![0; 16_000];
    for peer in &mut peers {
        peer.0.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        for at in 0..120 {
            let stream = 2 * at + 1;
            peer.send(&headers(stream, &call(VERIFY, more), false));
            peer.send(&data(stream, &begin, false));
        }
    }
    // 65,535 bytes are a stream's window until the server's SETTINGS are taken,
    // and it sends more for what it reads.
    for _ in 0..40 {
        for peer in &mut peers {
            for at in 0..120 {
                peer.send(&data(2 * at + 1, &piece, false));
            }
        }
    }
    peers
}

fn unread_answers(address: SocketAddr) -> Vec<Peer> {
    let ask = |_| {
        let mut peer = Peer::silent(address);
        let preface = support::http2::PREFACE;
        // A window of one byte for every answer.
        peer.send(&[preface, &settings(&[(4, 1)])].concat());
        // `file_containing_symbol` of the contract.
        let symbol = b"mintage.v1.TokenService";
        let wanted = [&[0x22, 23][..], symbol].concat();
        for at in 0..128 {
            let stream = 2 * at + 1;
            peer.send(&headers(stream, &call(REFLECT, &[]), false));
            peer.send(&data(stream, &support::http2::message(&wanted), true));
        }
        peer
    };
    (0..10).map(ask).collect()
}

fn watches(address: SocketAddr) -> Vec<Peer> {
    let watch = |_| {
        let mut peer = Peer::greeted(address);
        for at in 0..128 {
            let stream = 2 * at + 1;
            peer.send(&headers(stream, &call(WATCH, &[]), false));
            peer.send(&data(stream, &support::http2::message(&[]), true));
        }
        peer
    };
    (0..20).map(watch).collect()
}

fn idle_connections(address: SocketAddr) -> Vec<Peer> {
    (0..500).map(|_| Peer::greeted(address)).collect()
}
