//! `start`, `stop` and `restart`: sends the request, prints each tenant's answer, and waits until
//! the tenants have settled.

use std::io::{self, Write};

use super::End;
use super::args::Act;
use tenantd_api::client::Connection;
use tenantd_api::client::watch::{Until, wait};
use tenantd_api::wire::{Answer, StateWord, TenantAnswer, TenantStatus, Verb};
use tenantd_core::name::{AppName, TenantName};

pub(super) fn act(app: &AppName, verb: Verb, what: &Act, permanent: bool) -> anyhow::Result<End> {
    // None named means all, on the wire as here.
    let tenants = &what.which.names;
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let mut out = anstream::stdout();
        let answers = connection.act(verb, tenants, permanent).await?;
        let going = say_answers(&mut out, verb, &answers)?;
        let mut all = going.len() == answers.len();
        if !what.no_wait && !going.is_empty() {
            let settled = wait(app, &going, Until::Settled).await?;
            for tenant in &settled.reached {
                writeln!(out, "{}", outcome(tenant))?;
            }
            for tenant in &settled.gone {
                writeln!(out, "{}", gone(tenant))?;
            }
            all &= settled.reached.iter().all(|tenant| reached(verb, tenant));
            all &= settled.gone.is_empty();
        }
        Ok(if all { End::Done } else { End::NotAsWanted })
    })
}

/// Prints each answer, and returns the tenants that were not refused.
pub(super) fn say_answers(
    out: &mut impl Write,
    verb: Verb,
    answers: &[TenantAnswer],
) -> io::Result<Vec<TenantName>> {
    let mut going = Vec::new();
    for TenantAnswer { tenant, answer } in answers {
        match answer {
            Answer::Accepted => writeln!(out, "{tenant}: accepted: {}", doing(verb))?,
            Answer::AlreadySo => writeln!(out, "{tenant}: no change: {}", already(verb))?,
            Answer::Refused { reason } => writeln!(out, "{tenant}: refused: {reason}")?,
        }
        if !matches!(answer, Answer::Refused { .. }) {
            going.push(tenant.clone());
        }
    }
    Ok(going)
}

fn doing(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "starting",
        Verb::Stop => "stopping",
        Verb::Restart => "restarting",
    }
}

fn already(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "already wanted up",
        Verb::Stop => "already wanted down",
        Verb::Restart => "a restart is already under way",
    }
}

/// Whether the tenant is in the state that was asked for. A stop is done once the tenant is proved
/// down.
pub(super) fn reached(verb: Verb, tenant: &TenantStatus) -> bool {
    match verb {
        Verb::Start | Verb::Restart => tenant.state == StateWord::Up && tenant.ready == Some(true),
        Verb::Stop => tenant.state == StateWord::Down,
    }
}

/// One line: the tenant was removed from the manifest, and has been stopped and released.
pub(super) fn gone(tenant: &TenantName) -> String {
    format!("{tenant}: stopped and removed")
}

/// One line: the state of the tenant, and why it is in it.
pub(super) fn outcome(tenant: &TenantStatus) -> String {
    let mut line = format!("{}: {}", tenant.name, tenant.state.word());
    if tenant.state == StateWord::Up {
        line += match tenant.ready {
            Some(true) => ", ready",
            Some(false) | None => ", not ready",
        };
        if let Some(pid) = tenant.pid {
            line += &format!(", pid {pid}");
        }
        line += &format!(", {}", tenant.addresses);
    }
    if let Some(why) = &tenant.why {
        line += &format!(": {why}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::Want;

    fn tenant(state: StateWord, ready: Option<bool>, why: Option<&str>) -> TenantStatus {
        TenantStatus {
            name: "acme".parse().unwrap(),
            want: Want::Up,
            permanent: None,
            state,
            pid: ready.map(|_| 123),
            addresses: std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
            restarts: 0,
            since: jiff::Timestamp::UNIX_EPOCH,
            ready,
            program: None,
            awaits: Vec::new(),
            until: None,
            why: why.map(Into::into),
            failure: None,
            applying: false,
            unapplied: None,
        }
    }

    #[test]
    fn shows_the_outcome_for_a_tenant() {
        let up = tenant(StateWord::Up, Some(true), None);
        assert_eq!(outcome(&up), "acme: up, ready, pid 123, 10.77.0.11");
        let failed = tenant(StateWord::Failed, None, Some("cannot execute the program"));
        assert_eq!(outcome(&failed), "acme: failed: cannot execute the program");
        assert_eq!(outcome(&tenant(StateWord::Down, None, None)), "acme: down");
    }

    #[test]
    fn a_stop_is_done_only_if_proved() {
        let stuck = tenant(StateWord::Stuck, None, Some("2 processes are left"));
        assert!(!reached(Verb::Stop, &stuck));
        assert!(reached(Verb::Stop, &tenant(StateWord::Down, None, None)));
        let unready = tenant(StateWord::Up, Some(false), None);
        assert!(!reached(Verb::Start, &unready));
        assert!(!reached(
            Verb::Restart,
            &tenant(StateWord::Down, None, None)
        ));
    }

    #[test]
    fn refused_tenants_are_not_waited_for() {
        let answer = |name: &str, answer| TenantAnswer {
            tenant: name.parse().unwrap(),
            answer,
        };
        let reason = "the supervisor is ending".to_owned();
        let answers = [
            answer("acme", Answer::Accepted),
            answer("beta", Answer::AlreadySo),
            answer("crm", Answer::Refused { reason }),
        ];
        let mut out = Vec::new();
        let going = say_answers(&mut out, Verb::Start, &answers).unwrap();
        assert_eq!(going.len(), 2);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "acme: accepted: starting\n\
             beta: no change: already wanted up\n\
             crm: refused: the supervisor is ending\n"
        );
    }
}
