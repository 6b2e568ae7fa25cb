//! Opens the control socket.

use anyhow::Context;

use crate::audit::Audit;
use crate::requests::control::Listener;
use tenantd_api::wire::LogPlace;
use tenantd_core::plan::model::Plan;
use tenantd_host::crash;
use tenantd_host::inherited::Inherited;

/// The inherited control socket, or a new one, with its audit log and for the groups of the plan.
pub(super) fn open(
    plan: &Plan,
    place: LogPlace,
    inherited: &mut Inherited,
) -> anyhow::Result<Listener> {
    let mut control = Listener::inherit(&plan.app, inherited)?;
    let audit = Audit::start(&plan.app, place == LogPlace::Journal);
    control.set_audit(audit.context("cannot start the thread that writes the audit log")?);
    control
        .readers()
        .set((&plan.control).into())
        .context("cannot set the access control list of the control socket")?;
    crash::point("begin: sockets bound", "");
    Ok(control)
}
