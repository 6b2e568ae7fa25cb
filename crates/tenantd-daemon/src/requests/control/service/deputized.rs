//! Requests that a deputy carries out.

use std::os::fd::OwnedFd;

use super::{Names, Service, named};
use crate::deputy::{Exec, Logs, What};
use crate::requests::control::deputies::Mandate;
use crate::requests::control::refusals::not_joined;
use crate::requests::queue::{AskedExec, Request};
use tenantd_api::history::{Asked, Kind};
use tenantd_api::wire::varlink::Refusal;
use tenantd_api::wire::{Deputy, LOG_LINES_MAX};
use tenantd_core::name::TenantName;
use tenantd_core::rights::Right;

/// How many characters of a command are noted.
const SHOWN: usize = 80;

/// The longest name of a terminal.
const TERM_MAX: usize = 64;

/// A command, for the audit log.
fn shown(command: &[String]) -> String {
    let words = command.iter().flat_map(|word| [" ", word]).skip(1);
    let text = words.flat_map(str::chars).filter(|it| !it.is_control());
    text.take(SHOWN).collect()
}

/// Whether a text can be the name of a terminal. Programs make a path of it.
fn is_terminal(term: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte);
    term.len() <= TERM_MAX && term.bytes().all(is_fine) && !term.starts_with('.')
}

impl Service {
    pub(super) async fn logged(
        &self,
        tenants: Option<Names>,
        (lines, since, follow): (Option<u64>, Option<i64>, bool),
    ) -> Result<(Deputy, OwnedFd), Refusal> {
        let tenants = named(tenants);
        let of = tenants.clone();
        self.turn(Right::Logs, &of).await?;
        let answering = async {
            if lines.is_some_and(|lines| lines > LOG_LINES_MAX) {
                let reason = format!("at most {LOG_LINES_MAX} lines can be asked for");
                return Err(Refusal::NoDeputy { reason });
            }
            let request = |reply| Request::Logs { tenants, reply };
            let (tenants, place) = self.queue.send(request).await??;
            let mandate = self.mandate(Right::Logs, tenants.clone());
            let what = What::Logs(Logs {
                tenants,
                place,
                lines: lines.and_then(|lines| usize::try_from(lines).ok()),
                since,
                follow,
            });
            self.deputies.send((self.app.clone(), what), mandate).await
        };
        self.audited("logs", of, answering).await
    }

    pub(super) async fn happened(
        &self,
        tenants: Option<Names>,
        (since_ms, until_ms, lines): (Option<i64>, Option<i64>, Option<u64>),
        kinds: Option<Vec<String>>,
    ) -> Result<(Deputy, OwnedFd), Refusal> {
        let tenants = named(tenants);
        let of = tenants.clone();
        self.turn(Right::Logs, &of).await?;
        let answering = async {
            let words = kinds.unwrap_or_default();
            let is_asked = |kind: &&Kind| words.iter().any(|word| word == kind.word());
            let kinds: Vec<Kind> = Kind::ALL.iter().filter(is_asked).copied().collect();
            if kinds.len() != words.len() {
                let reason = "a kind of entries is not known, or is named twice".to_owned();
                return Err(Refusal::NoDeputy { reason });
            }
            let request = |reply| Request::Logs { tenants, reply };
            let (tenants, _) = self.queue.send(request).await??;
            let what = What::History(Box::new(Asked {
                app: Some(self.app.clone()),
                names: tenants.iter().map(ToString::to_string).collect(),
                since_ms,
                until_ms,
                lines,
                kinds,
                is_restricted: true,
            }));
            let mandate = self.mandate(Right::Logs, tenants);
            self.deputies.send((self.app.clone(), what), mandate).await
        };
        self.audited("history", of, answering).await
    }

    pub(super) async fn visited(
        &self,
        tenant: TenantName,
        command: Vec<String>,
        term: Option<String>,
    ) -> Result<(Deputy, OwnedFd), Refusal> {
        let of = vec![tenant.clone()];
        self.turn(Right::Exec, &of).await?;
        let verb = format!("exec {}", shown(&command));
        let tenants = of.clone();
        let answering = async {
            // Who may run commands in all tenants may reach all of them.
            let of_all = self.queue.is_of_operator(Right::Exec, &[]);
            let apart = self.queue.client().is_some() && !of_all;
            let request = |reply| {
                Request::Exec(AskedExec {
                    tenants,
                    apart,
                    reply,
                })
            };
            let target = self.queue.send(request).await?;
            let target = target.map_err(|error| not_joined(&tenant, error))?;
            let mandate = self.mandate(Right::Exec, vec![tenant.clone()]);
            let what = What::Exec(Box::new(Exec {
                tenant,
                target,
                command,
                term: term.filter(|term| is_terminal(term)),
            }));
            self.deputies.send((self.app.clone(), what), mandate).await
        };
        self.audited(&verb, of, answering).await
    }

    fn mandate(&self, right: Right, tenants: Vec<TenantName>) -> Mandate {
        Mandate {
            client: self.queue.client().cloned(),
            right,
            tenants,
        }
    }
}

/// The answer of a method that returns a descriptor.
pub(super) fn with_descriptor(
    answer: Result<(Deputy, OwnedFd), Refusal>,
) -> (Result<Deputy, Refusal>, Vec<OwnedFd>) {
    match answer {
        Ok((deputy, descriptor)) => (Ok(deputy), vec![descriptor]),
        Err(refusal) => (Err(refusal), Vec::new()),
    }
}
