//! The figures as tables, each beside its bound.

use std::{collections::BTreeMap, fmt};

use super::{
    paper::{grouped, rounded, shown, table},
    plan::{BOUND_STREAMS, PROJECTS, STREAMS},
    rounds::{Figures, Rpc, Sample, Store, What, median},
};

/// Everything that was measured.
pub(super) struct Report {
    pub(super) figures: Figures,
    pub(super) started: BTreeMap<Store, Started>,
    /// What a process held at most, in bytes, when 256 streams had ended.
    pub(super) crowded: BTreeMap<Store, u64>,
    pub(super) latencies: Vec<Latency>,
    pub(super) growth: Vec<Growth>,
    pub(super) kept_to_cores: bool,
}

/// How a service starts.
#[derive(Clone, Copy)]
pub(super) struct Started {
    /// Milliseconds from its start to the first answer.
    pub(super) ready: f64,
    /// Bytes in memory then.
    pub(super) idle: u64,
}

/// Percentiles at a pace, in milliseconds.
pub(super) struct Latency {
    pub(super) what: What,
    pub(super) pace: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// What so many projects cost, in µs. Zero projects stand for "at use".
pub(super) struct Growth {
    pub(super) name: &'static str,
    pub(super) projects: usize,
    /// Of the request and its answer.
    pub(super) bytes: usize,
    pub(super) token_bytes: usize,
    pub(super) cpu: f64,
    pub(super) echo: f64,
}

/// A figure, and what it may be at most.
struct Bound {
    name: &'static str,
    ours: What,
    limit: &'static [What],
    factor: f64,
}

/// Section 12 of the design.
const BOUNDS: &[Bound] = {
    use {Rpc as R, Store as S, What as W};
    const fn bound(name: &'static str, ours: What, limit: &'static [What], factor: f64) -> Bound {
        Bound { name, ours, limit, factor }
    }
    &[
        bound("Mint, memory", W::Mint(S::Memory), &[W::EchoOf(R::Mint), W::Rsa], 1.25),
        bound("Mint, Redis", W::Mint(S::Redis), &[W::EchoOf(R::Mint), W::Rsa, W::EvalSha], 1.25),
        bound("Verify, memory", W::Verify(S::Memory), &[W::EchoOf(R::Verify)], 1.25),
        bound("Verify, Redis", W::Verify(S::Redis), &[W::EchoOf(R::Verify), W::EvalSha], 1.3),
        bound("Attenuate", W::Attenuate, &[W::EchoOf(R::Attenuate)], 1.2),
        bound("Mint, signature forged", W::Forged, &[W::Mint(S::Memory)], 1.0),
        bound("Mint, issuer unknown", W::Stranger, &[W::EchoOf(R::Refused)], 1.1),
    ]
};

/// What is marked in red.
const OVER: &str = "over";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nProcessor time of the server process for one call, in µs, at {BOUND_STREAMS} streams\n"
        )?;
        f.write_str(&self.bounds())?;
        writeln!(f, "\nBy streams at once: processor time for one call in µs · calls a second\n")?;
        f.write_str(&self.by_streams())?;
        writeln!(
            f,
            "\nBy projects: processor time for one call in µs, an echo of the same sizes beside it\n"
        )?;
        f.write_str(&self.growth())?;
        writeln!(f, "\nThe process\n")?;
        f.write_str(&self.process())?;
        f.write_str(&self.footer())
    }
}

impl Report {
    fn bounds(&self) -> String {
        let header = ["", "measured", "bare limits", "", "at most", "of that", ""];
        let mut table = table(header.map(str::to_owned).to_vec(), 1);
        for bound in BOUNDS {
            let cpu = |what| self.figures.median(what, BOUND_STREAMS, |sample| sample.cpu);
            let parts: Option<Vec<f64>> = bound.limit.iter().map(|part| cpu(*part)).collect();
            let (Some(ours), Some(parts), Some(share)) =
                (cpu(bound.ours), parts, self.share(bound))
            else {
                table.add_row([bound.name, "–", "not measured", "", "–", "", ""]);
                continue;
            };
            let limit: f64 = parts.iter().sum();
            let named: Vec<_> = bound
                .limit
                .iter()
                .zip(&parts)
                .map(|(part, cpu)| format!("{} {}", short(*part), rounded(*cpu)))
                .collect();
            table.add_row([
                bound.name.to_owned(),
                rounded(ours),
                named.join(" + "),
                format!("× {}", bound.factor),
                rounded(limit * bound.factor),
                format!("{:.0} %", share * 100.0),
                verdict(share <= 1.0),
            ]);
        }
        shown(&table)
    }

    /// Which part of its bound a figure takes: the median over the rounds, each by
    /// its own limit.
    fn share(&self, bound: &Bound) -> Option<f64> {
        let samples = |what| self.figures.samples(what, BOUND_STREAMS);
        let ours = samples(bound.ours)?;
        let limits: Option<Vec<&[Sample]>> =
            bound.limit.iter().map(|part| samples(*part)).collect();
        let limits = limits?;
        let of_round = |round: usize| {
            let parts = limits.iter().filter_map(|part| part.get(round)).map(|part| part.cpu);
            Some(ours.get(round)?.cpu / (bound.factor * parts.sum::<f64>()))
        };
        median((0..ours.len()).filter_map(of_round))
    }

