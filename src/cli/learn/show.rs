//! Shows what a program was seen to do.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use textwrap::Options;

use tenantd_core::capability::{Capabilities, Capability};
use tenantd_core::learn::{Client, Findings, Folder, Port, Ready, Seen, What};

/// The width of the lines.
const WIDTH: usize = 80;

/// How many of many are shown.
const SOME: usize = 5;

/// The column of the text.
const INDENT: &str = "            ";

/// What a program did, as lines of at most 80 columns.
pub(super) fn findings(seen: &Seen, findings: &Findings) -> String {
    let mut text = String::new();
    let folders: Vec<String> = findings.folders.iter().map(folder).collect();
    row(&mut text, "WROTE TO", &folders);
    row(&mut text, "FILES", &shown(&findings.files));
    row(&mut text, "REFUSED", &shown(&seen.refused));
    row(&mut text, "IN MEMORY", &shown(&findings.private));
    let made = seen
        .made
        .iter()
        .map(|(path, user)| format!("{}: asked for by {user}, and missing", path.display()));
    row(&mut text, "MADE", &made.collect::<Vec<_>>());
    let ports: Vec<String> = seen.ports.iter().map(port).collect();
    row(&mut text, "PORTS", &ports);
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    row(&mut text, "SOCKETS", &some(list(&seen.sockets)));
    row(&mut text, "OF HOST", &list(&seen.host_sockets));
    row(&mut text, "USERS", &[list(&seen.users).join(", ")]);
    let set_id = shown(&seen.set_id).into_iter();
    let set_id = set_id.map(|it| format!("{it} (a tenant's has no more rights than its caller)"));
    row(&mut text, "SET-ID", &set_id.collect::<Vec<_>>());
    let needed: BTreeSet<String> = seen
        .privileged
        .iter()
        .map(|it| capability(&it.capability, &it.call))
        .collect();
    row(&mut text, "NEEDS", &list(&needed));
    if seen.ended.is_none() {
        row(&mut text, "START", &[start(seen, findings)]);
    }
    if seen.syslog {
        row(&mut text, "LOGS", &["to syslog".to_owned()]);
    }
    text
}

fn row(text: &mut String, head: &str, lines: &[String]) {
    let head = format!("{head:<width$}", width = INDENT.len());
    let mut first = head.as_str();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let inner = format!("{INDENT}  ");
        let options = Options::new(WIDTH)
            .initial_indent(first)
            .subsequent_indent(&inner)
            .break_words(false);
        for line in textwrap::wrap(line, options) {
            let _ = writeln!(text, "{}", line.trim_end());
        }
        first = INDENT;
    }
}

/// The first of many.
fn some(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(SOME);
    if more > 1 {
        lines.truncate(SOME);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn shown(paths: &BTreeSet<std::path::PathBuf>) -> Vec<String> {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

fn folder(folder: &Folder) -> String {
    let counts = folder.writes.iter().map(|(what, count)| {
        let what = match what {
            What::New => "new",
            What::Changed => "changed",
            What::Opened => "opened for writing",
            What::Owner => "owner or mode",
            What::Deleted => "deleted",
        };
        format!("{count} {what}")
    });
    let seed = if folder.copied {
        "; begins as a copy of the host's"
    } else {
        ""
    };
    let user = folder
        .user
        .as_ref()
        .map(|user| format!("it belongs to {user}"));
    let counts = counts.chain(user).collect::<Vec<_>>().join(", ");
    format!("{}: {counts}{seed}", folder.path.display())
}

fn port(port: &Port) -> String {
    let kind = if port.is_tcp { "tcp" } else { "udp" };
    let only = if port.address.is_loopback() {
        " (reached from its own tenant only)"
    } else {
        ""
    };
    format!("{kind} {}, on {}{only}", port.number, port.address)
}

fn capability(name: &str, call: &str) -> String {
    let known = Capability::named(name);
    match name {
        _ if known.is_some_and(|it| it.danger().is_some()) => {
            format!("{name} ({call}), which no tenant has")
        }
        // Every port is free to every user there.
        "CAP_NET_BIND_SERVICE" => format!("{call}: allowed to every user of a tenant"),
        _ if known.is_some_and(|it| Capabilities::SERVICE.has(it)) => {
            format!("{name} ({call}), which a tenant of root has")
        }
        _ => format!("{name} ({call}), which `wall.capabilities` must list"),
    }
}

fn start(seen: &Seen, findings: &Findings) -> String {
    let first = match seen.daemonized {
        true => "it continues in the background",
        false => "it stays in the foreground",
    };
    let ready = match findings.ready {
        Ready::Notify => "and notifies when it is ready".to_owned(),
        Ready::Tcp(port) => format!("and is ready when it accepts connections on port {port}"),
        Ready::Lived => "and has no sign that it is ready".to_owned(),
    };
    format!("{first}, {ready}")
}

/// The end of a program that ended by itself, with its last lines.
pub(super) fn ended(seen: &Seen) -> Option<String> {
    let why = seen.ended.as_ref()?;
    Some(with_lines(why, &seen.output))
}

/// The end of a client that failed.
pub(super) fn client(client: &Client) -> Option<String> {
    let head = match client.status {
        Some(0) => return None,
        Some(status) => format!("the command of --run ended with status {status}"),
        None => "the command of --run did not end, or was killed".to_owned(),
    };
    Some(with_lines(&head, &client.output))
}

fn with_lines(head: &str, lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("\n  | {line}"));
    format!("{head}{}", lines.collect::<String>())
}

/// What was not as it should be in a run as a tenant. Empty if all was.
pub(super) fn faults(seen: &Seen, client_worked: bool) -> Vec<String> {
    let mut faults: Vec<String> = ended(seen).into_iter().collect();
    if client_worked {
        faults.extend(seen.client.as_ref().and_then(client));
        if seen.ended.is_none() && seen.client.is_none() {
            faults.push("the command of --run was not run".to_owned());
        }
    }
    let refused = seen.refused.iter().map(|path| path.display().to_string());
    let refused: Vec<String> = refused.collect();
    if !refused.is_empty() {
        faults.push(format!("writes were refused: {}", refused.join(", ")));
    }
    faults
}

/// A path for a person.
pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}
