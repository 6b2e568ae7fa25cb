//! Programs that ask for more time.

use super::*;
use crate::plan::model::Readiness;
use crate::supervisor::{Cause, LIMIT_TIMES, TimeLimit};

fn notifies() -> Policy {
    Policy {
        ready: Readiness::Notify,
        ..policy()
    }
}

impl World {
    fn asks_for(&mut self, seconds: u64) -> Step {
        let launch = self.launch();
        let by = Duration::from_secs(seconds);
        self.handle(Event::Extend { launch, by })
    }

    /// Asks for a little more time whenever a deadline is near. Returns the time until there was no
    /// more, and what was said of it.
    fn holds_out(&mut self) -> (Duration, Vec<Cause>) {
        let (begun, mut causes) = (self.now, Vec::new());
        let mut deadline = self.supervisor.next_deadline();
        for _ in 0..1_000 {
            self.now = deadline.unwrap();
            let step = self.asks_for(3);
            causes.extend(step.transitions.into_iter().map(|it| it.cause));
            let next = self.supervisor.next_deadline();
            if next == deadline {
                return (self.now.since(begun), causes);
            }
            deadline = next;
        }
        panic!("it holds out for ever");
    }
}

#[test]
fn a_start_is_extended() {
    let mut world = World::new(notifies()).provisioned().launched();
    let begun = world.now;
    // As with systemd, less than what is left changes nothing.
    assert_eq!(world.asks_for(19), Step::default());
    assert!(world.asks_for(60).transitions.is_empty());
    assert_eq!(
        world.supervisor.next_deadline(),
        Some(begun + Duration::from_secs(60))
    );
    world.wait();
    assert_eq!(world.view().state, StateWord::Stopping);
    let why = world.view().why.unwrap().to_string();
    assert!(why.contains("no READY=1 received within 60 s"), "{why}");
}

#[test]
fn a_program_cannot_hold_up_its_start_or_its_stop_for_ever() {
    let mut world = World::new(notifies()).provisioned().launched();
    let most = policy().ready_within * LIMIT_TIMES;
    assert_eq!(
        world.holds_out(),
        (most, vec![Cause::NoMoreTime(TimeLimit::Start, most)])
    );
    let mut world = situation("up");
    world.submit(Verb::Stop);
    let most = policy().grace * LIMIT_TIMES;
    assert_eq!(
        world.holds_out(),
        (most, vec![Cause::NoMoreTime(TimeLimit::Stop, most)])
    );
    world.wait();
    assert_eq!(world.view().forced.unwrap().grace, Some(most));
    assert_eq!(
        Cause::NoMoreTime(TimeLimit::Stop, most).to_string(),
        "its program asks for more time to stop (EXTEND_TIMEOUT_USEC), and gets no more than 50s in \
         all: 10 times `stop.grace`"
    );
}

#[test]
fn a_program_that_is_ready_has_no_limit_to_extend() {
    let mut world = situation("up");
    assert_eq!(world.asks_for(60), Step::default());
    assert_eq!(world.supervisor.next_deadline(), None);
}
