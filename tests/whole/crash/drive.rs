//! Brings a supervisor to a crash point, and checks the result under the next one.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use tenantd_api::wire::{AppStatus, Want};

use crate::crash::scene::{ACME, ADDRESS, GLOBEX, LIMITS, OTHER_ADDRESS, check_all, manifest};
use crate::support::daemon::{CRASH_AT, Daemon, PROGRAM, signal};
use crate::support::place::{INSTALLED, install, script};

/// The situation that leads to a crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// The first start of all.
    Cold,
    /// One tenant's program crashes.
    Crashing,
    /// One tenant is stopped.
    Stopping,
    /// One tenant is stopped that ignores SIGTERM and must be killed.
    StoppingByKill,
    /// One tenant gets another address by a reload.
    Reloading,
    /// One tenant gets another limit by a reload, which needs no restart.
    Limiting,
    /// The supervisor is stopped, with all tenants.
    Ending,
    /// The supervisor detaches.
    Detaching,
    /// The supervisor was killed before, and recovers.
    Adopting,
    /// The same, with one tenant removed from the manifest.
    Removed,
    /// An upgrade, in which the running supervisor dies before it executes the program.
    Upgrading,
    /// The same, and the program is removed after its preflight.
    UpgradingToMissing,
    /// The executed program dies.
    Upgraded,
    /// The executed program fails with an error and dies during the rollback, or the earlier
    /// program dies after the rollback.
    RollingBack,
    /// The same after a panic.
    Panicking,
}

impl Drive {
    /// Whether no tenant may be restarted.
    fn restarts_none(self) -> bool {
        self.is_upgrade() || self == Drive::Limiting
    }

    /// Whether no tenant may be interrupted.
    fn is_upgrade(self) -> bool {
        use Drive::{Panicking, RollingBack, Upgraded, Upgrading, UpgradingToMissing};
        matches!(
            self,
            Upgrading | UpgradingToMissing | Upgraded | RollingBack | Panicking
        )
    }
}

/// Brings a supervisor to its nth pass of a crash point, where it dies, starts the next one, and
/// checks the result against what is wanted.
#[track_caller]
pub fn dies_at(point: &str, drive: Drive, time: u32) {
    let armed = armed(point, time);
    let mut daemon = begin(drive, &armed);
    let before = match drive {
        Drive::Cold => None,
        _ => Some(daemon.settles()),
    };
    let stopped = drive_to(&mut daemon, &armed, drive);
    let status = daemon.wait();
    let last = daemon.output();
    assert_eq!(status.signal(), Some(9), "{point} was not reached: {last}");
    // Not necessarily the last line: earlier messages are written by another thread.
    let died = format!("crash point: {point}");
    assert!(last.lines().any(|line| line == died), "{last}");

    if drive.is_upgrade() {
        install(PROGRAM);
    }
    daemon.again();
    let after = daemon.settles();
    check_all(&daemon, &after);
    if stopped {
        let acme = after.tenants.iter().find(|t| t.name.as_str() == ACME);
        assert_eq!(acme.unwrap().want, Want::Down, "a stop was accepted");
    }
    if drive == Drive::Reloading {
        let acme = after.tenants.iter().find(|t| t.name.as_str() == ACME);
        assert_eq!(acme.unwrap().addresses.to_string(), OTHER_ADDRESS);
    }
    if drive == Drive::Limiting {
        let acme = daemon.until_tenant(ACME, |tenant| !tenant.applying);
        assert_eq!(acme.unapplied, None);
        let limits = fs::read_to_string(format!("/proc/{}/limits", acme.pid.unwrap())).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        assert_eq!(line.unwrap().split_whitespace().nth(3), Some("321"));
    }
    if let Some(before) = before.filter(|_| drive != Drive::Ending) {
        let seen = |status: &AppStatus, name: &str| {
            let found = status.tenants.iter().find(|t| t.name.as_str() == name);
            found.map(|found| (found.pid, found.restarts, found.want))
        };
        let of_all = [GLOBEX, ACME];
        for name in &of_all[..1 + usize::from(drive.restarts_none())] {
            let was = seen(&before, name);
            assert_eq!(seen(&after, name), was, "{name} was not involved");
        }
    }
    daemon.end();
}

