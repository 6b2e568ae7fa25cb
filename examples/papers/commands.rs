//! tenantd(8) and a page per command, from the definition of the command line.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use tenantd::cli::args::Cli;
use tenantd::cli::reference;

use super::page::{Page, VERSION};

/// A section of terms and their meanings.
type Terms = &'static [(&'static str, &'static str)];

const SIGNALS: Terms = &[(
    "SIGTERM, SIGINT",
    "`run` stops all tenants in parallel, each within its grace, and removes everything except the \
     datastores. A second signal kills them at once.",
)];

const FILES: Terms = &[
    (
        "/etc/tenantd/APP.toml",
        "The manifest that the unit `tenantd@APP.service` reads.",
    ),
    (
        "/run/tenantd/APP/control",
        "The control socket of a running application, for root. The protocol is varlink.",
    ),
    (
        "/run/tenantd/locks",
        "The locks of the datastores: at most one launch for each.",
    ),
    (
        "/var/lib/tenantd/APP/TENANT",
        "A datastore, unless the manifest sets another path.",
    ),
    (
        "/var/log/tenantd/APP/TENANT.log",
        "A tenant's output, if no journal runs.",
    ),
    (
        "/usr/share/doc/tenantd/tenants.example.toml",
        "An example of a manifest.",
    ),
    (
        "/usr/share/doc/tenantd/recipes",
        "Manifests for programs of the distribution, see tenantd-init(8).",
    ),
];

const SELECTING: &str = "\
    A command selects its application by `--app` or `--config` (the application of this manifest), \
    else by `TENANTD_APP`, else by `TENANTD_CONFIG`. Without any of these it takes the only \
    application that runs; if several run, the command fails and lists them. `run`, `check` and \
    `plan` always need a manifest.";

/// All pages: file name and text.
pub(crate) fn pages(date: &str) -> Vec<(String, String)> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    // What is hidden is typed by no operator.
    let shown = cli.get_subcommands().filter(|verb| !verb.is_hide_set());
    let verbs: Vec<Command> = shown.cloned().collect();
    let mut pages = vec![("tenantd.8".to_owned(), whole(&cli, &verbs, date))];
    for verb in &verbs {
        let name = format!("tenantd-{}.8", verb.get_name());
        pages.push((name, page(verb, date)));
    }
    pages
}

fn whole(cli: &Command, verbs: &[Command], date: &str) -> String {
    let mut page = begin(cli, date);
    page.section("SELECTING THE APPLICATION");
    page.text(SELECTING);
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
    for (title, terms) in reference::of(verb.get_name()) {
        page.section(title);
        for (term, meaning) in *terms {
            page.term(term, meaning);
        }
    }
    see_also(
        &mut page,
        &["tenantd(8)", "tenantd.toml(5)"].map(str::to_owned),
    );
    page.render()
}

/// The page that `clap_mangen` generates for a command, with the usage that `--help` shows.
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

/// The sections below the options in `--help`: a line in capitals is a title, indented lines are
/// verbatim.
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
