//! A launch whose supervisor ended before the program was executed. The child continues by itself, and its
//! report is lost. If it hangs, it is ended, as its own supervisor would have done.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use tenantd_core::supervisor::view::StateWord;
use tenantd_host::cgroup::Leaf;
use tenantd_host::process;

use crate::executor::inventory::Process;
use crate::executor::launch::{UNEXECUTED, end};
use crate::state_file::record::Record;

/// How often to look. There is nothing to wait for: execve(2) of another process gives no sign.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Ends a child that does not execute its program in time. Looks no more once it has.
pub(super) fn watch(record: &Record, process: Option<&Rc<Process>>, leaf: Option<&Leaf>) {
    let process = match process {
        Some(process) if record.checkpoint.state() == StateWord::Launching => Rc::clone(process),
        _ => return,
    };
    if process::has_executed(process.pid) {
        return;
    }
    let (tenant, leaf, begun) = (record.tenant.clone(), leaf.cloned(), Instant::now());
    spawn_local(async move {
        while begun.elapsed() < UNEXECUTED {
            sleep(LOOK_AGAIN).await;
            // Also if it has ended and was reaped.
            if process::has_executed(process.pid) {
                return;
            }
        }
        let (pid, limit) = (process.pid, UNEXECUTED.as_secs());
        tracing::warn!(
            %tenant,
            "{tenant}: process {pid} is ended, because it has not executed the program after {limit} s"
        );
        end(leaf.as_ref(), &process).await;
    });
}
