//! Each stage fails alone, and the error has its object, its errno and the remedy.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;

use seccompiler::SeccompAction;
use tenantd_core::plan::model::HostAccess;
use tenantd_core::stage::Stage;
use tenantd_host::datastore;

use crate::launch::bench::{Bench, TARGET, write_file};
use crate::refuse::{deny, intercept};

/// Checks the whole message of a failure.
fn says(bench: &Bench, expected: &str) {
    let said = bench.failure();
    assert_eq!(said, expected);
}

#[test]
fn datastore_of_another() {
    let bench = Bench::new().on_a_writable_host();
    let first = bench.run().unwrap();
    let expected = format!(
        "cannot claim the datastore /var/lib/tenantd/wiki/acme: Device or resource busy (EBUSY): \
         wiki/acme uses it (process {}): `tenantd stop acme --app wiki`",
        first.pid
    );
    says(&bench, &expected);
}

#[test]
fn tree_of_a_missing_datastore() {
    let bench = Bench::new().on_a_writable_host();
    std::fs::remove_dir("/var/lib/tenantd/wiki/acme").unwrap();
    says(
        &bench,
        "cannot clone the mount of the datastore /var/lib/tenantd/wiki/acme: No such file or \
         directory (ENOENT)",
    );
}

#[test]
fn tree_through_a_symbolic_link() {
    let mut bench = Bench::new().on_a_writable_host();
    symlink("/var/lib/tenantd/wiki", "/run/link").unwrap();
    bench.datastore.source = "/run/link/acme".into();
    let said = bench.failure();
    assert!(said.starts_with("cannot clone the mount of the datastore /run/link/acme: "));
    assert!(said.contains("(ELOOP) [a datastore's path must not contain symbolic links"));
}

#[test]
fn program_missing() {
    let mut bench = Bench::new().on_a_writable_host();
    bench.launch.program = "/run/nothing".into();
    says(
        &bench,
        "cannot find the program /run/nothing: No such file or directory (ENOENT) [check that \
         the program, or the interpreter in its first line, is installed]",
    );
}

#[test]
fn program_not_executable() {
    let mut bench = Bench::new().on_a_writable_host();
    write_file("/run/program", "#!/bin/sh\n", 0o644);
    bench.launch.program = "/run/program".into();
    says(
        &bench,
        "cannot find the program /run/program: Permission denied (EACCES) [it must be \
         executable for the tenant's user, on a filesystem without noexec]",
    );
    bench.launch.program = "/run".into();
    says(&bench, "cannot find the program /run: not a regular file");
}

#[test]
fn clone_refused() {
    let bench = Bench::new().on_a_writable_host();
    deny(libc::SYS_clone3, None, libc::EAGAIN);
    let said = bench.failure();
    assert!(
        said.starts_with("cannot create the child process wiki/acme: "),
        "{said}"
    );
    assert!(said.contains("(EAGAIN) [process limit reached"), "{said}");
    // The launch left nothing: no process has the datastore.
    let folder = datastore::open(&bench.datastore.source).unwrap();
    let source = &bench.datastore.source;
    let holder = tenantd_host::claim::holder_of(folder.as_fd(), source);
    assert_eq!(holder.unwrap(), None);
}

#[test]
fn vanished_before_exec() {
    let bench = Bench::new().on_a_writable_host();
    intercept(libc::SYS_setsid, None, SeccompAction::KillProcess);
    says(
        &bench,
        "cannot start the program /bin/sleep: the child was killed before it executed the program",
    );
}

