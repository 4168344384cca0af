//! Who may name whom: the dependency rule of `ARCHITECTURE.md`, held over every
//! file in `src/`.
//!
//! `use` points inward only, and each vendor stays where it is wrapped. Adding
//! to the tables below is a design decision, so it happens here, in sight.
//! Code under `#[cfg(test)]` is free; a re-export of a confined vendor is not,
//! since it would carry the vendor past this test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't read the sources ends; clippy.toml's allowance ends at #[test] functions"
)]

#[path = "architecture/planted.rs"]
mod planted;
#[path = "architecture/scan.rs"]
mod scan;

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use planted::{PLANTED, SOUND};
use scan::{How, Named, scan};

/// A ring of the house: its modules, and what they may name besides each other.
struct Ring {
    name: &'static str,
    modules: &'static [&'static str],
    /// Rings further in (`Ring::name`).
    inward: &'static [&'static str],
    /// Crates that it may name; where [`ANY`], any that is not [`CONFINED`].
    vendors: &'static [&'static [&'static str]],
    /// Whether a module may name its neighbours in the ring.
    neighbours: bool,
    /// Whether it may wait.
    asynchronous: bool,
}

/// Crates that turn values into values.
const PURE_VENDORS: &[&str] = &[
    "aws_lc_rs", // in one file: see CONFINED
    "base64",
    "hkdf",
    "hmac",
    "ipnet",
    "jiff",
    "jsonwebtoken", // in one file: see CONFINED
    "pep440_rs",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "url",
    "uuid",
    "zeroize",
];

const ANY: &[&[&str]] = &[&["*"]];

const RINGS: &[Ring] = &[
    Ring {
        name: "kernel",
        modules: &["caveat", "clock", "grant", "limits", "macaroon", "mark", "oidc", "publisher"],
        inward: &[],
        vendors: &[PURE_VENDORS],
        neighbours: true,
        asynchronous: false,
    },
    Ring {
        name: "use cases",
        modules: &["ports", "service"],
        inward: &["kernel"],
        vendors: &[PURE_VENDORS, &["arc_swap", "async_trait"]],
        neighbours: true,
        asynchronous: true,
    },
    Ring {
        name: "edges",
        modules: &["config", "grpc", "keysets", "store", "telemetry"],
        inward: &["kernel", "use cases"],
        vendors: ANY,
        neighbours: false,
        asynchronous: true,
    },
    Ring {
        name: "wiring",
        modules: &["app", "cli", "demo", "paint", "smoke", "world"],
        inward: &["kernel", "use cases", "edges"],
        vendors: ANY,
        neighbours: true,
        asynchronous: true,
    },
];

/// Edges that name another edge, and why.
const BETWEEN_EDGES: &[(&str, &str)] = &[
    ("telemetry", "config"), // what is logged, and how, is configured and nothing more
];

/// The parts of `std` that hold no clock, no I/O and no threads.
const PURE_STD: &[&str] = &[
    "any",
    "array",
    "ascii",
    "borrow",
    "cell",
    "cmp",
    "collections",
    "convert",
    "error",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "result",
    "slice",
    "str",
    "string",
    "vec",
    "net::IpAddr",
    "net::Ipv4Addr",
    "net::Ipv6Addr",
    "net::AddrParseError",
    "sync::Arc",
    "sync::LazyLock",
    "sync::OnceLock",
    "time::Duration",
];

