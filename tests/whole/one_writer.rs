//! One writer per datastore: whatever a program does with its descriptors, a second application that
//! has the same folder is refused, with the name of the first, until no process of the first is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use tenantd_api::wire::StateWord;

use crate::support::daemon::{CommandOutput, Daemon, LIMIT, ends, pidfd, signal, until};
use crate::support::place::{self, unmount};
use crate::support::residue::kill_and_wait;
use crate::visitors::visit;

/// Another path to the datastore of the first application.
const ALIAS: &str = "/srv/alias/acme";

/// An application whose tenant acme runs a Perl script. The script is done when the file `done` is in
/// the datastore.
fn manifest(script: &str, ip: &str, more: &str) -> String {
    let program = place::script(
        &format!("program-{}", ip.replace('.', "-")),
        &format!("exec perl -MPOSIX -e '{script}; open(D, \">/srv/data/done\"); sleep 1000'"),
    );
    let subnet = ip.replace(".11", ".0/24");
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\ndatastore.path = \"/srv/data\"\n\
         restart = {{ strikes = 1 }}\n[network]\nsubnet = \"{subnet}\"\n\
         [tenants]\nacme = {{ ip = \"{ip}\"{more} }}\n"
    )
}

fn host() {
    place::host();
    place::folder("/srv/data");
    place::folder(ALIAS);
}

fn data(daemon: &Daemon) -> String {
    format!("/var/lib/tenantd/{}/acme", daemon.app)
}

/// Two applications with one datastore. Only the first one runs.
fn two(script: &str) -> (Daemon, Daemon) {
    host();
    let more = format!(", autostart = false, datastore = \"{ALIAS}\"");
    let second = Daemon::start(&manifest("1", "10.78.0.11", &more));
    let first = Daemon::start_settled(&manifest(script, "10.77.0.11", ""));
    let done = format!("{}/done", data(&first));
    until("it has done it", || Path::new(&done).exists().then_some(()));
    let none: Option<&str> = None;
    let source = data(&first);
    mount(Some(&*source), ALIAS, none, MsFlags::MS_BIND, none).unwrap();
    (first, second)
}

#[track_caller]
fn refused(second: &Daemon, first: &Daemon, pid: u32) -> CommandOutput {
    let said = second.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    for word in [&format!("{}/acme", first.app), &pid.to_string()] {
        assert!(said.out.contains(word), "{word} is not in {said:?}");
    }
    assert_eq!(second.tenant("acme").pid, None);
    let process = format!("/proc/{pid}/exe");
    assert!(fs::metadata(process).is_ok(), "the first goes on");
    said
}

/// Whether a second application is refused beside a program that does this with what it inherits.
fn is_alone(script: &str) {
    let (mut first, second) = two(script);
    let pid = first.tenant("acme").pid.unwrap();
    let said = refused(&second, &first, pid);
    let stop = format!("tenantd stop acme --app {}", first.app);
    assert!(said.out.contains(&stop), "{said:?}");
    first.kill();
    refused(&second, &first, pid);
    kill_and_wait(&first.app, "acme", pid);
    second.tell(&["start", "acme"]).expect(0);
    // And the other way around.
    let other = second.tenant("acme").pid.unwrap();
    first.again();
    refused(&first, &second, other);
    second.tell(&["stop", "acme"]).expect(0);
    assert!(fs::metadata(format!("/proc/{other}")).is_err());
    first.tell(&["start", "acme"]).expect(0);
    unmount(ALIAS);
    first.end();
    second.end();
}

#[test]
fn beside_a_program_that_keeps_its_descriptors() {
    is_alone("1");
}

#[test]
fn beside_a_program_that_closes_every_descriptor() {
    is_alone("POSIX::close($_) for 3..1023");
}

#[test]
fn beside_a_program_that_unlocks_every_descriptor() {
    is_alone("for (3..1023) { if (open(F, \"<&=$_\")) { flock(F, 8) } }");
}

