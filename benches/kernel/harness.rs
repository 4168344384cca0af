//! How an operation is measured: in batches, so that the clock's own cost and a
//! neighbour's burst of work fall out of the median; its allocations are counted
//! apart, in one more call.

use std::{hint::black_box, time::Duration};

/// What one call of an operation costs.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// The median of all batches, in nanoseconds.
    pub(super) median: f64,
    /// The fastest batch, in nanoseconds: what a quiet machine would show.
    pub(super) fastest: f64,
    /// How often memory was asked for.
    pub(super) allocations: u64,
    /// How much memory was asked for, in bytes.
    pub(super) bytes: u64,
}

/// An operation did not do what it is measured for.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" does not hold, so there is nothing to measure")]
pub(super) struct Broken(pub(super) &'static str);

/// How much is asked of each operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Figures: `cargo bench`.
    Measured,
    /// To hold, once: `cargo test --benches`.
    Once,
}

/// A batch takes at least so long: ten thousand times what reading the clock does.
const BATCH: Duration = Duration::from_micros(400);

const BATCHES: usize = 101;

impl Effort {
    /// What the command line asks for. Cargo adds `--bench` where it benches.
    pub(super) fn asked() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self::Measured
        } else {
            Self::Once
        }
    }

    /// Measures an operation, which says of each call whether it held.
    pub(super) fn measure(
        self,
        name: &'static str,
        mut operation: impl FnMut() -> bool,
    ) -> Result<Cost, Broken> {
        let mut held = operation();
        let counted = allocation_counter::measure(|| held &= operation());
        let mut cost = Cost {
            allocations: counted.count_total,
            bytes: counted.bytes_total,
            ..Cost::default()
        };
        if self == Self::Measured && held {
            // The allocator counts nothing meanwhile, and so costs next to nothing.
            allocation_counter::opt_out(|| {
                let mut counting = || held &= black_box(operation());
                (cost.median, cost.fastest) = time(&mut counting);
            });
        }
        if held { Ok(cost) } else { Err(Broken(name)) }
    }
}

/// The median and the fastest of all batches, in nanoseconds per call.
fn time(operation: &mut impl FnMut()) -> (f64, f64) {
    let mut calls = 1;
    while batch(operation, calls) < BATCH {
        calls *= 2;
    }
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| batch(operation, calls).as_secs_f64() * 1e9 / f64::from(calls))
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |position: usize| times.get(position).copied().unwrap_or_default();
    (at(BATCHES / 2), at(0))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is about the real time")]
fn batch(operation: &mut impl FnMut(), calls: u32) -> Duration {
    let began = std::time::Instant::now();
    for _ in 0..calls {
        operation();
    }
    began.elapsed()
}
