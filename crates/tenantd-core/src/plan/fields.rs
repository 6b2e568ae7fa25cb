//! The list of all fields of a plan, for everything that compares or renders plans:
//! [`render`](super::render), [`diff`](super::diff) and
//! [`fingerprints`](super::effect::fingerprints).
//!
//! A plan is destructured only here, without `..`, so a new field of the model does not compile
//! until it is listed here, together with what a change of it requires.
//!
//! # Fingerprints
//!
//! A supervisor recognizes a launch of its predecessor by the fingerprints in the record, and it
//! may be another version. Two rules ensure that no upgrade or rollback relaunches a tenant:
//!
//! 1. A field with [`Key::First`] was in the fingerprints of commit 2157092 and always contributes.
//!    Its key, the format of its value, what it requires and its position must never change.
//! 2. A field that is added later has [`Key::Later`] and contributes only if it is not at its
//!    default, so it does not change the fingerprints of plans that do not use it. Its key and the
//!    format of its value must never change; its position does not matter. Its default must not
//!    change either if a change requires a relaunch, because launches with the old default could
//!    not be recognized.
//!
//! Labels may change at any time. `tests/golden/fingerprints` checks these rules.

mod alive;
pub(super) mod field;
mod files;
mod link;
mod phases;
mod reload;
mod words;

use std::path::Path;

use super::model::{
    ControlPlan, DatastorePlan, Firewall, Identity, LaunchPlan, Limits, Measure, NetworkPlan,
    Policy, Reader, RestartPolicy, StopSignal, Subnet6, TenantPlan,
};
use super::policy;
use crate::name::AppName;
use field::{admits, decides, limits_processes, relaunches, renews, touches_nothing};
use words::{End, Groups, Span, yes};

pub use field::{Field, Key, See, Takes, Touches};

use Key::{First, Later};

/// The label of a tenant's addresses.
pub(super) const LABEL_ADDRESS: &str = "address";

/// The labels of what makes the network that all tenants share. A running supervisor exchanges the network for another
/// one, for which all tenants are reprovisioned.
pub(super) const LABELS_NETWORK: [&str; 11] = [
    "mode", "parent", "bridge", "subnet", "gateway", "subnet6", "gateway6", "uplink", "hub", "mtu",
    "firewall",
];

/// The label of the path at which a datastore is mounted.
pub(super) const LABEL_TARGET: &str = "bound at";

/// The label of a folder of a datastore.
pub(super) const LABEL_FOLDER: &str = "folder";

/// The label of a file that a tenant has for itself.
pub(super) const LABEL_FILE: &str = "file";

/// The label of the place of such a file in the datastore.
pub(super) const LABEL_FILE_AT: &str = "lies at";

/// The label of a tenant's datastore.
pub(super) const LABEL_DATASTORE: &str = "datastore";

/// Visits the fields that all tenants share. They are in no fingerprint. A running supervisor can
/// change those that are live, and those of `LABELS_NETWORK`, and no others.
pub fn shared(app: &AppName, network: &NetworkPlan, control: &ControlPlan, see: See<'_>) {
    let NetworkPlan {
        mode,
        parent,
        subnet,
        gateway,
        ipv6,
        uplink,
        hub,
        mark,
        mtu,
        // It is no difference where it comes from.
        mtu_given: _,
        firewall,
    } = network;
    let is_port = *mode == super::model::Mode::Port;
    let mode = words::mode(*mode);
    see(renews(Later("name"), "name", app));
    see(renews(Later("mode"), "mode", &mode));
    if let Some(parent) = parent {
        let label = if is_port { "bridge" } else { "parent" };
        see(renews(Later(label), label, parent));
    }
    see(renews(Later("subnet"), "subnet", subnet));
    see(renews(Later("gateway"), "gateway", gateway));
    if let Some(Subnet6 { network, gateway }) = ipv6 {
        see(renews(Later("subnet6"), "subnet6", network));
        see(renews(Later("gateway6"), "gateway6", gateway));
    }
    if let Some(uplink) = uplink {
        see(renews(Later("uplink"), "uplink", uplink));
    }
    if parent.is_none() {
        see(renews(Later("hub"), "hub", &End(hub)));
    }
    see(renews(Later("mark"), "mark", mark));
    see(renews(Later("mtu"), "mtu", mtu));
    see(renews(Later("firewall"), "firewall", firewall).default_is(*firewall == Firewall::On));
    let ControlPlan {
        readers,
        operators,
        total,
    } = control;
    for Reader { group, gid } in readers {
        see(admits(Later("read by"), "read by", gid).item(group));
    }
    for operator in operators {
        let (name, text) = (operator.name(), operator.text());
        see(admits(Later("operators"), "operators", &text).item(&name));
    }
    super::limits::group_fields(total, "total", see);
}

