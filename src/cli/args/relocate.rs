//! The arguments of `move` and `receive`.

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;
use tenantd_api::client::pattern::Pattern;
use tenantd_core::name::TenantName;

/// Of `move`.
pub(super) const MOVE: &str = "EXAMPLES
  tenantd move acme h2 --dry-run
  tenantd move acme h2
  tenantd move acme h2 --rsh 'ssh -i /root/.ssh/move'
  tenantd move acme h2 --undo
  tenantd move --all h2 --parallel 4
  tenantd move acme h2 --transport rsync

Moves a tenant from this host to another one, where a supervisor of the same application runs. It
asks the other host first whether the tenant fits there. With storage = \"local\" it copies the
datastore, in rounds while the tenant runs, until a round takes less than two seconds
or is hardly shorter than the one before. Then it stops the tenant, proves that, copies what has
changed since, hands the datastore over, and starts the tenant on the other host. With storage =
\"shared\" nothing is copied. A tenant of another engine, or with storage = \"replicated\", is moved by
its engine.

TRANSPORT
  auto    snapshots where the datastore is a subvolume of btrfs, its folder on the other host is on btrfs, and
          both hosts have btrfs(8); else rsync. --dry-run says which, and why
  rsync   rsync(1)
  btrfs   a read-only snapshot for each round, sent with btrfs-send(8) as what differs from the one before, or
          refused, with the reason. While the tenant is stopped, only what has changed is read. Until the move ends,
          what the tenant overwrites stays on the disk. A datastore with subvolumes in it, and one with simple
          quotas, is copied by rsync. As with rsync, flags of inodes (chattr) are not copied

The hand-over is one write to the owner record of the datastore here. If something fails before, the
tenant is started here again, if it ran. From then on only the other host may start it: this host
refuses to. The datastore here is kept as NAME.moved-TIME, and an empty folder with the record takes
its place.

SIGINT, SIGTERM and SIGHUP interrupt it: that is such a failure. A second one kills `move`. If it is
killed, type the same command again: it continues, before the hand-over as after it.
Before the hand-over, `tenantd start NAME` starts it here again, and --undo also removes the copy.

Of several tenants, --parallel are moved at a time. After a failure no further move begins; those under
way are finished, and the command says which tenants were moved, failed, or were not begun. The same
command then continues: tenants that the other host has already stay there. The first one is refused if the
other host has no room for all. --all leaves out tenants of another engine or with storage = \"replicated\", says so,
and ends with code 4 if one of them runs here: then this host is not empty. On a terminal, a move shows what it has copied, and how fast, unless
others are under way beside it.

The other host is reached with ssh, as root, or with --rsh or TENANTD_RSH: a command to which the name
of the host and a command are appended, as for rsync. If tenantd there says nothing for 60 s, that is a failure; rsync
waits for 60 s, and for one more for each 20 MB of the data.

If a host is lost in the middle: before the hand-over, the one that the tenant comes from has all of its data, and
starts it when it is back. After it, or if the copy is complete, `tenantd start NAME --takeover` on the other host starts the
tenant there, and if that one is lost, on this host: only if the lost host will never use the data again.

EXIT CODES
  0 moved, and ready there   1 refused or failed; the message says where the tenant is and what to
  type   2 usage error   4 moved, but tenants that --all leaves out run here   78 manifest has problems";

/// The arguments of `move`.
#[derive(Debug, Args)]
pub struct Move {
    /// Names of tenants, or patterns in quotes: 'shop-*'; and, last, the host to move them to
    #[arg(value_name = "NAME... HOST", required = true)]
    #[arg(add = ArgValueCandidates::new(complete::tenants))]
    words: Vec<String>,
    /// All tenants of the application that tenantd starts and that have data here
    #[arg(long)]
    pub all: bool,
    /// How many tenants to move at a time, 1 to 16; after a failure no further one begins
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub parallel: u8,
    /// Only ask the other host, and say what would be done
    #[arg(long, conflicts_with = "undo")]
    pub dry_run: bool,
    /// How the data is copied: auto, rsync, or btrfs
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Asked::Auto, hide_possible_values = true)]
    pub transport: Asked,
    /// Remove the copy of a move that was interrupted, and start the tenant here again
    #[arg(long)]
    pub undo: bool,
    /// How the other host is reached.
    #[command(flatten)]
    pub remote: Remote,
}

/// How `move` is told to copy data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Asked {
    /// Snapshots of btrfs where both hosts can, else rsync
    Auto,
    /// rsync(1)
    Rsync,
    /// Snapshots, with btrfs-send(8)
    Btrfs,
}

/// How another host is reached.
#[derive(Debug, Args)]
pub struct Remote {
    /// Command that runs a command on a host
    #[arg(
        long,
        value_name = "COMMAND",
        env = "TENANTD_RSH",
        default_value = "ssh"
    )]
    pub rsh: String,
}

impl Move {
    /// The tenants, none with `--all`, and the host.
    ///
    /// # Errors
    /// One of them is missing or is no name.
    pub fn typed(&self) -> Result<(Vec<Pattern>, String), clap::Error> {
        let wrong = |why: String| clap::Error::raw(ErrorKind::ValueValidation, why + "\n");
        let (last, names) = self.words.split_last().unwrap_or((&NONE, &[]));
        let host = host(last).map_err(|why| wrong(format!("{last:?}: {why}")))?;
        match (self.all, names.is_empty()) {
            (true, false) => Err(wrong(
                "--all moves all tenants: name the host alone".to_owned(),
            )),
            (false, true) => Err(wrong(format!(
                "no tenant or no host: `tenantd move NAME {host}`, or `tenantd move --all {host}`"
            ))),
            (true, true) | (false, false) => {
                let parsed = names.iter().map(|name| {
                    let failed =
                        |why| wrong(format!("{name:?} cannot be the name of a tenant: {why}"));
                    name.parse::<Pattern>().map_err(failed)
                });
                Ok((parsed.collect::<Result<_, _>>()?, host))
            }
        }
    }
}

static NONE: String = String::new();

/// What the source of a move asks its target for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Whether the tenant can come
    Check,
    /// Make the folder for the copy
    Stage,
    /// Receive a snapshot, which follows on standard input
    Snapshot,
    /// Note that the copy is complete
    Seal,
    /// Put it in its place, and start the tenant
    Take,
    /// Remove the copy
    Abandon,
}

/// The arguments of `receive`.
#[derive(Debug, Args)]
pub struct Receive {
    /// Step of the move
    #[arg(value_enum)]
    pub step: Step,
    /// Name of the tenant
    pub tenant: TenantName,
}

/// A name of a host, as ssh(1) takes it, that is no option.
pub(super) fn host(typed: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
    match typed.starts_with('-') || typed.is_empty() || !typed.chars().all(is_good) {
        true => Err("expected the name of a host, or USER@HOST".to_owned()),
        false => Ok(typed.to_owned()),
    }
}
