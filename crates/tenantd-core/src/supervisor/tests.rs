//! The answers to each verb in each state. The paths between states are tested in `paths`, and those
//! from one supervisor to the next in `found`.

mod alive;
mod background;
mod exited;
mod extend;
mod found;
mod link;
mod live;
mod mounts;
mod offline;
mod outdated;
mod paths;
mod phases;
mod replanned;
mod retries;
mod stopping;
mod unready;

use std::time::Duration;

use super::action::{Action, Answer};
use super::event::{Event, Exit, LaunchId, TenantRequest, Verb};
use super::time::Moment;
use super::view::{StateWord, View, Want};
use super::{Limits, Step, Supervisor};
use crate::name::TenantName;
use crate::plan::model::{Policy, RestartPolicy};
use crate::stage::{Failure, Stage};

fn policy() -> Policy {
    let default = Policy::default();
    Policy {
        grace: Duration::from_secs(5),
        restart: RestartPolicy {
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(60),
            strikes: 3,
            window: Duration::from_secs(100),
            ..default.restart
        },
        ready_within: Duration::from_secs(20),
        ..default
    }
}

fn why(stage: Stage) -> Failure {
    Failure::errno(stage, "", libc::EBUSY)
}

/// One tenant and a clock.
struct World {
    supervisor: Supervisor,
    now: Moment,
}

impl World {
    fn new(policy: Policy) -> Self {
        let mut world = World {
            supervisor: Supervisor::new(Limits::default()),
            now: Moment::ZERO + Duration::from_secs(1_000),
        };
        let tenant = world.name();
        world.handle(Event::Planned {
            tenant,
            policy: policy.into(),
            found: None,
        });
        world
    }

    fn name(&self) -> TenantName {
        "acme".parse().unwrap()
    }

    fn handle(&mut self, event: Event) -> Step {
        self.supervisor.handle(self.now, event)
    }

    fn submit(&mut self, verb: Verb) -> (Answer, Vec<Action>) {
        let tenant = self.name();
        let (answer, step) = self.request(tenant, verb);
        (answer, step.actions)
    }

    fn request(&mut self, tenant: TenantName, verb: Verb) -> (Answer, Step) {
        let request = TenantRequest { tenant, verb };
        self.supervisor.handle_request(self.now, &request)
    }

    fn view(&self) -> View {
        self.supervisor.tenant(&self.name()).unwrap()
    }

    fn launch(&self) -> LaunchId {
        self.view().launch.unwrap()
    }

    /// Advances to the next deadline.
    fn wait(&mut self) -> Step {
        self.now = self.supervisor.next_deadline().unwrap();
        self.supervisor.handle_deadline(self.now)
    }

    fn provisioned(mut self) -> Self {
        let tenant = self.name();
        self.handle(Event::Provisioned { tenant });
        self
    }

    fn launched(mut self) -> Self {
        let launch = self.launch();
        self.handle(Event::Launched { launch });
        self
    }

    fn ended(mut self, exit: Exit) -> Self {
        let launch = self.launch();
        self.handle(Event::Exited {
            launch,
            exit,
            others: false,
            said: String::new(),
        });
        self.handle(Event::Emptied { launch });
        self
    }

    /// Makes the tenant exit until it is failed.
    fn failed(mut self) -> Self {
        let tenant = self.name();
        for _ in 0..3 {
            self.handle(Event::ProvisionFailed {
                tenant: tenant.clone(),
                why: why(Stage::Netns),
            });
            if self.view().state == StateWord::Waiting {
                self.wait();
            }
        }
        self
    }

    fn requested(mut self, verb: Verb) -> Self {
        self.submit(verb);
        self
    }

    fn unreleased(mut self) -> Self {
        let tenant = self.name();
        self.handle(Event::ReleaseFailed {
            tenant,
            why: why(Stage::Release),
        });
        self
    }

    fn unended(mut self) -> Self {
        self.wait();
        let launch = self.launch();
        self.handle(Event::EndFailed {
            launch,
            why: why(Stage::End),
        });
        self
    }
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Provision { .. } => "provision",
        Action::Launch { .. } => "launch",
        Action::Abandon { .. } => "abandon",
        Action::Conclude { success: true, .. } => "conclude",
        Action::Conclude { success: false, .. } => "clear",
        Action::Apply { .. } => "apply",
        Action::Terminate { .. } => "terminate",
        Action::Kill { .. } => "kill",
        Action::Release { .. } => "release",
        Action::Remove { .. } => "remove",
    }
}

