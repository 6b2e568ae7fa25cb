//! Runs the operator's guide: every code block marked `host`, from top to bottom, in a test host.
//! Blocks marked `machine` run on a booted machine. A block that no test runs is an error.

use crate::support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GUIDE: &str = include_str!("../../docs/guide.md");

/// A block of shell commands: where it runs, the line in which it begins, and the commands.
struct Fence {
    marks: Vec<&'static str>,
    line: usize,
    commands: String,
}

fn fences(guide: &'static str) -> Vec<Fence> {
    let mut fences: Vec<Fence> = Vec::new();
    let (mut inside, mut is_command) = (false, false);
    for (number, line) in guide.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(mark) => {
                inside = true;
                // Parts of files, and output.
                is_command = !["toml", "ini", "nginx", "text"].contains(&mark);
                if !is_command {
                    continue;
                }
                let mut marks = mark.split(' ');
                assert_eq!(marks.next(), Some("sh"), "line {}: {line}", number + 1);
                fences.push(Fence {
                    marks: marks.collect(),
                    line: number + 1,
                    commands: String::new(),
                });
            }
            None if inside && is_command => {
                let fence = fences.last_mut().unwrap();
                fence.commands += line;
                fence.commands.push('\n');
            }
            None => {}
        }
    }
    fences
}

fn bash(options: &[&str], commands: &str, folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tenantd"));
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command
        .args(options)
        .args(["-c", commands])
        .current_dir(folder)
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .env_remove("TENANTD_APP")
        .env_remove("TENANTD_CONFIG")
        .stdin(Stdio::null());
    command
}

/// Ends the supervisor that the guide started, however the test ends.
struct Supervisor;

impl Supervisor {
    fn pid() -> Option<Pid> {
        let lock = fs::read_to_string("/run/tenantd/shop/lock").ok()?;
        lock.trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(pid) = Self::pid() {
            kill(pid, Signal::SIGTERM).unwrap();
            support::until("the supervisor has taken everything away", || {
                !Path::new("/run/tenantd/shop").exists()
            });
        }
    }
}

#[test]
fn every_code_block_is_tested() {
    let fences = fences(GUIDE);
    let folder = tempfile::tempdir().unwrap();
    for fence in &fences {
        let known = |mark: &&str| ["machine", "host"].contains(mark);
        assert!(
            !fence.marks.is_empty() && fence.marks.iter().all(known),
            "line {}: no test runs this: {:?}",
            fence.line,
            fence.marks
        );
        let parsed = bash(&["-n"], &fence.commands, folder.path()).output();
        assert!(parsed.unwrap().status.success(), "line {}", fence.line);
    }
    let count = |mark| fences.iter().filter(|f| f.marks.contains(&mark)).count();
    assert!(count("host") >= 10 && count("machine") >= 15);
}

#[test]
fn the_commands_of_the_guide_work_on_a_host() {
    support::enter();
    let scratch = tempfile::tempdir().unwrap();
    // Does not use the machine's own folder.
    let manifests = scratch.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let _supervisor = Supervisor;
    for fence in fences(GUIDE).iter().filter(|f| f.marks.contains(&"host")) {
        let commands = fence
            .commands
            .replace("/etc/tenantd", manifests.to_str().unwrap());
        let output = bash(&["-eu", "-o", "pipefail"], &commands, scratch.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "line {}: {}\n{}{}{}",
            fence.line,
            output.status,
            fence.commands,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let log = fs::read_to_string("/var/log/tenantd/shop.log").unwrap();
    assert!(
        log.contains(" acme: launching → up: its program was executed"),
        "{log}"
    );
    let json = bash(&["-eu"], "tenantd list --json", scratch.path()).output();
    let json: serde_json::Value = serde_json::from_slice(&json.unwrap().stdout).unwrap();
    assert_eq!(json["applications"][0]["app"], "shop");
    assert_eq!(json["applications"][0]["as_wanted"], 4);
}
