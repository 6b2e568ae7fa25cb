//! The user and group of each tenant, and what follows from a user of its own.

use std::path::Path;
use std::sync::Arc;

use crate::manifest::problem::Problems;
use crate::manifest::raw::{Known, Manifest, Overrides, Tenant};
use crate::manifest::value::Account;
use crate::plan::facts::WantedUsers;
use crate::plan::identity::{People, Person, check_user, is_per_tenant};
use crate::plan::idmap::{self, Owner, owns_per_tenant};
use crate::plan::model::{FilePlan, FolderPlan, Identity};

/// A setting that a tenant, `[defaults]` or `[app]` has.
fn account<'a>(
    manifest: &'a Manifest,
    tenant: Option<&'a Tenant>,
    of: fn(&Overrides) -> &Known<Account>,
    in_app: &'a Known<Account>,
) -> &'a Known<Account> {
    let own = tenant.map(|tenant| of(&tenant.overrides));
    let all = own.into_iter().chain([of(&manifest.defaults), in_app]);
    all.into_iter()
        .find(|known| known.is_some())
        .unwrap_or(&None)
}

/// Resolves the user and group of each tenant. `target` is where the program expects its data, the home of
/// tenants with a user of their own; `None` if it is not known.
pub(super) fn each_person(
    manifest: &Manifest,
    target: Option<&Option<Arc<Path>>>,
    people: &mut People<'_>,
    problems: &mut Problems,
) -> Vec<Option<(Person, Owner)>> {
    let app = &manifest.app;
    check_user(manifest, problems);
    let user = |tenant| account(manifest, tenant, |it| &it.user.value, &app.user.value);
    let group = |tenant| account(manifest, tenant, |it| &it.group, &app.group).as_ref();
    // The settings of the application are checked even if there are no tenants.
    if manifest.tenants.is_empty() && !is_per_tenant(user(None)) {
        if let Some(user) = user(None) {
            people.resolve(user, group(None), problems);
        }
        return Vec::new();
    }
    let owners = manifest.tenants.iter();
    let of_files = owns_per_tenant(manifest);
    let owners = owners.filter(|tenant| of_files || is_per_tenant(user(Some(tenant))));
    let owners: Vec<_> = owners
        .filter_map(|tenant| Some((tenant, tenant.name.as_ref()?)))
        .collect();
    let wanted = app.name.as_ref().zip(app.uids.range.as_ref());
    let wanted = wanted.map(|(app, range)| WantedUsers {
        app: app.get_ref(),
        tenants: owners.iter().map(|(_, name)| *name).collect(),
        range: *range.get_ref(),
    });
    let at = owners.first().and_then(|(tenant, _)| match of_files {
        true => app.datastore.owner.as_ref(),
        false => user(Some(tenant)).as_ref(),
    });
    let owned = match (&wanted, at) {
        (Some(wanted), Some(at)) => people.own_users(wanted, &at.span(), problems),
        (Some(_) | None, _) => Default::default(),
    };
    let home = target.and_then(Option::as_ref);
    let home = home.map_or_else(|| "/".to_owned(), |path| path.display().to_string());
    let each = manifest.tenants.iter().map(|tenant| {
        let (user, group) = (user(Some(tenant)), group(Some(tenant)));
        let own = tenant.name.as_ref().and_then(|name| owned.get(name));
        let person = match is_per_tenant(user) {
            true => people.own(own?, group, home.clone(), problems)?,
            false => people.resolve(user.as_ref()?, group, problems)?,
        };
        let owner = idmap::owner(manifest, &person.identity, own, people, problems)?;
        Some((person, owner))
    });
    each.collect()
}

/// The folders of a tenant's datastore. What is copied from the host belongs to a user that the tenant does not
/// have if it has one of its own. Users and groups of the manifest are those that the tenant sees.
pub(super) fn folders(
    all: &Arc<[FolderPlan]>,
    identity: &Identity,
    owner: &Owner,
) -> Arc<[FolderPlan]> {
    let is_as_on_host = !identity.own && owner.map.is_none();
    if is_as_on_host || all.is_empty() {
        return Arc::clone(all);
    }
    let own = all.iter().map(|folder| FolderPlan {
        uid: Some(folder.uid.map_or(owner.uid, |id| owner.uid_of(id))),
        gid: Some(folder.gid.map_or(owner.gid, |id| owner.gid_of(id))),
        ..folder.clone()
    });
    own.collect()
}

/// The files of a tenant. The group of the host's file has no member if the tenant has a user of its own.
pub(super) fn files(all: Vec<FilePlan>, identity: &Identity) -> Vec<FilePlan> {
    let own = |file: FilePlan| FilePlan {
        gid: file.gid.or(identity.own.then_some(identity.gid)),
        ..file
    };
    all.into_iter().map(own).collect()
}