/// A path that only some places may name.
struct Confined {
    what: &'static str,
    /// Files or folders under `src/`.
    to: &'static [&'static str],
    why: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        what: "jsonwebtoken",
        to: &["oidc/key.rs"],
        why: "signatures only; claims and times are this crate's own business",
    },
    Confined {
        what: "reqwest",
        to: &["keysets/http.rs"],
        why: "one client, bounded and without redirects",
    },
    Confined {
        what: "opentelemetry",
        to: &[
            "telemetry.rs",
            "telemetry/",
            "grpc/instruments.rs",
            "grpc/spans.rs",
            "keysets/cache.rs",
            "keysets/observed.rs",
            "app/instruments.rs",
        ],
        why: "an edge has its instruments in one file, and everybody else says what happened",
    },
    Confined {
        what: "opentelemetry_sdk",
        to: &["telemetry.rs", "telemetry/"],
        why: "whoever counts or traces names the API; how it is kept and sent is telemetry's",
    },
    Confined {
        what: "opentelemetry_prometheus",
        to: &["telemetry/metrics.rs"],
        why: "the text that Prometheus reads is written in one place",
    },
    Confined {
        what: "prometheus",
        to: &["telemetry.rs", "telemetry/metrics.rs"],
        why: "the text that Prometheus reads is written in one place",
    },
    Confined {
        what: "opentelemetry_proto",
        to: &["telemetry/"],
        why: "OTLP is spoken in one place",
    },
    Confined {
        what: "webpki",
        to: &["grpc/tls.rs"],
        why: "names are read out of verified certificates in one place",
    },
    Confined {
        what: "x509_parser",
        to: &["grpc/tls.rs"],
        why: "the end of our own certificate is read in one place",
    },
    Confined { what: "redis", to: &["store/"], why: "a store is a port" },
    Confined {
        what: "tonic",
        to: &["grpc/", "demo/", "smoke/", "app.rs", "telemetry.rs", "telemetry/otlp.rs"],
        why: "the wire ends in grpc/, and the one to the collector in telemetry/",
    },
    Confined {
        what: "tonic_types",
        to: &["grpc/", "demo/", "smoke/"],
        why: "the wire ends in grpc/",
    },
    Confined { what: "tonic_prost", to: &["grpc/", "demo/"], why: "the wire ends in grpc/" },
    Confined {
        what: "tonic_health",
        to: &["grpc/", "demo/", "smoke/", "app.rs"],
        why: "the wire ends in grpc/",
    },
    Confined { what: "tonic_reflection", to: &["grpc/", "app.rs"], why: "the wire ends in grpc/" },
    Confined { what: "prost", to: &["grpc/", "demo/"], why: "the wire ends in grpc/" },
    Confined {
        what: "prost_types",
        to: &["grpc/", "demo/", "smoke/"],
        why: "the wire ends in grpc/",
    },
    Confined {
        what: "crate::grpc::proto",
        to: &["grpc/", "demo/", "smoke/"],
        why: "generated types never pass the edge",
    },
    Confined {
        what: "aws_lc_rs",
        to: &["oidc/key.rs", "demo/signing.rs"],
        why: "signatures are checked in one place; the service itself signs nothing with RSA",
    },
    Confined {
        what: "clap",
        to: &["cli/", "main.rs"],
        why: "the command line is read in one place",
    },
    Confined {
        what: "jiff",
        to: &["clock.rs", "cli/", "demo/"],
        why: "dates are for people: clock::Timestamp shows one, and commands read them",
    },
    Confined { what: "toml", to: &["config/"], why: "TOML ends in config/" },
    Confined {
        what: "std::time::SystemTime",
        to: &["world.rs"],
        why: "time comes in through ports::Clock",
    },
    Confined {
        what: "std::time::Instant",
        to: &["world.rs"],
        why: "time comes in through ports::Clock",
    },
    Confined {
        what: "getrandom",
        to: &["world.rs", "app/parts.rs"],
        why: "chance comes in through ports::Randomness",
    },
];

/// The one file in which a `tonic::Status` is made.
const STATUS_MADE_IN: [&str; 1] = ["grpc/status.rs"];

/// One line that breaks one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.rule)
    }
}

#[test]
fn nothing_names_what_its_place_does_not_allow() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let vendors = declared_dependencies();
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 5, "the sources are in {}", src.display());
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| (relative(&src, file), fs::read_to_string(file).unwrap()))
        .collect();
    let tests = test_files(&texts);
    let faults: BTreeSet<Fault> = texts
        .iter()
        .filter(|(file, _)| !is_test(file, &tests))
        .flat_map(|(file, text)| faults(file, text, &vendors))
        .collect();
    let report: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), report.join("\n"));
}

/// Everything wrong with one file, once a line and rule.
fn faults(file: &str, text: &str, vendors: &BTreeSet<String>) -> Vec<Fault> {
    let module = module_of(file);
    let source = scan(text, &module, "mintage");
    let own = module.first().map(String::as_str);
    let ring = own.and_then(ring_of);
    let mut faults = Vec::new();
    let mut add = |line, rule: String| faults.push(Fault { file: file.to_owned(), line, rule });

    if let (Some(own), None) = (own, ring) {
        add(1, format!("module `{own}` is in no ring; add it to tests/architecture.rs"));
    }
    for named in &source.named {
        let misplaced = own
            .zip(ring)
            .and_then(|(own, ring)| breaks_ring(ring, own, named, vendors))
            .or_else(|| breaks_confinement(file, named, vendors));
        if let Some(rule) = misplaced {
            add(named.line, rule);
        }
        if makes_a_status(file, named) {
            add(
                named.line,
                format!("a tonic::Status is made in {} only", STATUS_MADE_IN.join(", ")),
            );
        }
    }
    for line in &source.asynchronous {
        if let Some(ring) = ring.filter(|ring| !ring.asynchronous) {
            add(*line, format!("the {} does not wait", ring.name));
        }
    }
    faults.dedup_by(|one, other| one.line == other.line);
    faults
}

fn breaks_ring(
    ring: &Ring,
    own: &str,
    named: &Named,
    vendors: &BTreeSet<String>,
) -> Option<String> {
    let shown = named.path.join("::");
    match named.path.first()?.as_str() {
        "crate" => {
            let other = named.path.get(1)?;
            let Some(theirs) = ring_of(other) else {
                return Some(format!("`{shown}`: module `{other}` is in no ring"));
            };
            let allowed = other == own
                || (theirs.name == ring.name && ring.neighbours)
                || ring.inward.contains(&theirs.name)
                || BETWEEN_EDGES.contains(&(own, other));
            (!allowed).then(|| format!("{own} ({}) names `{shown}` ({})", ring.name, theirs.name))
        }
        "std" | "core" | "alloc" if !ring.asynchronous && named.path.len() > 1 => {
            let pure = PURE_STD.iter().any(|pure| begins_with(named.path.get(1..), pure));
            (!pure).then(|| format!("the {} names `{shown}`", ring.name))
        }
        vendor if vendors.contains(vendor) && is_a_name(named) => {
            let allowed = |name| ring.vendors.iter().any(|list| list.contains(&name));
            (!allowed(vendor) && !allowed("*"))
                .then(|| format!("{own} ({}) names `{shown}`", ring.name))
        }
        _ => None,
    }
}

