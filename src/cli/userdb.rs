//! `userdb`: tells the host the names of the users that tenants have of their own.
//!
//! It is a process of its own. Every program of the host that looks up a user that it does not know asks each
//! provider, and waits up to 45 seconds for one that does not answer. So each client has a thread, a time limit, and a
//! limit on how many connections its user has; nothing that a supervisor does delays an answer.

mod answer;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::End;
use super::lookups::Service;
use answer::{Call, SERVICE, Users, answers};
use tenantd_host::uids;

/// The folder of all providers of the host.
const FOLDER: &str = "/run/systemd/userdb";

/// The longest call in bytes.
const CALL_MAX: usize = 4096;

/// A record that was written within this time of the last reading may have been missed by it.
const FRESH: Duration = Duration::from_secs(2);

/// Answers until it is ended.
pub(super) fn userdb() -> anyhow::Result<End> {
    let known = Mutex::new(Known::default());
    let service = Service {
        folder: FOLDER,
        name: SERVICE,
        served: None,
        call_max: CALL_MAX,
        // A client that says nothing is not waited for.
        is_kept_open: false,
    };
    service.serve(move |call: &Call, text| {
        for answer in answers(call, &Known::users(&known)) {
            serde_json::to_writer(&mut *text, &answer)?;
            text.push(0);
        }
        Ok(())
    })
}

/// The users that were read last, and when.
#[derive(Default)]
struct Known {
    users: Arc<Users>,
    /// The folders with the records and when each was changed.
    folders: Vec<(PathBuf, SystemTime)>,
    read: Option<SystemTime>,
}

impl Known {
    /// The users. Reads them again if they may have changed; if they cannot be read, those from before count.
    fn users(known: &Mutex<Self>) -> Arc<Users> {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let Ok(folders) = folders() else {
            return Arc::clone(&known.users);
        };
        let is_settled = |read: SystemTime| {
            let mut times = folders.iter();
            times.all(|(_, time)| *time + FRESH < read)
        };
        if known.folders == folders && known.read.is_some_and(is_settled) {
            return Arc::clone(&known.users);
        }
        if let Ok(users) = uids::all() {
            *known = Self {
                users: Arc::new(users),
                folders,
                read: Some(now),
            };
        }
        Arc::clone(&known.users)
    }
}

fn folders() -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let root = Path::new(uids::ROOT);
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = vec![(root.to_owned(), fs::metadata(root)?.modified()?)];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push((entry.path(), entry.metadata()?.modified()?));
        }
    }
    folders.sort();
    Ok(folders)
}
