//! Records for the tests: one for each form in the golden files, and random ones.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::repair::{failure, repair, why};
use super::{forced, phases};
use crate::state_file::disk::{ending, main_process, says};
use crate::state_file::record::{Made, ProcessKey, Record};
use tenantd_core::name::TenantName;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::checkpoint::{
    After, Checkpoint, Ending, FailureCount, Left, Live, Making, Readying, Resources, RestartScope,
    State,
};
use tenantd_core::supervisor::event::{Exit, LaunchId};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{Want, Why};
use tenantd_host::launch::{Domain, LaunchView, Lid};
use tenantd_host::program::ProgramFile;

/// The number of states, and the index of this one.
pub(super) const STATES: usize = 11;
pub(super) fn number(state: &State) -> usize {
    match state {
        State::Down => 0,
        State::Provisioning { .. } => 1,
        State::Launching { .. } => 2,
        State::Up { .. } => 3,
        State::Stopping { .. } => 4,
        State::Waiting { .. } => 5,
        State::Failed { .. } => 6,
        State::Releasing { .. } => 7,
        State::Stuck { .. } => 8,
        State::Preparing { .. } => 9,
        State::Concluding { .. } => 10,
    }
}

pub(super) const LAUNCH: Live = Live {
    id: LaunchId(7),
    started_at: Moment(1_000_000_000_001),
    phase: Phase::Main,
};

pub(super) const MOMENT: Moment = Moment(1_001_000_000_002);

fn exit(exit: Exit) -> Why {
    Why::Exit(exit)
}

fn errno() -> Failure {
    Failure::errno(Stage::Netns, "of acme", libc::ENOSPC)
}

fn detail() -> Failure {
    Failure::detail(Stage::Ready, "10.77.0.11:80", "nothing \"listened\"\n")
}

/// Every form that a state can have.
pub(super) fn states() -> Vec<State> {
    let mut states = vec![State::Down, State::Releasing { tries: 2 }];
    states.extend(beginning());
    states.extend(ending());
    states.extend(waiting());
    states
}

fn beginning() -> Vec<State> {
    let launch = LAUNCH;
    let makings = [Making::Awaiting, Making::Begun, Making::Outdated];
    let provisioning = makings.map(|making| State::Provisioning {
        started_at: MOMENT,
        making,
    });
    let agains = [
        None,
        Some(RestartScope::Relaunch),
        Some(RestartScope::Reprovision),
    ];
    let launching = agains.map(|again| State::Launching { launch, again });
    let readies = [
        Readying::Ready,
        Readying::Before(MOMENT),
        Readying::At(MOMENT),
        Readying::Unknown(MOMENT),
    ];
    let up = readies.map(|ready| State::Up { launch, ready });
    let mut states = provisioning.to_vec();
    states.extend(launching);
    states.extend(up);
    states
}

fn ending() -> Vec<State> {
    let grace = Ending::Grace { kill_at: MOMENT };
    let killed = Ending::Killed { until: MOMENT };
    let endings = [
        (grace, After::Relaunch),
        (killed, After::Reprovision),
        (grace, After::Judge(exit(Exit::Status(3)))),
        (killed, After::Judge(Why::Failure(detail()))),
    ];
    let stopping = endings.map(|(ending, after)| State::Stopping {
        launch: LAUNCH,
        ending,
        after,
    });
    stopping.to_vec()
}

