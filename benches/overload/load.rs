//! Calls over many connections, as many at once or as often as was asked for, by one
//! busy thread.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::connection::{Connection, Ended};

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Offer {
    /// So many calls at once; when one has ended, the next.
    AtOnce(usize),
    /// So many a second, whatever becomes of those before.
    PerSecond(f64),
}

pub(crate) struct Load {
    connections: Vec<Connection>,
    turn: usize,
}

/// What a service may take to see that it is no burst that comes.
const SETTLING: Duration = Duration::from_millis(300);

/// What came of a load.
pub(crate) struct Figures {
    span: Duration,
    /// Calls that were due, and found no stream free on any connection.
    unsent: usize,
    /// How long each took that was answered, and each that was refused.
    answered: Vec<Duration>,
    /// The same of those that were due after [`SETTLING`].
    settled: Vec<Duration>,
    refused: Vec<Duration>,
    /// What the server used meanwhile.
    pub(crate) cpu: Duration,
}

impl Load {
    pub(crate) fn new(
        address: SocketAddr,
        connections: usize,
        request: &(Vec<u8>, Vec<u8>),
    ) -> Self {
        let connections = (0..connections).map(|_| Connection::open(address, request)).collect();
        Self { connections, turn: 0 }
    }

    /// Loads the server for so long, and waits until every call has ended.
    pub(crate) fn run(&mut self, offer: Offer, span: Duration) -> Figures {
        let mut figures = Figures::none(span);
        let mut ended = Vec::new();
        let began = Instant::now();
        let mut due = 0_u64;
        loop {
            let now = Instant::now();
            let elapsed = now - began;
            match offer {
                _ if elapsed >= span && self.running() == 0 => return figures,
                _ if elapsed >= span + Duration::from_secs(10) => panic!("a call never ended"),
                _ if elapsed >= span => {}
                Offer::AtOnce(most) => while self.running() < most && self.call(now) {},
                Offer::PerSecond(rate) => {
                    while due < (elapsed.as_secs_f64() * rate) as u64 {
                        let at = began + Duration::from_secs_f64(due as f64 / rate);
                        figures.unsent += usize::from(!self.call(at));
                        due += 1;
                    }
                }
            }
            for connection in &mut self.connections {
                connection.flush();
                connection.read(&mut ended);
            }
            let now = Instant::now();
            ended.drain(..).for_each(|call| figures.take(call, now, began));
        }
    }

    fn running(&self) -> usize {
        self.connections.iter().map(|connection| connection.running).sum()
    }

    /// Begins a call on the next connection that has room.
    fn call(&mut self, due: Instant) -> bool {
        for _ in 0..self.connections.len() {
            self.turn = (self.turn + 1) % self.connections.len();
            let connection = &mut self.connections[self.turn];
            if connection.has_room() {
                connection.call(due);
                return true;
            }
        }
        false
    }
}

impl Figures {
    pub(crate) const HEADING: &str = "                        answered/s  refused/s   unsent/s   \
                                      µs: p50      p99  settled  refused p99   cpu  µs/call";

    fn none(span: Duration) -> Self {
        let [answered, settled, refused] = [const { Vec::new() }; 3];
        Self { span, unsent: 0, answered, settled, refused, cpu: Duration::ZERO }
    }

    fn take(&mut self, call: Ended, now: Instant, began: Instant) {
        // What ends after the end was answered at leisure.
        if now >= began + self.span {
            return;
        }
        let took = now - call.due;
        if !call.answered {
            return self.refused.push(took);
        }
        self.answered.push(took);
        if call.due >= began + SETTLING {
            self.settled.push(took);
        }
    }

    /// Answered calls per second.
    pub(crate) fn goodput(&self) -> f64 {
        self.per_second(self.answered.len())
    }

    fn per_second(&self, count: usize) -> f64 {
        count as f64 / self.span.as_secs_f64()
    }

    pub(crate) fn row(&mut self, name: &str) -> String {
        let all = self.answered.len() + self.refused.len();
        let busy = self.cpu.as_secs_f64() / self.span.as_secs_f64();
        let [p50, p99] = [0.5, 0.99].map(|part| percentile(&mut self.answered, part));
        format!(
            "{name:<22} {:>11.0} {:>10.0} {:>10.0} {p50:>9} {p99:>8} {:>8} {:>12} {:>4.0} % {:>7.1}",
            self.goodput(),
            self.per_second(self.refused.len()),
            self.per_second(self.unsent),
            percentile(&mut self.settled, 0.99),
            percentile(&mut self.refused, 0.99),
            100.0 * busy,
            self.cpu.as_secs_f64() * 1e6 / all.max(1) as f64,
        )
    }
}

fn percentile(times: &mut [Duration], part: f64) -> u128 {
    times.sort_unstable();
    let at = (times.len() as f64 * part) as usize;
    times.get(at).map_or(0, Duration::as_micros)
}
