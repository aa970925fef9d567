//! `top`: a container's processes as ps(1) would list them. Rendered here from what the shim reports, so that it is
//! the same at both levels and needs no `ps` anywhere.

use cofferdam_model::ProcessInfo;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A table: titles, and a row per process.
pub type Table = (Vec<String>, Vec<Vec<String>>);

/// The arguments cannot be rendered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("top: unsupported ps argument: {0}")]
pub struct Unsupported(String);

/// A column.
type Render = fn(&ProcessInfo, &Context) -> String;

/// What rows are computed against.
pub struct Context {
    /// Now.
    pub now: Timestamp,
    /// The host's memory in bytes, for `%MEM`.
    pub memory: u64,
    /// The time zone of start times.
    pub zone: TimeZone,
}

/// Columns by ps's names for `-o`, with their titles.
const COLUMNS: &[(&str, &str, Render)] = &[
    ("pid", "PID", |p, _| p.pid.to_string()),
    ("ppid", "PPID", |p, _| p.ppid.to_string()),
    ("uid", "UID", |p, _| p.uid.to_string()),
    ("euid", "EUID", |p, _| p.uid.to_string()),
    ("user", "USER", user),
    ("euser", "EUSER", user),
    ("comm", "COMMAND", |p, _| p.name.clone()),
    ("ucmd", "CMD", |p, _| p.name.clone()),
    ("args", "COMMAND", |p, _| p.command.clone()),
    ("cmd", "CMD", |p, _| p.command.clone()),
    ("command", "COMMAND", |p, _| p.command.clone()),
    ("tty", "TT", |p, _| p.tty.clone()),
    ("tt", "TT", |p, _| p.tty.clone()),
    ("tname", "TTY", |p, _| p.tty.clone()),
    ("stat", "STAT", |p, _| p.state.to_string()),
    ("state", "S", |p, _| p.state.to_string()),
    ("s", "S", |p, _| p.state.to_string()),
    ("ni", "NI", |p, _| p.nice.to_string()),
    ("nice", "NI", |p, _| p.nice.to_string()),
    ("nlwp", "NLWP", |p, _| p.threads.to_string()),
    ("thcount", "THCNT", |p, _| p.threads.to_string()),
    ("vsz", "VSZ", |p, _| (p.vsize / 1024).to_string()),
    ("vsize", "VSZ", |p, _| (p.vsize / 1024).to_string()),
    ("rss", "RSS", |p, _| (p.rss / 1024).to_string()),
    ("rssize", "RSS", |p, _| (p.rss / 1024).to_string()),
    ("rsz", "RSZ", |p, _| (p.rss / 1024).to_string()),
    ("time", "TIME", |p, _| clock(p.cpu_ms / 1000)),
    ("cputime", "TIME", |p, _| clock(p.cpu_ms / 1000)),
    ("etime", "ELAPSED", |p, c| elapsed(age(p, c))),
    ("etimes", "ELAPSED", |p, c| age(p, c).to_string()),
    ("stime", "STIME", start),
    ("start", "STARTED", start),
    ("start_time", "START", start),
    ("c", "C", |p, c| (per_mille(p, c) / 10).to_string()),
    ("pcpu", "%CPU", |p, c| tenths(per_mille(p, c))),
    ("%cpu", "%CPU", |p, c| tenths(per_mille(p, c))),
    ("pmem", "%MEM", |p, c| tenths(p.rss.saturating_mul(1000) / c.memory.max(1))),
    ("%mem", "%MEM", |p, c| tenths(p.rss.saturating_mul(1000) / c.memory.max(1))),
    // Where the container's own number differs from the host's: ours, beside ps's.
    ("pidns", "PIDNS", |p, _| p.inner_pid.to_string()),
];

const FULL: &[(&str, &str)] = &[
    ("user", "UID"),
    ("pid", "PID"),
    ("ppid", "PPID"),
    ("c", "C"),
    ("stime", "STIME"),
    ("tname", "TTY"),
    ("time", "TIME"),
    ("cmd", "CMD"),
];
const AUX: &[(&str, &str)] = &[
    ("user", "USER"),
    ("pid", "PID"),
    ("pcpu", "%CPU"),
    ("pmem", "%MEM"),
    ("vsz", "VSZ"),
    ("rss", "RSS"),
    ("tname", "TTY"),
    ("stat", "STAT"),
    ("stime", "START"),
    ("time", "TIME"),
    ("args", "COMMAND"),
];
const PLAIN: &[(&str, &str)] = &[("pid", "PID"), ("tname", "TTY"), ("time", "TIME"), ("ucmd", "CMD")];

/// Renders for the arguments of `docker top` (`-ef` when empty).
pub fn render(arguments: &str, processes: &[ProcessInfo], context: &Context) -> Result<Table, Unsupported> {
    let columns = columns(arguments)?;
    let titles = columns.iter().map(|(title, _)| title.clone()).collect();
    let row = |process| columns.iter().map(|(_, render)| render(process, context)).collect();
    Ok((titles, processes.iter().map(row).collect()))
}

