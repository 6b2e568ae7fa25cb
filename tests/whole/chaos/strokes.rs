//! The faults that a supervisor and its tenants are subjected to.

use nix::sys::signal::Signal;

use crate::chaos::scene::{Scene, TENANTS};
use crate::random::Random;

type Stroke = fn(&mut Scene, &mut Random);

/// Every fault; a run with the default seed uses all of them. More frequent ones are listed several
/// times.
pub const STROKES: &[(&str, Stroke)] = &[
    ("kill the supervisor", kill_supervisor),
    ("kill the supervisor, begin the next one", kill_and_begin),
    ("kill a tenant", kill_one),
    ("kill a tenant and the supervisor", kill_both),
    ("kill all tenants and the supervisor", kill_all),
    ("begin a supervisor", begin),
    ("end the supervisor with all tenants", end),
    ("let the supervisor detach", detach),
    (
        "let the supervisor detach, begin the next one",
        detach_and_begin,
    ),
    ("hold the supervisor, kill a tenant, go on", hold),
    ("stop a tenant", stop_one),
    ("stop all", stop_all),
    ("start a tenant", start_one),
    ("start all", start_all),
    ("restart a tenant", restart_one),
    ("change a tenant, reload", change),
    ("change a tenant, tell nobody", change_silently),
    ("break the manifest, reload, mend it", break_manifest),
    ("stop a tenant for good", stop_for_good),
    ("start a tenant for good", start_for_good),
    ("upgrade", upgrade),
    ("upgrade by a signal", upgrade_by_signal),
    ("upgrade to a program that gives back", upgrade_in_vain),
    ("upgrade, kill the supervisor amid it", upgrade_and_kill),
    ("upgrade, kill a tenant amid it", upgrade_and_kill_one),
    ("upgrade, end the supervisor amid it", upgrade_and_end),
];

fn whom(random: &mut Random) -> &'static str {
    random.pick(&TENANTS).0
}

fn everybody() -> [&'static str; 4] {
    TENANTS.map(|(name, _)| name)
}

fn kill_supervisor(scene: &mut Scene, _: &mut Random) {
    scene.signal_supervisor(Signal::SIGKILL);
}

fn kill_and_begin(scene: &mut Scene, _: &mut Random) {
    scene.signal_supervisor(Signal::SIGKILL);
    scene.begin_supervisor();
}

fn kill_one(scene: &mut Scene, random: &mut Random) {
    scene.kill_processes_of(whom(random));
}

fn kill_both(scene: &mut Scene, random: &mut Random) {
    scene.kill_processes_of(whom(random));
    scene.signal_supervisor(Signal::SIGKILL);
}

fn kill_all(scene: &mut Scene, _: &mut Random) {
    for tenant in everybody() {
        scene.kill_processes_of(tenant);
    }
    scene.signal_supervisor(Signal::SIGKILL);
}

fn begin(scene: &mut Scene, _: &mut Random) {
    scene.begin_supervisor();
}

fn end(scene: &mut Scene, _: &mut Random) {
    scene.signal_supervisor(Signal::SIGTERM);
}

fn detach(scene: &mut Scene, _: &mut Random) {
    scene.detach();
}

fn detach_and_begin(scene: &mut Scene, _: &mut Random) {
    scene.detach();
    scene.begin_supervisor();
}

fn hold(scene: &mut Scene, random: &mut Random) {
    scene.signal_supervisor(Signal::SIGSTOP);
    scene.kill_processes_of(whom(random));
    scene.writers_turn(20);
    scene.signal_supervisor(Signal::SIGCONT);
}

fn stop_one(scene: &mut Scene, random: &mut Random) {
    scene.want(&[whom(random)], false);
}

fn stop_all(scene: &mut Scene, _: &mut Random) {
    scene.want(&everybody(), false);
}

fn start_one(scene: &mut Scene, random: &mut Random) {
    scene.want(&[whom(random)], true);
}

fn start_all(scene: &mut Scene, _: &mut Random) {
    scene.want(&everybody(), true);
}

fn change(scene: &mut Scene, random: &mut Random) {
    scene.change(whom(random));
    scene.reload();
}

fn change_silently(scene: &mut Scene, random: &mut Random) {
    scene.change(whom(random));
}

fn break_manifest(scene: &mut Scene, _: &mut Random) {
    scene.reload_a_bad_manifest();
}

fn stop_for_good(scene: &mut Scene, random: &mut Random) {
    scene.want_for_good(whom(random), false);
}

fn start_for_good(scene: &mut Scene, random: &mut Random) {
    scene.want_for_good(whom(random), true);
}

fn restart_one(scene: &mut Scene, random: &mut Random) {
    scene.restart(whom(random));
}

fn upgrade(scene: &mut Scene, _: &mut Random) {
    scene.upgrade();
}

fn upgrade_by_signal(scene: &mut Scene, _: &mut Random) {
    scene.begin_to_upgrade();
}

fn upgrade_in_vain(scene: &mut Scene, _: &mut Random) {
    scene.upgrade_in_vain();
}

/// The number of writes during an upgrade with its preflight, and some more.
const UPGRADE_TURNS: u64 = 80;

fn upgrade_and_kill(scene: &mut Scene, random: &mut Random) {
    scene.begin_to_upgrade();
    scene.writers_turn(random.below(UPGRADE_TURNS));
    scene.signal_supervisor(Signal::SIGKILL);
}

fn upgrade_and_kill_one(scene: &mut Scene, random: &mut Random) {
    scene.begin_to_upgrade();
    scene.writers_turn(random.below(UPGRADE_TURNS));
    scene.kill_processes_of(whom(random));
}

fn upgrade_and_end(scene: &mut Scene, random: &mut Random) {
    scene.begin_to_upgrade();
    scene.writers_turn(random.below(UPGRADE_TURNS));
    scene.signal_supervisor(Signal::SIGTERM);
}
