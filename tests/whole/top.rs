//! `top` with real tenants, by its screen in tmux(1), and once in a pipe.

mod tmux;

use std::process::Command;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use self::tmux::Tmux;
use crate::support::daemon::{Daemon, PROGRAM, in_time, run, signal};
use crate::support::place::{self, folder, script};

/// Tenant `globex` keeps a processor busy; `initech` fails.
const APP: &str = r#"
case "$1" in
    globex) while :; do :; done ;;
    initech) echo "it reads the licence" >&2; echo "the licence has expired" >&2; exit 3 ;;
esac
echo "serving $1"
exec sleep 1000000
"#;

const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/srv/app", "{tenant}"]
user = "root"
restart.when = "never"
datastore.path = "/srv/data"
[control]
operators = [{ group = 4242, rights = ["restart"], tenants = ["acme"] }]
[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
initech = { ip = "10.77.0.13" }
"#;

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", APP);
    let daemon = Daemon::start(MANIFEST);
    for (name, state) in [
        ("acme", StateWord::Up),
        ("globex", StateWord::Up),
        ("initech", StateWord::Failed),
    ] {
        daemon.until_state(name, state);
    }
    daemon
}

/// The command line of `top`, for a shell.
fn top(daemon: &Daemon, options: &str) -> String {
    format!(
        "{PROGRAM} --app {} top --interval 0.2 {options}",
        daemon.app
    )
}

/// The columns of the line of a tenant.
fn cells(screen: &str, tenant: &str) -> Vec<String> {
    let mut lines = screen.lines();
    let line = lines.find(|line| {
        line.trim_start_matches("> ")
            .trim_start()
            .starts_with(tenant)
    });
    let line = line.unwrap_or_else(|| panic!("{tenant}: {screen}"));
    let line = line.trim_start_matches('>');
    line.split_whitespace().map(str::to_owned).collect()
}

/// Whether a cell shows that much of a processor is used.
fn is_busy(percent: &str) -> bool {
    percent.parse::<f64>().is_ok_and(|percent| percent > 20.0)
}

#[test]
fn the_table_shows_what_tenants_use_and_keys_act_on_them() {
    let daemon = start();
    let mut tmux = Tmux::start((80, 24), &top(&daemon, "--sort name"));
    let screen = tmux.until("both processors are measured", |screen| {
        let busy = screen.contains("globex") && is_busy(&cells(screen, "globex")[3]);
        busy && cells(screen, "acme")[3] == "0.0" && screen.contains('█')
    });
    let lines: Vec<&str> = screen.lines().collect();
    let title = format!("{}: 3 tenants: 2 up, 1 failed  by name", daemon.app);
    assert!(lines[0].starts_with(&title), "{screen}");
    assert!(lines[1].starts_with("  NAME "), "{screen}");
    assert!(lines[23].starts_with("s start  x stop"), "{screen}");
    let acme = cells(&screen, "acme");
    assert_eq!(acme[1..3], ["up", "yes"], "{screen}");
    // Its memory, and what it received.
    assert!(acme[4].ends_with(['K', 'M']) && acme[5] != "-", "{screen}");
    assert_eq!(cells(&screen, "initech")[1..3], ["failed", "-"]);

    // Nothing is chosen yet.
    tmux.press(&["x"]);
    tmux.shows("choose a tenant first");
    tmux.press(&["Down"]);
    tmux.shows("> acme");
    tmux.press(&["x"]);
    tmux.shows("stop acme? y: yes");
    tmux.press(&["n"]);
    tmux.shows("acme: nothing was done");
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    tmux.press(&["x", "y"]);
    daemon.until_state("acme", StateWord::Down);
    tmux.until("acme is down", |screen| cells(screen, "acme")[1] == "down");
    tmux.press(&["s"]);
    daemon.until_state("acme", StateWord::Up);
    tmux.until("acme is up", |screen| cells(screen, "acme")[1] == "up");
    let before = daemon.tenant("acme").pid;
    tmux.press(&["r", "y"]);
    daemon.until_tenant("acme", |it| it.is_as_wanted() && it.pid != before);

    tmux.press(&["p", "y"]);
    tmux.until("acme is paused", |screen| {
        cells(screen, "acme")[1] == "paused"
    });
    assert!(daemon.tenant("acme").paused);
    tmux.press(&["p"]);
    tmux.until("acme continues", |screen| cells(screen, "acme")[1] == "up");
    assert!(!daemon.tenant("acme").paused);

    // Why a tenant failed, as `status` says it.
    tmux.press(&["End", "w"]);
    let why = tmux.shows("the licence has expired");
    assert!(why.contains("it reads the licence"), "{why}");
    assert!(why.contains("WHY") && why.contains("NEXT"), "{why}");
    tmux.press(&["Escape", "?"]);
    tmux.shows("follow its log, until Ctrl-C");
    tmux.press(&["Escape", "/", "g", "l"]);
    tmux.until("only globex is shown", |screen| {
        !screen.contains("acme") && screen.contains("filter: gl_")
    });
    tmux.press(&["Enter"]);
    tmux.shows("> globex");
    tmux.press(&["q"]);
    assert_eq!(tmux.ended(), Some(0));
    daemon.end();
}

