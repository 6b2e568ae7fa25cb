//! The screens of an operator's day, with 3 and with 200 tenants: on terminals of 80 and 140
//! columns, without colours, and piped. They are golden files, to be read.
//!
//! `UPDATE=1 cargo test --test whole screens` updates `tests/golden/screens`; then read the diff.

mod fixed;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use regex::Regex;
use tenantd_api::wire::StateWord;

use self::fixed::fixed;
use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal, until};
use crate::support::place::{self, example, script};
use crate::support::terminal::Terminal;

/// Fails for some tenants. The others wait at the gate while it is closed, and then listen.
const APP: &str = r#"
case "$1" in
    initech | shop-007 | shop-047 | shop-087 | shop-127 | shop-167)
        echo "the licence of $1 has expired" >&2
        exit 3 ;;
esac
[ ! -e /srv/closed ] || read -r _ < /srv/gate
echo "serving $1"
exec /srv/idle
"#;

const HEAD: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app", "{tenant}"]
ready.tcp = 80
restart.when = "never"
[app.datastore]
path = "/srv/data"
[network]
subnet = "10.77.0.0/24"
[defaults]
autostart = false
[tenants]
"#;

/// How the commands are seen.
#[derive(Clone, Copy)]
enum Way {
    Terminal { columns: u16, colours: bool },
    Piped,
}

/// What is different with few and with many tenants.
struct Crew {
    names: Vec<String>,
    /// One that fails.
    failing: &'static str,
    all_failing: &'static [&'static str],
    batch: &'static str,
    logs: &'static [&'static str],
    /// How many lines are in these logs after the roll.
    lines: usize,
    typos: &'static [&'static str],
}

fn three() -> Crew {
    Crew {
        names: ["acme", "globex", "initech"].map(str::to_owned).into(),
        failing: "initech",
        all_failing: &["initech"],
        batch: "1",
        logs: &["acme", "globex"],
        lines: 7,
        typos: &["acne", "globe"],
    }
}

fn two_hundred() -> Crew {
    Crew {
        names: (1..=200).map(|n| format!("shop-{n:03}")).collect(),
        failing: "shop-007",
        all_failing: &["shop-007", "shop-047", "shop-087", "shop-127", "shop-167"],
        batch: "40",
        logs: &["shop-00*"],
        lines: 43,
        typos: &["shop-2001", "shop_001"],
    }
}

/// The day so far: each command with what it showed.
struct Day {
    daemon: Daemon,
    way: Way,
    told: String,
}

impl Day {
    fn begin(crew: &Crew, way: Way) -> Self {
        place::host();
        place::folder("/srv/data");
        example("idle");
        script("app", APP);
        mkfifo("/srv/gate", Mode::from_bits_truncate(0o600)).unwrap();
        let mut manifest = HEAD.to_owned();
        for (number, name) in (11..).zip(&crew.names) {
            writeln!(manifest, "{name} = {{ ip = \"10.77.0.{number}\" }}").unwrap();
        }
        // As long as the name that is shown in its place.
        let app = format!("gb-{:06}", std::process::id() % 1_000_000);
        let daemon = Daemon::spawn_named(&app, &manifest);
        daemon.settles();
        let told = String::new();
        Self { daemon, way, told }
    }

    fn arguments<'a>(&'a self, typed: &[&'a str]) -> Vec<&'a str> {
        [&["--app", &self.daemon.app], typed].concat()
    }

    /// Runs a command to its end.
    fn run(&mut self, typed: &[&str]) {
        self.run_and(typed, None);
    }

    /// Runs a command. Once it shows something, it is interrupted by Ctrl-C; once it shows something
    /// else, the gate is opened.
    fn run_and(&mut self, typed: &[&str], interrupt: Option<(&str, &str)>) {
        let (shown, code) = match self.way {
            Way::Terminal { columns, colours } => {
                self.on_terminal(typed, columns, colours, interrupt)
            }
            Way::Piped => self.piped(typed, interrupt.is_some()),
        };
        let typed: Vec<String> = typed.iter().map(|word| quoted(word)).collect();
        writeln!(
            self.told,
            "$ tenantd {}\n{shown}[exit code {code}]\n",
            typed.join(" ")
        )
        .unwrap();
    }

    fn on_terminal(
        &self,
        typed: &[&str],
        columns: u16,
        colours: bool,
        interrupt: Option<(&str, &str)>,
    ) -> (String, i32) {
        let arguments = self.arguments(typed);
        let mut terminal = Terminal::start(columns, PROGRAM, &arguments, colours);
        if let Some((begun, halting)) = interrupt {
            terminal.until(begun);
            terminal.type_in("\x03");
            terminal.until(halting);
            open_gate();
        }
        let code = terminal.end().code().unwrap();
        if !colours {
            let raw = String::from_utf8_lossy(&terminal.raw);
            let coloured = Regex::new("\x1b\\[[0-9;]*m").unwrap();
            assert!(!coloured.is_match(&raw), "{raw}");
        }
        let text = terminal.text();
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.into()));
        (text, code)
    }

    fn piped(&self, typed: &[&str], interrupt: bool) -> (String, i32) {
        // One pipe for both, as with 2>&1 in a shell.
        let (reader, writer) = std::io::pipe().unwrap();
        let mut child = Command::new(PROGRAM)
            .args(self.arguments(typed))
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        if interrupt {
            // The gate is closed, so the first batch is under way until it opens.
            self.daemon.until("a launch waits", |status| {
                status.tenants.iter().any(|t| t.ready == Some(false))
            });
            signal(child.id(), Signal::SIGINT);
            open_gate();
        }
        let shown = std::io::read_to_string(reader).unwrap();
        assert!(ends(&pidfd(child.id()), LIMIT));
        (shown, child.wait().unwrap().code().unwrap())
    }

    /// The end of the day: what it showed, with fixed values for what differs from day to day.
    fn end(self) -> String {
        fixed(&self.told.replace(&self.daemon.app, "guestbook"))
    }
}

