//! What tenants have used, as `tenantd meter` keeps it and `tenantd usage --json` prints it.

use serde::{Deserialize, Serialize};

use tenantd_core::name::{AppName, TenantName};

/// What a tenant used in one day or month, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The application.
    pub app: AppName,
    /// The tenant.
    pub tenant: TenantName,
    /// The day, as 2026-11-27, or the month, as 2026-11.
    pub period: String,
    /// How much.
    #[serde(flatten)]
    pub amounts: Amounts,
}

macro_rules! amounts {
    ($($(#[doc = $doc:literal])* $name:ident: $joined:ident;)*) => {
        /// What was used. `None`, in JSON null: that was not counted, as no controller of cgroups counts it.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Amounts {
            $($(#[doc = $doc])* pub $name: Option<u64>,)*
        }

        impl Amounts {
            /// The names of all amounts, in JSON and in the columns of the meter's store.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The values, in the order of [`Amounts::NAMES`].
            #[must_use]
            pub fn values(&self) -> Vec<Option<u64>> {
                vec![$(self.$name),*]
            }

            /// The amounts with these values, in that order. Missing ones are `None`.
            #[must_use]
            pub fn of_values(values: impl IntoIterator<Item = Option<u64>>) -> Self {
                let mut values = values.into_iter();
                Self { $($name: values.next().flatten()),* }
            }

            /// Adds what was used in another part of the period.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = joined(self.$name, other.$name, $joined);)*
            }
        }
    };
}

amounts! {
    /// Processor time in microseconds.
    cpu_usec: sum;
    /// How long its processes waited for the processor because of its quota, in microseconds.
    throttled_usec: sum;
    /// Bytes of memory, times seconds.
    memory_byte_seconds: sum;
    /// The most memory in bytes.
    memory_peak: largest;
    /// Bytes read from block devices.
    io_read: sum;
    /// Bytes written to block devices.
    io_written: sum;
    /// Bytes that the tenant received over its link.
    in_bytes: sum;
    /// Packets that it received.
    in_packets: sum;
    /// Bytes that it sent.
    out_bytes: sum;
    /// Packets that it sent.
    out_packets: sum;
    /// The largest size of its datastore in bytes.
    datastore_bytes: largest;
    /// How often its program was started again after it ended without a request.
    restarts: sum;
    /// How long its program ran, in milliseconds.
    up_ms: sum;
    /// Processes that were killed because memory was used up.
    oom_kills: sum;
}

fn sum(one: u64, other: u64) -> u64 {
    one.saturating_add(other)
}

fn largest(one: u64, other: u64) -> u64 {
    one.max(other)
}

fn joined(one: Option<u64>, other: Option<u64>, how: fn(u64, u64) -> u64) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(how(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_counted_stays_unknown() {
        let mut day = Amounts {
            cpu_usec: Some(1),
            memory_peak: Some(7),
            ..Amounts::default()
        };
        day.add(&Amounts {
            cpu_usec: Some(2),
            memory_peak: Some(3),
            restarts: Some(0),
            ..Amounts::default()
        });
        assert_eq!((day.cpu_usec, day.memory_peak), (Some(3), Some(7)));
        assert_eq!((day.restarts, day.io_read), (Some(0), None));
        assert_eq!(Amounts::of_values(day.values()), day);
        assert_eq!(day.values().len(), Amounts::NAMES.len());
    }
}
