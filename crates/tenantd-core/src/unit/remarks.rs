//! What a manifest cannot say: as comments, with what to do instead.

use super::command::Command;
use super::convert::Service;
use super::page::{Page, quoted};

/// The settings that the manifest has, or that mean nothing for a tenant.
const KNOWN: [&str; 55] = [
    "AmbientCapabilities",
    "BusName",
    "CacheDirectory",
    "CacheDirectoryMode",
    "CapabilityBoundingSet",
    "ConfigurationDirectory",
    "ConfigurationDirectoryMode",
    "DynamicUser",
    "Environment",
    "EnvironmentFile",
    "ExecCondition",
    "ExecReload",
    "ExecStart",
    "ExecStartPost",
    "ExecStartPre",
    "ExecStop",
    "ExecStopPost",
    "Group",
    "KillMode",
    "KillSignal",
    "LimitCORE",
    "LimitMEMLOCK",
    "LimitNOFILE",
    "LogsDirectory",
    "LogsDirectoryMode",
    "Nice",
    "NoNewPrivileges",
    "NotifyAccess",
    "OOMScoreAdjust",
    "PIDFile",
    "PermissionsStartOnly",
    "ReadWriteDirectories",
    "ReadWritePaths",
    "Restart",
    "RestartSec",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "SendSIGKILL",
    "Sockets",
    "StandardError",
    "StandardInput",
    "StandardOutput",
    "StateDirectory",
    "StateDirectoryMode",
    "SupplementaryGroups",
    "SyslogIdentifier",
    "SystemCallFilter",
    "TimeoutSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "UnsetEnvironment",
    "User",
    "WatchdogSec",
];

/// Others that a tenant has anyhow, and that have a part of their own here.
const COVERED: [&str; 4] = [
    "PrivateTmp",
    "ProtectSystem",
    "WorkingDirectory",
    "RemainAfterExit",
];

/// About the command, above it.
pub(super) fn command(service: &Service<'_>, page: &mut Page) {
    let command = &service.command;
    if command.is_shell() {
        page.decide(
            "a shell runs the program. See that the script ends with `exec`, so that the program \
             itself gets the signal to stop.",
        );
    }
    if let Some(name) = &command.called {
        page.decide(&format!(
            "the unit starts the program under the name {}, which tenantd cannot.",
            quoted(name)
        ));
    }
    if command.several || service.settings.all("ExecStart").len() > 1 {
        page.decide("the unit has more than one command; tenantd runs one.");
    }
    let must_be_read = service.environment.unread.iter().any(|file| !file.optional);
    for name in &command.missing {
        match must_be_read {
            true => page.decide(&format!(
                "${name} is not set, and empty in the command: a file of the environment is \
                 missing, see below."
            )),
            false => page.comment(&format!("${name} is not set, and empty in the command.")),
        }
    }
    let specifiers: String = service.unknown.iter().map(|it| format!(" %{it}")).collect();
    if !specifiers.is_empty() {
        page.decide(&format!(
            "the value of{specifiers} is known only when the unit runs; it stands here as it is."
        ));
    }
}

/// About everything else, at the end.
pub(super) fn rest(service: &Service<'_>, page: &mut Page) {
    let mut remarks = Page::default();
    others(service, &mut remarks);
    reading(service, &mut remarks);
    sockets(service, &mut remarks);
    rights(service, &mut remarks);
    if !remarks.text.is_empty() {
        page.line("");
        page.text.push_str(&remarks.text);
        page.decisions += remarks.decisions;
    }
}

/// The other commands of the unit.
fn others(service: &Service<'_>, page: &mut Page) {
    let all = |key| service.settings.all(key);
    for value in all("ExecCondition") {
        page.comment(&format!(
            "ExecCondition={value}: tenantd has no conditions."
        ));
    }
    for (key, when) in [("ExecStartPost", "start"), ("ExecStopPost", "stop")] {
        for value in all(key) {
            page.decide(&format!(
                "after each {when}, the unit runs `{}`; tenantd runs nothing then.",
                typed(service, value)
            ));
        }
    }
}

/// A command as it is typed in a shell, with the values of its variables.
pub(super) fn typed(service: &Service<'_>, value: &str) -> String {
    let (specifiers, environment) = (&service.specifiers, &service.environment);
    let mut unknown = service.unknown.clone();
    let command = Command::read(value, specifiers, &mut unknown, environment, service.host);
    let Ok(command) = command else {
        return value.to_owned();
    };
    shell(&command.words)
}

