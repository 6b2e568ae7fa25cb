//! A plan as JSON: the output of `tenantd plan --json`, and the values of `tenantd diff --json`.
//!
//! What comes from a key of the manifest has the name of that key, and its value as it may be
//! written there: a duration is `"1m 30s"`, a mode `"0750"`. As all tables of the manifest apply to
//! a tenant, a tenant's object has the keys of `[app]`, `[defaults]` and of its own line. Numbers of
//! users and groups, links and the like have other names. Nothing of a plan is left out.

mod control;
mod files;
mod link;
mod phases;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::alive::Alive;
use super::model::{
    DatastorePlan, Identity, LaunchPlan, Limits, NetworkPlan, Plan, Policy, Readiness,
    RestartPolicy, StopSignal, SuccessExit, TenantPlan, ViewPlan,
};
use super::reload::AppReload;
use crate::cgroup::GroupLimits;
use crate::name::AppName;
use files::{file, folder};

/// A value that changed, with the name that it has in a plan's JSON: at most two keys, with a dot
/// between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The key, such as `restart.delay`.
    pub key: String,
    /// Its value before; null if it had none.
    #[serde(default)]
    pub before: Value,
    /// Its value after the change; null if it has none.
    #[serde(default)]
    pub after: Value,
}

/// The whole plan.
#[must_use]
pub fn plan(plan: &Plan) -> Value {
    let Plan {
        app,
        network,
        control,
        tenants,
        // With the tenants' other addresses.
        given: _,
    } = plan;
    json!({
        "app": app,
        "network": self::network(network),
        "control": control::control(control),
        "total": super::limits::group_data(&control.total),
        "tenants": tenants.iter().map(tenant).collect::<Vec<_>>(),
    })
}

/// What all tenants share.
fn network(network: &NetworkPlan) -> Value {
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
    json!({
        "mode": mode,
        "parent": parent.as_ref().filter(|_| *mode == super::model::Mode::Macvlan),
        "bridge": parent.as_ref().filter(|_| *mode == super::model::Mode::Port),
        "subnet": subnet,
        "gateway": gateway,
        "subnet6": ipv6.map(|it| it.network),
        "gateway6": ipv6.map(|it| it.gateway),
        "uplink": uplink.as_ref().map(|it| &it.name),
        "set_uplink": uplink.as_ref().is_some_and(|it| it.set),
        "hub": link::end(hub),
        "mark": mark,
        "mtu": mtu,
        "firewall": firewall,
    })
}

/// One tenant.
#[must_use]
pub fn tenant(plan: &TenantPlan) -> Value {
    let TenantPlan {
        name,
        link,
        datastore,
        launch,
        vars,
        logs,
        log_rate,
        policy,
    } = plan;
    let mut whole = Map::new();
    whole.insert("name".to_owned(), json!(name));
    for part in [
        link::link(link),
        self::datastore(datastore),
        self::launch(launch),
        members([("vars", json!(&**vars))]),
        members([(
            "logs",
            logs.iter().map(|files| json!(files.path())).collect(),
        )]),
        members([("log_rate", json!(log_rate))]),
        self::policy(policy),
        phases::members(launch, policy),
    ] {
        whole.extend(part);
    }
    Value::Object(whole)
}

/// The members of an object.
fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn datastore(datastore: &DatastorePlan) -> Map<String, Value> {
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
    let folders = folders.iter().map(|it| folder(datastore, it));
    members([(
        "datastore",
        json!({
            "source": source,
            "path": target.as_deref(),
            "folders": folders.collect::<Vec<_>>(),
            "mode": format!("{mode:04o}"),
            "must_exist": must_exist,
            "mounted": mounted,
            "made_from": &**root,
            "uid": uid,
            "gid": gid,
            "seen_as": map.as_ref().map(|it| json!({ "uid": it.uid.seen, "gid": it.gid.seen })),
        }),
    )])
}

fn launch(launch: &LaunchPlan) -> Map<String, Value> {
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
        files,
        limits,
        group,
        process,
        wall,
        commands: _,
        visits: _,
    } = launch;
    let ViewPlan {
        host,
        shared,
        visible,
        private_size,
        private_modes: _,
    } = &**view;
    let Identity {
        user,
        uid,
        gid,
        groups,
        own: _,
    } = &**identity;
    members([
        ("program", json!(program)),
        ("command", json!(argv)),
        ("environment", json!(&**environment)),
        ("secrets", json!(&**secrets)),
        ("working_directory", json!(working_directory)),
        ("user", json!(user)),
        ("uid", json!(uid)),
        ("group", json!(gid)),
        ("groups", json!(groups)),
        ("host", json!(host)),
        ("shared", json!(shared)),
        ("visible", json!(visible)),
        ("private_size", json!(private_size)),
        ("private", super::view::private_data(private, view)),
        ("hidden", json!(&**hidden)),
        ("files", files.iter().map(file).collect()),
        ("limits", self::limits(limits, group)),
        ("process", super::process::data(process)),
        ("wall", super::wall::data(wall)),
    ])
}

