//! Limits that were set by hand: kept with the leaf itself, in an attribute that only root of the host can read
//! or write. So they outlive the supervisor, and end with the leaf.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;

use super::differences::number;
use super::limits::{also, can_limit, settle_some};
use super::reclaim::{Taken, reclaim};
use super::{Leaf, Limiter, failure};
use crate::quota;
use tenantd_core::cgroup::by_hand::{ByHand, Typed};
use tenantd_core::cgroup::{GroupLimits, shown};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};

/// The attribute. A tenant whose root is that of the host has not CAP_SYS_ADMIN, which it needs.
const SET: &str = "trusted.tenantd.set";

/// The maximum size of it in bytes.
const SET_MAX: usize = 16384;

/// Enough for some limits.
const SET_FEW: usize = 512;

/// The leaves whose limits are being set. The limits of one leaf are set by one thread at a time, so that a change
/// of the manifest and one by hand come one after the other.
static BEING_SET: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// The limits of one leaf, while they are being set or wait for that.
pub(super) struct Setting {
    path: PathBuf,
    lock: Arc<Mutex<()>>,
}

impl Setting {
    pub(super) fn of(path: &Path) -> Self {
        let mut all = BEING_SET.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(all.entry(path.to_owned()).or_default());
        let path = path.to_owned();
        Self { path, lock }
    }

    pub(super) fn wait(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let mut all = BEING_SET.lock().unwrap_or_else(PoisonError::into_inner);
        // This one and the map's.
        if Arc::strong_count(&self.lock) <= 2 {
            all.remove(&self.path);
        }
    }
}

/// The limits of the leaf with this path that were set by hand.
pub(crate) fn by_hand_of(path: &Path) -> Result<ByHand, Failure> {
    // The kernel clears as many bytes as are asked for, and most tenants have none.
    let mut few = [0; SET_FEW];
    match getxattr(path, SET, &mut few[..]) {
        Err(Errno::RANGE) => {
            let mut bytes = vec![0; SET_MAX];
            let found = getxattr(path, SET, &mut bytes[..]);
            read(path, found, &bytes)
        }
        found => read(path, found, &few),
    }
}