/// The program has ended, and so has its supervisor, which would have ended the visitor.
#[test]
fn beside_a_command_of_exec() {
    let (mut first, second) = two("1");
    let (mut command, visitor) = visit(&first, "acme", "exec sleep 1000");
    let pid = first.tenant("acme").pid.unwrap();
    first.kill();
    kill_program(pid);
    refused(&second, &first, visitor);
    signal(visitor, Signal::SIGKILL);
    command.wait().unwrap();
    second.tell(&["start", "acme"]).expect(0);
    second.tell(&["stop", "acme"]).expect(0);
    first.again();
    first.tell(&["start", "acme"]).expect(0);
    unmount(ALIAS);
    first.end();
    second.end();
}

fn kill_program(pid: u32) {
    let program = pidfd(pid);
    signal(pid, Signal::SIGKILL);
    assert!(ends(&program, LIMIT));
}

/// A copy of each descriptor of a process but its standard input and outputs.
fn copies(pid: u32) -> Vec<OwnedFd> {
    let process = pidfd(pid);
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let numbers = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let numbers = numbers.map(|name| name.parse().unwrap());
    let passed = numbers.filter(|&number: &i32| number > 2);
    let copied = passed.map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()));
    copied.collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_a_program_passes_on_holds_nothing() {
    host();
    let daemon = Daemon::start_settled(&manifest("1", "10.77.0.11", ""));
    let _passed = copies(daemon.tenant("acme").pid.unwrap());
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

/// A tenant that crashes has its datastore until it is stopped, not only while a process runs.
#[test]
fn between_two_launches_the_datastore_is_taken() {
    host();
    let more = format!(", autostart = false, datastore = \"{ALIAS}\"");
    let second = Daemon::start(&manifest("1", "10.78.0.11", &more));
    let crashing = manifest("1", "10.77.0.11", "").replace(
        "strikes = 1",
        "delay = \"1h\", delay_max = \"1h\", strikes = 2, window = \"9h\"",
    );
    let first = Daemon::start_settled(&crashing);
    let source = data(&first);
    let none: Option<&str> = None;
    mount(Some(&*source), ALIAS, none, MsFlags::MS_BIND, none).unwrap();
    signal(first.tenant("acme").pid.unwrap(), Signal::SIGKILL);
    first.until_state("acme", StateWord::Waiting);
    let said = second.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains(&format!("{}/acme", first.app)),
        "{said:?}"
    );
    first.tell(&["stop", "acme"]).expect(0);
    second.tell(&["start", "acme"]).expect(0);
    second.tell(&["stop", "acme"]).expect(0);
    unmount(ALIAS);
    first.end();
    second.end();
}

/// Starts acme while the folder of the records is full, but for as many pages.
fn with_full_records(pages: usize) {
    host();
    let daemon = Daemon::start(&manifest("1", "10.77.0.11", ", autostart = false"));
    let locks = "/run/tenantd/locks";
    fs::create_dir_all(locks).unwrap();
    place::fresh(locks, "mode=700,size=8k");
    let filler = format!("{locks}/filler");
    fs::write(&filler, vec![0; 4096 * (2 - pages)]).unwrap();
    let said = daemon.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("No space left on device"), "{said:?}");
    assert!(said.out.contains(locks), "{said:?}");
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme/cgroup.events", daemon.app);
    let events = fs::read_to_string(leaf).unwrap_or_default();
    assert!(!events.contains("populated 1"), "{events}");
    assert!(!Path::new(&format!("{}/done", data(&daemon))).exists());
    fs::remove_file(filler).unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    unmount(locks);
    daemon.end();
}

#[test]
fn without_room_for_the_record_nothing_is_started() {
    with_full_records(0);
}

#[test]
fn without_room_for_the_process_in_the_record_nothing_is_left() {
    with_full_records(1);
}
