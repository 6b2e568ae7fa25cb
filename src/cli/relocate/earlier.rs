//! What an earlier move that was not finished means for this one.

use super::Reply;
use tenantd_host::owner::Host;
use tenantd_host::relocation::Mark;

/// Since when the copy on the target may lack what was written. `now` is when this move began.
pub(super) fn since(now: u64, reply: &Reply, earlier: Option<&Mark>) -> u64 {
    if reply.is_new {
        return now;
    }
    match earlier.filter(|it| it.other.machine == reply.here.machine) {
        // What was copied before may be as old as that move.
        Some(earlier) => now.min(earlier.since),
        // The copy is of a move that is not known: all is compared.
        None => 0,
    }
}

/// The host that an earlier move was to, if it is another one.
pub(super) fn elsewhere<'a>(to: &Host, earlier: Option<&'a Mark>) -> Option<&'a str> {
    let earlier = earlier.filter(|it| it.other.machine != to.machine)?;
    Some(&earlier.other.host)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn host(name: &str) -> Host {
        Host {
            machine: format!("machine of {name}"),
            host: name.to_owned(),
        }
    }

    #[test]
    fn only_an_earlier_move_to_the_same_host_says_how_old_the_copy_is() {
        let earlier = Mark {
            other: host("h2"),
            label: "wiki/acme".to_owned(),
            sealed: None,
            since: 50,
            was_up: true,
            left: None,
            sent: None,
        };
        let reply = |name, is_new| Reply {
            here: host(name),
            staging: PathBuf::new(),
            place: PathBuf::new(),
            is_new,
            state: String::new(),
            no_snapshots: None,
            received: Vec::new(),
        };
        for (name, is_new, earlier, expected) in [
            ("h2", true, Some(&earlier), 90),
            ("h2", false, Some(&earlier), 50),
            ("h2", false, None, 0),
            // Its copy is of a move before that to h2.
            ("h3", false, Some(&earlier), 0),
        ] {
            assert_eq!(since(90, &reply(name, is_new), earlier), expected);
        }
        assert_eq!(elsewhere(&host("h3"), Some(&earlier)), Some("h2"));
        assert_eq!(elsewhere(&host("h2"), Some(&earlier)), None);
    }
}