    fn by_streams(&self) -> String {
        let mut header = vec![String::new()];
        header.extend(STREAMS.iter().map(|streams| grouped(*streams as u64)));
        let mut table = table(header, 1);
        let rows = [
            ("Mint, memory", What::Mint(Store::Memory)),
            ("Mint, Redis", What::Mint(Store::Redis)),
            ("… echo of its sizes", What::EchoOf(Rpc::Mint)),
            ("Verify, memory", What::Verify(Store::Memory)),
            ("Verify, Redis", What::Verify(Store::Redis)),
            ("… echo of its sizes", What::EchoOf(Rpc::Verify)),
            ("Attenuate", What::Attenuate),
            ("… echo of its sizes", What::EchoOf(Rpc::Attenuate)),
            ("Mint, signature forged", What::Forged),
            ("Mint, issuer unknown", What::Stranger),
            ("… echo of its sizes", What::EchoOf(Rpc::Refused)),
            ("RSA-2048 verify", What::Rsa),
            ("EVALSHA", What::EvalSha),
        ];
        for (name, what) in rows {
            let cell = |streams: &usize| {
                let cpu = self.figures.median(what, *streams, |sample| sample.cpu);
                let rate = self.figures.median(what, *streams, |sample| sample.per_second);
                match (cpu, rate) {
                    (Some(cpu), Some(rate)) => format!("{} · {}", rounded(cpu), whole(rate)),
                    (None, _) | (_, None) => "–".to_owned(),
                }
            };
            table.add_row([name.to_owned()].into_iter().chain(STREAMS.iter().map(cell)));
        }
        shown(&table)
    }

    fn growth(&self) -> String {
        let mut header = vec![String::new(), String::new()];
        header.extend(PROJECTS.iter().map(|size| grouped(*size as u64)));
        header.push("at use".to_owned());
        let mut table = table(header, 2);
        for name in ["Mint", "Verify"] {
            let at = |projects: usize| {
                self.growth
                    .iter()
                    .find(|one| one.name.starts_with(name) && one.projects == projects)
            };
            let mut line = |title: &str, what: &str, cell: &dyn Fn(&Growth) -> String| {
                let sizes = PROJECTS.into_iter().chain([0]);
                let cells = sizes.map(|size| at(size).map_or("–".to_owned(), cell));
                let names = [title.to_owned(), what.to_owned()];
                table.add_row(names.into_iter().chain(cells));
            };
            let title = match name {
                "Mint" => "Mint, projects listed",
                _ => "Verify, ids in the token",
            };
            line(title, "measured", &|one| rounded(one.cpu));
            line("", "echo", &|one| rounded(one.echo));
            line("", "messages", &|one| bytes(one.bytes as u64));
            line("", "token", &|one| bytes(one.token_bytes as u64));
        }
        shown(&table)
    }

    fn process(&self) -> String {
        let header = ["", "measured", "at most", ""];
        let mut table = table(header.map(str::to_owned).to_vec(), 1);
        let mut row = |name: String, measured: String, bound: String, good| {
            table.add_row([name, measured, bound, verdict(good)]);
        };
        for (store, Started { ready, idle }) in &self.started {
            let ready_name = format!("start to the first answer, {}", named(*store));
            row(ready_name, format!("{ready:.0} ms"), "200 ms".to_owned(), *ready <= 200.0);
            let mut memory = |name: &str, measured: u64, most: u64| {
                let name = format!("resident memory, {name}, {}", named(*store));
                row(name, mebibytes(measured), mebibytes(most), measured <= most);
            };
            memory("idle", *idle, 25 * MEBIBYTE);
            if let Some(crowded) = self.crowded.get(store) {
                memory("under 256 streams", *crowded, 80 * MEBIBYTE);
            }
        }
        for Latency { what, pace, p50, p99 } in &self.latencies {
            let (rpc, store) = match what {
                What::Verify(store) => ("Verify", *store),
                What::Mint(store) => ("Mint", *store),
                What::Attenuate
                | What::Forged
                | What::Stranger
                | What::EchoOf(_)
                | What::Rsa
                | What::EvalSha => continue,
            };
            let most = if store == Store::Redis { 10.0 } else { 5.0 };
            let at = format!("{rpc}, {}, at {} calls a second", named(store), whole(*pace));
            row(format!("{at}: median"), format!("{} ms", rounded(*p50)), "–".to_owned(), true);
            let bound = format!("{most:.0} ms");
            row(
                "… 99th percentile".to_owned(),
                format!("{} ms", rounded(*p99)),
                bound,
                *p99 <= most,
            );
        }
        shown(&table)
    }

    fn footer(&self) -> String {
        let cores = if self.kept_to_cores {
            "The measured process has one core, with one thread that serves; the load, Redis and the \
             reader of the log have the others."
        } else {
            "No process is kept to a core here (one core, or no taskset), so the figures are less \
             steady than they could be."
        };
        format!(
            "\n Release profile. The log is JSON with every audit event, on a pipe that is read; all \
             of them arrived.\n {cores}\n Everything takes turns, round by round; figures are medians. \
             Processor times hold on a machine that does\n other work; calls a second, percentiles \
             and start-up times are then worse than they would be.\n"
        )
    }
}

fn short(what: What) -> &'static str {
    match what {
        What::EchoOf(_) => "echo",
        What::Rsa => "RSA",
        What::EvalSha => "EVALSHA",
        What::Mint(_) => "Mint",
        What::Verify(_) => "Verify",
        What::Attenuate => "Attenuate",
        What::Forged | What::Stranger => "refused",
    }
}

fn named(store: Store) -> &'static str {
    match store {
        Store::Memory => "memory",
        Store::Redis => "Redis",
    }
}

fn verdict(good: bool) -> String {
    if good { String::new() } else { OVER.to_owned() }
}

fn whole(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let whole = value.round() as u64;
    grouped(whole)
}

const MEBIBYTE: u64 = 1024 * 1024;

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(MEBIBYTE))
}

fn bytes(bytes: u64) -> String {
    match bytes {
        few if few < 10_000 => format!("{} B", grouped(few)),
        many => format!("{} kB", grouped(many / 1_000)),
    }
}
