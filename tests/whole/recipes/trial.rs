//! What each recipe must pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::app_name;
use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run};

use super::host;

/// A tenant's name and address. All recipes have the default subnet.
pub const TENANTS: [(&str, &str); 2] = [("acme", "10.77.0.11"), ("bolt", "10.77.0.12")];

/// Where the program's messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// In the output, so `tenantd logs` shows them.
    Output,
    /// Elsewhere, or it has none.
    Elsewhere,
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

/// The manifest of a recipe for an application, with two tenants. Its templates are put beside the
/// manifest, as `tenantd init` does.
pub fn manifest(recipe: &str, app: &str) -> String {
    let text = fs::read_to_string(folder().join(format!("{recipe}.toml"))).unwrap();
    let name = format!("name = \"{recipe}\"");
    assert!(text.contains(&name), "{recipe}: {name}");
    let templates = folder().join(format!("{recipe}.d"));
    if templates.exists() {
        let copied = format!("/srv/{app}.d");
        run(Command::new("cp").arg("-R").arg(templates).arg(copied)).expect(0);
    }
    let mut text = text.replacen(&name, &format!("name = \"{app}\""), 1);
    for (tenant, ip) in TENANTS {
        text += &format!("{tenant} = {{ ip = \"{ip}\" }}\n");
    }
    text
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
    fn read(&self) -> String {
        self.run("read").expect(0)
    }
}

/// The datastore of a tenant.
pub fn store(app: &str, tenant: &str) -> String {
    format!("/var/lib/tenantd/{app}/{tenant}")
}

/// A text that occurs nowhere else: letters and digits only, so that few programs encode it.
pub fn marker(app: &str) -> String {
    format!("marker{}", app.replace('-', "x"))
}

pub fn run_prepare(client: &Client<'_>) {
    client.run("prepare").expect(0);
}

/// Runs all that a recipe must pass.
pub fn run_all(recipe: &Recipe) {
    let app = app_name();
    let marker = marker(&app);
    host::enter();
    let [acme, bolt] = TENANTS.map(|tenant| Client {
        recipe: recipe.name,
        app: &app,
        tenant,
        marker: &marker,
    });
    run_prepare(&acme);
    let daemon = Daemon::spawn_named(&app, &manifest(recipe.name, &app));
    daemon.settles();

    acme.run("write").expect(0);
    let is_only_in_acme = |when: &str| {
        assert!(acme.read().contains(&marker), "{when}: acme has it not");
        let other = bolt.read();
        assert!(!other.contains(&marker), "{when}: bolt has it: {other}");
        // The supervisor's output repeats the lines of all tenants, each with the tenant's name.
        let output = daemon.output();
        let mut lines = output.lines().filter(|line| line.contains(&marker));
        assert!(lines.all(|line| line.contains("acme")), "{output}");
        let own = [
            store(&app, "acme"),
            format!("/var/log/tenantd/{app}/acme."),
            format!("/srv/{app}.output"),
        ];
        let found = host::search(&marker);
        let is_foreign = |path: &&String| !own.iter().any(|own| path.starts_with(own));
        let foreign: Vec<_> = found.iter().filter(is_foreign).collect();
        assert!(foreign.is_empty(), "{when}: it is elsewhere: {foreign:?}");
        found.iter().any(|path| path.starts_with(&own[0]))
    };
    is_only_in_acme("written");

    daemon.kill_tenant("acme");
    if recipe.survives_a_kill {
        is_only_in_acme("after kill -9");
    } else {
        acme.run("write").expect(0);
    }
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.tell(&["stop", "--all"]).expect(0);
    daemon.tell(&["start", "--all"]).expect(0);
    if recipe.keeps {
        let is_kept = is_only_in_acme("after stop and start");
        assert!(is_kept, "it is nowhere in {}", store(&app, "acme"));
    }
    if recipe.logs == Logs::Output {
        let logs = daemon.tell(&["logs", "acme"]).expect(0);
        let is_output = |line: &str| line.contains(" stdout ") || line.contains(" stderr ");
        assert!(logs.lines().any(is_output), "no output: {logs}");
    }
    assert_eq!(daemon.tenant("bolt").restarts, 0, "{}", daemon.output());
    daemon.end();
}
