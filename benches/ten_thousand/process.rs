//! What the processes of an application use, without those of its tenants.

use std::fs;

use crate::crew::as_divisor;

/// The supervisor and its log collectors.
#[derive(Debug)]
pub struct Processes {
    /// How many there are.
    pub count: usize,
    /// VmRSS of the supervisor, in MB.
    pub memory: f64,
    /// The threads of the supervisor.
    pub threads: f64,
    /// The descriptors of the process that has most.
    pub descriptors: f64,
    /// VmRSS of all collectors together, in MB.
    pub collectors: f64,
}

impl Processes {
    pub fn of(supervisor: u32, app: &str) -> Self {
        let collectors = collectors(app);
        let all = collectors.iter().copied().chain([supervisor]);
        let open = all.map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count());
        let open = open.max().unwrap_or_default();
        Self {
            count: collectors.len() + 1,
            memory: resident(supervisor),
            threads: as_divisor(
                fs::read_dir(format!("/proc/{supervisor}/task"))
                    .unwrap()
                    .count(),
            ),
            descriptors: as_divisor(open),
            collectors: collectors.into_iter().map(resident).sum(),
        }
    }
}

/// The processes of the log collectors.
fn collectors(app: &str) -> Vec<u32> {
    let wanted = format!("tenantd\0collect-logs\0{app}\0");
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        line.starts_with(&wanted).then_some(pid)
    });
    processes.collect()
}

fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    crate::crew::field(&status, "VmRSS:") / 1024.0
}
