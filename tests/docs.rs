//! What the documents say, held against what is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on ends; clippy.toml's allowance ends at #[test] functions"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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
    for authorities in ["clients-ca.crt", "collector-ca.pem"] {
        fs::write(home.path().join(authorities), authority.cert.pem()).unwrap();
    }
    fs::write(home.path().join("otlp-headers"), "x-key: of a test").unwrap();
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

/// Every document, by its path from the root: what is Markdown, and isn't made by a build
/// or by somebody else.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let others =
                name.starts_with('.') || ["target", "transcripts"].contains(&name.as_str());
            if path.is_dir() && !others {
                folders.push(path);
            } else if name.ends_with(".md") {
                let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Without fenced blocks, where neither headings nor links mean anything.
fn prose(document: &str) -> String {
    document.split("\n```").step_by(2).collect()
}

/// What `#…` may name: a heading as the usual hosts spell it.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let spelt = headings.map(|heading| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    });
    spelt.collect()
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = documents();
    assert!(documents.len() > 10, "{documents:?}");
    let (mut broken, mut anchored) = (Vec::new(), 0);
    for document in &documents {
        let text = prose(&read(document));
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                root.join(document)
            } else {
                root.join(document).parent().unwrap().join(file)
            };
            if !path.exists() {
                broken.push(format!("{document} links to {target}"));
            } else if !anchor.is_empty() {
                anchored += 1;
                let there = prose(&fs::read_to_string(&path).unwrap());
                if !anchors(&there).contains(anchor) {
                    broken.push(format!("{document} links to {target}: no such heading"));
                }
            }
        }
    }
    assert!(anchored > 10, "{anchored}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_configurations_in_the_documents_are_good() {
    let readme = blocks(&read("README.md"), "toml");
    let quick_start = readme.first().unwrap();
    let mut checked = 0;
    for document in documents().iter().filter(|name| name.starts_with("docs/")) {
        for block in blocks(&read(document), "toml") {
            check(&over(quick_start.parse().unwrap(), block.parse().unwrap()));
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn every_test_that_the_security_model_names_is_there() {
    let model = read("docs/security-model.md");
    let (_, table) = model.split_once("\n## Invariants\n").unwrap();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let held_by = row.split(" | ").nth(1).unwrap();
        let mut source = String::new();
        for name in held_by.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                source = read(name);
            } else if name.contains('_') {
                let there = [format!("fn {name}("), format!("def {name}(")];
                assert!(there.iter().any(|way| source.contains(way)), "{name} is not in its file");
                named += 1;
            }
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn the_documents_folder_names_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src/", "tests/", "proto/", "python/", "scripts/", "benches/"];
    let mut missing = Vec::new();
    for document in documents().iter().filter(|name| name.starts_with("docs/")) {
        let text = prose(&read(document));
        let named = text.split('`').skip(1).step_by(2);
        let own = named.filter(|name| folders.iter().any(|folder| name.starts_with(folder)));
        for name in own.filter(|name| !name.contains(['*', ' ']) && !name.contains("NAME")) {
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
