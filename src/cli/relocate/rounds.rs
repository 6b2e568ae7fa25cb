//! The rounds of copying while the tenant runs.

use std::io::Write;
use std::time::{Duration, Instant};

use super::copy::Sent;
use super::peer::Peer;

/// A round that takes less is the last one before the tenant is stopped.
const SHORT: Duration = Duration::from_secs(2);

/// As many, at most.
const MOST: u32 = 5;

/// Copies with `round`, until one is short, or is hardly shorter than the one before.
pub(super) fn all(
    peer: &Peer<'_>,
    mut round: impl FnMut(&str) -> anyhow::Result<Sent>,
) -> anyhow::Result<()> {
    let mut before: Option<Duration> = None;
    for number in 1..=MOST {
        let begun = Instant::now();
        let what = format!("round {number}");
        let sent = round(&what)?;
        let took = begun.elapsed();
        say(peer, &what, sent, took)?;
        let is_short = took < SHORT;
        if is_short || before.is_some_and(|before| took > before.mul_f64(0.8)) {
            break;
        }
        before = Some(took);
    }
    Ok(())
}

/// Prints what was copied, and how fast.
pub(super) fn say(peer: &Peer<'_>, what: &str, sent: Sent, took: Duration) -> anyhow::Result<()> {
    let Sent { files, bytes } = sent;
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
    let (size, rate) = (bytes as f64 / 1e6, bytes as f64 / 1e6 / seconds.max(0.001));
    let tenant = peer.tenant;
    let files = match files {
        Some(files) => format!("{files} files"),
        None => "a snapshot".to_owned(),
    };
    writeln!(
        std::io::stdout(),
        "{tenant}: {what}: {files}, {size:.1} MB in {seconds:.1} s, {rate:.1} MB/s"
    )?;
    Ok(())
}
