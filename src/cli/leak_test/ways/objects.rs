//! What a process can do to objects that have a key or a name instead of a path, and to what is counted per
//! user.

use std::ffi::CString;
use std::fs::File;
use std::path::Path;

use rustix::process::getuid;

use super::super::aim::Aim;
use super::super::way::{Against, Attempted, Gain, Guard, Shut, Way};
use super::{called, refused, way};
use tenantd_host::launch::attempt::{Call, Keyring};

type Row = (&'static str, Gain, fn(&Aim) -> Attempted);

/// What the kernel protects by user alone.
const OF_USER: &[Row] = &[
    ("open its SysV shared memory", Gain::Write, |aim| {
        called(Call::SharedMemory(aim.to.key, false))
    }),
    ("open its SysV semaphores", Gain::Write, |aim| {
        called(Call::Semaphores(aim.to.key, false))
    }),
    ("open its SysV message queue", Gain::Write, |aim| {
        called(Call::MessageQueue(aim.to.key, false))
    }),
    ("use up what its user may have", Gain::Starve, |aim| {
        // Processes, inotify instances, keys, pending signals, locked memory.
        match getuid().as_raw() == aim.to.uid {
            true => Ok(()),
            false => refused("another user"),
        }
    }),
];

/// The ways.
pub(super) fn ways() -> Vec<Way> {
    let mut all = Vec::new();
    for against in [Against::Neighbour, Against::Supervisor] {
        let rows = OF_USER.iter();
        let of_user =
            rows.map(|&(name, gain, attempt)| way(against, (name, gain), &[Guard::User], attempt));
        all.extend(of_user);
        all.push(way(
            against,
            ("open its POSIX message queue", Gain::Write),
            &[Guard::User, Guard::Writing],
            |aim| called(Call::PosixQueue(&name(aim)?, false)),
        ));
        all.push(way(
            against,
            ("open its POSIX shared memory", Gain::Write),
            &[Guard::OwnFolders, Guard::User],
            |aim| Ok(File::open(Path::new("/dev/shm").join(&aim.to.id)).map(drop)?),
        ));
        all.push(way(
            against,
            ("find a key in the user keyring", Gain::Read),
            &[Guard::Calls, Guard::User],
            |aim| called(Call::FindKey(Keyring::User, &name(aim)?)),
        ));
    }
    all.push(way(
        Against::Supervisor,
        ("find a key in the session keyring", Gain::Read),
        &[Guard::Keyring, Guard::Calls],
        |aim| called(Call::FindKey(Keyring::Session, &name(aim)?)),
    ));
    all
}

fn name(aim: &Aim) -> Result<CString, Shut> {
    CString::new(aim.to.id.as_str()).map_err(|error| Shut::Untried(error.to_string()))
}