fn situation(name: &str) -> World {
    let new = || World::new(policy());
    let up = || new().provisioned().launched();
    match name {
        "down" => World::new(Policy {
            autostart: false,
            ..policy()
        }),
        "provisioning" => new(),
        "provisioning, unwanted" => new().requested(Verb::Stop),
        "launching" => new().provisioned(),
        "launching, unwanted" => new().provisioned().requested(Verb::Stop),
        "launching, asked again" => new().provisioned().requested(Verb::Restart),
        "up" => up(),
        "stopping" => up().requested(Verb::Stop),
        "restarting" => up().requested(Verb::Restart),
        "waiting" => up().ended(Exit::Status(1)),
        "waiting, unprovisioned" => {
            let mut world = new();
            let tenant = world.name();
            world.handle(Event::ProvisionFailed {
                tenant,
                why: why(Stage::Netns),
            });
            world
        }
        "failed" => World::new(Policy {
            restart: RestartPolicy {
                strikes: 1,
                ..policy().restart
            },
            ..policy()
        })
        .provisioned()
        .launched()
        .ended(Exit::Signal(11)),
        "failed, unprovisioned" => new().failed(),
        "releasing" => up().ended(Exit::Status(1)).requested(Verb::Stop),
        "stuck, network" => situation("releasing").unreleased(),
        "stuck, processes" => up().requested(Verb::Stop).unended(),
        other => panic!("no situation is named {other}"),
    }
}

#[test]
fn every_verb_has_an_answer_in_every_state() {
    // state, then for start, stop and restart: the answer, the actions, and the state after.
    let table = "\
down | ok provision provisioning | so - down | ok provision provisioning
provisioning | so - provisioning | ok - provisioning | ok - provisioning
provisioning, unwanted | ok - provisioning | ok - provisioning | ok - provisioning
launching | so - launching | ok abandon launching | ok abandon launching
launching, unwanted | ok - launching | ok abandon launching | ok abandon launching
up | so - up | ok terminate stopping | ok terminate stopping
stopping | ok - stopping | ok - stopping | ok - stopping
restarting | ok - stopping | ok - stopping | ok - stopping
waiting | ok launch launching | ok release releasing | ok launch launching
waiting, unprovisioned | ok provision provisioning | ok - down | ok provision provisioning
failed | ok launch launching | ok release releasing | ok launch launching
failed, unprovisioned | ok provision provisioning | ok - down | ok provision provisioning
releasing | ok - releasing | ok - releasing | ok - releasing
stuck, network | ok release releasing | ok release releasing | ok release releasing
stuck, processes | ok kill stopping | ok kill stopping | ok kill stopping";
    for row in table.lines() {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap();
        let expected = name.split(',').next().unwrap();
        let state = situation(name).view().state.to_string();
        assert!(
            state == expected || name == "restarting",
            "{name} is {state}"
        );
        for (verb, cell) in [Verb::Start, Verb::Stop, Verb::Restart]
            .into_iter()
            .zip(cells)
        {
            let mut world = situation(name);
            let (answer, actions) = world.submit(verb);
            let answer = match answer {
                Answer::Accepted => "ok",
                Answer::AlreadySo => "so",
                Answer::Refused { .. } => "no",
            };
            let done: Vec<_> = actions.iter().map(word).collect();
            let done = if done.is_empty() {
                "-".to_owned()
            } else {
                done.join("+")
            };
            let seen = format!("{answer} {done} {}", world.view().state);
            assert_eq!(seen, cell, "{name}, {verb:?}");
            let want = if verb == Verb::Stop {
                Want::Down
            } else {
                Want::Up
            };
            assert_eq!(world.view().want, want, "{name}, {verb:?}");
        }
    }
}

#[test]
fn unknown_tenants_and_requests_during_an_end_are_refused() {
    let mut world = situation("up");
    let tenant: TenantName = "nobody".parse().unwrap();
    let (answer, step) = world.request(tenant, Verb::Stop);
    assert_eq!(step, Step::default());
    let Answer::Refused { reason } = answer else {
        panic!("{answer:?}");
    };
    assert!(reason.contains("nobody"), "{reason}");
    world.handle(Event::Shutdown);
    for verb in [Verb::Start, Verb::Restart] {
        assert!(matches!(world.submit(verb).0, Answer::Refused { .. }));
    }
    assert_eq!(world.submit(Verb::Stop).0, Answer::Accepted);
}
