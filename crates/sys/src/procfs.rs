//! `/proc` of this kernel, read for `top` (proc(5)). A process may vanish at any moment: then it is left out.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use cofferdam_model::{InterfaceUsage, ProcessInfo, Traffic};

/// What the processes' files are measured in.
#[derive(Clone, Copy, Debug)]
struct Units {
    ticks_per_second: u64,
    page_size: u64,
    /// When the kernel started, as Unix time in seconds.
    boot_time: i64,
}

/// The processes of `pids` that exist, in that order.
#[must_use]
pub fn processes(pids: &[i32]) -> Vec<ProcessInfo> {
    let units = Units {
        ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        page_size: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        boot_time: fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)).unwrap_or(0),
    };
    pids.iter().filter_map(|pid| read(&Path::new("/proc").join(pid.to_string()), units)).collect()
}

/// All the memory that this kernel has, in bytes.
#[must_use]
pub fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

/// The interfaces in the network namespace of a process, without loopback; none when it is gone.
#[must_use]
pub fn interfaces(pid: i32) -> Vec<InterfaceUsage> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    text.lines().filter_map(interface).filter(|interface| interface.name != "lo").collect()
}

/// One line: `eth0: bytes packets errs drop fifo frame compressed multicast`, then the same for what was sent.
fn interface(line: &str) -> Option<InterfaceUsage> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> =
        counters.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let traffic = |at: usize| {
        Some(Traffic {
            bytes: *counters.get(at)?,
            packets: *counters.get(at + 1)?,
            errors: *counters.get(at + 2)?,
            dropped: *counters.get(at + 3)?,
        })
    };
    Some(InterfaceUsage { name: name.trim().to_owned(), received: traffic(0)?, sent: traffic(8)? })
}

/// The processes of this PID namespace and of those below it, `most` at most.
#[must_use]
pub fn pids(most: usize) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(most).collect()
}

/// The file name of the program that a process runs.
#[must_use]
pub fn program(pid: i32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    // So the kernel marks a file that was replaced, by an upgrade for example.
    Some(name.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(name))
}

/// A process's arguments, as far as they are in the first `most` bytes.
#[must_use]
pub fn arguments(pid: i32, most: u64) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/cmdline"));
    if file.and_then(|file| file.take(most).read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Whether a process is in this one's PID namespace itself, and not in one below it, as containers' processes are.
#[must_use]
pub fn is_in_this_pid_namespace(pid: i32) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    let own = namespace("self");
    own.is_some() && namespace(&pid.to_string()) == own
}

