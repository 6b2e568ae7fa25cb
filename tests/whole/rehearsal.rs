//! What a launch would refuse is refused before: a reload, `diff` and `check` rehearse it.

use std::fs;

use crate::guestbook::three;
use crate::support::place::script;

#[test]
fn a_reload_after_which_a_tenant_could_not_be_launched_changes_nothing() {
    let daemon = three();
    let before = daemon.status().tenants;
    let script = script("no-interpreter", "");
    fs::write(&script, "#!/opt/none\n").unwrap();
    let good = fs::read_to_string(&daemon.manifest).unwrap();
    let bad = good.replace("\"/srv/guestbook\"", &format!("{script:?}"));
    assert_ne!(good, bad);
    fs::write(&daemon.manifest, bad).unwrap();
    let why = format!("acme could not be launched: cannot execute the program {script}: ");
    let shown = daemon.tell(&["diff"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown
            .out
            .contains(&format!("a reload would be refused: {why}")),
        "{shown:?}"
    );
    let refused = daemon.tell(&["reload"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains(&why), "{refused:?}");
    assert_eq!(daemon.status().tenants, before);
    let checked = daemon.tell(&["check", "--config", daemon.manifest.to_str().unwrap()]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(
        checked.out.contains("acme: bad: cannot execute"),
        "{checked:?}"
    );
    daemon.end();
}
