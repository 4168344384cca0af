//! What the documents say, held against what is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on ends; clippy.toml's allowance ends at #[test] functions"
)]

use std::{fs, path::Path, process::Command};

use mintage::config::Config;
use toml::{Table, Value};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The fenced blocks of one language, in order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in document.lines() {
        match (&mut open, line) {
            (None, line) if line == format!("```{language}") => open = Some(Vec::new()),
            (Some(block), "```") => {
                blocks.push(block.join("\n"));
                open = None;
            }
            (Some(block), line) => block.push(line),
            (None, _) => {}
        }
    }
    blocks
}

fn mintage() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    command.env_clear();
    command
}

/// Runs `config check` on a configuration from the README, beside a fresh key.
fn check(config: &Table) {
    let home = tempfile::tempdir().unwrap();
    let generated = mintage()
        .args(["keys", "generate", "--directory"])
        .arg(home.path().join("keys"))
        .output()
        .unwrap();
    assert!(generated.status.success(), "{generated:?}");
    let key_id = String::from_utf8(generated.stdout).unwrap();
    let config = config.to_string().replace("2026-11-21-k3fz", key_id.trim());
    fs::write(home.path().join("redis-password"), "a password").unwrap();
    let authority = rcgen::generate_simple_self_signed(["redis.internal".to_owned()]).unwrap();
    fs::write(home.path().join("redis-ca.pem"), authority.cert.pem()).unwrap();
    let own = rcgen::generate_simple_self_signed(["mintage.internal".to_owned()]).unwrap();
    fs::write(home.path().join("tls.crt"), own.cert.pem()).unwrap();
    fs::write(home.path().join("tls.key"), own.signing_key.serialize_pem()).unwrap();
    fs::write(home.path().join("clients-ca.crt"), authority.cert.pem()).unwrap();
    let file = home.path().join("mintage.toml");
    fs::write(&file, &config).unwrap();
    let checked = mintage().args(["config", "check", "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{config}");
}

/// The README's configurations: the quick start's, the defaults, the callers, TLS,
/// Redis with all it knows, and three kinds of Redis; all but the first laid over the
/// first.
fn configurations() -> [Table; 8] {
    let blocks = blocks(&read("README.md"), "toml");
    let quick_start = blocks.first().unwrap();
    let whole = |more: &String| over(quick_start.parse().unwrap(), more.parse().unwrap());
    let all: Vec<Table> = blocks.iter().map(whole).collect();
    all.try_into().unwrap_or_else(|all: Vec<_>| panic!("{} blocks", all.len()))
}

/// One table laid over another.
fn over(mut base: Table, more: Table) -> Table {
    for (key, value) in more {
        let value = match (base.remove(&key), value) {
            (Some(Value::Table(base)), Value::Table(more)) => Value::Table(over(base, more)),
            (_, value) => value,
        };
        base.insert(key, value);
    }
    base
}

#[test]
fn the_configurations_in_the_readme_are_good() {
    for config in configurations() {
        check(&config);
    }
}

#[test]
fn the_defaults_in_the_readme_are_the_defaults() {
    let read = |table: &Table| {
        Config::parse(&table.to_string(), Path::new("."), std::iter::empty()).unwrap()
    };
    let [quick_start, defaults, _callers, _tls, redis, ..] = configurations();
    assert_eq!(read(&quick_start), read(&defaults));

    let mut smallest = redis.clone();
    let store = smallest.get_mut("store").and_then(Value::as_table_mut).unwrap();
    store.retain(|key, _| ["kind", "url"].contains(&key));
    assert_eq!(read(&smallest), read(&redis));
}

#[test]
fn the_readme_says_what_to_do_about_every_reason() {
    let readme = read("README.md");
    let contract = read("proto/mintage/v1/error_reason.proto");
    let reasons: Vec<&str> = contract
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ERROR_REASON_"))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| *name != "UNSPECIFIED")
        .collect();
    assert!(reasons.len() > 30, "{reasons:?}");
    for reason in reasons {
        assert!(readme.contains(&format!("`{reason}`")), "README.md is silent on {reason}");
    }
}

#[test]
fn the_readme_knows_every_line_of_the_log_about_redis() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("**What the log says**").unwrap();
    let told: Vec<&str> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .map(|line| line.trim_start_matches("Redis: ").trim_end_matches(" …"))
        .collect();
    let files = ["src/store/redis/notices.rs", "src/store/redis/server.rs", "src/app.rs"];
    let source: String = files.map(read).concat();
    for line in &told {
        assert!(source.contains(line), "nobody logs {line:?}");
    }
    // What is at the debug level is for developers.
    let notices = read("src/store/redis/notices.rs").replace("\\\n", " ");
    for event in notices.split("tracing::").skip(1).filter(|event| !event.starts_with("debug!")) {
        let sentence = event.split('"').nth(1).unwrap();
        let known =
            told.iter().any(|line| sentence.starts_with(line) || sentence == "Redis: {warning}");
        assert!(known, "README.md is silent on {sentence:?}");
    }
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = read(document);
        let quoted = text.split('`').skip(1).step_by(2);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let own = |name: &&str| {
            ["src/", "tests/", "proto/"].iter().any(|folder| name.starts_with(folder))
                || name.ends_with(".md")
        };
        for name in quoted.chain(linked).filter(own).filter(|name| !name.contains('*')) {
            if !root.join(name).exists() {
                missing.push(format!("{document} names {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_architecture_stays_short() {
    assert!(read("ARCHITECTURE.md").lines().count() < 200);
}
