//! All crash points, each with the situation that leads to it, one test each. A test fails if its
//! point is not reached. A number says at which pass the supervisor dies.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::crash::drive::{Drive, dies_at};
use crate::crash::{collect, editing, exchange, folders, init, main_process, uids};

macro_rules! points {
    ($($test:ident: $point:literal, $drive:ident $(, $time:literal)?;)*) => {
        $(
            #[test]
            fn $test() {
                dies_at($point, Drive::$drive, [$($time,)? 1][0]);
            }
        )*

        const POINTS: &[&str] = &[$($point),*];
    };
}

points! {
    begin_folder_taken: "begin: folder taken", Cold;
    begin_ledger_opened: "begin: state file opened", Adopting;
    begin_sockets_bound: "begin: sockets bound", Cold;
    begin_firewall_made: "firewall: made", Cold;
    begin_hub_made: "hub: made", Cold;
    begin_hub_marked: "hub: marked", Cold;
    begin_hub_there: "begin: hub there", Adopting;
    begin_collector_there: "begin: collector there", Adopting;
    begin_strays_ended: "begin: orphans ended", Adopting;
    begin_leftovers_taken: "begin: residue removed", Adopting;
    begin_heritage_settled: "begin: unclaimed descriptors closed", Cold;
    begin_ready: "begin: ready", Cold;
    plan_tenant_handed_over: "plan: tenant handed over", Adopting;
    plan_new_tenant_handed_over: "plan: tenant handed over", Cold;

    provision_leaf_made: "provision: leaf made", Cold;
    provision_datastore_half_made: "datastore: half made", Cold;
    provision_datastore_made: "provision: datastore made", Cold;
    provision_claim_proved: "provision: claim proved", Cold;
    provision_owner_noted: "provision: owner noted", Cold;
    provision_folder_of_pipes_made: "pipes: folder made", Cold;
    provision_one_pipe_made: "pipes: one made", Cold;
    provision_pipes_made: "provision: pipes made", Cold;
    provision_collected: "provision: collected", Cold;
    provision_namespace_made: "network: namespace made", Cold;
    provision_link_made: "network: link made", Cold;
    provision_host_end_up: "network: host end up", Cold;
    provision_admitted: "network: admitted", Cold;
    provision_routed: "network: routed", Cold;
    provision_tenant_end_up: "network: tenant end up", Cold;
    provision_answered_for: "network: answered for", Cold;
    provision_network_made: "provision: network made", Cold;
    provision_name_given: "provision: name given", Cold;
    provision_reported: "provision: reported", Cold;

    launch_record_half_made: "claim: written", Cold;
    launch_claimed: "launch: claimed", Cold;
    launch_limits_set: "launch: limits set", Cold;
    launch_before_the_clone: "launch: before the clone", Cold;
    launch_cloned: "launch: cloned", Cold;
    launch_process_half_recorded: "claim: written", Cold, 2;
    launch_process_recorded: "launch: process recorded", Cold;
    launch_told_to_go_on: "launch: told to go on", Cold;
    launch_born: "launch: spawned", Cold;
    launch_program_runs: "launch: program runs", Cold;
    launch_before_the_record: "launch: before the record", Cold;
    record_of_provision_missing: "record: not yet written", Cold;
    record_of_provision: "record: written", Cold;
    record_of_launch_missing: "record: not yet written", Cold, 2;
    record_of_launch: "record: written", Cold, 2;
    record_of_start_missing: "record: not yet written", Cold, 3;
    record_of_start: "record: written", Cold, 3;
    record_of_stop_missing: "record: not yet written", Stopping, 5;
    record_of_stop: "record: written", Stopping, 5;
    relaunch_leaf_made_anew: "launch: leaf recreated", Crashing;
    relaunch_cloned: "launch: cloned", Crashing, 2;

    end_first_process_ended: "end: first process ended", Crashing;
    end_emptied: "end: emptied", Crashing;

    stop_signal_sent: "stop: signal sent", Stopping;
    stop_killed: "stop: killed", StoppingByKill;
    stop_emptied: "end: emptied", Stopping;

    release_claim_proved: "release: claim proved", Stopping;
    release_nobody_left: "release: nobody left", Stopping;
    release_counters_kept: "release: counters kept", Stopping;
    release_namespace_let_go: "release: namespace let go", Stopping;
    release_network_gone: "release: network gone", Stopping;
    release_name_taken: "release: name taken", Stopping;
    release_objects_removed: "release: objects removed", Stopping;
    release_logs_closed: "release: logs closed", Stopping;
    release_one_pipe_removed: "pipes: one removed", Stopping;
    release_pipes_removed: "release: pipes removed", Stopping;
    release_leaf_removed: "release: leaf removed", Stopping;
    release_reported: "release: reported", Stopping;

    finish_release: "release: network gone", Ending;
    finish_sockets_closed: "finish: sockets closed", Ending;
    finish_hub_gone: "finish: hub gone", Ending;
    finish_cgroups_gone: "finish: cgroups gone", Ending;
    finish_collector_gone: "finish: collector gone", Ending;
    finish_tenants_folder_gone: "finish: tenants' folder gone", Ending;
    finish_ledger_gone: "finish: state file gone", Ending;
    finish_folder_gone: "finish: folder gone", Ending;

    leave_begun: "detach: begun", Detaching;
    leave_sockets_closed: "detach: sockets closed", Detaching;

    reload_manifest_read: "reload: manifest read", Reloading;
    reload_before_a_change: "reload: before a change", Reloading;
    reload_changed: "reload: changed", Reloading;
    reload_first_process_ended: "end: first process ended", Reloading;
    reload_network_gone: "release: network gone", Reloading;
    reload_released: "release: reported", Reloading;
    reload_launched: "launch: program runs", Reloading, 2;

    apply_asked_for: "apply: asked for", Limiting;
    apply_one_process_set: "apply: one process set", Limiting;
    apply_admitted: "apply: admitted", Limiting;
    apply_applied: "apply: applied", Limiting;

    upgrade_on_trial: "upgrade: in preflight", Upgrading;
    upgrade_tried: "upgrade: preflight passed", Upgrading;
    upgrade_door_closed: "upgrade: socket closed", Upgrading;
    upgrade_quiet: "upgrade: quiet", Upgrading;
    upgrade_output_paused: "upgrade: output paused", Upgrading;
    upgrade_table_written: "handoff: table written", Upgrading;
    upgrade_left_open: "handoff: descriptors left open", Upgrading;
    upgrade_before_the_execution: "upgrade: before the execution", Upgrading;
    upgrade_not_executed: "upgrade: not executed", UpgradingToMissing;
    upgrade_to_carry_on: "upgrade: draining cancelled", UpgradingToMissing;
    upgrade_door_opened_again: "upgrade: socket reopened", UpgradingToMissing;
    upgraded_heritage_taken: "handoff: descriptors inherited", Upgraded;
    upgraded_way_back_opened: "rollback: opened", Upgraded;
    upgraded_folder_taken: "begin: folder taken", Upgraded;
    upgraded_ledger_opened: "begin: state file opened", Upgraded;
    upgraded_sockets_bound: "begin: sockets bound", Upgraded;
    upgraded_hub_there: "begin: hub there", Upgraded;
    upgraded_strays_ended: "begin: orphans ended", Upgraded;
    upgraded_leftovers_taken: "begin: residue removed", Upgraded;
    upgraded_taken_up: "adopt: taken up", Upgraded;
    upgraded_tenant_handed_over: "plan: tenant handed over", Upgraded;
    upgraded_heritage_settled: "begin: unclaimed descriptors closed", Upgraded;
    upgraded_way_back_closed: "rollback: closed", Upgraded;
    upgraded_ready: "begin: ready", Upgraded;

    way_back_entered: "rollback: entered", RollingBack;
    way_back_table_written: "handoff: table written", RollingBack;
    way_back_left_open: "handoff: descriptors left open", RollingBack;
    way_back_before_the_execution: "rollback: before the execution", RollingBack;
    back_folder_taken: "begin: folder taken", RollingBack;
    back_sockets_bound: "begin: sockets bound", RollingBack;
    back_strays_ended: "begin: orphans ended", RollingBack;
    back_taken_up: "adopt: taken up", RollingBack;
    back_ready: "begin: ready", RollingBack;
    way_back_entered_by_a_panic: "rollback: entered", Panicking;
    back_taken_up_after_a_panic: "adopt: taken up", Panicking;
    back_ready_after_a_panic: "begin: ready", Panicking;

    adopt_taken_up: "adopt: taken up", Adopting;
    adopt_claimed: "adopt: claimed", Adopting;
    stray_ended: "orphan: ended", Removed;
}

/// The crash points in a Rust source file.
fn passed(text: &str) -> impl Iterator<Item = &str> {
    let calls = text.split("crash::point(").skip(1);
    calls.map(|call| call.split('"').nth(1).unwrap())
}

fn passed_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            passed_in(&path, found);
        } else {
            found.extend(passed(&fs::read_to_string(&path).unwrap()).map(str::to_owned));
        }
    }
}

#[test]
fn every_crash_point_of_the_sources_is_tested() {
    assert!(passed("x(); crash::point(\n\"a: b\", y);").eq(["a: b"]));
    let mut in_sources = BTreeSet::new();
    for folder in ["src", "crates"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        passed_in(&folder, &mut in_sources);
    }
    let driven = POINTS.iter().copied();
    let driven = driven.chain(collect::points()).chain(editing::points());
    let driven = driven
        .chain(exchange::points())
        .chain(crate::moves::points());
    let driven = driven.chain(folders::points()).chain(init::points());
    let driven = driven.chain(main_process::points()).chain(uids::points());
    let driven: BTreeSet<_> = driven.map(str::to_owned).collect();
    assert_eq!(in_sources, driven);
}
