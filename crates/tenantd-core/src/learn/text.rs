//! The text of a manifest that gives a tenant what a program was seen to need.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;

use super::{Findings, Folder, Ready, Seen};
use crate::unit::page::{Page, quoted};

/// The placeholders that a command may have: other braces are literal.
const PLACEHOLDERS: [&str; 4] = ["{app}", "{tenant}", "{ip}", "{gateway}"];

/// A program that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The name of the application.
    pub name: String,
    /// The absolute path of the program, and its arguments.
    pub command: Vec<String>,
    /// The user; `None` for root.
    pub user: Option<String>,
    /// A network that nothing else uses.
    pub subnet: Ipv4Network,
}

impl Program {
    /// The address of the first tenant.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.subnet.nth(11).unwrap_or(self.subnet.network())
    }
}

/// A word of a command in which all braces but those of placeholders are literal.
pub(super) fn escaped(word: &str) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        if let Some(known) = PLACEHOLDERS.iter().find(|known| rest.starts_with(**known)) {
            text.push_str(known);
            rest = &rest[known.len()..];
            continue;
        }
        text.push(c);
        if c == '{' || c == '}' {
            text.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    text
}

/// Writes the manifest. With `tenant`, it has that tenant at the program's first address.
#[must_use]
pub fn manifest(
    program: &Program,
    seen: &Seen,
    findings: &Findings,
    tenant: Option<&str>,
) -> String {
    let mut page = Page::default();
    head(program, &mut page);
    app(program, seen, findings, &mut page);
    datastore(findings, &mut page);
    ready(seen, findings, &mut page);
    page.table("network");
    page.string("subnet", &program.subnet.to_string());
    page.table("tenants");
    match tenant {
        Some(name) => page.key(name, &format!("{{ ip = \"{}\" }}", program.address())),
        None => page.comment(&format!(
            "One line for each, for example: acme = {{ ip = \"{}\" }}",
            program.address()
        )),
    }
    page.text
}

fn head(program: &Program, page: &mut Page) {
    page.comment(&format!(
        "Made by `tenantd learn` from one run of {}",
        program.command.join(" ")
    ));
    page.line("#");
    page.comment(
        "It gives each tenant what that run was seen to need. What the run did not do, it does not \
         know: a write elsewhere fails, and `tenantd logs` shows what the program says about it.",
    );
}

fn app(program: &Program, seen: &Seen, findings: &Findings, page: &mut Page) {
    page.table("app");
    page.string("name", &program.name);
    let words: Vec<String> = program.command.iter().map(|it| escaped(it)).collect();
    page.list("command", &words);
    page.string("user", program.user.as_deref().unwrap_or("root"));
    if seen.daemonized {
        page.comment(
            "It continues in the background. An option that keeps it in the foreground is",
        );
        page.comment("better: then tenantd knows its exit status.");
        page.key("daemonizes", "true");
    }
    if !findings.private.is_empty() {
        page.list("private", &texts(findings.private.iter()));
    }
    let logs: Vec<&PathBuf> = findings.folders.iter().flat_map(|it| &it.logs).collect();
    if !logs.is_empty() {
        page.list("logs", &texts(logs.into_iter()));
    }
    if !seen.host_sockets.is_empty() {
        let sockets: Vec<String> = seen.host_sockets.iter().map(|it| quoted(it)).collect();
        page.comment(&format!(
            "It asked for these sockets of the host and went on without them. A tenant that needs \
             one of them: `visible = [{}]`",
            sockets.join(", ")
        ));
    }
    for file in &findings.files {
        page.decide(&format!(
            "it writes the file {}, which no folder of its own can contain. In a tenant this write \
             fails. Set another path in the program's configuration.",
            file.display()
        ));
    }
}

fn texts<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    paths
        .map(|path| escaped(&path.display().to_string()))
        .collect()
}

fn datastore(findings: &Findings, page: &mut Page) {
    if findings.folders.is_empty() {
        return;
    }
    page.table("app.datastore");
    let copied = |it: &Folder| it.copied && !it.path.starts_with("/etc");
    if findings.folders.iter().any(copied) {
        page.comment(
            "`copy`: a new tenant begins with what the host has there. If that is data of the \
             host's own, use `empty`, and make the first data by hand.",
        );
    }
    page.line("folders = [");
    for folder in &findings.folders {
        page.line(&format!("  {},", entry(folder)));
    }
    page.line("]");
}

/// A folder in the notation of the manifest. In `/etc`, `copy` is the default.
#[must_use]
pub fn entry(folder: &Folder) -> String {
    let path = quoted(&escaped(&folder.path.display().to_string()));
    let default = folder.path.starts_with(Path::new("/etc"));
    let mut keys = vec![format!("path = {path}")];
    match (folder.copied, default) {
        (true, true) | (false, false) => {}
        (true, false) => keys.push("seed = \"copy\"".to_owned()),
        (false, true) => keys.push("seed = \"empty\"".to_owned()),
    }
    keys.extend(
        folder
            .user
            .as_ref()
            .map(|user| format!("user = {}", quoted(user))),
    );
    match keys.len() {
        1 => path,
        _ => format!("{{ {} }}", keys.join(", ")),
    }
}

fn ready(seen: &Seen, findings: &Findings, page: &mut Page) {
    page.table("app.ready");
    match findings.ready {
        Ready::Notify => page.key("notify", "true"),
        Ready::Tcp(port) => page.key("tcp", &port.to_string()),
        Ready::Lived => {
            if seen.ports.iter().any(|port| port.is_tcp) {
                page.comment(
                    "It listens on 127.0.0.1 only, so only its own tenant reaches it. With another \
                     address, such as `{ip}`: tcp = PORT",
                );
            }
            page.string("lived", "1s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_literal_unless_they_are_a_placeholder() {
        assert_eq!(escaped("a{ip}:{port}"), "a{ip}:{{port}}");
        assert_eq!(escaped("}"), "}}");
    }
}
