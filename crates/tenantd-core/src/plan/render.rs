//! A plan as text: what `tenantd plan` prints.
//!
//! Complete, so that two plans with one text are one plan, and stable, so that texts can be
//! compared.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::model::{
    DatastorePlan, Identity, LaunchPlan, LinkPlan, Mode, NetworkPlan, Plan, Policy, Readiness,
    RestartPolicy, RestartWhen, TenantPlan,
};

/// The whole plan.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let mut out = Lines(String::new());
    let Plan {
        app,
        network,
        tenants,
    } = plan;
    out.title("application", app);
    write_network(&mut out, network);
    out.line("tenants", tenants.len());
    for tenant in tenants {
        write_tenant(&mut out, tenant);
    }
    out.0
}

struct Lines(String);

impl Lines {
    fn title(&mut self, word: &str, name: impl Display) {
        let _ = writeln!(self.0, "{word} {name}");
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "  {key:<18}{value}");
    }

    /// One line for each value; the key stands on the first.
    fn list(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) {
        let mut key = key;
        for value in values {
            self.line(key, value);
            key = "";
        }
    }
}

fn write_network(out: &mut Lines, network: &NetworkPlan) {
    let NetworkPlan {
        mode,
        subnet,
        gateway,
        hub,
        mark,
        mtu,
    } = network;
    out.line("mode", self::mode(*mode));
    out.line("subnet", subnet);
    out.line("gateway", gateway);
    out.line("hub", format_args!("{} {}", hub.name, hub.mac));
    out.line("mark", mark);
    out.line("mtu", mtu);
}

fn write_tenant(out: &mut Lines, tenant: &TenantPlan) {
    let TenantPlan {
        name,
        link,
        datastore,
        launch,
        policy,
    } = tenant;
    out.0.push('\n');
    out.title("tenant", name);
    let LinkPlan {
        address,
        prefix,
        host,
        tenant,
        mark,
    } = link;
    out.line("address", format_args!("{address}/{prefix}"));
    out.line("host end", format_args!("{} {}", host.name, host.mac));
    out.line("tenant end", format_args!("{} {}", tenant.name, tenant.mac));
    out.line("mark", mark);
    let DatastorePlan {
        source,
        root,
        target,
        uid,
        gid,
        mode,
    } = datastore;
    out.line("datastore", source.display());
    out.line("  bound at", target.display());
    out.line("  made from", root.display());
    out.line(
        "  if new",
        format_args!("owner {uid}:{gid}, mode {mode:04o}"),
    );
    write_launch(out, launch);
    write_policy(out, policy);
}

fn write_launch(out: &mut Lines, launch: &LaunchPlan) {
    let LaunchPlan {
        program,
        argv,
        environment,
        working_directory,
        identity,
        private,
        hidden,
    } = launch;
    out.line("program", program.display());
    out.list("arguments", argv.iter().map(|text| format!("{text:?}")));
    let variables = environment.iter();
    out.list(
        "environment",
        variables.map(|(name, value)| format!("{name}={value:?}")),
    );
    out.line("starts in", working_directory.display());
    let Identity {
        user,
        uid,
        gid,
        groups,
    } = &**identity;
    out.line(
        "user",
        format_args!("{user} {uid}:{gid}, groups {}", self::groups(groups)),
    );
    out.list("private", private.iter().map(|path| path.display()));
    out.list("hidden", hidden.iter().map(|path| path.display()));
}

fn write_policy(out: &mut Lines, policy: &Policy) {
    let Policy {
        autostart,
        stop_signal,
        grace,
        restart,
        ready,
        ready_within,
        daemonizes,
    } = policy;
    out.line("autostart", yes(*autostart));
    out.line("daemonizes", yes(*daemonizes));
    let signal = format_args!("{} ({})", stop_signal.name, stop_signal.number);
    out.line("stop", format_args!("{signal}, grace {}", Span(*grace)));
    let RestartPolicy {
        when,
        delay,
        delay_max,
        healthy_after,
        strikes,
        window,
    } = restart;
    let when = self::when(*when);
    let delays = format_args!("{} doubling to {}", Span(*delay), Span(*delay_max));
    out.line("restart", format_args!("{when}, after {delays}"));
    out.line("  healthy after", Span(*healthy_after));
    out.line(
        "  held after",
        format_args!("{strikes} strikes within {}", Span(*window)),
    );
    let what = self::ready(ready);
    out.line(
        "ready",
        format_args!("{what}, within {}", Span(*ready_within)),
    );
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Routed => "routed",
        Mode::Bridge => "bridge",
    }
}

pub(super) fn when(when: RestartWhen) -> &'static str {
    match when {
        RestartWhen::Always => "always",
        RestartWhen::OnFailure => "on failure",
        RestartWhen::Never => "never",
    }
}

pub(super) fn ready(ready: &Readiness) -> String {
    match ready {
        Readiness::Started => "when started".to_owned(),
        Readiness::Lived(time) => format!("after {}", Span(*time)),
        Readiness::Tcp(port) => format!("when TCP port {port} accepts"),
        Readiness::Notify => "when it says so".to_owned(),
    }
}

pub(super) fn groups(groups: &[u32]) -> String {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    groups.join(" ")
}

pub(super) fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// A length of time as the manifest would say it.
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = jiff::fmt::friendly::SpanPrinter::new();
        f.write_str(&printer.unsigned_duration_to_string(&self.0))
    }
}
