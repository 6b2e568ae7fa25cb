//! The board, by events, readings and keys.

use std::time::Duration;

use super::*;
use crate::cli::top::keys::Key;
use crate::cli::top::typed::Action;
use tenantd_api::wire::{LogPlace, NetworkState, Tracking, Verb};
use tenantd_host::counters::{CgroupCounters, Counters, LinkCounters};

/// A board with so many tenants. The first one has failed, and each uses more than the one before it.
pub(in crate::cli::top) fn board(count: usize) -> Board {
    let tenant = |number: usize| {
        let state = match number {
            0 => StateWord::Failed,
            _ => StateWord::Up,
        };
        let name = format!("shop-{number:03}").parse().unwrap();
        let address = std::net::Ipv4Addr::new(10, 77, 0, 11).into();
        let mut tenant = TenantStatus::bare(name, address, state);
        tenant.ready = (number > 0).then_some(true);
        tenant.restarts = u32::try_from(number % 7).unwrap();
        tenant
    };
    let status = AppStatus {
        app: "wiki".parse().unwrap(),
        pid: 99,
        tracking: Tracking::Cgroup,
        logs: LogPlace::Files,
        unwatched: None,
        network: NetworkState::default(),
        manifest: None,
        tenants: (0..count).map(tenant).collect(),
    };
    let mut board = Board::new(status, Column::Cpu, Duration::from_secs(2));
    for round in 0..10 {
        board.measured(readings(&board, round));
    }
    board.fit(24);
    board
}

fn readings(board: &Board, round: u64) -> BTreeMap<TenantName, Reading> {
    let tenants = board.status.tenants.iter().zip(0..).skip(1);
    let readings = tenants.map(|(tenant, number)| {
        let cgroup = CgroupCounters {
            id: 1,
            cpu_usec: Some(round * (round % 4 + 1) * number * 1000),
            memory: Some((number << 20) + (round << 12)),
            ..CgroupCounters::default()
        };
        let link = LinkCounters {
            index: 1,
            in_bytes: round * number * 700,
            out_bytes: round * number * 90_000,
            ..LinkCounters::default()
        };
        let reading = Reading {
            at: Duration::from_secs(2 * round),
            counters: Counters {
                cgroup: Some(cgroup),
                link: Some(link),
            },
            resident: None,
        };
        (tenant.name.clone(), reading)
    });
    readings.collect()
}

fn press(board: &mut Board, keys: &str) -> Option<Action> {
    let keys = keys.chars().map(|letter| match letter {
        '\n' => Key::Enter,
        '\x1b' => Key::Escape,
        '\x08' => Key::Backspace,
        '↓' => Key::Down,
        '↑' => Key::Up,
        '⇟' => Key::PageDown,
        '⤓' => Key::End,
        letter => Key::Char(letter),
    });
    let mut last = None;
    for key in keys.collect::<Vec<_>>() {
        last = board.key(key);
        board.fit(24);
    }
    last
}

fn names(board: &Board) -> String {
    let names: Vec<_> = board
        .shown()
        .iter()
        .map(|(it, _)| it.name.as_str())
        .collect();
    names.join(" ")
}

fn chosen(board: &Board) -> &str {
    board.chosen.as_ref().map_or("", TenantName::as_str)
}

fn event(board: &Board, place: usize, kind: EventKind, state: Option<StateWord>) -> TenantEvent {
    let mut status = board.status.tenants[place].clone();
    status.state = state.unwrap_or(StateWord::Down);
    TenantEvent {
        tenant: status.name.clone(),
        kind,
        from: None,
        state: status.state,
        reason: None,
        exit: None,
        time: jiff::Timestamp::UNIX_EPOCH,
        status: state.map(|_| status),
    }
}

#[test]
fn tenants_are_sorted_and_filtered() {
    let mut board = board(4);
    assert_eq!(names(&board), "shop-003 shop-002 shop-001 shop-000");
    press(&mut board, "i");
    assert_eq!(names(&board), "shop-000 shop-001 shop-002 shop-003");
    press(&mut board, "iO");
    assert_eq!(board.sort, Column::State);
    assert!(names(&board).starts_with("shop-000"), "the one that failed");
    press(&mut board, "ooooo");
    assert_eq!(board.sort, Column::Restarts);
    assert_eq!(names(&board), "shop-003 shop-002 shop-001 shop-000");
    press(&mut board, "/02");
    assert_eq!(names(&board), "shop-002", "while it is typed");
    press(&mut board, "\x08\x08\x08failed\n");
    assert_eq!(
        (names(&board).as_str(), chosen(&board)),
        ("shop-000", "shop-000")
    );
    press(&mut board, "/x\x1b");
    assert_eq!(board.filter, "failed", "Escape restores it");
    press(&mut board, "/");
    for _ in 0..6 {
        board.key(Key::Backspace);
    }
    press(&mut board, "\n");
    assert_eq!(board.shown().len(), 4);
    press(&mut board, "f");
    assert_eq!(names(&board), "shop-000");
}

