//! tenantd(8) and a page per command, from the definition of the command line.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use tenantd::cli::args::Cli;

use super::page::{Page, VERSION};

/// A section of terms and their meanings.
type Terms = &'static [(&'static str, &'static str)];

const SIGNALS: Terms = &[(
    "SIGTERM, SIGINT",
    "`run` stops all tenants in parallel, each within its grace, and takes away what was made but \
     the datastores. A second signal ends the grace.",
)];

const FILES: Terms = &[
    (
        "/etc/tenantd/APP.toml",
        "The manifest that the unit `tenantd@APP.service` reads.",
    ),
    (
        "/run/tenantd/APP/control",
        "The control socket of a running application. It speaks varlink, to root only.",
    ),
    (
        "/run/tenantd/locks",
        "The locks of the datastores: at most one launch for each.",
    ),
    (
        "/var/lib/tenantd/APP/TENANT",
        "A datastore, unless the manifest names another place.",
    ),
    (
        "/var/log/tenantd/APP/TENANT.log",
        "A tenant's output, where there is no journal.",
    ),
    (
        "/usr/share/doc/tenantd/tenants.example.toml",
        "A manifest to start from.",
    ),
];

const FINDING: &str = "\
    Which application a command means is said by `--app`, by `--config` (the application that \
    this manifest names), else by `TENANTD_APP`, else by `TENANTD_CONFIG`. Where nothing is said, \
    it is the only one that runs; where several run, the command refuses and names them. \
    `run`, `check` and `plan` always want the manifest itself.";

/// Every page: its file's name and its text.
pub(crate) fn pages(date: &str) -> Vec<(String, String)> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let verbs: Vec<Command> = cli.get_subcommands().cloned().collect();
    let mut pages = vec![("tenantd.8".to_owned(), whole(&cli, &verbs, date))];
    for verb in &verbs {
        let name = format!("tenantd-{}.8", verb.get_name());
        pages.push((name, page(verb, date)));
    }
    pages
}

fn whole(cli: &Command, verbs: &[Command], date: &str) -> String {
    let mut page = begin(cli, date);
    page.section("FINDING THE APPLICATION");
    page.text(FINDING);
    examples(&mut page, cli);
    for (title, terms) in [("SIGNALS", SIGNALS), ("FILES", FILES)] {
        page.section(title);
        for (term, meaning) in terms {
            page.term(term, meaning);
        }
    }
    let verbs = verbs.iter().map(|v| format!("tenantd-{}(8)", v.get_name()));
    let mut also: Vec<String> = verbs.collect();
    also.extend(["tenantd.toml(5)", "namespaces(7)", "cgroups(7)", "veth(4)"].map(str::to_owned));
    see_also(&mut page, &also);
    page.render()
}

fn page(verb: &Command, date: &str) -> String {
    let mut page = begin(verb, date);
    examples(&mut page, verb);
    see_also(
        &mut page,
        &["tenantd(8)", "tenantd.toml(5)"].map(str::to_owned),
    );
    page.render()
}

/// What `clap_mangen` makes of a command, with the usage that `--help` shows.
fn begin(command: &Command, date: &str) -> Page {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let bare = command.clone().after_help(None).version(None);
    let mut head = Vec::new();
    Man::new(bare.override_usage(usage))
        .section("8")
        .date(date)
        .source(VERSION)
        .manual("tenantd")
        .render(&mut head)
        .expect("memory can be written to");
    Page::after(String::from_utf8(head).expect("clap_mangen writes text"))
}

/// The sections that stand below the options in `--help`: a line in capitals begins one, indented
/// lines stay as they are.
fn examples(page: &mut Page, command: &Command) {
    let Some(text) = command.get_after_help().map(ToString::to_string) else {
        return;
    };
    let mut verbatim: Vec<&str> = Vec::new();
    let mut is_apart = false;
    for line in text.lines().chain([""]) {
        if line.starts_with("  ") {
            verbatim.push(line);
            continue;
        }
        if !verbatim.is_empty() {
            page.verbatim(&std::mem::take(&mut verbatim));
            is_apart = true;
        }
        if is_title(line) {
            page.section(line);
        } else if line.is_empty() {
            is_apart = true;
        } else if std::mem::take(&mut is_apart) {
            page.paragraph(line);
        } else {
            page.text(line);
        }
    }
}

fn is_title(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || c == ' ')
}

fn see_also(page: &mut Page, names: &[String]) {
    page.section("SEE ALSO");
    page.text(&names.join(", "));
}
