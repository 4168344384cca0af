//! `mintage demo` as a newcomer or a script meets it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{fs, path::Path, process::Command};

use support::{process::Process, until};
use tempfile::TempDir;

/// The demo, with a folder of its own for temporary files.
fn demo() -> (Process, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    command.arg("demo");
    (Process::run_with(command, &[("TMPDIR", folder.path().to_str().unwrap())]), folder)
}

/// The processes whose parent is this one, or whose command line names this folder.
fn left_behind(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let command_lines =
        processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    let folder = folder.to_str().unwrap();
    command_lines.filter(|line| line.contains(folder)).collect()
}

#[tokio::test]
async fn the_whole_story_goes_as_told_and_leaves_nothing_behind() {
    let (mut process, folder) = demo();
    assert_eq!(process.end().await.code(), Some(0), "{}\n{}", process.out(), process.err());
    let (out, err) = (process.out(), process.err());
    assert_eq!(err, "");
    assert!(!out.contains('\u{1b}'), "no escape codes in a pipe");
    let steps: Vec<_> = out
        .lines()
        .filter_map(|line| line.split_once(". "))
        .filter_map(|(number, title)| Some((number.parse::<u32>().ok()?, title)))
        .collect();
    assert_eq!(steps.iter().map(|(number, _)| *number).collect::<Vec<_>>(), Vec::from_iter(1..=9));
    assert!(steps.iter().all(|(_, title)| !title.trim().is_empty()), "{steps:?}");
    assert!(out.contains("All 9 steps went as told."), "{out}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no folder is left");
    assert_eq!(left_behind(folder.path()), [""; 0]);
}

#[tokio::test]
async fn stopped_in_the_middle_it_leaves_nothing_behind_and_says_so() {
    for (signal, sentence) in [("TERM", "it was stopped"), ("INT", "it was interrupted")] {
        let (mut process, folder) = demo();
        until("the service runs", || !left_behind(folder.path()).is_empty()).await;
        process.signal(signal);
        assert_eq!(process.end().await.code(), Some(1), "{signal}: {}", process.out());
        assert_eq!(process.err(), format!("error: the demo failed: {sentence}"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no folder is left");
        assert_eq!(left_behind(folder.path()), [""; 0]);
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mintage"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    until("it has ended", || child.try_wait().unwrap().is_some()).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no folder is left");
    assert_eq!(left_behind(folder.path()), [""; 0]);
}