/// Words as they are typed in a shell.
pub(super) fn shell(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let words = words.iter().map(|word| match word.chars().all(is_plain) {
        true if !word.is_empty() => word.clone(),
        true | false => format!("'{}'", word.replace('\'', "'\\''")),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a command gives folders to the service, which tenantd does itself.
pub(super) fn is_chown(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    let program = program.trim_start_matches(['@', '-', ':', '+', '!']);
    ["chown", "chmod", "chgrp"]
        .iter()
        .any(|it| program.rsplit('/').next() == Some(*it))
}

/// What the files of the unit have that was not understood, and where its output went.
fn reading(service: &Service<'_>, page: &mut Page) {
    for (file, number, line) in &service.settings.ignored {
        page.comment(&format!("{file}, line {number} is no setting: {line}"));
    }
    for key in ["StandardOutput", "StandardError"] {
        let value = service.settings.last(key).unwrap_or_default();
        if value.contains(':') {
            page.comment(&format!(
                "{key}={value}: tenantd keeps the output of each tenant itself, see `tenantd logs`."
            ));
        }
    }
    if service.command.may_fail {
        page.comment("ExecStart=-: in the unit, a failure of the program counts as success.");
    }
    let groups = service.settings.all("SupplementaryGroups").join(" ");
    if !groups.is_empty() {
        let user = service.user.as_deref().unwrap_or("root");
        page.decide(&format!(
            "SupplementaryGroups={groups}: a tenant's program has the groups that its user has: \
             `usermod --append --groups {} {user}`.",
            groups.split_whitespace().collect::<Vec<_>>().join(",")
        ));
    }
}

/// Sockets that systemd would pass to the program.
fn sockets(service: &Service<'_>, page: &mut Page) {
    let settings = &service.settings;
    let own = format!("{}.socket", service.specifiers.name.prefix());
    let mut names: Vec<&str> = settings.all("Sockets");
    let needs = [
        ("Unit", "Requires"),
        ("Unit", "BindsTo"),
        ("Unit", "Wants"),
        ("Install", "Also"),
    ];
    let is_needed = |(section, key): &(&str, &str)| {
        let values = settings.list(section, key);
        values
            .iter()
            .any(|value| value.split_whitespace().any(|name| name == own))
    };
    if names.is_empty() && needs.iter().any(is_needed) {
        names.push(&own);
    }
    if !names.is_empty() {
        page.decide(&format!(
            "systemd listens for the service ({}), and passes the socket to it. tenantd does not: \
             the program itself must listen.",
            names.join(", ")
        ));
    }
}

/// All settings that have no part here.
fn rights(service: &Service<'_>, page: &mut Page) {
    let keys = service.settings.keys();
    let is_left = |key: &&str| !KNOWN.contains(key) && !COVERED.contains(key);
    let left: Vec<String> = keys
        .into_iter()
        .filter(is_left)
        .map(|key| format!("{key}="))
        .collect();
    if !left.is_empty() {
        page.comment(&format!(
            "Not taken over: a manifest has nothing like {}.",
            left.join(", ")
        ));
    }
}

/// A limit in the notation of the manifest. Of open files, systemd takes `infinity` as the kernel's
/// maximum, which is this number unless the host changes it.
pub(super) fn limit(key: &str, value: &str) -> Option<String> {
    let is_files = key == "open_files";
    let one = |text: &str| match text.trim() {
        "infinity" if is_files => Some("1048576".to_owned()),
        "infinity" => Some("unlimited".to_owned()),
        text if is_files => text.parse::<u64>().ok().map(|it| it.max(64).to_string()),
        text => bytes(text).map(|it| it.to_string()),
    };
    match value.split_once(':') {
        Some((soft, hard)) => Some(quoted(&format!("{}:{}", one(soft)?, one(hard)?))),
        None => one(value).map(|it| match it.as_str() {
            "unlimited" => quoted(&it),
            _ => it,
        }),
    }
}

/// A number of bytes, with systemd's units of 1024.
fn bytes(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let power = match text[end..].trim() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    number.checked_mul(1024u64.checked_pow(power)?)
}
