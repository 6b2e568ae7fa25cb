//! A supervisor with a number of idle tenants.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use serde::Deserialize;

use crate::support::daemon::{
    CommandOutput, Daemon, LIMIT, PROGRAM, ends, pidfd, run, signal, until,
};

/// The path of the tenants' program.
pub const IDLE: &str = "/srv/idle";

/// A number of tenants as a divisor.
pub fn as_divisor(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The value of `-n COUNT`. Cargo adds `--bench`, which is ignored.
pub fn count() -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "-n");
    let count = arguments.nth(1)?;
    Some(count.parse().expect("-n takes a number of tenants"))
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Converts to milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Builds tenantd as it is installed, and the do-nothing server, static and in the profile of this
/// benchmark, and puts that where tenants find it.
///
/// A benchmark is built with the dependencies of the tests, which add features to those of the
/// program: Unicode tables of 0.4 MB, for example. So the program is built once more without them, unless
/// the benchmark was called with `--as-built`.
pub fn program() {
    if !std::env::args().any(|argument| argument == "--as-built") {
        cargo(&["build", "--quiet", "--release", "--bin", "tenantd"]);
    }
    let example = ["rustc", "--quiet", "--release", "--example", "idle", "--"];
    cargo(&[&example[..], &["-C", "target-feature=+crt-static"]].concat());
    let built = std::path::Path::new(PROGRAM).with_file_name("examples/idle");
    let copied = Command::new("install").arg(built).arg(IDLE).status();
    assert!(copied.unwrap().success());
}

fn cargo(arguments: &[&str]) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .status()
        .unwrap();
    assert!(built.success(), "cargo {arguments:?} failed");
}

/// A running supervisor, all of whose tenants answer.
pub struct Crew {
    /// The program of the supervisor, which is also the client, because versions may differ in
    /// their output.
    program: String,
    daemon: Daemon,
    addresses: Vec<SocketAddr>,
    /// From the start of the supervisor to the last tenant's first answer, in ms.
    pub cold: f64,
}

/// What a manifest has besides what all have.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// The arguments of the program, each with a comma before it.
    pub arguments: &'a str,
    /// The key and the value of its datastore.
    pub datastore: &'a str,
    /// Lines of `[app]`.
    pub app: &'a str,
    /// Lines of `[network]`.
    pub network: &'a str,
}

impl Lines<'_> {
    /// One folder, and all else at its default.
    pub const DEFAULT: Self = Self {
        arguments: "",
        datastore: "datastore.path = \"/srv/data\"",
        app: "",
        network: "",
    };
}

/// The part of `status --json` that is read here and is the same in every version.
#[derive(Debug, Deserialize)]
struct Seen {
    pid: u32,
    tenants: Vec<SeenTenant>,
}

/// One tenant in it.
#[derive(Debug, Deserialize)]
struct SeenTenant {
    pid: Option<u32>,
    ready: Option<bool>,
}

/// The resources that the supervisor uses.
#[derive(Debug)]
pub struct Size {
    /// VmRSS in KB.
    pub resident: f64,
    /// RssAnon in KB.
    pub heap: f64,
    /// Open descriptors.
    pub descriptors: f64,
}

impl Crew {
    pub fn start(program: &str, count: usize) -> Self {
        Self::start_with(program, count, &[])
    }

    /// Like [`Crew::start`], with these variables in the supervisor's environment.
    pub fn start_with(program: &str, count: usize, environment: &[(&str, &str)]) -> Self {
        Self::start_as(program, count, Lines::DEFAULT, environment)
    }

