//! The room that several tenants need together on the target.

use std::path::Path;

use super::copy;
use tenantd_core::manifest::storage::Storage;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Plan;

/// For each of these tenants, the size of those after it in the same folder: the target has them in the same one, too. So the
/// first one is refused if there is no room for all.
pub(super) fn later(plan: &Plan, names: &[&TenantName]) -> anyhow::Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for name in names {
        let tenant = plan.tenants.iter().find(|it| it.name == **name);
        let tenant = tenant.filter(|it| it.policy.storage == Storage::Local);
        // One without data is refused when it is to be moved.
        let source = tenant.map(|it| it.datastore.source.as_path());
        let Some(source) = source.filter(|it| it.exists()) else {
            sizes.push((None, 0));
            continue;
        };
        sizes.push((source.parent(), copy::survey(source, u64::MAX)?.bytes));
    }
    Ok(sums(&sizes))
}

fn sums(sizes: &[(Option<&Path>, u64)]) -> Vec<u64> {
    let after = |number: usize| {
        let (folder, rest) = (sizes[number].0, &sizes[number + 1..]);
        let beside = rest.iter().filter(|(other, _)| *other == folder);
        beside.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes))
    };
    (0..sizes.len()).map(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_after_it_in_the_same_folder_count() {
        let (one, two) = (Some(Path::new("/one")), Some(Path::new("/two")));
        let sizes = [(one, 1), (two, 2), (one, 4), (None, 8), (one, 16)];
        assert_eq!(sums(&sizes), [20, 0, 16, 0, 0]);
    }
}
