//! Finds and removes links that bear an application's mark. Lists all links of the host, so it is
//! only used to collect residue.
//!
//! The functions block, and use a socket and a runtime of their own: call them on a blocking
//! thread.

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive;
use tenantd_core::stage::{Failure, Stage};

use super::firewall;
use super::index::is_index;
use super::link::{Found, Links};
use super::listed;
use super::refusal::broken;
use super::subnet;

/// A link that bears an application's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The name of the link.
    pub name: String,
    /// The tenant that the link belongs to; `None` for the hub.
    pub tenant: Option<TenantName>,
    index: u32,
    mark: String,
}

impl Marked {
    /// Whether the link is still there. Its network namespace exists as long.
    ///
    /// # Errors
    /// A [`Failure`] of stage link.
    pub fn is_there(&self) -> Result<bool, Failure> {
        let failed = |errno: Errno| Failure::errno(Stage::Link, &self.name, errno.raw_os_error());
        is_index(self.index).map_err(failed)
    }
}

/// The links of an application on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The links that belong to the application.
    pub ours: Vec<Marked>,
    /// The names of links that look like tenantd's but bear no mark.
    pub strangers: Vec<String>,
    /// The families of the tables of nftables that belong to the application.
    pub tables: Vec<&'static str>,
}

/// Lists all links. A link of one of the tenants `known` belongs to the application even if it has
/// no mark yet.
///
/// # Errors
/// The stage [`Stage::Link`].
pub fn survey(app: &AppName, known: &BTreeSet<TenantName>) -> Result<Survey, Failure> {
    let mut survey = Survey {
        tables: firewall::residue::found(app)?,
        ..Survey::default()
    };
    let sort = |found: Found| match owner(app, known, &found) {
        Some((tenant, mark)) => survey.ours.push(Marked {
            name: found.name,
            tenant,
            index: found.index,
            mark,
        }),
        None if is_called_as_ours(&found.name) && !found.is_marked() => {
            survey.strangers.push(found.name);
        }
        None => {}
    };
    inside(|links| async move { listed::each(&links, sort).await })?;
    Ok(survey)
}

/// The name of the application's table of a family, as nft(8) takes it.
#[must_use]
pub fn table_name(app: &AppName, family: &str) -> String {
    format!("{family} {}", derive::nft_table(app.as_str()))
}

/// Deletes the application's table of a family.
///
/// # Errors
/// The stage [`Stage::Release`].
pub fn remove_table(app: &AppName, family: &str) -> Result<(), Failure> {
    firewall::residue::remove(app, family)
}

/// Deletes a link, unless another link has its name or index meanwhile.
///
/// # Errors
/// The stage [`Stage::Link`].
pub fn remove(link: &Marked) -> Result<(), Failure> {
    inside(|links| async move {
        match links.find_index(link.index).await? {
            Some(found) if found.name == link.name && !found.is_marked_otherwise(&link.mark) => {
                if link.tenant.is_none() {
                    subnet::remove_of_hub(&links, found.index, &[]).await?;
                }
                links.delete(&found).await?;
                links.sweep_proxies(None).await
            }
            Some(_) | None => Ok(()),
        }
    })
}

fn owner(
    app: &AppName,
    known: &BTreeSet<TenantName>,
    found: &Found,
) -> Option<(Option<TenantName>, String)> {
    if found.is_ours(&derive::hub_mark(app), derive::hub(app).mac) {
        return Some((None, derive::hub_mark(app)));
    }
    if let Some(tenant) = found.tenant_of(app) {
        let mark = derive::link_mark(app, &tenant);
        return Some((Some(tenant), mark));
    }
    let of = |tenant: &&TenantName| {
        let end = derive::host_end(derive::tenant_hash(app, tenant));
        let marker = derive::marker_end(derive::tenant_hash(app, tenant));
        let port = derive::port_end(derive::tenant_hash(app, tenant));
        let is_ours = |mac| found.is_ours(&derive::link_mark(app, tenant), mac);
        found.name == end.name.as_str() && [end, marker, port].iter().any(|it| is_ours(it.mac))
    };
    let tenant = known.iter().find(of)?;
    Some((Some(tenant.clone()), derive::link_mark(app, tenant)))
}

fn is_called_as_ours(name: &str) -> bool {
    let firsts = [derive::HOST_END, derive::HUB];
    firsts.iter().any(|first| derive::is_derived(first, name))
}

fn inside<T, F: Future<Output = Result<T, Failure>>>(
    work: impl FnOnce(Links) -> F,
) -> Result<T, Failure> {
    let failed = |error: io::Error| broken(Stage::Link, "", &error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let links = Links::connect().map_err(failed)?;
        work(links).await
    })
}