    /// Like [`Crew::start_with`], with another manifest.
    pub fn start_as(
        program: &str,
        count: usize,
        lines: Lines<'_>,
        environment: &[(&str, &str)],
    ) -> Self {
        let first = u32::from(Ipv4Addr::new(10, 77, 0, 10));
        let count = u32::try_from(count).unwrap();
        let addresses: Vec<_> = (first..first + count).map(Ipv4Addr::from).collect();
        let Lines {
            arguments,
            datastore,
            app,
            network,
        } = lines;
        let mut manifest = format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{IDLE}\"{arguments}]\n{datastore}\n\
             ready.tcp = 80\n{app}\n[network]\nsubnet = \"10.77.0.0/16\"\n{network}\n[tenants]\n"
        );
        for (number, ip) in addresses.iter().enumerate() {
            manifest += &format!("t{number} = {{ ip = \"{ip}\" }}\n");
        }
        let addresses: Vec<_> = addresses.iter().map(|ip| (*ip, 80).into()).collect();
        let mut crew = Self {
            program: program.to_owned(),
            daemon: Daemon::spawn_with(program, &manifest, environment),
            addresses,
            cold: 0.0,
        };
        crew.answers();
        crew.tell(&["start", "--all"]).expect(0);
        for address in &crew.addresses {
            TcpStream::connect_timeout(address, LIMIT).unwrap();
        }
        crew.cold = ms(crew.daemon.begun.elapsed());
        crew
    }

    /// Sends a request with the command line.
    pub fn tell(&self, arguments: &[&str]) -> CommandOutput {
        let app = &self.daemon.app;
        // Ten thousand tenants need longer than a test may take.
        let command = &mut Command::new("timeout");
        run(command
            .args(["600", &self.program, "--app", app])
            .args(arguments))
    }

    /// Waits until the supervisor answers.
    fn answers(&self) -> Seen {
        until("the program answers", || {
            let said = self.tell(&["status", "--json"]);
            let seen: Option<Seen> = serde_json::from_str(&said.out).ok();
            seen.filter(|seen| seen.pid == self.daemon.pid())
        })
    }

    /// The processes of the tenants, once all are ready.
    fn processes(&self) -> Vec<u32> {
        let ready = |tenant: SeenTenant| tenant.pid.filter(|_| tenant.ready == Some(true));
        until("all are ready", || {
            self.answers().tenants.into_iter().map(ready).collect()
        })
    }

    /// From the kill of a tenant to its next answer: the median of several, in ms.
    pub fn restart(&self, count: usize) -> f64 {
        let processes = self.processes();
        let each = processes.into_iter().zip(&self.addresses).take(count);
        let times = each
            .map(|(pid, address)| {
                let process = pidfd(pid);
                let begun = Instant::now();
                signal(pid, Signal::SIGKILL);
                // The dying process still accepts connections.
                assert!(ends(&process, LIMIT));
                answered(*address);
                ms(begun.elapsed())
            })
            .collect();
        median(times)
    }

    /// The application's name.
    pub fn app(&self) -> &str {
        &self.daemon.app
    }

    /// The addresses of the tenants' servers, in the order of their numbers.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The process of the supervisor.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The manifest.
    pub fn manifest(&self) -> &std::path::Path {
        &self.daemon.manifest
    }

    /// The log of the supervisor.
    pub fn log(&self) -> String {
        self.daemon.output()
    }

    /// The tenants' current processes, each to be killed once.
    pub fn victims(&self) -> Vec<u32> {
        self.processes()
    }

    pub fn size(&self) -> Size {
        let folder = format!("/proc/{}", self.daemon.pid());
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        Size {
            resident: field(&status, "VmRSS:"),
            heap: field(&status, "RssAnon:"),
            descriptors: as_divisor(fs::read_dir(format!("{folder}/fd")).unwrap().count()),
        }
    }

    /// How often a thread of the supervisor went to sleep within a time without requests, which is
    /// how often it was woken.
    pub fn woken(&self, watched: Duration) -> f64 {
        // Waits until the work for the last command is completed.
        std::thread::sleep(Duration::from_secs(2));
        let before = self.sleeps();
        std::thread::sleep(watched);
        self.sleeps() - before
    }

    fn sleeps(&self) -> f64 {
        fs::read_dir(format!("/proc/{}/task", self.daemon.pid()))
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
            .map(|status| field(&status, "voluntary_ctxt_switches:"))
            .sum()
    }

    /// Kills the supervisor, and returns the time in ms until the next one answers for all tenants.
    /// None of them was restarted.
    pub fn adopt(&mut self) -> f64 {
        let before = self.processes();
        self.daemon.kill();
        self.daemon.again_armed("");
        self.answers();
        let taken = ms(self.daemon.begun.elapsed());
        assert_eq!(self.processes(), before, "not all were adopted");
        taken
    }

    /// The time in ms that the kernel alone needs to open each tenant's process and to read its
    /// network namespace.
    pub fn found(&self) -> f64 {
        let pids = self.processes();
        let begun = Instant::now();
        for pid in pids {
            let _held = pidfd(pid);
            fs::metadata(format!("/proc/{pid}/ns/net")).unwrap();
        }
        ms(begun.elapsed())
    }

    /// Ends the supervisor with all tenants, and returns the time in seconds. The programs end at
    /// once.
    pub fn stop(mut self) -> f64 {
        let begun = Instant::now();
        let supervisor = pidfd(self.daemon.pid());
        self.daemon.signal(Signal::SIGTERM);
        assert!(ends(&supervisor, LIMIT * 20), "it does not end");
        assert_eq!(
            self.daemon.wait().code(),
            Some(0),
            "{}",
            self.daemon.output()
        );
        begun.elapsed().as_secs_f64()
    }
}

/// Waits until a server answers; it refuses connections until it listens.
pub fn answered(address: SocketAddr) {
    let begun = Instant::now();
    while let Err(error) = TcpStream::connect_timeout(&address, LIMIT) {
        assert!(begun.elapsed() < LIMIT, "{address}: {error}");
    }
}

/// The value of a line of `/proc/PID/status`.
pub fn field(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap().trim().trim_end_matches(" kB");
    value.parse().unwrap()
}
