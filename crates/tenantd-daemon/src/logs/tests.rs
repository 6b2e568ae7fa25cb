//! The reading of output, with plain pipes.

use std::cell::Cell;
use std::io::{PipeWriter, Write};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};

use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::Exit;

use crate::logs::*;

/// A tenant's pipes, and their writing ends for the test.
fn pipes() -> (ReadEnds, [PipeWriter; 2]) {
    let pipe = || {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        (ours, PipeWriter::from(theirs))
    };
    let ((stdout, out), (stderr, err)) = (pipe(), pipe());
    (ReadEnds { stdout, stderr }, [out, err])
}

fn name(number: usize) -> TenantName {
    format!("t{number}").parse().unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    reader: Rc<LogReader>,
}

impl Bench {
    fn new(own: impl Write + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned(), u64::MAX);
        let reader = Rc::new(
            LogReader::new("wiki".parse().unwrap(), Sink::files(files, own).unwrap()).unwrap(),
        );
        Self { folder, reader }
    }

    fn mark(&self, tenant: &TenantName, mark: Mark) {
        self.reader.marks.borrow_mut().push(tenant.clone(), mark);
        self.reader.marked.notify_one();
    }

    fn lines(&self, tenant: &TenantName) -> Vec<String> {
        let path = self.folder.path().join(format!("{tenant}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let without_time = |line: &str| line.split_once(' ').unwrap().1.to_owned();
        text.lines().map(without_time).collect()
    }
}

/// Runs a test in the daemon's environment: one thread, a `LocalSet`, and a time limit.
fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let limit = Duration::from_secs(20);
    let limited = async { tokio::time::timeout(limit, test).await };
    local.block_on(&runtime, limited).expect("it hangs");
}

/// Writes to a pipe until its reading end is closed.
fn flood(mut pipe: PipeWriter) -> std::thread::JoinHandle<()> {
    let lines = b"noise\n".repeat(10_000);
    std::thread::spawn(move || while pipe.write_all(&lines).is_ok() {})
}

#[test]
fn a_flooding_tenant_delays_others_by_one_iteration_at_most() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let quiet: Vec<TenantName> = (0..20).map(name).collect();
        let (read_ends, [out, err]) = pipes();
        let loud = name(99);
        bench.reader.add(&loud, read_ends).unwrap();
        let floods = [flood(out), flood(err)];
        for _ in 0..3 {
            bench.reader.iterate().await.unwrap();
        }
        let mut ends = Vec::new();
        for tenant in &quiet {
            let (read_ends, mut pipes) = pipes();
            bench.reader.add(tenant, read_ends).unwrap();
            writeln!(pipes[0], "hello").unwrap();
            ends.push(pipes);
        }
        // All 22 pipes are ready: each is read before any is read twice.
        for _ in 0..22 {
            bench.reader.iterate().await.unwrap();
        }
        for tenant in &quiet {
            assert_eq!(bench.lines(tenant), ["stdout hello"], "{tenant}");
        }
        // No iteration reads more than a pipe's share, however much there is.
        let most = (3 + 2) * (READ_MAX / b"noise\n".len() + 1);
        let noise = bench.lines(&loud).len();
        assert!(noise > 0 && noise <= most, "{noise} lines");
        drop(bench);
        for flood in floods {
            flood.join().unwrap();
        }
    });
}

#[test]
fn the_rest_of_the_daemon_runs_between_any_two_iterations() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (read_ends, [out, _err]) = pipes();
        bench.reader.add(&name(0), read_ends).unwrap();
        let flood = flood(out);
        let reading = tokio::task::spawn_local(Rc::clone(&bench.reader).read());
        let rest = Rc::new(Cell::new(0));
        for _ in 0..100 {
            rest.set(rest.get() + 1);
            tokio::task::yield_now().await;
        }
        // This ended although the reading never ends.
        assert_eq!(rest.get(), 100);
        assert!(!reading.is_finished());
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        drop(bench);
        flood.join().unwrap();
    });
}

#[test]
fn unread_output_of_the_supervisor_blocks_nothing() {
    run(async {
        let (unread, own) = std::io::pipe().unwrap();
        let bench = Bench::new(own);
        let (read_ends, [mut out, _err]) = pipes();
        bench.reader.add(&name(0), read_ends).unwrap();
        let writing = std::thread::spawn(move || {
            for number in 0..100_000 {
                writeln!(out, "{number}").unwrap();
            }
            out
        });
        tokio::task::spawn_local(Rc::clone(&bench.reader).read());
        let written = tokio::task::spawn_blocking(|| writing.join().unwrap()).await;
        drop(written.unwrap());
        bench.reader.remove(&name(0)).await;
        let lines = bench.lines(&name(0));
        let wanted = (0..100_000).map(|number| format!("stdout {number}"));
        assert!(lines.iter().cloned().eq(wanted), "{} lines", lines.len());
        drop(unread);
    });
}