fn columns(arguments: &str) -> Result<Vec<(String, Render)>, Unsupported> {
    let known = |layout: &[(&str, &str)]| {
        let column =
            |(name, title): &(&str, &str)| find(name).map(|(_, render)| ((*title).to_owned(), render));
        layout.iter().filter_map(column).collect::<Vec<_>>()
    };
    let mut listed: Vec<(String, Render)> = Vec::new();
    let mut layout = PLAIN;
    let words: Vec<&str> = arguments.split_whitespace().collect();
    if words.is_empty() {
        layout = FULL;
    }
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let list = match word {
            "-o" | "o" | "--format" => Some(words.next().ok_or_else(|| Unsupported(word.to_owned()))?),
            _ => word.strip_prefix("-o").or_else(|| word.strip_prefix("--format=")),
        };
        let list = list.or_else(|| {
            (word.len() > 2)
                .then(|| word.split_once('o'))
                .flatten()
                .filter(|(flags, _)| ["-e", "-ea", "-A", "ax", "-ax", "-a"].contains(flags))
                .map(|(_, list)| list)
        });
        if let Some(list) = list {
            let list = if list.is_empty() { words.next().unwrap_or_default() } else { list };
            for name in list.split(',') {
                let (name, title) =
                    name.split_once('=').map_or((name, None), |(name, title)| (name, Some(title)));
                let (own, render) = find(name).ok_or_else(|| Unsupported(name.to_owned()))?;
                listed.push((title.unwrap_or(own).to_owned(), render));
            }
            continue;
        }
        match word.trim_start_matches('-') {
            flags if !flags.is_empty() && flags.bytes().all(|flag| b"aAdeflHLjwxuT".contains(&flag)) => {
                if flags.contains('u') {
                    layout = AUX;
                } else if flags.contains('f') || flags.contains('l') || flags.contains('j') {
                    layout = FULL;
                }
            }
            _ => return Err(Unsupported(word.to_owned())),
        }
    }
    Ok(if listed.is_empty() { known(layout) } else { listed })
}

fn find(name: &str) -> Option<(&'static str, Render)> {
    COLUMNS.iter().find(|(known, ..)| *known == name).map(|(_, title, render)| (*title, *render))
}

fn user(process: &ProcessInfo, _: &Context) -> String {
    // Names are the container's own matter: the host's passwd(5) file would give wrong ones. Root is root anywhere.
    if process.uid == 0 { "root".to_owned() } else { process.uid.to_string() }
}

fn age(process: &ProcessInfo, context: &Context) -> u64 {
    u64::try_from(context.now.as_second() - process.started).unwrap_or(0)
}

/// CPU time per time alive, in thousandths.
fn per_mille(process: &ProcessInfo, context: &Context) -> u64 {
    process.cpu_ms / age(process, context).max(1)
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

fn clock(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 { format!("{days}-{rest}") } else { rest }
}

fn elapsed(seconds: u64) -> String {
    if seconds < 3600 { format!("{:02}:{:02}", seconds / 60, seconds % 60) } else { clock(seconds) }
}

/// Today as `15:04`, earlier as `Jan02`.
fn start(process: &ProcessInfo, context: &Context) -> String {
    let Ok(time) = Timestamp::from_second(process.started) else { return "?".to_owned() };
    let today = context.now.as_second() - process.started < 86_400;
    let format = if today { "%H:%M" } else { "%b%d" };
    time.to_zoned(context.zone.clone()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(arguments: &str) -> Result<Table, Unsupported> {
        let process = ProcessInfo {
            pid: 4321,
            inner_pid: 1,
            ppid: 4300,
            uid: 33,
            state: 'S',
            tty: "pts/0".to_owned(),
            cpu_ms: 65_000,
            started: 1000,
            vsize: 2 << 20,
            rss: 1 << 20,
            nice: 0,
            threads: 2,
            name: "sleep".to_owned(),
            command: "sleep 100".to_owned(),
        };
        let now = Timestamp::from_second(1100).unwrap();
        render(arguments, &[process], &Context { now, memory: 100 << 20, zone: TimeZone::UTC })
    }

    #[test]
    fn the_usual_layouts() {
        let (titles, rows) = table("").unwrap();
        assert_eq!(titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(rows[0], ["33", "4321", "4300", "65", "00:16", "pts/0", "00:01:05", "sleep 100"]);
        assert_eq!(table("-ef").unwrap(), table("").unwrap());
        let (titles, rows) = table("aux").unwrap();
        assert_eq!(titles[2..6], ["%CPU", "%MEM", "VSZ", "RSS"]);
        assert_eq!(rows[0][2..6], ["65.0", "1.0", "2048", "1024"]);
    }

    #[test]
    fn chosen_columns() {
        for arguments in
            ["-o pid,comm,etime", "-eo pid,comm,etime", "-opid,comm,etime", "ax -o pid -o comm,etime"]
        {
            let (titles, rows) = table(arguments).unwrap();
            assert_eq!(titles, ["PID", "COMMAND", "ELAPSED"], "{arguments}");
            assert_eq!(rows[0], ["4321", "sleep", "01:40"]);
        }
        assert_eq!(table("-o pid=NUMBER").unwrap().0, ["NUMBER"]);
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        assert_eq!(table("-o colour").unwrap_err().to_string(), "top: unsupported ps argument: colour");
        assert!(table("--forest").is_err());
        assert!(table("-o").is_err());
    }
}
