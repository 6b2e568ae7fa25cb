//! The user and group of each tenant, and what follows from a user of its own.

use std::path::Path;
use std::sync::Arc;

use crate::manifest::problem::Problems;
use crate::manifest::raw::{Known, Manifest, Overrides, Tenant};
use crate::manifest::value::Account;
use crate::plan::facts::WantedUsers;
use crate::plan::identity::{People, Person, check_user, is_per_tenant};
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
) -> Vec<Option<Person>> {
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
    let owners = owners.filter(|tenant| is_per_tenant(user(Some(tenant))));
    let owners: Vec<_> = owners
        .filter_map(|tenant| Some((tenant, tenant.name.as_ref()?)))
        .collect();
    let wanted = app.name.as_ref().zip(app.uids.range.as_ref());
    let wanted = wanted.map(|(app, range)| WantedUsers {
        app: app.get_ref(),
        tenants: owners.iter().map(|(_, name)| *name).collect(),
        range: *range.get_ref(),
    });
    let at = owners
        .first()
        .and_then(|(tenant, _)| user(Some(tenant)).as_ref());
    let owned = match (&wanted, at) {
        (Some(wanted), Some(at)) => people.own_users(wanted, &at.span(), problems),
        (Some(_) | None, _) => Default::default(),
    };
    let home = target.and_then(Option::as_ref);
    let home = home.map_or_else(|| "/".to_owned(), |path| path.display().to_string());
    let each = manifest.tenants.iter().map(|tenant| {
        let (user, group) = (user(Some(tenant)), group(Some(tenant)));
        if is_per_tenant(user) {
            let own = owned.get(tenant.name.as_ref()?)?;
            return people.own(own, group, home.clone(), problems);
        }
        people.resolve(user.as_ref()?, group, problems)
    });
    each.collect()
}

/// The folders of a tenant's datastore. What is copied from the host belongs to a user that the tenant does not
/// have if it has one of its own.
pub(super) fn folders(all: &Arc<[FolderPlan]>, identity: &Identity) -> Arc<[FolderPlan]> {
    if !identity.own || all.is_empty() {
        return Arc::clone(all);
    }
    let own = all.iter().map(|folder| FolderPlan {
        uid: folder.uid.or(Some(identity.uid)),
        gid: folder.gid.or(Some(identity.gid)),
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
