//! Real programs: the manifest of `learn` works as it is, for two tenants with a real client, and what
//! one of them writes is found in its own data alone.

use std::fs;

use crate::recipes::pair::{Logs, Recipe, TENANTS, run_changed};
use crate::support::app_name;
use crate::support::daemon::tenantd;

/// Runs all that a recipe must pass, with a manifest that was learned.
#[track_caller]
fn passes(recipe: &Recipe, prepare: impl FnOnce(), arguments: &[&str]) {
    let app = app_name();
    let learned = |_: String| {
        prepare();
        let said = tenantd(&[&["learn", "--name", &app], arguments].concat());
        assert_eq!(said.code, 0, "{said:?}");
        let mut text = said.out;
        for (tenant, ip) in TENANTS {
            text += &format!("{tenant} = {{ ip = \"{ip}\" }}\n");
        }
        text
    };
    run_changed(recipe, &app, learned);
}

#[test]
fn redis() {
    let options = [
        "--protected-mode",
        "no",
        "--daemonize",
        "no",
        "--appendonly",
        "yes",
    ];
    let client = ["--user", "redis", "--run", "redis-cli set a b"];
    let command = [
        "--",
        "redis-server",
        "/etc/redis/redis.conf",
        "--bind",
        "{ip}",
        "127.0.0.1",
    ];
    passes(
        &Recipe::of("redis"),
        || {},
        &[&client[..], &command, &options].concat(),
    );
}

#[test]
fn nginx() {
    let client = "echo x >/var/www/html/x && curl -fs http://127.0.0.1/x";
    let arguments = ["--run", client, "--", "nginx", "-g", "daemon off;"];
    passes(&Recipe::of("nginx"), || {}, &arguments);
}

#[test]
fn mosquitto() {
    let recipe = Recipe {
        survives_a_kill: false,
        ..Recipe::of("mosquitto")
    };
    let listener = || {
        let text = "listener 1883\nallow_anonymous true\nautosave_interval 60\nlog_dest stderr\n";
        fs::write("/etc/mosquitto/conf.d/listener.conf", text).unwrap();
    };
    let client = ["--run", "mosquitto_pub -r -t a -m b"];
    let command = ["--", "mosquitto", "-c", "/etc/mosquitto/mosquitto.conf"];
    let size = ["--size", "64MiB"];
    passes(&recipe, listener, &[&client[..], &size, &command].concat());
}

#[test]
fn cups() {
    let recipe = Recipe {
        survives_a_kill: false,
        ..Recipe::of("cups")
    };
    let client = "lpadmin -p x -v file:/dev/null -E && lpstat -p x";
    passes(&recipe, || {}, &["--run", client, "--", "cupsd", "-f"]);
}

#[test]
fn memcached() {
    let recipe = Recipe {
        survives_a_kill: false,
        keeps: false,
        logs: Logs::None,
        ..Recipe::of("memcached")
    };
    let client = ["--for", "100ms", "--user", "memcache"];
    passes(
        &recipe,
        || {},
        &[&client[..], &["--", "memcached", "-l", "{ip}", "-v"]].concat(),
    );
}