#[test]
fn an_unfinished_line_is_written_at_the_end() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (read_ends, [mut out, mut err]) = pipes();
        let tenant = name(0);
        bench.reader.add(&tenant, read_ends).unwrap();
        write!(out, "half").unwrap();
        bench.reader.iterate().await.unwrap();
        assert!(bench.lines(&tenant).is_empty());
        write!(out, " done\nrest").unwrap();
        write!(err, "last words").unwrap();
        bench.reader.remove(&tenant).await;
        let lines = bench.lines(&tenant);
        assert_eq!(
            lines,
            ["stdout half done", "stdout rest", "stderr last words"]
        );
        assert!(writeln!(out, "nobody").is_err(), "the pipe is still open");
    });
}

#[test]
fn an_unwritable_folder_loses_lines_only() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (read_ends, [mut out, _err]) = pipes();
        let tenant = name(0);
        bench.reader.add(&tenant, read_ends).unwrap();
        let obstacle = bench.folder.path().join("t0.log");
        std::fs::create_dir(&obstacle).unwrap();
        for line in ["lost", "lost too"] {
            writeln!(out, "{line}").unwrap();
            bench.reader.iterate().await.unwrap();
        }
        assert_eq!(bench.reader.sink.lock().await.lost(&tenant), 2);
        std::fs::remove_dir(&obstacle).unwrap();
        writeln!(out, "kept").unwrap();
        bench.reader.iterate().await.unwrap();
        assert_eq!(bench.lines(&tenant), ["stdout kept"]);
        assert_eq!(bench.reader.sink.lock().await.lost(&tenant), 0);
    });
}

#[test]
fn a_supervisor_that_dies_before_writing_lines_loses_none() {
    run(async {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        // It is not read, so it is full soon.
        let _journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let sink = Sink::journal(Journal::new("wiki".parse().unwrap(), &path));
        let dying = LogReader::new("wiki".parse().unwrap(), sink).unwrap();
        let (read_ends, [mut out, _err]) = pipes();
        let next = read_ends.stdout.try_clone().unwrap();
        dying.add(&name(0), read_ends).unwrap();
        for number in 0..5_000 {
            writeln!(out, "{number}").unwrap();
        }
        write!(out, "half").unwrap();
        let life = tokio::time::timeout(Duration::from_millis(100), dying.iterate());
        assert!(life.await.is_err(), "the journal took a whole turn");
        drop(dying);

        let bench = Bench::new(std::io::sink());
        let (ReadEnds { stderr, .. }, _ends) = pipes();
        let stdout = next;
        bench
            .reader
            .add(&name(0), ReadEnds { stdout, stderr })
            .unwrap();
        bench.reader.remove(&name(0)).await;
        let lines = bench.lines(&name(0));
        let wanted = (0..5_000).map(|number| format!("stdout {number}"));
        let wanted = wanted.chain(["stdout half".to_owned()]);
        assert!(lines.iter().cloned().eq(wanted), "{} lines", lines.len());
    });
}

#[test]
fn an_unfinished_line_stays_in_its_pipe_until_the_pause_is_over() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (read_ends, [mut out, _err]) = pipes();
        let pipe = read_ends.stdout.try_clone().unwrap();
        bench.reader.add(&name(0), read_ends).unwrap();
        write!(out, "Go on? ").unwrap();
        bench.reader.iterate().await.unwrap();
        let quiet = tokio::time::timeout(PAUSE_MAX / 4, bench.reader.iterate());
        assert!(quiet.await.is_err(), "it is looked at again and again");
        assert_eq!(rustix::io::ioctl_fionread(&pipe).unwrap(), 7);
        // The line grows, and its pause continues.
        write!(out, "(yes/no) ").unwrap();
        bench.reader.iterate().await.unwrap();
        while bench.lines(&name(0)).is_empty() {
            bench.reader.iterate().await.unwrap();
        }
        writeln!(out, "yes").unwrap();
        bench.reader.iterate().await.unwrap();
        let lines = bench.lines(&name(0));
        assert_eq!(
            lines,
            ["stdout Go on? (yes/no)  [no line end]", "stdout yes"]
        );
        assert_eq!(rustix::io::ioctl_fionread(&pipe).unwrap(), 0);
    });
}

