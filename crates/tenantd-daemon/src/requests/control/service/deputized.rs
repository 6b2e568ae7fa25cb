//! Requests that a deputy carries out.

use std::os::fd::OwnedFd;

use super::{Names, Service, named};
use crate::deputy::{Logs, What};
use crate::requests::control::deputies::Mandate;
use crate::requests::queue::Request;
use tenantd_api::wire::varlink::Refusal;
use tenantd_api::wire::{Deputy, LOG_LINES_MAX};
use tenantd_core::name::TenantName;
use tenantd_core::rights::Right;

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

    fn mandate(&self, right: Right, tenants: Vec<TenantName>) -> Mandate {
        Mandate {
            client: self.queue.client().cloned(),
            right,
            tenants,
        }
    }
}