/// The path of a process's control group: the memory controller's, or version 2's.
#[must_use]
pub fn control_group(pid: i32) -> Option<String> {
    group_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn group_in(text: &str) -> Option<String> {
    // `hierarchy:controllers:path`; a path may have colons.
    let groups = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let memory = groups().find(|(controllers, _)| controllers.split(',').any(|one| one == "memory"));
    memory
        .or_else(|| groups().find(|(controllers, _)| controllers.is_empty()))
        .map(|(_, path)| path.to_owned())
}

fn read(directory: &Path, units: Units) -> Option<ProcessInfo> {
    // Names may be any bytes, so the text is not always UTF-8.
    let text = |name| Some(String::from_utf8_lossy(&fs::read(directory.join(name)).ok()?).into_owned());
    parse(&text("stat")?, &text("status")?, &text("cmdline")?, units)
}

fn boot_time(stat: &str) -> Option<i64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn parse(stat: &str, status: &str, cmdline: &str, units: Units) -> Option<ProcessInfo> {
    // The name stands in parentheses and may contain anything, parentheses and blanks included.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc(5) counts from 1; the state is field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |n| field(n).and_then(|text| text.parse::<u64>().ok());
    let signed = |n| field(n).and_then(|text| text.parse::<i32>().ok());
    let pid = pid.trim().parse().ok()?;

    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let word = |key, index: usize| line(key)?.split_ascii_whitespace().nth(index);

    let arguments: Vec<&str> = cmdline.trim_end_matches('\0').split('\0').collect();
    let arguments = arguments.join(" ");
    let seconds_after_boot = number(22)? / units.ticks_per_second;
    Some(ProcessInfo {
        pid,
        inner_pid: line("NSpid").and_then(|l| l.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(pid),
        ppid: signed(4)?,
        uid: word("Uid", 1).and_then(|text| text.parse().ok()).unwrap_or(0),
        state: field(3)?.chars().next()?,
        tty: tty_name(signed(7)?),
        cpu_ms: (number(14)? + number(15)?) * 1000 / units.ticks_per_second,
        started: units.boot_time + i64::try_from(seconds_after_boot).ok()?,
        vsize: number(23)?,
        rss: number(24)? * units.page_size,
        nice: signed(19)?,
        threads: signed(20)?,
        name: name.to_owned(),
        command: if arguments.is_empty() { format!("[{name}]") } else { arguments },
    })
}

/// The controlling terminal's name from its device number (the kernel's admin-guide, "devices").
fn tty_name(device: i32) -> String {
    let device = device.cast_unsigned();
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    match major {
        0 => "?".to_owned(),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        5 if minor == 1 => "console".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        204 if minor >= 64 => format!("ttyAMA{}", minor - 64),
        229 => format!("hvc{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units { ticks_per_second: 100, page_size: 4096, boot_time: 1_000_000 };

    #[test]
    fn an_interfaces_counters_are_read() {
        let line = "  eth0: 1024 10 1 2 0 0 0 0 2048 20 3 4 0 0 0 0";
        let want = InterfaceUsage {
            name: "eth0".to_owned(),
            received: Traffic { bytes: 1024, packets: 10, errors: 1, dropped: 2 },
            sent: Traffic { bytes: 2048, packets: 20, errors: 3, dropped: 4 },
        };
        assert_eq!(interface(line), Some(want));
        for other in [" face |bytes packets", "eth0: 1 2", "eth0: x"] {
            assert_eq!(interface(other), None, "{other}");
        }
        assert!(memory_total() > 1 << 20);
    }

    #[test]
    fn an_awkward_name_is_read_whole() {
        let stat = "4242 (a) R (b c) S 17 4242 4242 34816 4242 4194560 1 0 0 0 150 50 0 0 20 5 3 0 12345 \
                    2097152 128 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        let status = "Name:\ta) R (b c\nUid:\t1000\t1001\t1002\t1003\nNSpid:\t4242\t77\t3\n";
        let info = parse(stat, status, "sh\0-c\0sleep 1\0", UNITS).unwrap();
        assert_eq!(
            info,
            ProcessInfo {
                pid: 4242,
                inner_pid: 3,
                ppid: 17,
                uid: 1001,
                state: 'S',
                tty: "pts/0".to_owned(),
                cpu_ms: 2000,
                started: 1_000_123,
                vsize: 2_097_152,
                rss: 128 * 4096,
                nice: 5,
                threads: 3,
                name: "a) R (b c".to_owned(),
                command: "sh -c sleep 1".to_owned(),
            }
        );
    }

    #[test]
    fn a_kernel_thread_and_a_truncated_file() {
        let stat = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0 0";
        let info = parse(stat, "", "", UNITS).unwrap();
        assert_eq!((info.command.as_str(), info.tty.as_str(), info.inner_pid), ("[kthreadd]", "?", 2));
        assert!(parse("2 (kthreadd) S 0", "", "", UNITS).is_none());
        assert!(parse("", "", "", UNITS).is_none());
    }

    #[test]
    fn terminals_have_their_names() {
        for (device, name) in
            [(0, "?"), (0x8801, "pts/1"), (0x8900, "pts/256"), (0x0401, "tty1"), (0x0440, "ttyS0")]
        {
            assert_eq!(tty_name(device), name);
        }
        assert_eq!(tty_name(0x0501), "console");
    }

    #[test]
    fn what_this_process_is() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(pids(usize::MAX).contains(&me) && pids(3).len() == 3);
        assert!(program(me).unwrap().starts_with("cofferdam_sys"));
        assert_eq!(program(i32::MAX), None);
        assert!(arguments(me, 1 << 20)[0].windows(13).any(|window| window == b"cofferdam_sys"));
        assert!(arguments(me, 4).concat().len() <= 4 && arguments(i32::MAX, 9).is_empty());
        assert!(is_in_this_pid_namespace(me) && !is_in_this_pid_namespace(i32::MAX));
    }

    #[test]
    fn the_group_that_counts_memory() {
        let hybrid = "5:cpu,cpuacct:/c\n4:memory:/docker/a:b\n1:name=systemd:/s\n0::/u\n";
        assert_eq!(group_in(hybrid).as_deref(), Some("/docker/a:b"));
        assert_eq!(group_in("0::/system.slice/x.scope\n").as_deref(), Some("/system.slice/x.scope"));
        assert_eq!(group_in(""), None);
    }

    #[test]
    fn this_process_is_found_and_the_missing_one_is_left_out() {
        let me = i32::try_from(std::process::id()).unwrap();
        let found = processes(&[i32::MAX, me]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pid, me);
        assert!(found[0].rss > 0 && found[0].threads > 0 && found[0].started > 1_000_000_000);
    }
}
