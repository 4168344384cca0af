//! `cargo bench --bench overload`: what becomes of a service that is asked for more
//! than it can do.
//!
//! The real server on one core, a generator of load on another, over loopback. First
//! what the server can do at most (so many calls at once, the next when one is
//! answered), then calls at a given rate, whatever becomes of them: at half of that,
//! at twice, at ten times, and at half again. What is to hold: at twice the most, nine
//! tenths of it are still answered; what is answered takes at most twice as long as
//! it does at the most, once the service has seen that it is no burst ("settled" is the 99th
//! percentile of what was due 0.3 s later); and after the tenfold all is as before.
//!
//! With `MINTAGE_TEST_REDIS_URL`, the same with a Redis that is there; it should not be
//! on either core. It fails where a call isn't answered as it should be. The times decide nothing: on
//! a shared machine they come and go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement that can't go on ends; it is about the real time, and a person reads it"
)]

mod connection;
mod load;
mod scene;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use load::{Figures, Load, Offer};
use scene::{Call, Scene};

/// As many as there are web tier processes, each with a channel of its own.
const CONNECTIONS: usize = 32;

/// Calls at once where the most is looked for: enough to keep a core busy.
const AT_ONCE: usize = 256;

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let span = Duration::from_millis(if measured { 3_000 } else { 200 });
    let redis = std::env::var("MINTAGE_TEST_REDIS_URL").ok();
    for call in [Call::Mint, Call::Verify] {
        report(&Scene::start(None), call, span);
    }
    for call in redis.iter().flat_map(|_| [Call::Mint, Call::Verify]) {
        report(&Scene::start(redis.as_deref()), call, span);
    }
}

fn report(scene: &Scene, call: Call, span: Duration) {
    println!("\n{call:?}, {}", scene.store);
    println!("{}", Figures::HEADING);
    let mut load = Load::new(scene.address, CONNECTIONS, &scene.request(call));
    let mut measure = |name: &str, offer: Offer, span: Duration| {
        let before = scene.cpu_time();
        let mut figures = load.run(offer, span);
        figures.cpu = scene.cpu_time() - before;
        println!("{}", figures.row(name));
        figures
    };
    measure("(warm up)", Offer::AtOnce(AT_ONCE), span / 4);
    let most = measure("the most", Offer::AtOnce(AT_ONCE), span).goodput();
    let rate = |times: f64| Offer::PerSecond(most * times);
    measure("half of it", rate(0.5), span);
    measure("nine tenths", rate(0.9), span);
    let twice = measure("twice", rate(2.0), span).goodput();
    measure("ten times", rate(10.0), span);
    measure("half, at once after", rate(0.5), span);
    let after = measure("the most, after", Offer::AtOnce(AT_ONCE), span).goodput();
    println!("answered at twice the most: {:.0} % of it", 100.0 * twice / most.max(after));
}
