//! The secrets of tenants: which file of the host has each. Their contents are in no plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::view;
use crate::manifest::problem::Problems;
use crate::manifest::raw::{Known, Manifest, Tenant};
use crate::manifest::template::Template;
use crate::manifest::text::Vars;
use crate::plan::model::HostAccess;

/// The variable that names the folder of the secrets, see systemd.exec(5).
pub const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reports secrets for which a tenant has no folder.
pub(super) fn check(manifest: &Manifest, problems: &mut Problems) {
    if view::access(manifest) == HostAccess::ReadOnly {
        return;
    }
    let tenants = manifest.tenants.iter().map(|it| &it.overrides.secrets);
    let all = [&manifest.app.secrets, &manifest.defaults.secrets].into_iter();
    let mut all = all
        .chain(tenants)
        .flatten()
        .filter(|it| !it.get_ref().is_empty());
    if let Some(first) = all.next() {
        problems
            .report(
                &first.span(),
                "secrets need a `/run` that is the tenant's own",
            )
            .help("remove `host = \"writable\"`");
    }
}

/// The paths of the secrets of a tenant. `None` if the value of a placeholder is not known.
pub(super) fn of(
    manifest: &Manifest,
    tenant: &Tenant,
    folder: &str,
    fill: impl Fn(&Template) -> Option<String>,
) -> Option<BTreeMap<String, PathBuf>> {
    let layers: [&Known<Vars>; 3] = [
        &manifest.app.secrets,
        &manifest.defaults.secrets,
        &tenant.overrides.secrets,
    ];
    let mut all = BTreeMap::new();
    for (name, template) in layers.into_iter().flatten().flat_map(Spanned::get_ref) {
        let text = fill(template.get_ref())?;
        all.insert(name.clone(), Path::new(folder).join(text));
    }
    Some(all)
}