/// Visits the fields of a tenant.
pub fn tenant(plan: &TenantPlan, see: See<'_>) {
    let TenantPlan {
        // The name identifies the tenant, so it does not change.
        name: _,
        link,
        datastore,
        launch,
        vars,
        logs,
        log_rate,
        policy,
    } = plan;
    link::link(link, see);
    self::datastore(datastore, see);
    self::launch(launch, see);
    for file in &**launch.files {
        files::file(datastore, file, see);
    }
    for (name, value) in &**vars {
        // The fields that they are used for have effects of their own.
        let value = format_args!("{value:?}");
        see(touches_nothing(Later("var"), "var", &value).item(name));
    }
    for files in &**logs {
        let path = files.path();
        let path = path.display();
        see(decides(Later("logs"), "logs", &"followed", false).item(&path));
    }
    super::logs::rate_field(*log_rate, see);
    self::policy(policy, see);
}

fn datastore(datastore: &DatastorePlan, see: See<'_>) {
    let DatastorePlan {
        source,
        root,
        target,
        folders,
        uid,
        gid,
        map,
        mode,
        must_exist,
        mounted,
    } = datastore;
    let (source, root) = (source.display(), root.display());
    let new = format_args!("owner {uid}:{gid}, mode {mode:04o}");
    // The release ensures that no process uses the old datastore; the provision prepares the new one.
    see(renews(First("datastore"), LABEL_DATASTORE, &source));
    if let Some(target) = target {
        let shown = target.display();
        see(relaunches(First("bound at"), LABEL_TARGET, &shown).nested());
        if datastore.is_tree() {
            // The launch moves the data there.
            let place = datastore.place(target);
            see(touches_nothing(Later("lies at"), "lies at", &place.display()).nested());
        }
    }
    if let Some(map) = map {
        see(relaunches(Later("seen as"), "seen as", map).nested());
    }
    // These apply only when a datastore is created.
    see(touches_nothing(Later("made from"), "made from", &root).nested());
    see(touches_nothing(Later("if new"), "if new", &new).nested());
    for (key, is_set) in [("must exist", must_exist), ("mounted", mounted)] {
        if *is_set {
            see(touches_nothing(Later(key), key, &yes(true)).nested());
        }
    }
    for folder in &**folders {
        files::folder(datastore, folder, see);
    }
}

fn launch(launch: &LaunchPlan, see: See<'_>) {
    let LaunchPlan {
        program,
        argv,
        environment,
        secrets,
        working_directory,
        identity,
        view,
        private,
        hidden,
        // With the datastore, in which they may lie.
        files: _,
        limits,
        group,
        process,
        wall,
        commands,
        // With the policy.
        visits: _,
    } = launch;
    let program = program.display();
    see(relaunches(First("program"), "program", &program));
    for (at, text) in argv.iter().enumerate() {
        let value = format_args!("{text:?}");
        see(relaunches(First("argument"), "argument", &value).item(&at));
    }
    for (name, value) in &**environment {
        let value = format_args!("{value:?}");
        see(relaunches(First("environment"), "environment", &value).item(name));
    }
    for (name, path) in &**secrets {
        see(relaunches(Later("secret"), "secret", &path.display()).item(name));
    }
    let at_default = working_directory == Path::new("/");
    let start = working_directory.display();
    see(relaunches(First("starts in"), "starts in", &start).default_is(at_default));
    self::identity(identity, see);
    super::view::fields(view, see);
    super::view::private_fields(private, view, see);
    for path in &**hidden {
        let path = path.display();
        let field = relaunches(First("hidden"), "hidden", &"covered").item(&path);
        // A folder without datastores may stay hidden until the next launch.
        see(field.leaving(Takes::Live(Touches::Nothing)));
    }
    self::limits(limits, see);
    super::limits::group_fields(group, "limit", see);
    super::process::fields(process, see);
    super::wall::fields(wall, see);
    phases::commands(commands, identity, see);
}

