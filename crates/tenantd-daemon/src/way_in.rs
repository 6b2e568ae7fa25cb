//! The way to a tenant's program: from the host, or, where the host cannot reach the tenant's link (mode macvlan), from
//! inside the tenant's network namespace.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::spawn_blocking;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::LinkPlan;
use tenantd_host::netns::{self, NetnsMounts};

/// Where connections to a tenant begin.
#[derive(Clone)]
pub(crate) enum WayIn {
    /// On the host.
    Host,
    /// In the network namespace of this tenant.
    Inside(Arc<NetnsMounts>, TenantName),
}

impl WayIn {
    /// The way to a tenant with this link.
    pub(crate) fn of(link: &LinkPlan, namespaces: &Arc<NetnsMounts>, tenant: &TenantName) -> Self {
        match link.parent {
            None => Self::Host,
            Some(_) => Self::Inside(Arc::clone(namespaces), tenant.clone()),
        }
    }

    /// Connects to an address of the tenant.
    ///
    /// # Errors
    /// Those of connect(2), and of entering the namespace.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let Self::Inside(namespaces, tenant) = self else {
            return TcpStream::connect(to).await;
        };
        let (namespaces, tenant) = (Arc::clone(namespaces), tenant.clone());
        // A socket stays in the namespace in which it was made.
        let made = spawn_blocking(move || match namespaces.open(&tenant)? {
            Some(netns) => netns::socket_in(&netns, to.is_ipv4()),
            None => Err(io::Error::from_raw_os_error(libc::ENONET)),
        });
        let made = made.await.map_err(io::Error::from)??;
        TcpSocket::from_std_stream(made).connect(to).await
    }
}
