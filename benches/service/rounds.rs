//! What is measured, in rounds: in each one everything has its turn, so that a
//! neighbour's burst of work hits a figure and its limit alike.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use super::{
    Failure,
    child::{Child, Role},
    load::{Connections, Work},
};

/// Everything that has figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Mint(Store),
    Verify(Store),
    Attenuate,
    /// A Mint whose ID token has a forged signature.
    Forged,
    /// A Mint whose ID token is refused before its signature is looked at.
    Stranger,
    /// A bare tonic echo with messages of the same sizes.
    EchoOf(Rpc),
    /// A bare RSA-2048 verify.
    Rsa,
    /// A bare EVALSHA.
    EvalSha,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Store {
    Memory,
    Redis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rpc {
    Mint,
    Verify,
    Attenuate,
    /// Of a Mint that is refused.
    Refused,
}

/// What one turn showed.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    /// Processor time of the measured process for each call, in µs.
    pub(super) cpu: f64,
    /// Calls a second.
    pub(super) per_second: f64,
}

/// Samples by what and at how many streams (or, for growth, projects), in the
/// order of the rounds.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<(What, usize), Vec<Sample>>);

impl Figures {
    pub(super) fn add(&mut self, what: What, at: usize, sample: Sample) {
        self.0.entry((what, at)).or_default().push(sample);
    }

    pub(super) fn samples(&self, what: What, at: usize) -> Option<&[Sample]> {
        self.0.get(&(what, at)).map(Vec::as_slice)
    }

    /// The median of one figure.
    pub(super) fn median(&self, what: What, at: usize, of: fn(&Sample) -> f64) -> Option<f64> {
        self.samples(what, at).and_then(|samples| median(samples.iter().map(of)))
    }
}

/// The middle one.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A process that serves calls, and our connections to it.
pub(super) struct Served {
    pub(super) process: Rc<dyn Measured>,
    pub(super) connections: Connections,
    /// How many ID tokens it was given.
    pub(super) used: Arc<AtomicUsize>,
}

/// Whose processor time can be told.
pub(super) trait Measured {
    fn child(&self) -> &Child;
}

impl Measured for super::child::Mintage {
    fn child(&self) -> &Child {
        &self.child
    }
}

impl Measured for Role {
    fn child(&self) -> &Child {
        &self.child
    }
}

/// One that has its turn in each round.
pub(super) struct Lane {
    pub(super) what: What,
    pub(super) turn: Turn,
}

/// What is done in a turn.
pub(super) enum Turn {
    Calls { served: Rc<Served>, work: Arc<Work> },
    Rsa(Rc<RefCell<Role>>),
    EvalSha(Rc<RefCell<Role>>),
}

impl Lane {
    /// One turn: so many calls, so many at once.
    pub(super) async fn take(&self, streams: usize, calls: usize) -> Result<Sample, Failure> {
        match &self.turn {
            Turn::Calls { served, work } => {
                let before = served.process.child().cpu()?;
                let took = served.connections.saturate(work, streams, calls).await?;
                Ok(Sample::new(served.process.child().cpu()? - before, took, calls))
            }
            Turn::Rsa(role) => order(&mut role.borrow_mut(), &calls.to_string(), calls),
            Turn::EvalSha(role) => {
                order(&mut role.borrow_mut(), &format!("{streams} {calls}"), calls)
            }
        }
    }
}

fn order(role: &mut Role, order: &str, calls: usize) -> Result<Sample, Failure> {
    let (began, before) = (tokio::time::Instant::now(), role.child.cpu()?);
    role.order(order)?;
    Ok(Sample::new(role.child.cpu()? - before, began.elapsed(), calls))
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "far fewer calls than a double can count")]
    fn new(cpu: Duration, took: Duration, calls: usize) -> Self {
        let calls = calls as f64;
        Self { cpu: cpu.as_secs_f64() * 1e6 / calls, per_second: calls / took.as_secs_f64() }
    }
}
