//! All tenants of a host to another one, which has room for each of them and not for all, and what the hosts run.

use std::fs;
use std::process::Command;

use tenantd_api::wire::StateWord;

use super::hosts::{Both, Second, manifest};
use crate::support::daemon::{Daemon, run};
use crate::support::place::{self, folder};

/// Gives the second host as much room for datastores.
fn room(both: &Both, size: &str) {
    let pid = both.second.first.id().to_string();
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-m", "mount", "-n", "-o"]);
    run(command.args([&format!("remount,size={size}"), "/var/lib"])).expect(0);
}

#[test]
fn all_tenants_need_room_together_and_those_of_an_engine_stay() {
    place::host();
    folder("/srv/data");
    folder("/srv/acks");
    let entries = "acme = { ip = \"10.77.0.11\" }\nbolt = { ip = \"10.77.0.12\" }\n\
                   cask = { ip = \"10.77.0.13\", storage = \"replicated\" }\n";
    let first = Daemon::start(&manifest(entries));
    let second = Second::boot(&first.app, &manifest(""));
    let both = Both { first, second };
    for name in ["acme", "bolt", "cask"] {
        both.up(name);
        let data = format!("/var/lib/tenantd/{}/{name}/large", both.first.app);
        fs::write(data, vec![1; 16 << 20]).unwrap();
    }
    // 64 MiB stay free.
    room(&both, "90M");
    both.move_with(&["bolt", "h2", "--dry-run"], "").expect(0);
    let said = both.move_with(&["--all", "h2"], "");
    assert!(
        said.code == 1
            && said
                .err
                .contains("16 MiB of them for the tenants that follow"),
        "{said:?}"
    );
    assert_eq!(both.first.tenant("acme").state, StateWord::Up);

    room(&both, "200M");
    let said = both.move_with(&["--all", "h2"], "");
    assert_eq!(said.code, 4, "{said:?} {}", both.second.said());
    assert!(
        said.out
            .ends_with("moved to h2: acme, bolt\nstill here: cask\n"),
        "{said:?}"
    );
    // The files of this move are large.
    for name in ["acme", "bolt"] {
        both.is_whole(name);
    }
    // Nothing of another engine runs.
    both.first.tell(&["stop", "cask"]).expect(0);
    let said = both.move_with(&["--all", "h2"], "");
    assert_eq!(said.code, 0, "{said:?}");
    versions_are_shown(&both);
    both.end();
}

fn versions_are_shown(both: &Both) {
    let ask = |hosts: &[&str]| {
        let words = ["cluster", "versions", "--rsh", &both.second.rsh];
        both.first.tell(&[&words, hosts].concat())
    };
    let version = env!("CARGO_PKG_VERSION");
    let said = ask(&["h2"]).expect(0);
    let line = said.lines().nth(1).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..5], ["h2", version, version, "0", "0"], "{said}");
    assert!(line.ends_with("/srv/counter"), "{said}");
    fs::write("/srv/broken", "versions").unwrap();
    let said = ask(&["h2"]);
    assert!(
        said.code == 1 && said.err.contains("h2: not known: broken"),
        "{said:?}"
    );
    fs::remove_file("/srv/broken").unwrap();
    let words = ["cluster", "versions", "--rsh", "/bin/false", "h2"];
    let said = both.first.tell(&words);
    let why = "h2: not known: /bin/false said nothing, exit status: 1";
    assert!(said.code == 1 && said.err.contains(why), "{said:?}");
    for option in ["--pcs", "--check", "--size=h2=1GiB,1"] {
        let said = both.first.tell(&["cluster", "versions", option]);
        let is_refused = said.err.contains("takes --rsh and --json only");
        assert!(said.code == 1 && is_refused, "{option}: {said:?}");
    }
}
