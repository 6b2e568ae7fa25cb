//! Derives the policy: when tenants start, stop, restart and are ready.

use std::sync::LazyLock;
use std::time::Duration;

use toml::Spanned;

use super::alive;
use super::model::{Policy, Readiness, RestartPolicy, RestartWhen, StopSignal, SuccessExit};
use super::phase::PhasePolicies;
use super::reload;
use crate::manifest::engine::Engine;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{App, Manifest, Ready, Restart};
use crate::manifest::storage::Storage;
use crate::manifest::value::{ProgramExit, When};
use crate::manifest::{self, Source};

/// The policy of all tenants except for `autostart`. `None` if a problem was reported.
pub(super) fn policy(manifest: &Manifest, problems: &mut Problems) -> Option<Policy> {
    let App {
        stop,
        restart,
        ready,
        daemonizes,
        ..
    } = &manifest.app;
    let ready_policy = readiness(ready, problems);
    let alive = alive::alive(&manifest.app.alive, problems);
    let reload = reload::reload(&manifest.app.reload, problems);
    check_restart(restart, problems);
    check_pid_file(&manifest.app, problems);
    let signal = stop.signal.as_ref()?.get_ref();
    Some(Policy {
        autostart: true,
        // It is planned with the tenants.
        engine: Engine::Tenantd,
        storage: Storage::Local,
        stop_signal: StopSignal {
            number: signal.number,
            name: signal.name.to_owned(),
        },
        grace: *stop.grace.as_ref()?.get_ref(),
        restart: RestartPolicy {
            when: match restart.when.as_ref()?.get_ref() {
                When::Always => RestartWhen::Always,
                When::OnFailure => RestartWhen::OnFailure,
                When::Never => RestartWhen::Never,
            },
            delay: *restart.delay.as_ref()?.get_ref(),
            delay_max: *restart.delay_max.as_ref()?.get_ref(),
            healthy_after: *restart.healthy_after.as_ref()?.get_ref(),
            strikes: *restart.strikes.as_ref()?.get_ref(),
            window: *restart.window.as_ref()?.get_ref(),
            success: success(restart)?,
        },
        ready: ready_policy?,
        ready_within: *ready.within.as_ref()?.get_ref(),
        daemonizes: *daemonizes.as_ref()?.get_ref(),
        // It is planned with the paths.
        pid_file: None,
        // The commands are planned with the tenants.
        phases: PhasePolicies::default(),
        alive: alive?,
        watchdog: ready.watchdog.as_ref().map(|time| *time.get_ref()),
        reload: reload?,
    })
}

/// The exits that count as success in addition to status 0.
fn success(restart: &Restart) -> Option<Vec<SuccessExit>> {
    let said = restart.success.as_ref()?.get_ref().iter();
    let exits = said.map(|exit| match exit.get_ref() {
        ProgramExit::Status(status) => SuccessExit::Status(*status),
        ProgramExit::Signal(signal) => SuccessExit::Signal(StopSignal {
            number: signal.number,
            name: signal.name.to_owned(),
        }),
    });
    Some(exits.collect())
}

/// The policy of a manifest that sets no key of it.
pub(super) fn default() -> &'static Policy {
    static DEFAULT: LazyLock<Policy> = LazyLock::new(|| {
        let mut problems = Problems::new("the defaults", "");
        let nothing = manifest::read(&Source::default(), &mut problems);
        policy(&nothing, &mut problems).expect("every key of the policy has a default")
    });
    &DEFAULT
}

impl Default for Policy {
    /// The policy of a manifest that sets no key of it.
    fn default() -> Self {
        default().clone()
    }
}

