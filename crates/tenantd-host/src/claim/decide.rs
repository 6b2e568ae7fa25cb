//! The decision who has a datastore, from a record and what the kernel says about it. Pure: it does no
//! I/O.

/// What the kernel says about the cgroup of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cgroup {
    /// The record has none.
    Unnamed,
    /// It was removed: no process is in it, and none will be.
    Removed,
    /// It exists, and no process is in it.
    Empty,
    /// A process is in it or below it.
    Populated,
    /// The cgroup tree is not mounted here.
    Unseen,
}

/// What is known of the supervisor that wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supervisor {
    /// It is the one that asks.
    Asking,
    /// It is another one, and it lives.
    Alive,
    /// It has ended, with all its threads: it can start nothing.
    Ended,
}

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether it was written since the host was booted.
    pub(super) this_boot: bool,
    /// Whether it names the tenant that asks.
    pub(super) own: bool,
    pub(super) cgroup: Cgroup,
    /// Whether the first process of its launch lives.
    pub(super) process: bool,
    pub(super) supervisor: Supervisor,
}

/// The answer to the tenant that asks for a datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No other tenant has it, and no process uses it.
    Free,
    /// Another launch or tenant has it.
    Held(Sign),
}

/// By what a datastore is known to be in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// By processes in the cgroup of the record.
    Cgroup,
    /// By the first process of the record.
    Process,
    /// By a living supervisor, which has provisioned the tenant and may start its program.
    Supervisor,
    /// The cgroup of the record cannot be looked at.
    Unseen,
    /// By a lock that the processes of a launch have inherited.
    Lock,
}

/// Decides. `locked` is whether a process holds the inherited lock of the datastore, which launches
/// have that an earlier version made, or that have no cgroup.
pub(super) fn decide(record: Option<&Facts>, locked: bool) -> Verdict {
    let by_record = record
        .filter(|facts| facts.this_boot)
        .and_then(held_by_record);
    match by_record {
        Some(sign) => Verdict::Held(sign),
        None if locked => Verdict::Held(Sign::Lock),
        None => Verdict::Free,
    }
}

fn held_by_record(facts: &Facts) -> Option<Sign> {
    let is_provisioned = match facts.cgroup {
        Cgroup::Populated => return Some(Sign::Cgroup),
        Cgroup::Unseen => return Some(Sign::Unseen),
        // Its tenant was released: a cgroup exists as long as the other resources of a tenant.
        Cgroup::Removed => false,
        Cgroup::Empty | Cgroup::Unnamed => true,
    };
    if facts.process {
        return Some(Sign::Process);
    }
    match facts.supervisor {
        Supervisor::Asking => (is_provisioned && !facts.own).then_some(Sign::Supervisor),
        Supervisor::Alive => is_provisioned.then_some(Sign::Supervisor),
        Supervisor::Ended => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of another application, whose tenant has ended.
    const OVER: Facts = Facts {
        this_boot: true,
        own: false,
        cgroup: Cgroup::Empty,
        process: false,
        supervisor: Supervisor::Ended,
    };

    fn held(facts: Facts) -> Option<Sign> {
        match decide(Some(&facts), false) {
            Verdict::Free => None,
            Verdict::Held(sign) => Some(sign),
        }
    }

    #[test]
    fn without_a_record_only_a_lock_counts() {
        assert_eq!(decide(None, false), Verdict::Free);
        assert_eq!(decide(None, true), Verdict::Held(Sign::Lock));
        assert_eq!(decide(Some(&OVER), true), Verdict::Held(Sign::Lock));
    }

    #[test]
    fn a_record_of_a_dead_supervisor_counts_as_long_as_a_process_lives() {
        assert_eq!(held(OVER), None);
        let populated = Facts {
            cgroup: Cgroup::Populated,
            ..OVER
        };
        assert_eq!(held(populated), Some(Sign::Cgroup));
        // A tenant that runs as root can leave its cgroup.
        let process = Facts {
            process: true,
            cgroup: Cgroup::Removed,
            ..OVER
        };
        assert_eq!(held(process), Some(Sign::Process));
        let unseen = Facts {
            cgroup: Cgroup::Unseen,
            ..OVER
        };
        assert_eq!(held(unseen), Some(Sign::Unseen));
    }

    #[test]
    fn a_living_supervisor_has_it_between_two_launches_until_it_releases_the_tenant() {
        let alive = Facts {
            supervisor: Supervisor::Alive,
            ..OVER
        };
        assert_eq!(held(alive), Some(Sign::Supervisor));
        let unnamed = Facts {
            cgroup: Cgroup::Unnamed,
            ..alive
        };
        assert_eq!(held(unnamed), Some(Sign::Supervisor));
        let released = Facts {
            cgroup: Cgroup::Removed,
            ..alive
        };
        assert_eq!(held(released), None);
    }

    #[test]
    fn the_own_record_counts_only_while_a_process_lives() {
        let asking = Facts {
            supervisor: Supervisor::Asking,
            ..OVER
        };
        assert_eq!(held(asking), Some(Sign::Supervisor), "another tenant's");
        let own = Facts {
            own: true,
            ..asking
        };
        assert_eq!(held(own), None);
        let runs = Facts {
            process: true,
            ..own
        };
        assert_eq!(held(runs), Some(Sign::Process));
    }

    #[test]
    fn a_record_of_an_earlier_boot_means_nothing() {
        let before = Facts {
            this_boot: false,
            cgroup: Cgroup::Populated,
            process: true,
            supervisor: Supervisor::Alive,
            ..OVER
        };
        assert_eq!(held(before), None);
    }
}