#[test]
fn a_write_without_a_new_event_is_noticed() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (read_ends, [mut out, _err]) = pipes();
        bench.reader.add(&name(0), read_ends).unwrap();
        write!(out, "half").unwrap();
        bench.reader.iterate().await.unwrap();
        // The write fills the pipe, which is not empty, and waits without an event in epoll(7).
        let writing = std::thread::spawn(move || {
            out.write_all(&b" and more\n".repeat(20_000)).unwrap();
            out
        });
        while bench.lines(&name(0)).len() < 20_000 {
            bench.reader.iterate().await.unwrap();
        }
        assert_eq!(bench.lines(&name(0))[0], "stdout half and more");
        drop(writing.join().unwrap());
    });
}

#[test]
fn quiet_tenants_cost_no_iterations() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (quiet, _ends) = pipes();
        bench.reader.add(&name(0), quiet).unwrap();
        let is_quiet = || {
            let mut ready: Vec<epoll::Event> = Vec::with_capacity(1);
            let spare = rustix::buffer::spare_capacity(&mut ready);
            let at_once = Some(&rustix::event::Timespec::default());
            epoll::wait(&bench.reader.epoll, spare, at_once).unwrap() == 0
        };
        assert!(is_quiet());
        assert!(2 * size_of::<Pipe>() <= 32);
    });
}

#[test]
fn a_launch_is_marked_before_its_first_line() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (outlets, [mut out, mut err]) = pipes();
        let (tenant, other) = (name(0), name(1));
        bench.reader.add(&tenant, outlets).unwrap();
        let (outlets, [mut beside, _err]) = pipes();
        bench.reader.add(&other, outlets).unwrap();
        bench.reader.pipes.borrow_mut().hold(&tenant);
        for (pipe, text) in [(&mut out, "first"), (&mut err, "oops"), (&mut beside, "hi")] {
            writeln!(pipe, "{text}").unwrap();
        }
        let quiet = tokio::time::timeout(PAUSE_MAX / 4, async {
            loop {
                bench.reader.iterate().await.unwrap();
            }
        });
        assert!(quiet.await.is_err());
        assert!(bench.lines(&tenant).is_empty());
        assert_eq!(bench.lines(&other), ["stdout hi"]);
        bench.mark(&tenant, Mark::Launched(Some(7)));
        while bench.lines(&tenant).len() < 3 {
            bench.reader.iterate().await.unwrap();
        }
        let lines = [
            "tenantd program started, pid 7",
            "stdout first",
            "stderr oops",
        ];
        assert_eq!(bench.lines(&tenant), lines);
    });
}

#[test]
fn an_end_is_marked_after_the_last_words() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let (outlets, [mut out, mut err]) = pipes();
        let tenant = name(0);
        bench.reader.add(&tenant, outlets).unwrap();
        let ended = |exit, others| Mark::Ended { exit, others };
        writeln!(out, "forked").unwrap();
        write!(err, "half").unwrap();
        bench.mark(&tenant, ended(Exit::Status(0), true));
        bench.reader.iterate().await.unwrap();
        let mut lines = vec![
            "stdout forked",
            "tenantd first process exited with status 0, others still run",
        ];
        assert_eq!(bench.lines(&tenant), lines);
        write!(out, "last words").unwrap();
        bench.mark(&tenant, ended(Exit::Signal(9), false));
        bench.reader.iterate().await.unwrap();
        lines.extend(["stdout last words", "stderr half"]);
        lines.push("tenantd program was killed by SIGKILL");
        assert_eq!(bench.lines(&tenant), lines);
        // What the marks have read is not read again.
        writeln!(out, "next").unwrap();
        bench.reader.remove(&tenant).await;
        lines.push("stdout next");
        assert_eq!(bench.lines(&tenant), lines);
    });
}

#[test]
fn a_mark_wakes_the_reader_and_is_written_at_the_latest_at_its_end() {
    run(async {
        let bench = Bench::new(std::io::sink());
        let reading = tokio::task::spawn_local(Rc::clone(&bench.reader).read());
        tokio::task::yield_now().await;
        bench.mark(&name(0), Mark::EndedUnwatched(Exit::Status(1)));
        let line = "tenantd program exited with status 1 while no supervisor was running";
        while bench.lines(&name(0)) != [line] {
            tokio::task::yield_now().await;
        }
        reading.abort();
        let failure = Failure::detail(tenantd_core::stage::Stage::Limits, "", "no");
        bench.mark(&name(1), Mark::NotLaunched(failure));
        bench.reader.end().await;
        assert!(bench.lines(&name(1))[0].starts_with("tenantd program not started: "));
    });
}
