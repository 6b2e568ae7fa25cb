//! `kill`: sends a signal to the programs of tenants, and prints how many processes got it.

use nix::sys::signal::Signal;

use super::End;
use super::args::Kill;
use super::outcome::{Became, Outcome};
use super::progress::{Doing, Progress};
use super::select;
use tenantd_api::client::Connection;
use tenantd_api::wire::Signalled;
use tenantd_core::name::AppName;
use tenantd_core::supervisor::event::signal_name;

/// The highest number of a signal, see signal(7).
const SIGNAL_MAX: i32 = 64;

pub(super) fn kill(app: &AppName, what: &Kill) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let typed = &what.which.names;
        let tenants = select::ask(&mut connection, typed).await;
        let tenants = tenants.map_err(|error| select::unchanged(error, typed))?;
        let sent = connection.signal(&tenants, what.signal, what.main).await?;
        let mut progress = Progress::new(app, Doing::Kill, sent.len(), what.show);
        for one in &sent {
            progress.settled(outcome(one, what.signal))?;
        }
        Ok(progress.finish(false)?)
    })
}

fn outcome(sent: &Signalled, signal: i32) -> Outcome {
    let Signalled {
        tenant,
        processes,
        pid,
        refused,
    } = sent;
    if let Some(reason) = refused {
        return Outcome::refused(tenant, reason);
    }
    let to = match (pid, processes) {
        (Some(pid), _) => format!("its main process {pid}"),
        (None, 1) => "1 process".to_owned(),
        (None, count) => format!("{count} processes"),
    };
    let text = format!("{} sent to {to}", signal_name(signal));
    Outcome::without_state(tenant, Became::Done, text).with_pid(*pid)
}

/// Parses a signal: `HUP`, `SIGHUP` or `1`, in either case.
pub(super) fn signal(typed: &str) -> Result<i32, String> {
    let upper = typed.to_ascii_uppercase();
    let known = match typed.parse::<i32>() {
        Ok(number) => (1..=SIGNAL_MAX).contains(&number).then_some(number),
        Err(_) => [upper.clone(), format!("SIG{upper}")]
            .iter()
            .find_map(|name| name.parse::<Signal>().ok())
            .map(|signal| signal as i32),
    };
    known.ok_or_else(|| "not a signal: type a name such as HUP, or a number, see signal(7)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_typed_by_name_or_number() {
        for typed in ["HUP", "SIGHUP", "hup", "sighup", "1"] {
            assert_eq!(signal(typed), Ok(1), "{typed}");
        }
        assert_eq!(signal("TERM"), Ok(15));
        // A realtime signal has no name.
        assert_eq!(signal("40"), Ok(40));
        for wrong in ["0", "65", "-1", "", "SIG", "SIGSIGHUP", "HUPP"] {
            assert!(signal(wrong).is_err(), "{wrong:?}");
        }
    }
}