/// As a shell would need it.
fn quoted(word: &str) -> String {
    match word.contains('*') {
        true => format!("'{word}'"),
        false => word.to_owned(),
    }
}

fn close_gate() {
    fs::write("/srv/closed", "").unwrap();
}

/// Lets everyone pass who waits at the gate, and who comes later.
fn open_gate() {
    fs::remove_file("/srv/closed").unwrap();
    // Opened for both, so that it does not wait for a reader.
    let mut gate = File::options()
        .read(true)
        .write(true)
        .open("/srv/gate")
        .unwrap();
    gate.write_all(&[b'\n'; 250]).unwrap();
    // Programs that do not read yet do so later: the pipe keeps its content while it is open.
    std::mem::forget(gate);
}

fn day(name: &str, crew: &Crew, way: Way) {
    let mut day = Day::begin(crew, way);
    day.run(&["start", "--all"]);
    for name in crew.all_failing {
        day.daemon.until_state(name, StateWord::Failed);
    }
    day.run(&["status"]);
    day.run(&["verify"]);
    day.run(&["status", "--failed"]);
    day.run(&["status", crew.failing]);
    day.run(&[&["stop"], crew.all_failing].concat());
    close_gate();
    let roll = ["restart", "--all", "--rolling", "--batch", crew.batch];
    day.run_and(&roll, Some(("batch 1", "interrupt again")));
    let logs = [&["logs"], crew.logs].concat();
    until("all lines are in the logs", || {
        let text = day.daemon.tell(&logs).expect(0);
        (text.lines().count() == crew.lines).then_some(())
    });
    day.run(&logs);
    day.run(&[&["stop"], crew.typos].concat());
    let manifest = fs::read_to_string(&day.daemon.manifest).unwrap();
    fs::write(
        &day.daemon.manifest,
        manifest.replace("10.77.0.0/24", "10.77.0.0/33"),
    )
    .unwrap();
    day.run(&["diff"]);
    day.run(&["reload"]);
    compare(name, &day.end());
}

fn compare(name: &str, told: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/screens");
    let path = folder.join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, told).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == told, "{} differs:\n{told}", path.display());
}

const NARROW: Way = Way::Terminal {
    columns: 80,
    colours: true,
};
const WIDE: Way = Way::Terminal {
    columns: 140,
    colours: true,
};
const PLAIN: Way = Way::Terminal {
    columns: 80,
    colours: false,
};

#[test]
fn three_tenants_on_80_columns() {
    day("3-80", &three(), NARROW);
}

#[test]
fn three_tenants_on_140_columns() {
    day("3-140", &three(), WIDE);
}

#[test]
fn three_tenants_without_colours() {
    day("3-plain", &three(), PLAIN);
}

#[test]
fn three_tenants_piped() {
    day("3-piped", &three(), Way::Piped);
}

#[test]
fn two_hundred_tenants_on_80_columns() {
    day("200-80", &two_hundred(), NARROW);
}

#[test]
fn two_hundred_tenants_on_140_columns() {
    day("200-140", &two_hundred(), WIDE);
}

#[test]
fn two_hundred_tenants_piped() {
    day("200-piped", &two_hundred(), Way::Piped);
}

#[test]
fn two_hundred_tenants_without_colours() {
    day("200-plain", &two_hundred(), PLAIN);
}
