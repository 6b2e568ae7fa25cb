//! Folders and files of a plan as JSON.

use serde_json::{Value, json};

use crate::plan::model::{DatastorePlan, FilePlan, FolderPlan, Seed};

/// A folder. What is as the host's folder has it is null.
pub(super) fn folder(datastore: &DatastorePlan, folder: &FolderPlan) -> Value {
    let FolderPlan {
        target,
        seed,
        uid,
        gid,
        mode,
    } = folder;
    let (seed, template) = match seed {
        Seed::Empty => (Some("empty"), None),
        Seed::Copy => (Some("copy"), None),
        Seed::Overlay => (Some("overlay"), None),
        Seed::Template(path) => (None, Some(path)),
    };
    json!({
        "path": target,
        "source": datastore.place(target),
        "seed": seed,
        "template": template,
        "user": uid,
        "group": gid,
        "mode": mode.map(|mode| format!("{mode:04o}")),
    })
}

/// A file. What is as the host's file has it is null.
pub(super) fn file(file: &FilePlan) -> Value {
    let FilePlan {
        path,
        contents,
        template,
        uid,
        gid,
        mode,
        secret,
    } = file;
    json!({
        "path": path,
        "template": template,
        "text": &**contents,
        "user": uid,
        "group": gid,
        "mode": mode.map(|mode| format!("{mode:04o}")),
        "secret": secret,
    })
}
