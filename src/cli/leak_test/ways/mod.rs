//! The ways, by what they use.

mod files;
mod host;
mod kernel;
mod network;
mod objects;
mod processes;

use super::aim::Aim;
use super::way::{Against, Attempted, Gain, Guard, Shut, Way};
use tenantd_host::launch::attempt::Call;

/// All ways, in the order in which they are tried and shown.
pub(super) fn all() -> Vec<Way> {
    let mut all = Vec::new();
    for against in [Against::Neighbour, Against::Supervisor] {
        all.extend(processes::ways(against));
    }
    all.extend(files::ways());
    all.extend(objects::ways());
    all.extend(network::ways());
    all.extend(kernel::ways());
    all.extend(host::ways());
    // Stable, so that the ways against the same stay in order.
    all.sort_by_key(|way| match way.against {
        Against::Neighbour => 0,
        Against::Supervisor => 1,
        Against::Host => 2,
    });
    all
}

/// A way against `against`.
fn way(
    against: Against,
    (name, gain): (&'static str, Gain),
    guards: &[Guard],
    attempt: fn(&Aim) -> Attempted,
) -> Way {
    Way {
        name,
        gain,
        against,
        guards: guards.to_vec(),
        attempt,
        enters: false,
        needs_gateway: false,
    }
}

/// The way was not found open, without an error of the kernel.
fn refused(why: &str) -> Attempted {
    Err(Shut::Refused(why.to_owned()))
}

fn called(call: Call<'_>) -> Attempted {
    Ok(call.make().map(drop)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_way_has_a_name_that_fits_in_a_line() {
        let mut names = BTreeSet::new();
        for way in all() {
            assert!(way.name.len() <= 38, "{}", way.name);
            assert!(names.insert((way.against as u8, way.name)), "{}", way.name);
        }
        assert!(names.len() >= 40, "{}", names.len());
    }

    #[test]
    fn what_is_open_by_design_is_listed_in_the_document() {
        let text = include_str!("../../../../SECURITY.md");
        let (_, list) = text.split_once("### Open by design\n").unwrap();
        let (list, _) = list.split_once("\n#").unwrap();
        let listed = list.lines().filter_map(|line| line.strip_prefix("- "));
        let listed: BTreeSet<&str> = listed.filter_map(|line| line.split(": ").next()).collect();
        let all = all();
        let open = all.iter().filter(|way| way.guards.is_empty());
        let open: BTreeSet<&str> = open.map(|way| way.name).collect();
        assert_eq!(listed, open);
    }
}
