//! The limits of cgroups: those of a tenant's leaf, and of the folder of all leaves. What the kernel's files
//! have is what counts: there is no other record of it.
//!
//! A limit of the leaf holds for its parts too, which have no files of controllers of their own. So the leaf
//! may be limited while processes are in its parts, see "no internal processes" in cgroups(7).

use std::fs;
use std::io::Error;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::by_hand::Setting;
use super::differences::{Difference, differences, differences_of};
use super::{Leaf, Tree, mounted};
use crate::counters::{beginnings, last};
use crate::one_record;
use crate::quota;
use tenantd_core::cgroup::{GroupLimits, Named};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};

/// Held while controllers are enabled: the kernel names one in `cgroup.controllers` before its files are there.
static ENABLING: Mutex<()> = Mutex::new(());

/// Sets the limits of tenants, and before those the ones of all tenants together.
#[derive(Debug, Clone)]
pub struct Limiter {
    /// The tree; `None` if there is none that can be written.
    pub tree: Option<Tree>,
    /// The limits of all tenants together.
    pub total: GroupLimits,
}

impl Limiter {
    /// Sets the limits of the leaf of a tenant, and those of all tenants. What is not limited any longer is
    /// reset. Limits that were set by hand take precedence. Succeeds once the kernel has all of them. Blocks: the kernel may take memory away first.
    ///
    /// Returns the limits that hold. Those of the datastore are left to the caller.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits that names the limit or the controller.
    pub fn limit(&self, leaf: Option<&Leaf>, limits: &GroupLimits) -> Result<GroupLimits, Failure> {
        let (Some(tree), Some(leaf)) = (&self.tree, leaf) else {
            without_tree(limits).and(without_tree(&self.total))?;
            return Ok(limits.clone());
        };
        self.limit_all()?;
        let setting = Setting::of(leaf.path());
        let _set_alone = setting.wait();
        let kept = leaf.by_hand()?;
        let hand = kept.holding(limits);
        if hand != kept {
            leaf.keep_by_hand(&hand)?;
        }
        let wanted = hand.over(limits);
        let set = tree.enable(leaf.path(), &wanted);
        let set = set.and_then(|()| settle(leaf.path(), &wanted));
        match set {
            Err(why) if !hand.is_empty() => Err(also(why, &taken_back(leaf))),
            set => set.map(|()| wanted),
        }
    }

    /// Sets all limits of a tenant: those of [`Limiter::limit`], and the quota of its datastore.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits.
    pub fn limit_tenant(&self, leaf: Option<&Leaf>, plan: &TenantPlan) -> Result<(), Failure> {
        let holding = self.limit(leaf, &plan.launch.group)?;
        quota::set(&plan.datastore.source, holding.of_disk())
    }

    /// Sets the limits of all tenants together.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits.
    pub fn limit_all(&self) -> Result<(), Failure> {
        let Some(tree) = &self.tree else {
            return without_tree(&self.total);
        };
        tree.enable(tree.path(), &self.total)?;
        settle(tree.path(), &self.total)
    }

    /// Enables the controllers that count what tenants use of memory and of devices, if this host has a meter, and as
    /// far as the tree has them.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits.
    pub fn count(&self) -> Result<(), Failure> {
        let Some(tree) = self.tree.as_ref().filter(|_| last::is_wanted()) else {
            return Ok(());
        };
        let _enabling = ENABLING.lock().unwrap_or_else(PoisonError::into_inner);
        let present = controllers(&tree.above);
        let mut counting = ["memory", "io"].into_iter();
        counting.try_for_each(
            |controller| match present.iter().any(|it| it == controller) {
                true => tree.enable_below(tree.path(), controller),
                false => Ok(()),
            },
        )
    }

    /// Whether the kernel has the limits of a tenant.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits.
    pub fn is_limited(&self, leaf: Option<&Leaf>, plan: &TenantPlan) -> Result<bool, Failure> {
        let (limits, source) = (&plan.launch.group, plan.datastore.source.as_path());
        let Some(leaf) = leaf else {
            let is_free = limits.of_cgroup().is_empty();
            return Ok(is_free && quota::is_set(source, limits.of_disk())?);
        };
        let limits = &leaf.by_hand()?.over(limits);
        if !quota::is_set(source, limits.of_disk())? {
            return Ok(false);
        }
        let present = controllers(leaf.path());
        let lacks = |it: &&str| !present.iter().any(|present| present == it);
        if limits.controllers().iter().any(lacks) {
            return Ok(false);
        }
        Ok(differences_of(leaf.path(), limits, &present)?.is_empty())
    }
}