/// Of all tenants one line is shown of each.
#[test]
fn the_status_of_one_tenant_shows_the_last_lines_of_its_last_launch() {
    let daemon = start();
    let lines = |said: String| -> Vec<String> {
        let lines = said
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("STDERR "));
        lines.map(str::to_owned).collect()
    };
    let all = lines(daemon.tell(&["status"]).expect(1));
    assert_eq!(all, ["the licence has expired"]);
    // Its program may be seen to run before it ends.
    daemon.tell(&["start", "initech"]);
    daemon.until_state("initech", StateWord::Failed);
    let one = lines(daemon.tell(&["status", "initech"]).expect(1));
    assert_eq!(one, ["it reads the licence", "the licence has expired"]);
    daemon.end();
}

#[test]
fn the_screen_fits_the_terminal_after_each_resize() {
    let daemon = start();
    let mut tmux = Tmux::start((120, 24), &top(&daemon, "--sort name"));
    tmux.shows("UPTIME");
    tmux.resize(40, 10);
    let narrow = tmux.until("it is drawn for 40 columns", |screen| {
        screen.lines().count() == 10 && !screen.contains("UPTIME") && screen.contains("initech")
    });
    let lines: Vec<&str> = narrow.lines().collect();
    assert!(
        lines[0].ends_with('…') && lines[9].ends_with('…'),
        "{narrow}"
    );
    assert_eq!(cells(&narrow, "acme")[1], "up", "{narrow}");
    // Two lines for tenants: the chosen one is scrolled to.
    tmux.resize(40, 6);
    tmux.press(&["End"]);
    tmux.until("it is scrolled", |screen| {
        screen.contains("> initech") && !screen.contains("acme")
    });
    tmux.resize(100, 30);
    tmux.until("it is drawn for 100 columns", |screen| {
        screen.contains("UPTIME")
            && screen
                .lines()
                .nth(29)
                .is_some_and(|it| it.ends_with("q quit"))
    });
    tmux.press(&["C-c"]);
    assert_eq!(tmux.ended(), Some(130));
    daemon.end();
}

#[test]
fn the_end_of_the_supervisor_is_said_and_the_next_one_is_found() {
    let mut daemon = start();
    let mut tmux = Tmux::start((100, 24), &top(&daemon, ""));
    tmux.shows("acme");
    daemon.kill();
    let lost = tmux.shows("NOT CURRENT");
    assert!(lost.contains("acme"), "the table stays: {lost}");
    let next = tmux.shows("supervisor not running");
    assert!(next.contains("systemctl start tenantd@"), "{next}");
    tmux.press(&["Down", "s"]);
    let refused = tmux.shows("supervisor not running");
    assert!(!refused.contains("requested"), "{refused}");
    daemon.again();
    tmux.until("it is current", |screen| !screen.contains("NOT CURRENT"));
    tmux.shows("the supervisor answers again");
    daemon.tell(&["stop", "acme"]).expect(0);
    tmux.until("events come", |screen| cells(screen, "acme")[1] == "down");
    tmux.press(&["q"]);
    assert_eq!(tmux.ended(), Some(0));
    daemon.end();
}

#[test]
fn the_log_is_followed_until_ctrl_c() {
    let daemon = start();
    let mut tmux = Tmux::start((80, 24), &top(&daemon, "--sort name"));
    tmux.shows("acme");
    tmux.press(&["Down", "l"]);
    let log = tmux.shows("serving acme");
    assert!(!log.contains("NAME"), "{log}");
    tmux.press(&["C-c"]);
    tmux.shows("> acme");
    tmux.press(&["q"]);
    assert_eq!(tmux.ended(), Some(0));
    daemon.end();
}