/// A limit that is not set is not listed: it is inherited from the supervisor.
fn limits(limits: &Limits, see: See<'_>) {
    let Limits {
        open_files,
        core,
        locked_memory,
    } = limits;
    for (key, limit, measure) in [
        ("open files", open_files, Measure::Number),
        ("core", core, Measure::Bytes),
        ("locked memory", locked_memory, Measure::Bytes),
    ] {
        if let Some(limit) = limit {
            see(limits_processes(Later(key), key, &limit.shown(measure)));
        }
    }
}

fn identity(identity: &Identity, see: See<'_>) {
    let Identity {
        user,
        uid,
        gid,
        groups,
        // Its name and number are.
        own: _,
    } = identity;
    see(relaunches(First("user"), "user", user));
    // The user owns the output pipes, which the provision creates.
    see(renews(First("user number"), "user number", uid).nested());
    see(relaunches(First("group"), "group", gid).nested());
    see(relaunches(First("groups"), "groups", &Groups(groups)).nested());
}

fn policy(policy: &Policy, see: See<'_>) {
    let Policy {
        autostart,
        engine,
        storage,
        stop_signal,
        grace,
        restart,
        ready,
        ready_within,
        daemonizes,
        pid_file,
        phases,
        alive,
        watchdog,
        reload,
    } = policy;
    let StopSignal { number, name } = stop_signal;
    let (stop, default) = (format_args!("{name} ({number})"), policy::default());
    // While the supervisor runs, operators decide whether a tenant is wanted up.
    let (same, starts) = (*autostart == default.autostart, yes(*autostart));
    see(decides(Later("autostart"), "autostart", &starts, same));
    let same = *engine == default.engine;
    see(decides(Later("engine"), "engine", &engine.word(), same));
    let same = *storage == default.storage;
    see(decides(Later("storage"), "storage", &storage.word(), same));
    let same = *daemonizes == default.daemonizes;
    see(decides(
        Later("daemonizes"),
        "daemonizes",
        &yes(*daemonizes),
        same,
    ));
    if let Some(path) = pid_file {
        see(decides(Later("pid file"), "pid file", &path.display(), false).nested());
    }
    let same = *stop_signal == default.stop_signal;
    see(decides(Later("stop"), "stop", &stop, same));
    let same = *grace == default.grace;
    see(decides(Later("grace"), "grace", &Span(*grace), same).nested());
    self::restart(restart, &default.restart, see);
    self::phases::limits(phases, see);
    // The running launch keeps its old readiness check.
    let same = *ready == default.ready;
    see(decides(Later("ready"), "ready", &words::ready(ready), same));
    let same = *ready_within == default.ready_within;
    see(decides(
        Later("ready within"),
        "ready within",
        &Span(*ready_within),
        same,
    )
    .nested());
    if let Some(time) = watchdog {
        see(decides(Later("watchdog"), "watchdog", &Span(*time), false).nested());
    }
    self::alive::alive(alive.as_ref(), see);
    self::reload::reload(reload.as_ref(), see);
}

fn restart(restart: &RestartPolicy, default: &RestartPolicy, see: See<'_>) {
    let RestartPolicy {
        when,
        delay,
        delay_max,
        healthy_after,
        strikes,
        window,
        success,
    } = restart;
    let same = *when == default.when;
    see(decides(
        Later("restart"),
        "restart",
        &words::restart(*when),
        same,
    ));
    let same = *delay == default.delay;
    see(decides(Later("delay"), "delay", &Span(*delay), same).nested());
    let same = *delay_max == default.delay_max;
    see(decides(
        Later("longest delay"),
        "longest delay",
        &Span(*delay_max),
        same,
    )
    .nested());
    let same = *healthy_after == default.healthy_after;
    see(decides(
        Later("healthy after"),
        "healthy after",
        &Span(*healthy_after),
        same,
    )
    .nested());
    let same = (*strikes, *window) == (default.strikes, default.window);
    let held = format_args!("{strikes} strikes within {}", Span(*window));
    see(decides(Later("failed after"), "failed after", &held, same).nested());
    let same = *success == default.success;
    let exits = words::success(success);
    see(decides(Later("success"), "success", &exits, same).nested());
}