/// A failure with more about it.
pub(super) fn also(why: Failure, more: &str) -> Failure {
    let detail = match why.detail.is_empty() {
        true => more.to_owned(),
        false => format!("{}; {more}", why.detail),
    };
    why.with(detail)
}

/// What to type if a limit that was set by hand cannot be set any longer.
fn taken_back(leaf: &Leaf) -> String {
    let tenant = leaf.tenant();
    format!("it has limits that were set by hand: `tenantd set {tenant} --reset` takes them back")
}

fn without_tree(limits: &GroupLimits) -> Result<(), Failure> {
    let mut of_cgroup = limits.each().filter(|(key, ..)| key.is_of_cgroup());
    let Some((key, item, _)) = of_cgroup.next() else {
        return Ok(());
    };
    let name = Named(key.name, item).to_string();
    let why = "there is no cgroup tree of version 2 that can be written: `limits` has limits of a cgroup, which need one";
    Err(Failure::detail(Stage::Limits, name, why))
}

impl Tree {
    /// Lets a folder have the files of the controllers that limits need.
    pub(super) fn enable(&self, folder: &Path, limits: &GroupLimits) -> Result<(), Failure> {
        limits
            .controllers()
            .into_iter()
            .try_for_each(|controller| self.enable_for(folder, controller, limits))
    }

    /// Lets a folder have the files of a controller.
    pub(super) fn enable_one(&self, folder: &Path, controller: &str) -> Result<(), Failure> {
        self.enable_for(folder, controller, &GroupLimits::default())
    }

    fn enable_for(
        &self,
        folder: &Path,
        controller: &str,
        limits: &GroupLimits,
    ) -> Result<(), Failure> {
        // No code panics while the lock is held.
        let _enabling = ENABLING.lock().unwrap_or_else(PoisonError::into_inner);
        if controllers(folder).iter().any(|it| it == controller) {
            return Ok(());
        }
        if !controllers(&self.above).iter().any(|it| it == controller) {
            return Err(lacking(&self.above, controller, limits));
        }
        folder
            .parent()
            .map_or(Ok(()), |parent| self.enable_below(parent, controller))
    }

    /// Lets what is below a folder have the files of a controller, while [`ENABLING`] is held.
    fn enable_below(&self, folder: &Path, controller: &str) -> Result<(), Failure> {
        let mut folders: Vec<&Path> = folder.ancestors().collect();
        folders.retain(|one| one.starts_with(&self.above));
        for one in folders.into_iter().rev() {
            let path = one.join("cgroup.subtree_control");
            if one == self.base {
                beginnings::begin_below(one, controller)
                    .map_err(|error| not_enabled(&path, controller, &error))?;
            }
            fs::write(&path, format!("+{controller}"))
                .map_err(|error| not_enabled(&path, controller, &error))?;
        }
        Ok(())
    }
}

/// The controllers that a cgroup has, by the names of the kernel. None if it cannot be read.
pub(super) fn controllers(cgroup: &Path) -> Vec<String> {
    let text = one_record::read(cgroup.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether the tree of this host has the controllers of these limits, and the host what they are about. Changes nothing.
///
/// # Errors
/// A [`Failure`] of stage limits that names what is missing.
pub fn can_limit(limits: &GroupLimits) -> Result<(), Failure> {
    if limits.of_cgroup().is_empty() {
        return Ok(());
    }
    let Some(mount) = mounted() else {
        return without_tree(limits);
    };
    let present = controllers(mount);
    let lacks = |it: &&str| !present.iter().any(|present| present == it);
    match limits.controllers().into_iter().find(lacks) {
        Some(controller) => Err(lacking(mount, controller, limits)),
        None => super::present::present(limits),
    }
}

fn lacking(cgroup: &Path, controller: &str, limits: &GroupLimits) -> Failure {
    let mut of = limits
        .each()
        .filter(|(key, ..)| key.controller == controller);
    let name = of.next().map_or(controller, |(key, ..)| key.name);
    let why = format!(
        "the cgroup {} lacks the controller {controller}: {}",
        cgroup.display(),
        why_lacking(controller)
    );
    Failure::detail(Stage::Limits, name, why)
}

/// Why a controller may be missing, and what to do.
pub(super) fn why_lacking(controller: &str) -> String {
    let v1 = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let has = |name: &str| {
        let mut lines = v1.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(name)).then(|| words.next().map(str::to_owned))?
        });
        lines.next()
    };
    let v1_name = if controller == "io" {
        "blkio"
    } else {
        controller
    };
    match has(v1_name).as_deref() {
        Some("0") => "set Delegate=yes in the unit of tenantd".to_owned(),
        Some(_) => format!(
            "the host has it in the tree of version 1 (/sys/fs/cgroup/{v1_name}); boot with \
             systemd.unified_cgroup_hierarchy=1"
        ),
        None => "the kernel has it not, or it is disabled with cgroup_disable=".to_owned(),
    }
}

