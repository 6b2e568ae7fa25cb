//! `tenantd learn`: what it finds, that its manifest works, and that nothing of it stays.

mod leaving;
mod programs;

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::recipes::host;
use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, tenantd};
use crate::support::place::{folder, script};
use crate::support::terminal::Terminal;
use tenantd_api::wire::StateWord;

/// Runs `learn` with JSON and returns its answer.
#[track_caller]
fn learn(code: i32, arguments: &[&str]) -> (Value, String) {
    let said = tenantd(&[&["learn", "--json"], arguments].concat());
    assert_eq!(said.code, code, "{said:?}");
    let CommandOutput { out, err, .. } = said;
    (serde_json::from_str(&out).unwrap_or(Value::Null), err)
}

/// The paths that were written, each with what happened to it.
fn writes(said: &Value) -> Vec<(String, String)> {
    let writes = said["seen"]["writes"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    writes
        .map(|it| (text(&it["path"]), text(&it["what"])))
        .collect()
}

fn strings(value: &Value) -> Vec<&str> {
    let all = value.as_array().unwrap().iter();
    all.map(|it| it.as_str().unwrap()).collect()
}

/// What a program writes early and removes at its end, and what it writes only at its end.
#[test]
fn writes_before_and_at_the_stop_are_found() {
    host::enter();
    let command = ["--", "redis-server", "/etc/redis/redis.conf"];
    // A port below 1024, as another user than root: every port is free in a tenant.
    let command = [&command[..], &["--daemonize", "no", "--port", "80"]].concat();
    let client = ["--user", "redis", "--run", "redis-cli -p 80 set a b"];
    let (said, err) = learn(0, &[&client[..], &command].concat());
    let writes = writes(&said);
    let has = |path: &str| writes.iter().any(|(it, what)| it == path && what == "new");
    assert!(has("/run/redis/redis-server.pid"), "{writes:?}");
    assert!(has("/var/lib/redis/dump.rdb"), "{writes:?}");
    assert_eq!(
        strings(&said["folders"]),
        ["/var/lib/redis", "/var/log/redis"]
    );
    assert_eq!(strings(&said["seen"]["users"]), ["redis"]);
    assert_eq!(said["proven"], true, "{err}");
    let manifest = said["manifest"].as_str().unwrap();
    assert!(
        manifest.contains("private = [\"/run/redis\"]"),
        "{manifest}"
    );
    assert!(err.lines().all(|line| line.chars().count() <= 80), "{err}");
}

#[test]
fn a_file_that_was_only_opened_for_writing_counts() {
    host::enter();
    fs::create_dir("/etc/kept").unwrap();
    fs::write("/etc/kept/a", "text\n").unwrap();
    fs::write("/etc/kept/b", "text\n").unwrap();
    let program = script(
        "program",
        ": >>/etc/kept/a; echo more >>/etc/kept/b; exec sleep 1000",
    );
    let (said, err) = learn(0, &["--for", "100ms", "--", &program]);
    let opened = |path: &str, what: &str| (path.to_owned(), what.to_owned());
    assert_eq!(
        writes(&said),
        [
            opened("/etc/kept/a", "opened"),
            opened("/etc/kept/b", "changed")
        ],
        "{err}"
    );
    assert_eq!(fs::read_to_string("/etc/kept/b").unwrap(), "text\n");
}

#[test]
fn set_id_programs_users_and_syslog_are_found() {
    host::enter();
    let text = "su --version >/dev/null\nlogger from the program\n\
                setpriv --reuid=www-data --clear-groups sleep 1000 &\n\
                mkdir -p /var/lib/deep/er/est; echo x >/var/lib/deep/er/est/x\nexit 0";
    let program = script("program", text);
    let (said, err) = learn(0, &["--for", "100ms", "--", &program]);
    let seen = &said["seen"];
    let set_id = strings(&seen["set_id"]);
    assert!(set_id.iter().any(|path| path.ends_with("/su")), "{seen}");
    assert_eq!(seen["syslog"], true, "{seen}");
    assert_eq!(seen["daemonized"], true, "{seen}");
    assert!(strings(&seen["users"]).contains(&"www-data"), "{seen}");
    assert!(err.contains("CAP_SETUID (setuid)"), "{err}");
    assert_eq!(strings(&said["folders"]), ["/var/lib/deep"]);
    let manifest = said["manifest"].as_str().unwrap();
    assert!(manifest.contains("daemonizes = true"), "{manifest}");
}

/// Of a union of unions the kernel makes no further one.
#[test]
fn a_file_system_without_a_union_is_named_and_read_only() {
    host::enter();
    for place in ["/srv/deep", "/srv/upper", "/srv/work"] {
        folder(place);
    }
    let options = "lowerdir=/etc,upperdir=/srv/upper,workdir=/srv/work";
    let nothing = MsFlags::empty();
    mount(
        Some("test"),
        "/srv/deep",
        Some("overlay"),
        nothing,
        Some(options),
    )
    .unwrap();
    let program = script("program", "echo x >/srv/deep/x; exec sleep 1000");
    let (said, err) = learn(1, &["--for", "100ms", "--", &program]);
    assert!(
        err.contains("/srv/deep: read-only in this run: no union over overlay"),
        "{err}"
    );
    assert_eq!(writes(&said), [], "{err}");
    assert!(err.contains("REFUSED     /srv/deep/x"), "{err}");
    // So it is not in the manifest, and the second run finds it.
    assert!(err.contains("writes were refused: /srv/deep/x"), "{err}");
    assert!(!Path::new("/srv/deep/x").exists());
}

#[test]
fn a_person_ends_the_use_with_enter() {
    host::enter();
    let program = script("program", "echo x >/etc/first; exec sleep 1000");
    let mut terminal = Terminal::start(80, PROGRAM, &["learn", "--", &program], false);
    terminal.until("press Enter when you are done");
    terminal.type_in("\r");
    terminal.until("the second run was not good");
    assert_eq!(terminal.end().code(), Some(1));
    let text = terminal.text();
    assert!(
        text.contains("DECIDE: it writes the file /etc/first"),
        "{text}"
    );
}

/// The second run is one as a tenant: what it does elsewhere is refused and named.
#[test]
fn a_write_of_the_second_run_alone_is_found() {
    host::enter();
    let text = "[ -e /run/tenantd-learn ] || echo x >/etc/elsewhere\nexec sleep 1000";
    let program = script("program", text);
    let (said, err) = learn(1, &["--for", "100ms", "--", &program]);
    assert_eq!(said["proven"], false, "{err}");
    assert!(err.contains("writes were refused: /etc/elsewhere"), "{err}");
    assert!(!Path::new("/etc/elsewhere").exists());
}

#[test]
fn a_program_that_fails_is_shown_with_its_last_lines() {
    host::enter();
    let program = script("program", "echo no such thing >&2; exit 3");
    let (_, err) = learn(1, &["--for", "1s", "--", &program]);
    assert!(err.contains("exited with status 3"), "{err}");
    assert!(err.contains("| no such thing"), "{err}");
    let program = script("other", "exec sleep 1000");
    let (_, err) = learn(1, &["--run", "echo refused; exit 4", "--", &program]);
    assert!(err.contains("--run ended with status 4"), "{err}");
    assert!(err.contains("| refused"), "{err}");
}

#[test]
fn a_command_line_that_cannot_work_is_refused() {
    host::enter();
    learn(2, &["--", "sleep", "1"]);
    learn(2, &["--for", "1s"]);
    let (_, err) = learn(1, &["--for", "1s", "--", "no-such-program"]);
    assert!(err.contains("no such program in PATH"), "{err}");
}

/// The list beside a manifest, and `check`.
#[test]
fn a_manifest_is_compared_with_what_was_written() {
    host::enter();
    let program = script(
        "program",
        "mkdir -p /var/lib/a /var/lib/b; echo x >/var/lib/a/x; echo x >/var/lib/b/x; exec sleep 1000",
    );
    let manifest = |folders: &str| {
        let text = format!(
            "[app]\nname = \"compared\"\nuser = \"root\"\ncommand = [\"{program}\"]\nprivate = [\"/run/compared\"]\n\
             [app.datastore]\nfolders = [{folders}]\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        );
        fs::write("/srv/compared.toml", text).unwrap();
    };
    manifest("\"/var/lib/a\"");
    let run = ["--manifest", "/srv/compared.toml", "--for", "100ms"];
    let (said, err) = learn(1, &run);
    assert_eq!(strings(&said["folders"]), ["/var/lib/a", "/var/lib/b"]);
    assert!(err.contains("add \"/var/lib/b\" to `folders`"), "{err}");
    assert!(!err.contains("add \"/var/lib/a\""), "{err}");
    let list = fs::read_to_string("/srv/compared.learned").unwrap();
    assert!(list.contains("version = 1"), "{list}");

    let check = || tenantd(&["check", "--config", "/srv/compared.toml"]).out;
    let said = check();
    assert!(
        said.contains("learned: weak: ") && said.contains("add \"/var/lib/b\""),
        "{said}"
    );
    manifest("\"/var/lib/a\", \"/var/lib/b\"");
    assert!(check().contains("learned: good"), "{}", check());
    learn(0, &run);
    fs::write("/srv/compared.learned", "version = 2\n").unwrap();
    assert!(check().contains("learned: weak"), "{}", check());
}

/// Like slapd, the program of this test says nothing when a write is refused.
#[test]
fn a_launch_that_failed_without_a_word_is_explained() {
    host::enter();
    let program = script(
        "silent",
        "mkdir -p /var/lib/silent 2>/dev/null || exit 1\necho x >/var/lib/silent/db; exec sleep 1000",
    );
    let daemon = Daemon::start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\nrestart.strikes = 1\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ));
    daemon.until_state("acme", StateWord::Failed);
    let manifest = daemon.status().manifest.unwrap();
    let said = daemon.tell(&["status"]).out;
    let next = format!(
        "NEXT to see writes that are refused:\n       `tenantd learn --manifest {manifest} --for 10s acme`"
    );
    assert!(said.contains(&next), "{said}");

    let (_, err) = learn(1, &["--manifest", &manifest, "--for", "100ms", "acme"]);
    assert!(
        err.contains("add \"/var/lib/silent\" to `folders`"),
        "{err}"
    );
    let said = daemon.tell(&["status"]).out;
    assert!(
        said.contains("  LEARNED its program writes to \"/var/lib/silent\"")
            && said.contains("  NEXT add \"/var/lib/silent\" to `folders`"),
        "{said}"
    );
    daemon.end();
}
