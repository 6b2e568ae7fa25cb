//! What a plan must know of an interface of the host that tenants are to have macvlans of.

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its MTU in bytes.
    pub mtu: u32,
    /// What it is.
    pub kind: ParentKind,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The aliases of its ports. Those of tenantd bear a mark.
    pub ports: Vec<String>,
    /// The VLAN of frames without a tag at a new port, if it filters VLANs; 0 is none.
    pub vlan: Option<u16>,
}

/// Whether tenants can have macvlans of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentKind {
    /// They can.
    Ethernet,
    /// They can, and they can be ports of it too.
    Bridge(Bridge),
    /// It does not carry frames of Ethernet, such as `lo` or a tunnel.
    Other,
    /// It is wireless: an access point takes frames from one MAC address of a station only.
    Wireless,
    /// It belongs to another interface, with this name: it is a port of a bridge, or of a bond.
    Port(String),
    /// It is a macvlan or ipvlan itself.
    Upper,
}