/// A stage, the system call that fails, its first argument where several calls differ only in it,
/// and the message.
type Refusal = (Stage, libc::c_long, Option<i32>, &'static str);

/// Stages that cannot be made to fail by means of the test host.
const REFUSED: &[Refusal] = &[
    (
        Stage::Signals,
        libc::SYS_rt_sigprocmask,
        Some(libc::SIG_SETMASK),
        "cannot reset the signals",
    ),
    (
        Stage::Session,
        libc::SYS_setsid,
        None,
        "cannot start a session",
    ),
    (
        Stage::EnterNetns,
        libc::SYS_setns,
        None,
        "cannot enter the network namespace",
    ),
    (
        Stage::Propagation,
        libc::SYS_mount,
        None,
        "cannot make the mounts slaves of the host's",
    ),
    (
        Stage::Attach,
        libc::SYS_move_mount,
        None,
        "cannot mount the datastore at /etc",
    ),
    (
        Stage::Capabilities,
        libc::SYS_prctl,
        Some(libc::PR_CAPBSET_DROP),
        "cannot drop the capability CAP_CHOWN",
    ),
    (
        Stage::Limits,
        libc::SYS_prlimit64,
        None,
        "cannot set the limit on open files",
    ),
    (
        Stage::Groups,
        libc::SYS_setgroups,
        None,
        "cannot set the groups 1000",
    ),
    (
        Stage::Group,
        libc::SYS_setresgid,
        None,
        "cannot set the group 1000",
    ),
    (
        Stage::SystemCalls,
        libc::SYS_seccomp,
        None,
        "cannot load the filter of system calls",
    ),
    (
        Stage::User,
        libc::SYS_setresuid,
        None,
        "cannot set the user 1000",
    ),
    (
        Stage::NoNewPrivs,
        libc::SYS_prctl,
        Some(libc::PR_SET_NO_NEW_PRIVS),
        "cannot set no_new_privs",
    ),
    (
        Stage::WorkingDirectory,
        libc::SYS_fchdir,
        None,
        "cannot enter the working directory /",
    ),
    (
        Stage::Stdio,
        libc::SYS_dup3,
        None,
        "cannot redirect standard input and output at 0",
    ),
    (
        Stage::Descriptors,
        libc::SYS_close_range,
        None,
        "cannot close the other descriptors",
    ),
    (
        Stage::Exec,
        libc::SYS_execve,
        None,
        "cannot execute the program /bin/sleep",
    ),
];

/// Stages of a launch on a read-only host alone.
const READ_ONLY: &[Refusal] = &[
    (
        Stage::Propagation,
        libc::SYS_mount_setattr,
        Some(libc::AT_FDCWD),
        "cannot make the mounts slaves of the host's",
    ),
    (
        Stage::Own,
        libc::SYS_move_mount,
        None,
        "cannot mount the tenant's own /dev",
    ),
    (
        Stage::Landlock,
        libc::SYS_landlock_restrict_self,
        None,
        "cannot confine the program with Landlock",
    ),
];

#[test]
fn each_refused_system_call_names_its_stage() {
    let on_both = [
        (HostAccess::Writable, REFUSED),
        (HostAccess::ReadOnly, READ_ONLY),
    ];
    let refused = on_both.map(|(host, all)| all.iter().map(move |one| (host, *one)));
    for (host, (stage, syscall, first, expected)) in refused.into_iter().flatten() {
        // A filter cannot be removed from its thread, so each stage has a thread of its own.
        let failed = move || {
            let mut bench = Bench::new();
            bench.view().host = host;
            // Otherwise a file in it is the first mount that a launch on a writable host attaches.
            bench.datastore.target = Some(std::path::Path::new("/etc").into());
            // It makes what all launches share, which is not what is refused.
            drop(bench.run().unwrap());
            deny(syscall, first, libc::EUCLEAN);
            bench.run().err()
        };
        let why = std::thread::spawn(failed).join().unwrap().unwrap();
        assert_eq!((why.stage, why.errno), (stage, libc::EUCLEAN), "{why}");
        let said = why.to_string();
        let tail = ": Structure needs cleaning (EUCLEAN)";
        assert_eq!(said, format!("{expected}{tail}"));
    }
}

#[test]
fn netns_of_another_type() {
    let mut bench = Bench::new().on_a_writable_host();
    bench.netns = OwnedFd::from(File::open("/dev/null").unwrap());
    says(
        &bench,
        "cannot enter the network namespace: Invalid argument (EINVAL)",
    );
    // A namespace, but of another kind.
    bench.netns = OwnedFd::from(File::open("/proc/self/ns/uts").unwrap());
    says(
        &bench,
        "cannot enter the network namespace: Invalid argument (EINVAL)",
    );
}

#[test]
fn attach_at_a_missing_folder() {
    let bench = Bench::new().on_a_writable_host();
    std::fs::remove_dir(TARGET).unwrap();
    says(
        &bench,
        "cannot mount the datastore at /run/expected: No such file or directory (ENOENT) [the \
         folder must exist on the host: create it, or install the program]",
    );
}

#[test]
fn attach_at_a_symbolic_link() {
    let bench = Bench::new().on_a_writable_host();
    std::fs::remove_dir(TARGET).unwrap();
    symlink("/etc", TARGET).unwrap();
    let said = bench.failure();
    assert!(said.starts_with("cannot mount the datastore at /run/expected: "));
    assert!(
        said.contains("(ELOOP) [symbolic links are not allowed here"),
        "{said}"
    );
}

#[test]
fn private_at_a_missing_folder() {
    let mut bench = Bench::new().on_a_writable_host();
    std::fs::create_dir("/run/one").unwrap();
    bench.launch.private = ["/run/one".into(), "/run/two".into()].into();
    says(
        &bench,
        "cannot mount the private folder /run/two: No such file or directory (ENOENT) [the \
         folder must exist on the host: create it, or install the program]",
    );
}

#[test]
fn hide_a_missing_folder() {
    let mut bench = Bench::new().on_a_writable_host();
    bench.launch.hidden = ["/var/lib/tenantd".into(), "/run/nothing".into()].into();
    says(
        &bench,
        "cannot hide the folder of datastores /run/nothing: No such file or directory (ENOENT)",
    );
}

#[test]
fn working_directory_closed_to_the_user() {
    let mut bench = Bench::new().on_a_writable_host();
    std::fs::create_dir("/run/closed").unwrap();
    write_file("/run/closed/file", "", 0o600);
    std::fs::set_permissions(
        "/run/closed",
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    bench.launch.working_directory = "/run/closed".into();
    says(
        &bench,
        "cannot enter the working directory /run/closed: Permission denied (EACCES) [the \
         tenant's user needs execute permission on the folder]",
    );
}

#[test]
fn exec_of_a_file_that_is_not_a_program() {
    let mut bench = Bench::new().on_a_writable_host();
    write_file("/run/program", "this is no program", 0o755);
    bench.launch.program = "/run/program".into();
    says(
        &bench,
        "cannot execute the program /run/program: Exec format error (ENOEXEC) [the file is not a \
         program: a script needs #! in its first line]",
    );
}

#[test]
fn exec_without_the_interpreter() {
    let mut bench = Bench::new().on_a_writable_host();
    write_file("/run/program", "#!/run/nothing\n", 0o755);
    bench.launch.program = "/run/program".into();
    let said = bench.failure();
    assert!(said.starts_with("cannot execute the program /run/program: "));
    assert!(
        said.contains("(ENOENT) [check that the program, or the interpreter"),
        "{said}"
    );
}

#[test]
fn exec_of_a_file_that_is_being_written() {
    let mut bench = Bench::new().on_a_writable_host();
    std::fs::copy("/bin/sleep", "/run/program").unwrap();
    let _writer = File::options().append(true).open("/run/program").unwrap();
    bench.launch.program = "/run/program".into();
    let said = bench.failure();
    assert!(
        said.contains("(ETXTBSY) [the file is open for writing"),
        "{said}"
    );
}

#[test]
fn exec_forbidden_to_the_user() {
    let mut bench = Bench::new().on_a_writable_host();
    std::fs::copy("/bin/sleep", "/run/program").unwrap();
    std::fs::set_permissions(
        "/run/program",
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    bench.launch.program = "/run/program".into();
    let said = bench.failure();
    assert!(said.starts_with("cannot execute the program /run/program: "));
    assert!(
        said.contains("(EACCES) [it must be executable for the tenant's user"),
        "{said}"
    );
}
