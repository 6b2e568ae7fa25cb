//! What a terminal shows, and what a pipe gets.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::cli::End;
use crate::cli::outcome::Became;
use crate::cli::outcome::tests::tenant;
use tenantd_api::wire::StateWord;

const PLAIN: Show = Show {
    quiet: false,
    json: false,
};
const QUIET: Show = Show {
    quiet: true,
    json: false,
};
const JSON: Show = Show {
    quiet: false,
    json: true,
};

/// One terminal for both streams.
#[derive(Clone, Default)]
struct Screen(Rc<RefCell<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }

    /// What is seen in the end: a line that was cleared is not.
    fn seen(&self) -> String {
        let plain = anstream::adapter::strip_str(&self.text()).to_string();
        let lines = plain.split_inclusive('\n');
        lines
            .map(|line| line.rsplit('\r').next().unwrap())
            .collect()
    }
}

fn good(name: &str) -> Outcome {
    let mut up = tenant(StateWord::Up, Some(true), None);
    up.name = name.parse().unwrap();
    Outcome::of(&up, Became::Done)
}

fn bad(name: &str) -> Outcome {
    let mut failed = tenant(StateWord::Waiting, None, Some("it exited with status 1"));
    failed.name = name.parse().unwrap();
    Outcome::of(&failed, Became::Failed)
}

/// `start --all` with one failure among this many tenants.
fn start(total: usize, on_terminal: bool, show: Show, interrupted: bool) -> (Screen, End) {
    let screen = Screen::default();
    let app = "shop".parse().unwrap();
    let out = Box::new(screen.clone());
    let progress = Progress::on(out, on_terminal, &app, Doing::Start, total, show);
    let bar = Bar::on(Box::new(screen.clone()), || 60);
    let mut progress = progress.with(on_terminal.then_some(bar));
    progress.draw(true).unwrap();
    let waited = if interrupted { total / 2 } else { total };
    for number in 1..=waited {
        let name = format!("t{number}");
        let outcome = if number == 2 { bad(&name) } else { good(&name) };
        progress.settled(outcome).unwrap();
    }
    for number in waited + 1..=total {
        let name = format!("t{number}").parse().unwrap();
        let outcome = Outcome::pending(&name, "starting", String::new());
        progress.left(outcome);
    }
    let end = progress.finish(interrupted).unwrap();
    (screen, end)
}

#[test]
fn a_pipe_gets_one_line_per_tenant_and_a_summary() {
    let (screen, end) = start(3, false, PLAIN, false);
    assert_eq!(end, End::NotAsWanted);
    let text = anstream::adapter::strip_str(&screen.text()).to_string();
    insta::assert_snapshot!(text, @r"
    t1: up, ready, pid 123, 10.77.0.11
    t2: waiting: it exited with status 1
    t3: up, ready, pid 123, 10.77.0.11
    3 tenants: 2 started, 1 failed
    `tenantd logs t2` shows the output of its program.
    ");
    let (screen, _) = start(200, false, PLAIN, false);
    assert_eq!(screen.text().lines().count(), 202);
}

#[test]
fn a_terminal_shows_progress_failures_and_a_summary() {
    let (screen, end) = start(200, true, PLAIN, false);
    assert_eq!(end, End::NotAsWanted);
    assert_eq!(
        screen.seen(),
        "t2: waiting: it exited with status 1\n\
         200 tenants: 199 started, 1 failed\n\
         `tenantd logs t2` shows the output of its program.\n"
    );
    let drawn = "\r\u{1b}[Kstarting 200 tenants: 0 done, 200 waiting, 0 failed";
    assert!(screen.text().starts_with(drawn), "{:?}", screen.text());
    let again = "starting 200 tenants: 1 done, 198 waiting, 1 failed";
    assert!(screen.text().contains(again), "{:?}", screen.text());
    let (screen, _) = start(3, true, PLAIN, false);
    assert_eq!(screen.seen().lines().count(), 5, "few are shown one by one");
}

#[test]
fn an_interrupted_wait_counts_and_names_ten() {
    let (screen, end) = start(200, true, PLAIN, true);
    assert_eq!(end, End::Interrupted);
    let names: Vec<String> = (101..=110).map(|number| format!("t{number}")).collect();
    assert_eq!(
        screen.seen(),
        format!(
            "t2: waiting: it exited with status 1\n\
             interrupted: 200 tenants: 99 started, 1 failed, 100 starting ({} and 90 more)\n\
             The supervisor continues: `tenantd status --failed` lists what is not as wanted.\n\
             `tenantd logs t2` shows the output of its program.\n",
            names.join(", ")
        )
    );
}

#[test]
fn quiet_prints_failures_only() {
    let (screen, end) = start(200, true, QUIET, false);
    assert_eq!(screen.seen(), "t2: waiting: it exited with status 1\n");
    assert_eq!(end, End::NotAsWanted);
    let (screen, _) = start(1, false, QUIET, false);
    assert_eq!(screen.text(), "");
}

#[test]
fn json_is_one_object() {
    let (screen, end) = start(20, true, JSON, true);
    assert_eq!(end, End::Interrupted);
    let json: serde_json::Value = serde_json::from_str(&screen.text()).unwrap();
    assert_eq!(json["ok"], false);
    let tenants = json["tenants"].as_array().unwrap();
    assert_eq!(tenants.len(), 20);
    assert_eq!(tenants[1]["outcome"], "failed");
    assert_eq!(tenants[19]["outcome"], "pending");
}

#[test]
fn a_narrow_terminal_wraps_no_progress() {
    let screen = Screen::default();
    let mut bar = Bar::on(Box::new(screen.clone()), || 20);
    bar.draw(&"x".repeat(100), true).unwrap();
    assert_eq!(screen.text(), format!("\r\x1b[K{}", "x".repeat(19)));
}