/// Not just a word in code that happens to be a crate's name too.
fn is_a_name(named: &Named) -> bool {
    named.path.len() > 1 || named.how != How::Used
}

fn breaks_confinement(file: &str, named: &Named, vendors: &BTreeSet<String>) -> Option<String> {
    let shown = named.path.join("::");
    for confined in CONFINED {
        let inside = confined.to.iter().any(|place| is_in(file, place));
        let named_it = begins_with(Some(&named.path), confined.what) && is_a_name(named);
        if named_it && !inside {
            return Some(format!(
                "`{shown}` belongs in {} ({})",
                confined.to.join(", "),
                confined.why
            ));
        }
        if named_it && named.how == How::Reexported && vendors.contains(confined.what) {
            return Some(format!(
                "`{shown}` is handed on, and would leave {}",
                confined.to.join(", ")
            ));
        }
        let hidden = match named.path.as_slice() {
            [outer @ .., last] if last == "*" => split(confined.what).starts_with(outer),
            _ => false,
        };
        if hidden && !inside {
            return Some(format!("`{shown}` hides what is named of `{}`", confined.what));
        }
    }
    None
}

/// Whether this makes a status: calls, or hands on, one of its constructors, or
/// hides that it does. Reading one (`Status` as a type, `status.code()`) is
/// nobody's concern.
fn makes_a_status(file: &str, named: &Named) -> bool {
    if STATUS_MADE_IN.iter().any(|place| is_in(file, place)) {
        return false;
    }
    let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["tonic", "*"] => true,
        ["tonic", "Status", next, ..] => next.starts_with(char::is_lowercase),
        _ => false,
    }
}

fn ring_of(module: &str) -> Option<&'static Ring> {
    RINGS.iter().find(|ring| ring.modules.contains(&module))
}

fn split(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

fn begins_with(path: Option<&[String]>, beginning: &str) -> bool {
    path.is_some_and(|path| path.starts_with(&split(beginning)))
}

/// Whether a file is this file, or lies in this folder (`folder/`).
fn is_in(file: &str, place: &str) -> bool {
    if place.ends_with('/') { file.starts_with(place) } else { file == place }
}

/// `oidc/key.rs` is `oidc::key`; `lib.rs` and `main.rs` are the root.
fn module_of(file: &str) -> Vec<String> {
    let mut module = split(&file.trim_end_matches(".rs").replace('/', "::"));
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Files that are declared as modules under `#[cfg(test)]`.
fn test_files(texts: &[(String, String)]) -> Vec<String> {
    let mut tests = Vec::new();
    for (file, text) in texts {
        let module = module_of(file);
        for name in scan(text, &module, "mintage").test_modules {
            let path = module.iter().cloned().chain([name]).collect::<Vec<_>>().join("/");
            tests.push(format!("{path}.rs"));
        }
    }
    tests
}

fn is_test(file: &str, tests: &[String]) -> bool {
    tests
        .iter()
        .any(|test| file == test || file.starts_with(&format!("{}/", test.trim_end_matches(".rs"))))
}

/// The names under which `Cargo.toml` brings other crates in.
fn declared_dependencies() -> BTreeSet<String> {
    let manifest = include_str!("../Cargo.toml");
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if let (true, Some((name, _))) =
            (section.contains("dependencies]"), line.split_once('='))
        {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    names
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn relative(src: &Path, file: &Path) -> String {
    file.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/")
}

/// The names of the dependencies that the planted faults need, whether or not
/// this version of the crate has them.
fn vendors() -> BTreeSet<String> {
    ["tonic", "tokio", "reqwest", "redis", "jsonwebtoken", "tracing", "serde", "prost", "toml"]
        .map(str::to_owned)
        .into()
}

#[test]
fn every_planted_fault_is_caught_on_its_line() {
    for (what, file, text, line) in PLANTED {
        let found: BTreeSet<usize> =
            faults(file, text, &vendors()).iter().map(|fault| fault.line).collect();
        assert_eq!(found.first(), Some(line), "{what}: src/{file}:\n{text}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    for (what, file, text) in SOUND {
        assert_eq!(faults(file, text, &vendors()), [], "{what}: src/{file}:\n{text}");
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_found() {
    let texts = [(
        "macaroon/mod.rs".to_owned(),
        "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod testing;\nmod v2;".to_owned(),
    )];
    let tests = test_files(&texts);
    assert!(is_test("macaroon/tests.rs", &tests) && is_test("macaroon/tests/vectors.rs", &tests));
    assert!(is_test("macaroon/testing.rs", &tests));
    assert!(!is_test("macaroon/v2.rs", &tests) && !is_test("tests.rs", &tests));
}