/// After each end of `top`, the shell echoes what is typed, and the screen is that of before.
#[test]
fn the_terminal_is_restored_by_each_end() {
    let daemon = start();
    let shell = "PS1='$ ' exec sh -i";
    let mut tmux = Tmux::start((80, 24), shell);
    tmux.shows("$");
    let pid = |tmux: &mut Tmux| tmux.pid_of(PROGRAM);
    for which in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGINT,
    ] {
        tmux.line(&format!(
            "echo before; {}; echo status $?",
            top(&daemon, "")
        ));
        tmux.shows("globex");
        let top = pid(&mut tmux);
        signal(top, which);
        let code = 128 + which as i32;
        let screen = tmux.shows(&format!("status {code}"));
        assert!(
            screen.contains("before") && !screen.contains("globex"),
            "{screen}"
        );
        tmux.line("clear");
    }
    tmux.line(&format!("TENANTD_TOP_PANICS=1 {}", top(&daemon, "")));
    tmux.shows("as a test asked for");
    tmux.line("stty -a; echo done");
    let settings = tmux.shows("\ndone");
    for setting in [" icanon", " echo ", " ixon"] {
        assert!(settings.contains(setting), "{setting}: {settings}");
    }
    // Ctrl-Z gives the terminal to the shell, and `fg` gives it back.
    tmux.line("clear");
    tmux.line(&top(&daemon, ""));
    tmux.shows("globex");
    tmux.press(&["C-z"]);
    let screen = tmux.shows("Stopped");
    assert!(!screen.contains("globex"), "{screen}");
    tmux.line("stty -a; echo done");
    let settings = tmux.shows("\ndone");
    assert!(settings.contains(" icanon"), "{settings}");
    tmux.line("fg");
    tmux.shows("globex");
    tmux.press(&["Down"]);
    tmux.shows("> ");
    tmux.press(&["q"]);
    tmux.shows("fg");
    daemon.end();
}

#[test]
fn without_a_terminal_or_colours_it_says_what_it_can() {
    let daemon = start();
    let table = daemon.tell(&["top", "--interval", "0.3"]).expect(0);
    assert!(
        table.lines().next().unwrap().starts_with("NAME "),
        "{table}"
    );
    let globex = cells(&table, "globex");
    assert!(is_busy(&globex[3]), "{table}");
    assert_eq!(cells(&table, "initech")[1..3], ["failed", "-"]);
    assert_eq!(table.lines().last(), Some("3 tenants: 2 up, 1 failed"));
    assert!(!table.contains('\x1b'), "{table}");
    let one = daemon.tell(&["top", "--interval", "0.1", "ac*"]).expect(0);
    assert!(one.contains("acme") && !one.contains("globex"), "{one}");
    daemon.tell(&["top", "--interval", "0"]).expect(2);
    daemon.tell(&["top", "typo"]).expect(1);

    let mut tmux = Tmux::start((80, 24), "PS1='$ ' exec sh -i");
    tmux.line(&format!("TERM=dumb {}; echo status $?", top(&daemon, "")));
    let refused = tmux.shows("status 1");
    assert!(
        refused.contains("`tenantd top --once` for one table"),
        "{refused}"
    );
    tmux.line("clear");
    tmux.line(&format!("NO_COLOR=1 LC_ALL=C {}", top(&daemon, "")));
    tmux.shows("globex");
    tmux.press(&["Down"]);
    let screen = tmux.shows("> ");
    assert!(screen.is_ascii(), "{screen}");
    assert!(!tmux.styled().contains('\x1b'), "{}", tmux.styled());
    tmux.press(&["q"]);
    daemon.end();
}

/// A group without root sees its tenants alone, and what they use; its keys do what it may.
#[test]
fn an_operator_without_root_sees_and_does_what_it_may() {
    let daemon = start();
    let as_user = "setpriv --reuid 65534 --regid 65534 --groups 4242";
    let mut tmux = Tmux::start((100, 24), &format!("{as_user} {}", top(&daemon, "")));
    let screen = tmux.until("acme is measured", |screen| {
        screen.contains("acme") && cells(screen, "acme")[3] == "0.0"
    });
    assert!(!screen.contains("globex"), "{screen}");
    assert!(cells(&screen, "acme")[4].ends_with(['K', 'M']), "{screen}");
    tmux.press(&["Down", "x", "y"]);
    tmux.shows("permission denied: none of your groups may stop acme");
    let before = daemon.tenant("acme");
    tmux.press(&["r", "y"]);
    daemon.until_tenant("acme", |it| it.is_as_wanted() && it.pid != before.pid);
    tmux.press(&["q"]);
    assert_eq!(tmux.ended(), Some(0));

    let mut command: Command = in_time("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", "4343"]);
    let refused = run(command.args([PROGRAM, "--app", &daemon.app, "top", "--once"]));
    assert_eq!(refused.code, 1, "{refused:?}");
    daemon.end();
}
