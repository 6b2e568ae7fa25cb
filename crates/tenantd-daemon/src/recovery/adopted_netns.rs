//! The network namespace of a launch that is adopted.

use std::fs::File;
use std::io;

use tenantd_core::name::TenantName;
use tenantd_host::netns::{Keeping, Netns};

use crate::recovery::Recovery;
use crate::state_file::record::Record;

impl Recovery {
    /// The network namespace of a running launch, which any process of it is in. If it is not inherited, it is
    /// being kept.
    pub(super) fn adopt_netns(
        &self,
        tenant: &TenantName,
        record: &Record,
        anyone: i32,
    ) -> io::Result<Option<Keeping>> {
        let netns = Netns::from_fd(File::open(format!("/proc/{anyone}/ns/net"))?.into())?;
        if record.netns != netns.inode() {
            return Err(io::Error::other(
                "its processes are in another network namespace",
            ));
        }
        match self.inherited_netns(tenant, netns.inode())? {
            true => Ok(None),
            false => self.host.netns.begin_keep(tenant, &netns).map(Some),
        }
    }
}