/// The value of `TENANTD_CRASH_AT`. At points that each tenant passes, only [`ACME`] counts.
fn armed(point: &str, time: u32) -> String {
    let (what, _) = point.split_once(": ").unwrap();
    match what {
        _ if point == "reload: manifest read" => format!("{point}#{time}"),
        "begin" | "firewall" | "hub" | "finish" | "detach" | "upgrade" | "handoff" | "rollback" => {
            format!("{point}#{time}")
        }
        _ => format!("{point}@{ACME}#{time}"),
    }
}

/// The first supervisor: armed, unless the next one is to die.
fn begin(drive: Drive, armed: &str) -> Daemon {
    match drive {
        Drive::Adopting | Drive::Removed => Daemon::spawn(&manifest(false)),
        Drive::Upgrading | Drive::UpgradingToMissing => {
            let manifest = manifest(false);
            install(PROGRAM);
            Daemon::spawn_with(INSTALLED, &manifest, &[(CRASH_AT, armed)])
        }
        Drive::Upgraded | Drive::RollingBack | Drive::Panicking => {
            let manifest = manifest(false);
            install(PROGRAM);
            Daemon::spawn_with(INSTALLED, &manifest, &[])
        }
        Drive::StoppingByKill => Daemon::spawn_armed(&manifest(true), armed),
        Drive::Cold
        | Drive::Crashing
        | Drive::Stopping
        | Drive::Reloading
        | Drive::Limiting
        | Drive::Ending
        | Drive::Detaching => Daemon::spawn_armed(&manifest(false), armed),
    }
}

/// Brings it to the crash point, and returns whether a stop of [`ACME`] was accepted.
fn drive_to(daemon: &mut Daemon, armed: &str, drive: Drive) -> bool {
    match drive {
        Drive::Cold => {}
        Drive::Crashing => {
            signal(daemon.tenant(ACME).pid.unwrap(), Signal::SIGKILL);
        }
        Drive::Stopping | Drive::StoppingByKill => {
            // The answer may or may not arrive. If it does, it must hold.
            return daemon.tell(&["stop", ACME, "--no-wait"]).code == 0;
        }
        Drive::Reloading => {
            let manifest = fs::read_to_string(&daemon.manifest).unwrap();
            let manifest = manifest.replace(ADDRESS, OTHER_ADDRESS);
            fs::write(&daemon.manifest, manifest).unwrap();
            daemon.tell(&["reload"]);
        }
        Drive::Limiting => {
            let manifest = fs::read_to_string(&daemon.manifest).unwrap();
            let own = format!("{ADDRESS}\", {LIMITS}");
            let manifest = manifest.replace(&format!("{ADDRESS}\""), &own);
            fs::write(&daemon.manifest, manifest).unwrap();
            daemon.tell(&["reload"]);
        }
        Drive::Ending => daemon.signal(Signal::SIGTERM),
        Drive::Detaching => {
            // The request ends with the supervisor, successful or not.
            daemon.tell(&["detach"]);
        }
        Drive::Adopting => {
            daemon.kill();
            daemon.again_armed(armed);
        }
        Drive::Removed => {
            daemon.kill();
            let manifest = fs::read_to_string(&daemon.manifest).unwrap();
            let others = manifest.lines().filter(|line| !line.starts_with(ACME));
            fs::write(&daemon.manifest, others.collect::<Vec<_>>().join("\n")).unwrap();
            daemon.again_armed(armed);
        }
        Drive::Upgrading => upgrade(daemon, "", ""),
        Drive::UpgradingToMissing => upgrade(daemon, &format!("rm {INSTALLED}"), ""),
        Drive::Upgraded => upgrade(daemon, "", &arm(armed)),
        Drive::RollingBack => {
            let fails = "set -- --config /nonexistent";
            upgrade(daemon, "", &format!("{}; {fails}", arm(armed)));
        }
        Drive::Panicking => {
            let panics = "export TENANTD_PANIC_AT_UPGRADE=1";
            upgrade(daemon, "", &format!("{}; {panics}", arm(armed)));
        }
    }
    false
}

fn arm(armed: &str) -> String {
    format!("export TENANTD_CRASH_AT='{armed}'")
}

/// Upgrades to a program that runs one command in its preflight and another one when it is to
/// serve.
fn upgrade(daemon: &Daemon, in_preflight: &str, to_serve: &str) {
    let text = format!(
        "if [ -n \"$TENANTD_TRIAL\" ]; then\n:; {in_preflight}\nelse\n:; {to_serve}\nfi\n\
         exec {PROGRAM} \"$@\""
    );
    install(&script("next", &text));
    // The answer may or may not arrive.
    daemon.tell(&["upgrade"]);
}
