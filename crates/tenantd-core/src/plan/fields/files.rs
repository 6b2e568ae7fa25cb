//! The fields of folders and files.

use super::field::{relaunches, touches_nothing};
use super::{LABEL_FILE, LABEL_FILE_AT, LABEL_FOLDER, Later, See, words};
use crate::plan::model::{DatastorePlan, FilePlan, FolderPlan};

pub(super) fn folder(datastore: &DatastorePlan, folder: &FolderPlan, see: See<'_>) {
    let FolderPlan {
        target,
        seed,
        uid,
        gid,
        mode,
    } = folder;
    let (place, target) = (datastore.place(target), target.display());
    let place = place.display();
    see(relaunches(Later("folder"), LABEL_FOLDER, &place).item(&target));
    // These apply only when the folder is made.
    let new = words::Seeded {
        seed,
        uid: *uid,
        gid: *gid,
        mode: *mode,
    };
    let field = touches_nothing(Later("folder if new"), "if new", &new);
    see(field.item(&target).nested());
}

pub(super) fn file(datastore: &DatastorePlan, file: &FilePlan, see: See<'_>) {
    let FilePlan {
        path,
        contents,
        template,
        uid,
        gid,
        mode,
        secret,
    } = file;
    let path = path.display();
    let value = words::Contents {
        contents,
        uid: *uid,
        gid: *gid,
        mode: *mode,
        secret: *secret,
    };
    see(relaunches(Later("file"), LABEL_FILE, &value).item(&path));
    if let Some(place) = datastore.place_of(&file.path) {
        let place = place.display();
        let field = touches_nothing(Later("file at"), LABEL_FILE_AT, &place);
        see(field.item(&path).nested());
    }
    if let Some(template) = template {
        let from = template.display();
        see(touches_nothing(Later("file from"), "from", &from)
            .item(&path)
            .nested());
    }
}