fn waiting() -> Vec<State> {
    let waits = [
        (Resources::None, false, Why::Failure(errno())),
        (Resources::Partial, true, exit(Exit::Signal(11))),
        (Resources::Full, true, exit(Exit::Unknown)),
    ];
    let waiting = waits.map(|(resources, again, why)| State::Waiting {
        until: MOMENT,
        resources,
        again,
        why,
    });
    let holds = [
        (Resources::Full, exit(Exit::Status(1))),
        (Resources::None, Why::Failure(errno())),
    ];
    let held = holds.map(|(resources, why)| State::Failed { resources, why });
    let processes = Left::Processes {
        launch: LAUNCH,
        after: After::Judge(exit(Exit::Status(3))),
    };
    let lefts = [(Left::Network, Some(MOMENT)), (processes, None)];
    let stuck = lefts.map(|(left, retry_at)| State::Stuck {
        left,
        why: detail(),
        tries: 5,
        retry_at,
    });
    let mut states = waiting.to_vec();
    states.extend(held);
    states.extend(stuck);
    states
}

/// Resources that a tenant holds.
pub(crate) fn addresses(list: &[&str]) -> Addresses {
    Addresses::of(list.iter().map(|text| text.parse().unwrap())).unwrap()
}

/// A record of a tenant in this state.
pub(super) fn record(state: State) -> Record {
    Record {
        tenant: "acme".parse().unwrap(),
        checkpoint: Checkpoint {
            want: Want::Up,
            requested: true,
            state,
            since: Moment(1_000_500_000_000),
            restarts: 4,
            strikes: FailureCount {
                count: 2,
                times: [Moment(998_000_000_000), Moment(999_000_000_000)].into(),
            },
            budget: Moment(999_500_000_000),
            ..Checkpoint::none(Moment(0))
        },
        process: Some(ProcessKey {
            pid: 4711,
            start_ticks: 100_000,
        }),
        netns: 4_026_532_008,
        made: Made {
            by: Fingerprints {
                reprovision: 11_111,
                relaunch: 22_222,
            },
            holds: Some(Holding {
                addresses: addresses(&["10.77.0.11"]),
                source: Some("/var/lib/tenantd/wiki/acme".into()),
            }),
        },
        program: Some(ProgramFile::from_number(33_333)),
        view: None,
        main: None,
        statement: crate::ready::notice::Statement::default(),
    }
}

/// A record with every optional field.
pub(super) fn least() -> Record {
    let full = record(State::Down);
    Record {
        checkpoint: Checkpoint {
            want: Want::Down,
            requested: false,
            strikes: FailureCount::default(),
            ..full.checkpoint
        },
        process: None,
        netns: 0,
        made: Made {
            holds: None,
            ..full.made
        },
        program: None,
        ..full
    }
}

/// A random record with texts of this form.
pub(crate) fn any_record(text: &'static str) -> impl Strategy<Value = Record> {
    let process = option::of((1..=i32::MAX, any::<u64>()));
    let process =
        process.prop_map(|key| key.map(|(pid, start_ticks)| ProcessKey { pid, start_ticks }));
    (
        "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        any_memory(text),
        process,
        any::<u64>(),
        any_made(),
        option::of(any::<u64>().prop_map(ProgramFile::from_number)),
        option::of(any_view()),
        (option::of(main_process::any()), says::any(text)),
    )
        .prop_map(
            |(tenant, checkpoint, process, netns, made, program, view, (main, statement))| Record {
                tenant: tenant.parse::<TenantName>().unwrap(),
                checkpoint,
                process,
                main,
                statement,
                netns,
                made,
                program,
                view,
            },
        )
}

fn any_view() -> impl Strategy<Value = LaunchView> {
    let version = any::<u32>().prop_map(Lid::Landlock);
    let lid = prop_oneof![version, Just(Lid::MountWatch), Just(Lid::HostWritable)];
    let domain = prop_oneof![any::<u32>().prop_map(Domain::Landlock), Just(Domain::None)];
    let all = (option::of(lid), option::of(domain), any::<u64>());
    all.prop_map(|(lid, domain, mount_namespace)| LaunchView {
        lid,
        domain,
        mount_namespace,
    })
}

