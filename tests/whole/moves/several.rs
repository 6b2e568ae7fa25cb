//! Several tenants to one host, with one command.

use std::fs;

use tenantd_api::wire::StateWord;

use super::hosts::Both;
use super::named;
use crate::support::daemon::PROGRAM;
use crate::support::terminal::Terminal;

#[test]
fn several_tenants_move_at_a_time_and_none_after_a_failure() {
    let names = named(&["acme", "bolt", "cask", "dune"]);
    let both = Both::start(&names, &[]);
    for name in &names[..3] {
        both.up(name);
    }
    for wrong in [
        vec!["h2"],
        vec!["acme", "--all", "h2"],
        vec!["acme", "-x"],
        vec!["ac_me", "h2"],
        vec!["acme", "--parallel", "0", "h2"],
    ] {
        let said = both.move_with(&wrong, "");
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
    }
    // Its data cannot come.
    fs::create_dir_all(both.there("bolt")).unwrap();
    let said = both.move_with(&["acme", "bolt", "cask", "h2"], "");
    let is_so = said.code == 1
        && said.out.ends_with("moved to h2: acme\n")
        && said.err.contains("bolt: ")
        && said.err.contains("failed: bolt; not begun: cask");
    assert!(is_so, "{said:?}");
    assert!(!said.out.contains(['\r', '\x1b']), "{said:?}");
    for name in ["bolt", "cask"] {
        assert_eq!(both.first.tenant(name).state, StateWord::Up, "{name}");
    }

    fs::remove_dir(both.there("bolt")).unwrap();
    let said = both.move_with(&["--all", "h2", "--parallel", "2", "--dry-run"], "");
    assert_eq!(said.code, 0, "{said:?}");
    let said = both.move_with(&["--all", "h2", "--parallel", "2"], "");
    assert_eq!(said.code, 0, "{said:?} {}", both.second.said());
    for line in [
        "acme: not moved: host h2 ",
        "dune: not moved: it has no data here\n",
        "moved to h2: bolt, cask\n",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    for name in &names[..3] {
        both.is_whole(name);
    }
    is_shown_on_a_terminal(&both, "dune");
    both.end();
}

fn is_shown_on_a_terminal(both: &Both, tenant: &str) {
    both.up(tenant);
    let (app, rsh) = (&both.first.app, &both.second.rsh);
    let words = ["--app", app, "move", "--rsh", rsh, tenant, "h2"];
    let mut terminal = Terminal::start(100, PROGRAM, &words, false);
    let ended = terminal.end();
    let text = terminal.text();
    let raw = String::from_utf8_lossy(&terminal.raw);
    assert!(ended.success(), "{raw}");
    // It is drawn, and a line takes its place.
    assert!(raw.contains("\r\x1b[Kdune: round 1: 0.0 MB, "), "{raw:?}");
    assert!(raw.contains("\r\x1b[Kdune: round 1: "), "{raw:?}");
    assert!(text.contains("dune: moved to h2"), "{raw:?}");
    both.is_whole(tenant);
}
