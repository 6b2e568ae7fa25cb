//! No line is lost when supervisors die: tenants write numbered lines without a pause, their
//! supervisor is killed at random moments, and at the end every number is counted.
//!
//! `TENANTD_LINES_KILLS=100` sets the number of kills; `TENANTD_LINES_SEED` repeats their moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::random::Random;
use crate::support::daemon::Daemon;
use crate::support::place::{self, script};

const WRITERS: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/writer"]
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
initech = { ip = "10.77.0.13" }
"#;

/// A line on stdout is written in two parts, so that there is nearly always an incomplete one. The
/// program writes its last line when it gets SIGTERM. SIGPIPE would end it.
const WRITER: &str = "trap stop=1 TERM\ni=0\n\
    while [ -z \"$stop\" ]; do\n\
    i=$((i + 1))\nprintf 'num'\necho \"ber $i\"\necho \"number $i\" >&2\n\
    [ $((i % 50)) = 0 ] && sleep 0.003\n\
    done\necho \"end $i\"";

/// The default number of kills.
const KILLS: u64 = 8;

/// The longest time from a supervisor's first answer to its kill, in milliseconds.
const LIFE_MAX: u64 = 40;

/// The logs of one tenant: how often each line of each stream was found.
#[derive(Default)]
struct Found {
    counts: BTreeMap<(String, String), u64>,
    torn: u64,
}

impl Found {
    /// Reads a tenant's log files and removes them, so that each line is counted once. No
    /// supervisor may be running.
    fn take(&mut self, newer: &Path) {
        let mut begun: BTreeMap<String, String> = BTreeMap::new();
        for path in [newer.with_extension("log.1"), newer.to_owned()] {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            fs::remove_file(&path).unwrap();
            for line in text.lines() {
                self.line(line, &mut begun);
            }
        }
    }

    /// A line that a killed supervisor was writing may be torn; it must come again in full.
    fn line(&mut self, line: &str, begun: &mut BTreeMap<String, String>) {
        let mut parts = line.splitn(3, ' ').skip(1);
        let (Some(stream), Some(text)) = (parts.next(), parts.next()) else {
            self.torn += 1;
            return;
        };
        if let Some(part) = text.strip_suffix(" [no line end]") {
            begun.entry(stream.into()).or_default().push_str(part);
            return;
        }
        let text = begun.remove(stream).unwrap_or_default() + text;
        *self.counts.entry((stream.to_owned(), text)).or_default() += 1;
    }

    /// Checks that no line is missing. Returns the number of lines, and of those that came twice.
    fn complete(&self, tenant: &str) -> (u64, u64) {
        let end = self
            .counts
            .keys()
            .find_map(|(_, text)| text.strip_prefix("end "));
        let last: u64 = end.expect("its last line").parse().unwrap();
        let mut missing = Vec::new();
        for stream in ["stdout", "stderr"] {
            for number in 1..=last {
                let line = (stream.to_owned(), format!("number {number}"));
                if !self.counts.contains_key(&line) {
                    missing.push(line);
                }
            }
        }
        let some: Vec<_> = missing.iter().take(10).collect();
        assert!(
            missing.is_empty(),
            "{tenant}: {} of {last} lost: {some:?}",
            missing.len()
        );
        (2 * last, self.counts.values().map(|count| count - 1).sum())
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

#[test]
fn no_line_is_lost_over_killed_supervisors() {
    place::host();
    place::folder("/srv/data");
    script("writer", WRITER);
    let kills = number("TENANTD_LINES_KILLS").unwrap_or(KILLS);
    let seed = number("TENANTD_LINES_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("again: TENANTD_LINES_KILLS={kills} TENANTD_LINES_SEED={seed}");
    let mut random = Random::new(seed);
    let mut daemon = Daemon::start_settled(WRITERS);
    let pids = |daemon: &Daemon| {
        let tenants = daemon.status().tenants;
        tenants
            .iter()
            .map(|tenant| (tenant.name.to_string(), tenant.pid))
            .collect::<Vec<_>>()
    };
    let before = pids(&daemon);
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let mut take = |app: &str| {
        for (tenant, _) in &before {
            let log = format!("/var/log/tenantd/{app}/{tenant}.log");
            found
                .entry(tenant.clone())
                .or_default()
                .take(Path::new(&log));
        }
    };
    for _ in 0..kills {
        // The kill comes at a random moment.
        std::thread::sleep(random.millis(LIFE_MAX));
        daemon.kill();
        take(&daemon.app);
        daemon.again();
    }
    assert_eq!(pids(&daemon), before, "the same programs, unharmed");
    daemon.tell(&["stop", "--all"]).expect(0);
    let app = daemon.app.clone();
    daemon.end();
    take(&app);
    for (tenant, found) in &found {
        let (lines, again) = found.complete(tenant);
        println!(
            "{tenant}: {lines} lines, {again} of them again, {} torn",
            found.torn
        );
        assert!(lines > 2 * 50 * kills, "it was not let write");
    }
}