fn read(path: &Path, found: Result<usize, Errno>, bytes: &[u8]) -> Result<ByHand, Failure> {
    match found {
        Ok(length) => {
            let text = bytes.get(..length).unwrap_or_default();
            Ok(ByHand::read(&String::from_utf8_lossy(text)))
        }
        Err(Errno::NODATA | Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {
            Ok(ByHand::default())
        }
        Err(errno) => Err(not_kept(path, errno)),
    }
}

impl Leaf {
    /// The limits that were set by hand. Only root of the host sees them.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits.
    pub fn by_hand(&self) -> Result<ByHand, Failure> {
        by_hand_of(self.path())
    }

    /// Replaces what was set by hand.
    pub(super) fn keep_by_hand(&self, hand: &ByHand) -> Result<(), Failure> {
        let text = hand.text();
        let kept = match hand.is_empty() {
            true => removexattr(self.path(), SET),
            false if text.len() > SET_MAX => Err(Errno::TOOBIG),
            false => setxattr(self.path(), SET, text.as_bytes(), XattrFlags::empty()),
        };
        match kept {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(not_kept(self.path(), errno)),
        }
    }
}

fn not_kept(path: &Path, errno: Errno) -> Failure {
    let object = format!("the attribute {SET} of {}", path.display());
    Failure::errno(Stage::Limits, object, errno.raw_os_error())
}

impl Limiter {
    /// Sets limits of a leaf by hand, or takes them back. Returns all that are set by hand then. Succeeds once the
    /// kernel has them. Blocks.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits; nothing has changed then, or it says so.
    pub fn set(&self, leaf: &Leaf, plan: &TenantPlan, typed: &[Typed]) -> Result<ByHand, Failure> {
        let planned = &plan.launch.group;
        let setting = Setting::of(leaf.path());
        let _set_alone = setting.wait();
        let before = leaf.by_hand()?.holding(planned);
        let mut after = before.clone();
        for one in typed {
            after.change(&same_device(one, &before, planned)?, planned);
        }
        let wanted = after.over(planned);
        can_limit(&wanted)?;
        let names: Vec<&str> = typed.iter().map(|one| one.key.name).collect();
        if names.contains(&"memory.max") {
            make_room(leaf, &wanted)?;
        }
        if let Some(tree) = &self.tree {
            tree.enable(leaf.path(), &wanted)?;
        }
        // First, so that a launch or a supervisor that begins now sets it too.
        leaf.keep_by_hand(&after)?;
        let is_of_disk = typed.iter().any(|one| !one.key.is_of_cgroup());
        let settle = |limits: &GroupLimits| {
            settle_some(leaf.path(), limits, &names)?;
            match is_of_disk {
                true => quota::set(&plan.datastore.source, limits.of_disk()),
                false => Ok(()),
            }
        };
        let Err(why) = settle(&wanted) else {
            return Ok(after);
        };
        let back = leaf
            .keep_by_hand(&before)
            .and_then(|()| settle(&before.over(planned)));
        Err(match back {
            Ok(()) => also(why, "nothing was changed"),
            Err(more) => also(why, &format!("and it cannot be set as before: {more}")),
        })
    }
}

/// A device may be typed in another notation than the manifest or an earlier order has: it is the same limit.
fn same_device(one: &Typed, before: &ByHand, planned: &GroupLimits) -> Result<Typed, Failure> {
    let mut one = one.clone();
    if one.key.name != "io.max" || one.item.is_empty() {
        return Ok(one);
    }
    let typed = number(one.key, &one.item)?;
    let held = before.each().map(|(key, item, _)| (key, item));
    let all = planned.each().map(|(key, item, _)| (key, item)).chain(held);
    let same = all
        .filter(|(key, _)| *key == one.key)
        // One of the plan that is gone is another one.
        .find(|(key, item)| number(key, item).is_ok_and(|number| number == typed));
    if let Some((_, item)) = same {
        one.item = item.to_owned();
    }
    Ok(one)
}

/// Takes memory of a leaf until it fits into the wanted limit: below its use, the kernel would end processes.
fn make_room(leaf: &Leaf, wanted: &GroupLimits) -> Result<(), Failure> {
    let max = wanted.value("memory.max");
    let Some(max) = max.and_then(|max| max.parse::<u64>().ok()) else {
        return Ok(());
    };
    let Some(uses) = used(leaf)?.filter(|uses| *uses > max) else {
        return Ok(());
    };
    let Taken { bytes, .. } = reclaim(leaf, uses - max, &|| true)?;
    match used(leaf)?.filter(|uses| *uses > max) {
        None => Ok(()),
        Some(uses) => {
            let size = |bytes: u64| {
                let key = tenantd_core::cgroup::GroupKey::named("memory.max");
                let mebibytes = bytes.next_multiple_of(1 << 20);
                key.map_or_else(String::new, |key| shown(key, &mebibytes.to_string()))
            };
            let why = format!(
                "it uses {}, after the kernel took {} of it; with less, the OOM killer would end its processes. \
                 Nothing was changed: `memory.high` slows it down instead",
                size(uses),
                size(bytes)
            );
            Err(Failure::detail(Stage::Limits, "memory.max", why))
        }
    }
}

/// What a leaf uses of memory; `None` without the controller.
pub(super) fn used(leaf: &Leaf) -> Result<Option<u64>, Failure> {
    let file = leaf.path().join("memory.current");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim_end().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(&file, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time_sets_the_limits_of_a_leaf() {
        let path = Path::new("/nowhere/of-this-test");
        let first = Setting::of(path);
        let held = first.wait();
        let second = Setting::of(path);
        assert!(second.lock.try_lock().is_err());
        drop(held);
        drop(first);
        assert!(BEING_SET.lock().unwrap().contains_key(path));
        drop(second.wait());
        drop(second);
        assert!(!BEING_SET.lock().unwrap().contains_key(path));
    }
}

#[cfg(test)]
mod as_root {
    use super::*;

    #[test]
    fn what_is_set_by_hand_may_be_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(by_hand_of(path).unwrap().is_empty());
        for length in [10, 2 * SET_FEW] {
            let text = format!("memory.max\t\t1G\t{}\n", "x".repeat(length));
            setxattr(path, SET, text.as_bytes(), XattrFlags::empty()).unwrap();
            assert_eq!(by_hand_of(path).unwrap().text(), text);
        }
    }
}