fn limits(limits: &Limits, group: &GroupLimits) -> Value {
    let Limits {
        open_files,
        core,
        locked_memory,
    } = limits;
    let set = [
        ("open_files", open_files),
        ("core", core),
        ("locked_memory", locked_memory),
    ];
    let set = set.into_iter().filter(|(_, limit)| limit.is_some());
    let set = set.map(|(key, limit)| (key.to_owned(), json!(limit)));
    let Value::Object(mut whole) = super::limits::group_data(group) else {
        return Value::Null;
    };
    whole.extend(set);
    Value::Object(whole)
}

fn policy(policy: &Policy) -> Map<String, Value> {
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
        phases: _,
        alive,
        watchdog,
        reload,
    } = policy;
    let StopSignal { number, name } = stop_signal;
    let mut ready = match ready {
        Readiness::Started => Map::new(),
        Readiness::Lived(time) => members([("lived", said(*time))]),
        Readiness::Tcp(port) => members([("tcp", json!(port))]),
        Readiness::Notify => members([("notify", json!(true))]),
    };
    ready.insert("within".to_owned(), said(*ready_within));
    if let Some(time) = watchdog {
        ready.insert("watchdog".to_owned(), said(*time));
    }
    let stop = json!({ "signal": name, "signal_number": number, "grace": said(*grace) });
    let mut policy = members([
        ("autostart", json!(autostart)),
        ("engine", json!(engine.word())),
        ("storage", json!(storage.word())),
        ("daemonizes", json!(daemonizes)),
        ("stop", stop),
        ("restart", self::restart(restart)),
        ("ready", Value::Object(ready)),
        ("alive", alive.as_ref().map_or(Value::Null, Alive::data)),
        (
            "reload",
            reload.as_ref().map_or(Value::Null, AppReload::data),
        ),
    ]);
    if let Some(path) = pid_file {
        policy.insert("pid_file".to_owned(), json!(path));
    }
    policy
}

fn restart(restart: &RestartPolicy) -> Value {
    let RestartPolicy {
        when,
        delay,
        delay_max,
        healthy_after,
        strikes,
        window,
        success,
    } = restart;
    let success = success.iter().map(|exit| match exit {
        SuccessExit::Status(status) => json!(status),
        SuccessExit::Signal(signal) => json!(signal.name),
    });
    json!({
        "when": when,
        "delay": said(*delay),
        "delay_max": said(*delay_max),
        "healthy_after": said(*healthy_after),
        "strikes": strikes,
        "window": said(*window),
        "success": success.collect::<Vec<Value>>(),
    })
}

/// A duration as in a manifest.
pub(super) fn said(duration: Duration) -> Value {
    let printer = jiff::fmt::friendly::SpanPrinter::new();
    Value::String(printer.unsigned_duration_to_string(&duration))
}

/// The changes of what all tenants share.
pub(super) fn shared_changes(
    old: (&AppName, &NetworkPlan),
    new: (&AppName, &NetworkPlan),
) -> Vec<KeyChange> {
    let whole = |(app, network)| json!({ "app": app, "network": self::network(network) });
    changes(whole(old), whole(new))
}

/// The changes of a tenant. Only parts that differ are looked at.
pub(super) fn tenant_changes(old: &TenantPlan, new: &TenantPlan) -> Vec<KeyChange> {
    let parts = |plan: &TenantPlan| {
        let mut parts = Map::new();
        if old.link != new.link {
            parts.extend(link::link(&plan.link));
        }
        if old.datastore != new.datastore {
            parts.extend(datastore(&plan.datastore));
        }
        if old.launch != new.launch {
            parts.extend(launch(&plan.launch));
        }
        if old.vars != new.vars {
            parts.insert("vars".to_owned(), json!(&*plan.vars));
        }
        if old.policy != new.policy {
            parts.extend(policy(&plan.policy));
        }
        if old.launch != new.launch || old.policy != new.policy {
            parts.extend(phases::members(&plan.launch, &plan.policy));
        }
        Value::Object(parts)
    };
    changes(parts(old), parts(new))
}

/// The values by which an added or removed tenant is shown.
pub(super) fn shown(plan: &TenantPlan) -> [(String, Value); 2] {
    [
        ("ip".to_owned(), link::ip(&plan.link.addresses)),
        ("datastore.source".to_owned(), json!(plan.datastore.source)),
    ]
}

fn changes(old: Value, new: Value) -> Vec<KeyChange> {
    let (mut old, new) = (leaves(old), leaves(new));
    let mut changes = Vec::new();
    for (key, after) in new {
        let before = old.remove(&key).unwrap_or_default();
        if before != after {
            changes.push(KeyChange { key, before, after });
        }
    }
    changes.extend(old.into_iter().map(|(key, before)| KeyChange {
        key,
        before,
        after: Value::Null,
    }));
    changes
}

/// The members of an object and of the objects in it, by keys of one or two parts.
fn leaves(whole: Value) -> Map<String, Value> {
    let mut leaves = Map::new();
    let Value::Object(whole) = whole else {
        return leaves;
    };
    for (key, value) in whole {
        match value {
            Value::Object(inner) => {
                let inner = inner.into_iter();
                leaves.extend(inner.map(|(below, value)| (format!("{key}.{below}"), value)));
            }
            value => drop(leaves.insert(key, value)),
        }
    }
    leaves
}
