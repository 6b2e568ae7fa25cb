//! Texts that a tenant chose, for a terminal.

pub(super) use tenantd_api::history::plain;