#[test]
fn what_acts_on_a_tenant_needs_a_chosen_one_and_stop_and_restart_a_yes() {
    let mut board = board(4);
    for key in ["s", "x", "r", "l", "w"] {
        assert_eq!(press(&mut board, key), None);
        let said = board.said.clone().unwrap();
        assert!(said.is_bad && said.text.starts_with("choose a tenant first"));
        assert_eq!(board.mode, Mode::Table);
    }
    press(&mut board, "↓");
    let name: TenantName = "shop-003".parse().unwrap();
    let act = |verb| Some(Action::Act(Request::Act(verb), name.clone()));
    assert_eq!(press(&mut board, "s"), act(Verb::Start));
    for (key, verb) in [("x", Verb::Stop), ("r", Verb::Restart)] {
        assert_eq!(press(&mut board, key), None);
        assert_eq!(press(&mut board, "n"), None);
        assert_eq!(
            board.said.as_ref().unwrap().text,
            "shop-003: nothing was done"
        );
        press(&mut board, key);
        assert_eq!(press(&mut board, "y"), act(verb));
        // Not a second time.
        assert_eq!(press(&mut board, "y"), None);
    }
    let pause = Some(Action::Act(Request::Pause, name.clone()));
    assert_eq!(press(&mut board, "p"), None);
    assert_eq!(press(&mut board, "y"), pause);
    board.carried_out(Request::Pause, &name);
    let resume = Some(Action::Act(Request::Resume, name.clone()));
    assert_eq!(press(&mut board, "p"), resume, "it interrupts nothing");
    assert_eq!(press(&mut board, "l"), Some(Action::Logs(name.clone())));
    assert_eq!(press(&mut board, "\n"), Some(Action::Why(name.clone())));
    assert_eq!(press(&mut board, "q"), Some(Action::Quit));
}

#[test]
fn the_chosen_tenant_stays_chosen_and_on_the_screen() {
    let mut board = board(1000);
    press(&mut board, "↓");
    assert_eq!((chosen(&board), board.first), ("shop-999", 0));
    press(&mut board, "↓↓↑");
    assert_eq!(chosen(&board), "shop-998");
    press(&mut board, "⇟");
    assert_eq!((chosen(&board), board.first), ("shop-978", 2));
    press(&mut board, "⤓");
    assert_eq!((chosen(&board), board.first), ("shop-000", 980));
    // Its place is another after a change of the order.
    press(&mut board, "i");
    assert_eq!((chosen(&board), board.first), ("shop-000", 0));
    let removed = event(&board, 0, EventKind::Removed, None);
    board.apply(removed);
    board.fit(24);
    assert_eq!(chosen(&board), "shop-001", "the next one");
    press(&mut board, "⤓\x1b");
    assert_eq!((chosen(&board), board.first), ("", 0));
}

#[test]
fn events_change_the_tenants() {
    let mut board = board(2);
    let stopping = event(&board, 1, EventKind::Transition, Some(StateWord::Stopping));
    board.apply(stopping);
    assert_eq!(board.status.tenants[1].state, StateWord::Stopping);
    let unplanned = event(&board, 1, EventKind::Transition, None);
    board.apply(unplanned);
    assert_eq!(
        board.status.tenants.len(),
        2,
        "it is shown until it is removed"
    );
    let mut added = event(&board, 1, EventKind::Added, Some(StateWord::Down));
    added.tenant = "new".parse().unwrap();
    added.status.as_mut().unwrap().name = added.tenant.clone();
    board.apply(added);
    assert_eq!(board.status.tenants.len(), 3);
    board.lose("gone".to_owned());
    board.begin(board.status.clone());
    assert_eq!(board.lost, None);
    assert_eq!(
        board.said.unwrap().text,
        "the supervisor answers again, pid 99"
    );
}

#[test]
fn a_text_is_scrolled_and_closed() {
    let mut board = board(2);
    press(&mut board, "?");
    let Mode::Text(lines, 0) = &board.mode else {
        panic!("{:?}", board.mode);
    };
    assert!(lines.len() > board.page && lines.iter().all(|it| it.len() <= 80));
    let last = lines.len() - board.page;
    press(&mut board, "↓⇟⇟");
    assert!(matches!(board.mode, Mode::Text(_, first) if first == last));
    press(&mut board, "q");
    assert_eq!(board.mode, Mode::Table);
}
