//! What the documents say, held against what is there.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on ends; clippy.toml's allowance ends at #[test] functions"
)]

use std::{fs, path::Path, process::Command};

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
fn check(config: &str) {
    let home = tempfile::tempdir().unwrap();
    let generated = mintage()
        .args(["keys", "generate", "--directory"])
        .arg(home.path().join("keys"))
        .output()
        .unwrap();
    assert!(generated.status.success(), "{generated:?}");
    let key_id = String::from_utf8(generated.stdout).unwrap();
    let file = home.path().join("mintage.toml");
    fs::write(&file, config.replace("2026-11-21-k3fz", key_id.trim())).unwrap();
    let checked = mintage().args(["config", "check", "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{config}");
}

#[test]
fn the_configuration_in_the_readme_is_good() {
    let blocks = blocks(&read("README.md"), "toml");
    let [quick_start, callers] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    check(quick_start);

    // The second one is about what changes: its `listen` takes the first one's place.
    let (listen, callers) = callers.split_once('\n').unwrap();
    assert!(listen.starts_with("listen = "), "{listen}");
    let (_, rest) = quick_start.split_once('\n').unwrap();
    check(&format!("{listen}\n{rest}\n{callers}\n"));
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