fn readiness(ready: &Ready, problems: &mut Problems) -> Option<Readiness> {
    let said_notify = ready.notify.as_ref().filter(|on| *on.get_ref());
    let tcp = ready.tcp.as_ref().map(|port| (port.span(), "tcp"));
    let notify = said_notify.map(|on| (on.span(), "notify"));
    let lived = ready.lived.as_ref().map(|time| (time.span(), "lived"));
    let mut said: Vec<_> = [tcp, notify, lived].into_iter().flatten().collect();
    said.sort_by_key(|(span, _)| span.start);
    if let [(first, word), rest @ ..] = said.as_slice() {
        for (span, other) in rest {
            problems
                .report(span, format!("`{word}` and `{other}` exclude each other"))
                .also(first, "the other one")
                .help("remove one of them");
        }
    }
    if let (Some(lived), Some(within)) = (&ready.lived, &ready.within)
        && lived.get_ref() > within.get_ref()
    {
        problems
            .report(
                &lived.span(),
                "no tenant could become ready: `lived` is longer than `within`",
            )
            .also(&within.span(), limit_note("within", within, &ready.at))
            .help("raise `within` or lower `lived`");
    }
    let port = ready
        .tcp
        .as_ref()
        .map(|port| u16::try_from(*port.get_ref()));
    Some(match (port, said_notify, &ready.lived) {
        (Some(port), _, _) => Readiness::Tcp(port.ok()?),
        (None, Some(_), _) => Readiness::Notify,
        (None, None, Some(lived)) => Readiness::Lived(*lived.get_ref()),
        (None, None, None) => Readiness::Started,
    })
}

/// A program in the foreground is its own main process.
fn check_pid_file(app: &App, problems: &mut Problems) {
    let daemonizes = app.daemonizes.as_ref().map(|it| *it.get_ref());
    if let (Some(path), Some(false)) = (&app.pid_file, daemonizes) {
        let message = "`pid_file` has no effect: the program stays in the foreground";
        problems
            .report(&path.span(), message)
            .help("remove it, or set `daemonizes = true`");
    }
}

fn check_restart(restart: &Restart, problems: &mut Problems) {
    let (Some(delay), Some(delay_max)) = (&restart.delay, &restart.delay_max) else {
        return;
    };
    if delay.get_ref() > delay_max.get_ref() {
        let problem = if later(delay, delay_max) == delay.span() {
            let problem = problems.report(&delay.span(), "`delay` is longer than `delay_max`");
            let note = limit_note("delay_max", delay_max, &restart.at);
            problem.also(&delay_max.span(), note)
        } else {
            let problem = problems.report(&delay_max.span(), "`delay_max` is shorter than `delay`");
            problem.also(&delay.span(), limit_note("delay", delay, &restart.at))
        };
        problem.help("raise `delay_max` or lower `delay`");
        return;
    }
    let (Some(strikes), Some(window)) = (&restart.strikes, &restart.window) else {
        return;
    };
    let least = delays(*delay.get_ref(), *delay_max.get_ref(), *strikes.get_ref());
    if least > *window.get_ref() {
        let pairs = [later(strikes, window), later(delay, delay_max)];
        let [one, other] = pairs;
        let at = if one.start >= other.start { one } else { other };
        let message = format!(
            "no tenant could become failed: {} strikes take {:.1} s, and `window` is {}",
            strikes.get_ref(),
            least.as_secs_f64(),
            said(*window.get_ref()),
        );
        problems
            .report(&at, message)
            .help("raise `window`, lower `strikes`, or turn this off with `strikes = 0`");
    }
}

/// The note at the other one of two keys, or at their table if that key is not written.
fn limit_note(key: &str, value: &Spanned<Duration>, table: &Span) -> String {
    match value.span() == *table {
        true => format!("`{key}` is not set here: it is {}", said(*value.get_ref())),
        false => format!("`{key}`"),
    }
}

/// A duration in the notation of the manifest.
fn said(duration: Duration) -> String {
    jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&duration)
}

/// The sum of the delays between this many strikes.
fn delays(first: Duration, longest: Duration, strikes: u32) -> Duration {
    let mut delay = first;
    let mut sum = Duration::ZERO;
    for _ in 1..strikes {
        sum = sum.saturating_add(delay);
        delay = delay.saturating_mul(2).min(longest);
    }
    sum
}

/// The later position. A key that is not written has the position of its table, which is earlier.
fn later<A, B>(a: &Spanned<A>, b: &Spanned<B>) -> std::ops::Range<usize> {
    if a.span().start > b.span().start {
        a.span()
    } else {
        b.span()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let sum = delays(Duration::from_millis(100), Duration::from_secs(30), 10);
        assert_eq!(sum, Duration::from_millis(51_100));
        let sum = delays(Duration::from_secs(1), Duration::from_secs(2), 4);
        assert_eq!(sum, Duration::from_secs(5));
        assert_eq!(
            delays(Duration::from_secs(1), Duration::from_secs(2), 0),
            Duration::ZERO
        );
    }
}
