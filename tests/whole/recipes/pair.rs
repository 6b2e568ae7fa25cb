//! What each recipe must pass.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::support::app_name;
use crate::support::daemon::{
    CommandOutput, Daemon, PROGRAM, in_time, run, signal, tenantd, until,
};

use super::host;

/// A tenant's name and address. The subnet is the first that is free.
pub const TENANTS: [(&str, &str); 2] = [("acme", "10.77.0.11"), ("bolt", "10.77.0.12")];

/// Where the program's messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// In its output, syslog or files, so `tenantd logs` shows them.
    Output,
    /// It has none.
    None,
}

/// What is tested of a recipe.
#[derive(Debug)]
pub struct Recipe {
    pub name: &'static str,
    pub logs: Logs,
    /// Whether the program keeps what was written when it is killed.
    pub survives_a_kill: bool,
    /// Whether it keeps what was written at all.
    pub keeps: bool,
}

impl Recipe {
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            logs: Logs::Output,
            survives_a_kill: true,
            keeps: true,
        }
    }
}

/// The folder with the recipes.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")
}

/// The manifest of a recipe for an application, with two tenants, made as an operator does.
fn manifest(recipe: &str, app: &str) -> String {
    let path = format!("/srv/{app}.toml");
    tenantd(&["init", recipe, app, "--to", &path]).expect(0);
    for (tenant, ip) in TENANTS {
        let ip = format!("ip={ip}");
        tenantd(&["--config", &path, "add", tenant, &ip]).expect(0);
    }
    fs::read_to_string(path).unwrap()
}

/// The client of a recipe, for one tenant.
pub struct Client<'a> {
    pub recipe: &'a str,
    pub app: &'a str,
    pub tenant: (&'a str, &'a str),
    pub marker: &'a str,
}

impl Client<'_> {
    /// Runs the client.
    pub fn run(&self, what: &str) -> CommandOutput {
        let script = format!("tests/whole/recipes/clients/{}.sh", self.recipe);
        let (tenant, ip) = self.tenant;
        let mut command = in_time("bash");
        command
            .args(["-euo", "pipefail"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .arg(what)
            .envs([("APP", self.app), ("TENANT", tenant), ("IP", ip)])
            .envs([("MARKER", self.marker), ("TENANTD", PROGRAM)])
            .env("TENANTD_APP", self.app)
            .env("STORE", store(self.app, tenant));
        run(&mut command)
    }

    /// What the tenant has; empty if it has nothing.
    #[track_caller]
    pub fn read(&self) -> String {
        self.run("read").expect(0)
    }
}

/// The datastore of a tenant.
pub fn store(app: &str, tenant: &str) -> String {
    format!("/var/lib/tenantd/{app}/{tenant}")
}

/// The client of one of the tenants.
fn client<'a>(recipe: &'a str, app: &'a str, tenant: usize, marker: &'a str) -> Client<'a> {
    let tenant = TENANTS[tenant];
    Client {
        recipe,
        app,
        tenant,
        marker,
    }
}

/// A text that occurs nowhere else: letters and digits only, so that few programs encode it.
fn marker(app: &str) -> String {
    format!("marker{}", app.replace('-', "x"))
}

/// A recipe under test: two tenants, and what one of them writes.
pub struct Pair {
    recipe: &'static str,
    app: String,
    pub marker: String,
    pub daemon: Daemon,
}

impl Pair {
    /// Starts two tenants of a recipe, whose manifest may be changed, in a test host.
    pub fn begin(recipe: &Recipe, app: &str, change: impl FnOnce(String) -> String) -> Self {
        host::enter();
        let marker = marker(app);
        let (recipe, app) = (recipe.name, app.to_owned());
        client(recipe, &app, 0, &marker).run("prepare").expect(0);
        let daemon = Daemon::spawn_named(&app, &change(manifest(recipe, &app)));
        until("it answers", || daemon.try_status());
        // It waits longer than a test does: some programs need a minute on a busy machine.
        let started = daemon.tell(&["start", "--all"]);
        assert_eq!(started.code, 0, "{started:?}\n{}", daemon.output());
        Self {
            recipe,
            app,
            marker,
            daemon,
        }
    }

    pub fn acme(&self) -> Client<'_> {
        client(self.recipe, &self.app, 0, &self.marker)
    }

    pub fn bolt(&self) -> Client<'_> {
        client(self.recipe, &self.app, 1, &self.marker)
    }

    /// Where the marker is besides acme's data and the logs.
    pub fn foreign(&self) -> Vec<String> {
        let app = &self.app;
        let own = [
            store(app, "acme"),
            format!("/var/log/tenantd/{app}/acme."),
            format!("/srv/{app}.output"),
        ];
        let is_foreign = |path: &String| !own.iter().any(|own| path.starts_with(own));
        host::search(&self.marker)
            .into_iter()
            .filter(is_foreign)
            .collect()
    }

    /// Expects that acme has the marker, and that nobody else has it.
    #[track_caller]
    fn is_only_in_acme(&self, when: &str) {
        let marker = &self.marker;
        let own = self.acme().read();
        assert!(own.contains(marker), "{when}: acme does not have it: {own}");
        let other = self.bolt().read();
        assert!(!other.contains(marker), "{when}: bolt has it: {other}");
        // The supervisor's output repeats the lines of all tenants, each with the tenant's name.
        let output = self.daemon.output();
        let mut lines = output.lines().filter(|line| line.contains(marker));
        assert!(lines.all(|line| line.contains("acme")), "{output}");
        let foreign = self.foreign();
        assert!(foreign.is_empty(), "{when}: it is also in {foreign:?}");
    }

    /// Kills the program and waits until it is ready again.
    #[track_caller]
    fn kill_acme(&self) {
        let before = self.daemon.tenant("acme");
        signal(before.pid.unwrap(), Signal::SIGKILL);
        let is_restarted = |tenant: &TenantStatus| tenant.restarts > before.restarts;
        self.daemon.until_tenant("acme", is_restarted);
        self.daemon.tell(&["start", "acme"]).expect(0);
    }
}

/// Runs all that a recipe must pass.
pub fn run_all(recipe: &Recipe) {
    run_changed(recipe, &app_name(), |manifest| manifest);
}

/// The same with another manifest.
pub fn run_changed(recipe: &Recipe, app: &str, change: impl FnOnce(String) -> String) {
    let pair = Pair::begin(recipe, app, change);
    let daemon = &pair.daemon;
    pair.acme().run("write").expect(0);
    pair.is_only_in_acme("written");

    pair.kill_acme();
    if !recipe.survives_a_kill {
        pair.acme().run("write").expect(0);
    }
    pair.is_only_in_acme("after kill -9");
    daemon.tell(&["stop", "acme"]).expect(0);
    if recipe.keeps {
        let store = store(app, "acme");
        let found = host::search(&pair.marker);
        let is_kept = found.iter().any(|path| path.starts_with(&store));
        assert!(is_kept, "it is nowhere in {store}: {found:?}");
    }
    daemon.tell(&["start", "acme"]).expect(0);
    if recipe.keeps {
        pair.is_only_in_acme("after stop and start");
    }
    daemon.tell(&["restart", "acme"]).expect(0);
    if recipe.logs == Logs::Output {
        let logs = daemon.tell(&["logs", "acme"]).expect(0);
        let streams = [" stdout ", " stderr ", " syslog ", " file "];
        let is_output = |line: &str| streams.iter().any(|stream| line.contains(stream));
        assert!(logs.lines().any(is_output), "no output: {logs}");
    }
    assert_eq!(daemon.tenant("bolt").restarts, 0, "{}", daemon.output());
    pair.daemon.end();
}
