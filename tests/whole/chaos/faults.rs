//! The faults that a supervisor and its tenants are subjected to.

use nix::sys::signal::Signal;

use crate::chaos::scene::{Scene, TENANTS};
use crate::random::Random;

type Fault = fn(&mut Scene, &mut Random);

/// Every fault; a run with the default seed uses all of them. More frequent ones are listed several
/// times.
pub const FAULTS: &[(&str, Fault)] = &[
    ("kill the supervisor", kill_supervisor),
    ("kill the supervisor, start the next one", kill_and_start),
    ("kill a tenant", kill_one),
    ("kill a tenant and the supervisor", kill_one_and_supervisor),
    ("kill all tenants and the supervisor", kill_all),
    ("start a supervisor", begin),
    ("end the supervisor with all tenants", end),
    ("let the supervisor detach", detach),
    (
        "let the supervisor detach, start the next one",
        detach_and_start,
    ),
    ("suspend the supervisor, kill a tenant, resume", suspend),
    ("stop a tenant", stop_one),
    ("stop all", stop_all),
    ("start a tenant", start_one),
    ("start all", start_all),
    ("restart a tenant", restart_one),
    ("change a tenant, reload", change),
    ("change a tenant without a reload", change_without_reload),
    ("break the manifest, reload, repair it", break_manifest),
    ("stop a tenant permanently", stop_permanently),
    ("start a tenant permanently", start_permanently),
    ("upgrade", upgrade),
    ("upgrade by a signal", upgrade_by_signal),
    ("upgrade to a program that fails", upgrade_to_failing),
    ("upgrade, kill the supervisor during it", upgrade_and_kill),
    ("upgrade, kill a tenant during it", upgrade_and_kill_one),
    ("upgrade, end the supervisor during it", upgrade_and_end),
];

fn any_tenant(random: &mut Random) -> &'static str {
    random.pick(&TENANTS).0
}

fn all_tenants() -> [&'static str; 4] {
    TENANTS.map(|(name, _)| name)
}

fn kill_supervisor(scene: &mut Scene, _: &mut Random) {
    scene.signal_supervisor(Signal::SIGKILL);
}

fn kill_and_start(scene: &mut Scene, _: &mut Random) {
    scene.signal_supervisor(Signal::SIGKILL);
    scene.start_supervisor();
}

fn kill_one(scene: &mut Scene, random: &mut Random) {
    scene.kill_processes_of(any_tenant(random));
}

fn kill_one_and_supervisor(scene: &mut Scene, random: &mut Random) {
    scene.kill_processes_of(any_tenant(random));
    scene.signal_supervisor(Signal::SIGKILL);
}

fn kill_all(scene: &mut Scene, _: &mut Random) {
    for tenant in all_tenants() {
        scene.kill_processes_of(tenant);
    }
    scene.signal_supervisor(Signal::SIGKILL);
}

fn begin(scene: &mut Scene, _: &mut Random) {
    scene.start_supervisor();
}

fn end(scene: &mut Scene, _: &mut Random) {
    scene.signal_supervisor(Signal::SIGTERM);
}

fn detach(scene: &mut Scene, _: &mut Random) {
    scene.detach();
}

fn detach_and_start(scene: &mut Scene, _: &mut Random) {
    scene.detach();
    scene.start_supervisor();
}

fn suspend(scene: &mut Scene, random: &mut Random) {
    scene.signal_supervisor(Signal::SIGSTOP);
    scene.kill_processes_of(any_tenant(random));
    scene.wait_for_writes(20);
    scene.signal_supervisor(Signal::SIGCONT);
}

fn stop_one(scene: &mut Scene, random: &mut Random) {
    scene.want(&[any_tenant(random)], false);
}

fn stop_all(scene: &mut Scene, _: &mut Random) {
    scene.want(&all_tenants(), false);
}

fn start_one(scene: &mut Scene, random: &mut Random) {
    scene.want(&[any_tenant(random)], true);
}

fn start_all(scene: &mut Scene, _: &mut Random) {
    scene.want(&all_tenants(), true);
}

fn change(scene: &mut Scene, random: &mut Random) {
    scene.change(any_tenant(random));
    scene.reload();
}

fn change_without_reload(scene: &mut Scene, random: &mut Random) {
    scene.change(any_tenant(random));
}

fn break_manifest(scene: &mut Scene, _: &mut Random) {
    scene.reload_a_bad_manifest();
}

fn stop_permanently(scene: &mut Scene, random: &mut Random) {
    scene.want_permanently(any_tenant(random), false);
}

fn start_permanently(scene: &mut Scene, random: &mut Random) {
    scene.want_permanently(any_tenant(random), true);
}

fn restart_one(scene: &mut Scene, random: &mut Random) {
    scene.restart(any_tenant(random));
}

fn upgrade(scene: &mut Scene, _: &mut Random) {
    scene.upgrade();
}

fn upgrade_by_signal(scene: &mut Scene, _: &mut Random) {
    scene.start_upgrade();
}

fn upgrade_to_failing(scene: &mut Scene, _: &mut Random) {
    scene.upgrade_to_failing();
}

/// The number of writes during an upgrade with its preflight, and some more.
const UPGRADE_WRITES: u64 = 80;

fn upgrade_and_kill(scene: &mut Scene, random: &mut Random) {
    scene.start_upgrade();
    scene.wait_for_writes(random.below(UPGRADE_WRITES));
    scene.signal_supervisor(Signal::SIGKILL);
}

fn upgrade_and_kill_one(scene: &mut Scene, random: &mut Random) {
    scene.start_upgrade();
    scene.wait_for_writes(random.below(UPGRADE_WRITES));
    scene.kill_processes_of(any_tenant(random));
}

fn upgrade_and_end(scene: &mut Scene, random: &mut Random) {
    scene.start_upgrade();
    scene.wait_for_writes(random.below(UPGRADE_WRITES));
    scene.signal_supervisor(Signal::SIGTERM);
}