fn not_enabled(path: &Path, controller: &str, error: &Error) -> Failure {
    let object = format!("the controller {controller} in {}", path.display());
    let failure = Failure::errno(
        Stage::Limits,
        object,
        error.raw_os_error().unwrap_or(libc::EIO),
    );
    match error.raw_os_error() {
        Some(libc::EBUSY) => failure.with(
            "processes are in that cgroup itself, see \"no internal processes\" in cgroups(7)",
        ),
        _ => failure,
    }
}

/// Writes what differs, until nothing does.
fn settle(folder: &Path, limits: &GroupLimits) -> Result<(), Failure> {
    settle_those(folder, limits, &|_| true)
}

/// Writes what differs of the limits with these names.
pub(super) fn settle_some(
    folder: &Path,
    limits: &GroupLimits,
    names: &[&str],
) -> Result<(), Failure> {
    // The name of a difference has the item behind the key.
    settle_those(folder, limits, &|name| {
        names.contains(&name.split(' ').next().unwrap_or_default())
    })
}

fn settle_those(
    folder: &Path,
    limits: &GroupLimits,
    are: &dyn Fn(&str) -> bool,
) -> Result<(), Failure> {
    let differing = || -> Result<_, Failure> {
        let all = differences(folder, limits)?.into_iter();
        Ok(all.filter(|one| are(&one.name)))
    };
    let mut found = differing()?.peekable();
    if found.peek().is_none() {
        return Ok(());
    }
    for one in found {
        fs::write(&one.file, &one.planned).map_err(|error| {
            let object = format!("{} ({})", one.name, one.file.display());
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Failure::errno(Stage::Limits, object, errno)
        })?;
    }
    match differing()?.next() {
        None => Ok(()),
        Some(Difference {
            name,
            file,
            planned,
            found,
        }) => {
            let object = format!("{name} ({})", file.display());
            let why = format!(
                "the kernel has {found:?} instead of {:?}",
                planned.trim_end()
            );
            Err(Failure::detail(Stage::Limits, object, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::cgroup::GroupValue;

    /// A folder with these files, as a cgroup has them.
    fn cgroup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn limits(all: &[(&'static str, &str)]) -> GroupLimits {
        let mut limits = GroupLimits::default();
        for (name, value) in all {
            limits.set(name, &GroupValue::one(*value));
        }
        limits
    }

    #[test]
    fn what_differs_is_set_and_what_is_not_planned_is_reset() {
        let folder = cgroup(&[
            ("cgroup.controllers", "memory pids\n"),
            ("memory.max", "max\n"),
            ("memory.high", "4096\n"),
            ("memory.low", "0\n"),
            ("pids.max", "9\n"),
        ]);
        let planned = limits(&[("memory.max", "8192"), ("pids.max", "9")]);
        let found = differences(folder.path(), &planned).unwrap();
        let named: Vec<_> = found
            .iter()
            .map(|it| (it.name.as_str(), it.planned.as_str()))
            .collect();
        assert_eq!(named, [("memory.high", "max\n"), ("memory.max", "8192\n")]);
        settle(folder.path(), &planned).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("memory.max")).unwrap(),
            "8192\n"
        );
    }

    #[test]
    fn a_limit_that_the_kernel_lacks_is_no_success() {
        let folder = cgroup(&[("cgroup.controllers", "memory\n")]);
        let failure = settle(folder.path(), &limits(&[("memory.swap", "0")])).unwrap_err();
        assert!(failure.to_string().contains("memory.swap"), "{failure}");
        let limiter = Limiter {
            tree: None,
            total: GroupLimits::default(),
        };
        let failure = limiter
            .limit(None, &limits(&[("pids.max", "9")]))
            .unwrap_err();
        assert!(failure.to_string().contains("version 2"), "{failure}");
        limiter.limit(None, &GroupLimits::default()).unwrap();
    }
}
