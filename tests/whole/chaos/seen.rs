//! The status that a supervisor reports, in the form that every version of it uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::chaos::scene::Scene;
use crate::support::daemon::{CommandOutput, LIMIT, PROGRAM, in_time, run, until};
use crate::support::place::INSTALLED;

/// The part of `status --json` that this suite reads.
#[derive(Debug, Deserialize)]
pub struct Seen {
    pub pid: u32,
    pub tenants: Vec<SeenTenant>,
}

/// One tenant in it.
#[derive(Debug, Deserialize)]
pub struct SeenTenant {
    pub name: String,
    want: String,
    state: String,
    pub pid: Option<u32>,
    pub restarts: u32,
    ready: Option<bool>,
}

/// A tenant's first process, by its ID and its start time, which identify a launch.
pub type Launches = BTreeMap<String, (u32, u64)>;

impl SeenTenant {
    pub fn is_wanted_up(&self) -> bool {
        self.want == "up"
    }

    pub fn is_ready(&self) -> bool {
        self.state == "up" && self.ready == Some(true)
    }

    pub fn is_as_wanted(&self) -> bool {
        match self.is_wanted_up() {
            true => self.is_ready(),
            false => self.state == "down",
        }
    }
}

impl Seen {
    /// The launches of the tenants that are up.
    pub fn launches(&self) -> Launches {
        let launch = |tenant: &SeenTenant| {
            let pid = tenant.pid.filter(|_| tenant.is_ready())?;
            let start = tenantd_host::process::start_ticks(pid.cast_signed())?;
            Some((tenant.name.clone(), (pid, start)))
        };
        self.tenants.iter().filter_map(launch).collect()
    }
}

impl Scene {
    /// Runs a command against the supervisor.
    pub fn tell(&self, arguments: &[&str]) -> CommandOutput {
        let app = ["--app", &self.daemon.app];
        run(in_time(&self.client())
            .args(app.iter().copied())
            .args(arguments))
    }

    /// The program to send requests with. With two versions, each is asked with its own: with the
    /// file that the supervisor runs, even if that file was replaced.
    fn client(&self) -> String {
        let running = format!("/proc/{}/exe", self.daemon.pid());
        let is_it = |link: &Path| link.to_string_lossy().starts_with(INSTALLED);
        match fs::read_link(&running) {
            Ok(link) if self.has_two_versions() && is_it(&link) => running,
            Ok(_) | Err(_) => PROGRAM.to_owned(),
        }
    }

    /// Whether a request was accepted, or this is unknown because the supervisor was upgraded
    /// meanwhile to a version that may answer differently.
    pub fn request(&mut self, arguments: &[&str]) -> Option<bool> {
        let before = self.running();
        let accepted = self.tell(arguments).code == 0;
        (accepted || !self.has_two_versions() || self.running() == before).then_some(accepted)
    }

    /// Sends a request that must be accepted, if necessary by the next version.
    #[track_caller]
    pub fn must_accept(&mut self, arguments: &[&str]) {
        let mut accepted = self.request(arguments);
        while accepted.is_none() {
            accepted = self.request(arguments);
        }
        let output = self.daemon.output();
        assert_eq!(accepted, Some(true), "{arguments:?}: {output}");
    }

    /// The file that the supervisor runs.
    fn running(&self) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        let running = fs::metadata(format!("/proc/{}/exe", self.daemon.pid())).ok()?;
        Some(format!("{} {}", running.dev(), running.ino()))
    }

    pub fn try_status(&self) -> Option<Seen> {
        serde_json::from_str(&self.tell(&["status", "--json"]).out).ok()
    }

    /// Waits until the supervisor answers and a condition is true.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Seen {
        let begun = Instant::now();
        let pid = self.daemon.pid();
        until(what, || {
            let seen = self.try_status();
            if seen.is_none() {
                let lives = Path::new(&format!("/proc/{pid}/exe")).exists();
                assert!(lives, "it has ended: {}", self.daemon.output());
            }
            let found = seen.is_some_and(|seen| seen.pid == pid && is_so(&seen));
            if !found && begun.elapsed() > LIMIT - Duration::from_secs(2) {
                let seen = self.tell(&["status"]);
                panic!(
                    "still not true: {what}: {seen:#?}\n{}",
                    self.daemon.output()
                );
            }
            found.then(|| self.try_status()).flatten().filter(&is_so)
        })
    }

    #[track_caller]
    pub fn status(&self) -> Seen {
        self.until("it answers", |_| true)
    }
}