fn any_made() -> impl Strategy<Value = Made> {
    let source = option::of("(/[^/\0]{1,9}){1,4}".prop_map(PathBuf::from));
    let one = any::<Ipv4Addr>().prop_map(Addresses::from);
    let some = vec(any::<IpAddr>(), 1..4).prop_map(|list| Addresses::of(list).unwrap());
    let holds = (prop_oneof![one, some], source)
        .prop_map(|(addresses, source)| Holding { addresses, source });
    (any::<u64>(), any::<u64>(), option::of(holds)).prop_map(|(reprovision, relaunch, holds)| {
        Made {
            by: Fingerprints {
                reprovision,
                relaunch,
            },
            holds,
        }
    })
}

fn any_memory(text: &'static str) -> impl Strategy<Value = Checkpoint> {
    let strikes = (any::<u32>(), vec(moment(), 0..4)).prop_map(|(count, times)| FailureCount {
        count,
        times: times.into(),
    });
    let want = prop_oneof![Just(Want::Up), Just(Want::Down)];
    (
        want,
        any::<bool>(),
        any_state(text),
        moment(),
        any::<u32>(),
        strikes,
        moment(),
        (
            forced::ended(),
            option::of(forced::any()),
            option::of(repair(text).boxed()),
        ),
        (option::of(any::<u64>()), option::of(why(text).boxed())),
    )
        .prop_map(
            |(
                want,
                asked,
                state,
                since,
                restarts,
                strikes,
                budget,
                (ended, forced, repair),
                last,
            )| {
                Checkpoint {
                    want,
                    requested: asked,
                    state,
                    since,
                    restarts,
                    strikes,
                    budget,
                    exited: ended.0,
                    left_others: ended.1,
                    forced,
                    unready: last.0.map(LaunchId),
                    last_failure: last.1,
                    repair,
                }
            },
        )
}

pub(super) fn moment() -> impl Strategy<Value = Moment> + Clone {
    any::<u64>().prop_map(Moment)
}

fn live() -> impl Strategy<Value = Live> {
    let phase = prop_oneof![Just(Phase::Main), phases::command()];
    (any::<u64>(), moment(), phase).prop_map(|(id, started_at, phase)| Live {
        id: LaunchId(id),
        started_at,
        phase,
    })
}

fn any_state(text: &'static str) -> impl Strategy<Value = State> {
    let after = move || phases::after(why(text));
    let making = phases::making();
    let again = option::of(prop_oneof![
        Just(RestartScope::Relaunch),
        Just(RestartScope::Reprovision)
    ]);
    let ready = prop_oneof![
        Just(Readying::Ready),
        moment().prop_map(Readying::Before),
        moment().prop_map(Readying::At),
        moment().prop_map(Readying::Unknown),
    ];
    let ending = ending::any();
    let left = prop_oneof![
        Just(Left::Network),
        (live(), after()).prop_map(|(launch, after)| Left::Processes { launch, after }),
    ];
    prop_oneof![
        Just(State::Down),
        (moment(), making)
            .prop_map(|(started_at, making)| State::Provisioning { started_at, making }),
        (live(), again).prop_map(|(launch, again)| State::Launching { launch, again }),
        phases::any_state(live(), moment(), after()),
        (live(), ready).prop_map(|(launch, ready)| State::Up { launch, ready }),
        (live(), ending, after()).prop_map(|(launch, ending, after)| State::Stopping {
            launch,
            ending,
            after
        }),
        (moment(), phases::resources(), any::<bool>(), why(text)).prop_map(
            |(until, resources, again, why)| {
                State::Waiting {
                    until,
                    resources,
                    again,
                    why,
                }
            }
        ),
        (phases::resources(), why(text))
            .prop_map(|(resources, why)| State::Failed { resources, why }),
        any::<u32>().prop_map(|tries| State::Releasing { tries }),
        (left, failure(text), any::<u32>(), option::of(moment())).prop_map(
            |(left, why, tries, retry_at)| State::Stuck {
                left,
                why,
                tries,
                retry_at
            }
        ),
    ]
}
