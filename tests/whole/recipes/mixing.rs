//! The same search finds what mixes without the recipes: with a writable host and one folder, as
//! every tenant was before.

use std::path::Path;

use crate::support::app_name;
use crate::support::place::folder;

use super::pair::{Pair, Recipe};

/// Runs a recipe's program with a writable host and one folder, writes as acme, and expects that
/// bolt has it, and that it is in a file of the host.
fn mixes(recipe: &'static str, data: &str, private: &[&str], written_to: &str) {
    let app = app_name();
    let pair = Pair::begin(&Recipe::of(recipe), &app, |manifest| {
        // The folders that the program's unit would make on a host.
        for path in private {
            folder(path);
        }
        // The files that `logs` names are no tenant's own here.
        let kept = manifest.lines().filter(|line| !line.starts_with("logs ="));
        let manifest: String = kept.map(|line| format!("{line}\n")).collect();
        let (before, rest) = manifest.split_once("[app.datastore]").unwrap();
        let (_, after) = rest.split_once("]\n").unwrap();
        let before = before.replace("command =", "host = \"writable\"\ncommand =");
        format!("{before}[app.datastore]\nfolders = [\"{data}\"]\n{after}")
    });
    pair.acme().run("write").expect(0);
    // Some programs read their files when they start.
    pair.daemon.tell(&["restart", "--all"]).expect(0);
    assert!(pair.bolt().read().contains(&pair.marker));
    let foreign = pair.foreign();
    assert!(
        foreign
            .iter()
            .any(|path| Path::new(path).starts_with(written_to)),
        "{foreign:?}"
    );
}

#[test]
fn a_printer_of_one_tenant_is_found_in_the_host() {
    mixes("cups", "/var/spool/cups", &["/run/cups"], "/etc/cups");
}

#[test]
fn a_session_of_one_tenant_is_found_in_the_host() {
    let private = ["/run/apache2", "/run/lock/apache2"];
    mixes(
        "apache-php",
        "/var/www/html",
        &private,
        "/var/lib/php/sessions",
    );
}
