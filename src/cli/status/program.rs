//! The lines about a tenant's program: how its main process is known, and what it says of itself.

use std::io::{self, Write};

use tenantd_api::wire::TenantStatus;

/// Writes what the last probes of its program found, if they failed.
pub(super) fn probed(out: &mut (impl Write + ?Sized), tenant: &TenantStatus) -> io::Result<()> {
    let failing = tenant.probe.as_ref().filter(|it| it.failing > 0);
    let Some(probe) = failing else {
        return Ok(());
    };
    let why = probe.last.as_deref().unwrap_or_default();
    let (what, failing, most) = (&probe.probe, probe.failing, probe.most);
    writeln!(
        out,
        "  PROBE no answer from {what}: {failing} of {most} in a row, the last time: {why}"
    )
}

/// Writes the lines below a tenant.
pub(super) fn below(out: &mut (impl Write + ?Sized), tenant: &TenantStatus) -> io::Result<()> {
    if let (Some(main), Some(pid)) = (tenant.main.as_deref(), tenant.pid) {
        match main {
            "guessed" => writeln!(
                out,
                "  MAIN {pid}, guessed: the only one whose parent has ended; see `pid_file`"
            )?,
            "oldest" => writeln!(
                out,
                "  MAIN not known, {pid} is the oldest process; see `pid_file`"
            )?,
            "pid file" => writeln!(out, "  MAIN {pid}, as its pid file says")?,
            _ => writeln!(out, "  MAIN {pid}, as the program says")?,
        }
    }
    if tenant.paused {
        let name = &tenant.name;
        writeln!(
            out,
            "  PAUSED its processes are frozen; `tenantd resume {name}` lets them continue"
        )?;
    }
    if tenant.reloading == Some(true) {
        writeln!(out, "  RELOADING its configuration, as the program says")?;
    }
    match &tenant.status_text {
        Some(text) => writeln!(out, "  SAYS {text}"),
        None => Ok(()),
    }
}
