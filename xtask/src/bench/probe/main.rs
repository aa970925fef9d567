//! What the benchmark runs inside containers: times the kernel's work and prints one `name value` per line.
//!
//! Built by itself into a static executable that needs nothing of an image. Its first argument says which work; without
//! any it is the kernel's own.

mod files;
mod tcp;

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a kind of work is repeated.
const WHILE: Duration = Duration::from_millis(150);

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(code: i32) -> !;
    fn mmap(address: *mut u8, length: usize, protection: i32, flags: i32, file: i32, offset: i64) -> *mut u8;
    fn munmap(address: *mut u8, length: usize) -> i32;
    fn madvise(address: *mut u8, length: usize, advice: i32) -> i32;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => kernel(),
        ["echo"] => echo(),
        ["files", kind, directory] => show(kind, files::work(kind, Path::new(directory))),
        ["serve", port] => tcp::serve(port.parse().expect("a port")),
        ["tcp", kind, address, port] => {
            let port = port.parse().expect("a port");
            let address = if address == "host" { tcp::gateway() } else { address.parse().expect("an address") };
            let result = match kind {
                "throughput" => tcp::throughput(address, port),
                _ => tcp::round_trip(address, port),
            };
            show(kind, result.expect("the server answers"));
        }
        _ => panic!("unknown work: {words:?}"),
    }
}

fn kernel() {
    show("getppid", each(1000, || _ = black_box(std::os::unix::process::parent_id())) * 1e9);
    show("open-close", each(100, || drop(File::open("/bin/busybox"))) * 1e6);
    show("fork", each(4, fork_and_wait) * 1e6);
    show("page-fault", page_fault() * 1e6);
    if let Some(seconds) = pipe() {
        show("pipe", seconds * 1e6);
    }
    show("sort", sort() * 1e3);
}

fn show(name: &str, value: f64) {
    println!("{name} {value}");
}

/// Seconds of one piece of work, done in batches for a while.
fn each(batch: u32, mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut count) = (Instant::now(), 0);
    loop {
        for _ in 0..batch {
            work();
        }
        count += batch;
        let time = start.elapsed();
        if time > WHILE {
            return time.as_secs_f64() / f64::from(count);
        }
    }
}

fn fork_and_wait() {
    // SAFETY: this process has one thread, and the child does nothing but end.
    unsafe {
        match fork() {
            0 => _exit(0),
            pid if pid > 0 => drop(waitpid(pid, std::ptr::null_mut(), 0)),
            _ => panic!("no fork: {}", std::io::Error::last_os_error()),
        }
    }
}

/// Seconds for the first write to a page of 4 KiB.
fn page_fault() -> f64 {
    const PAGES: u32 = 4096;
    const PAGE: usize = 4096;
    let length = PAGES as usize * PAGE;
    let mut times = Vec::new();
    for _ in 0..5 {
        // SAFETY: a new private mapping without a file (3: read and write, 0x22: private and anonymous), written
        // inside its length only, and not used after it is gone. 14: no huge pages, which would need fewer faults.
        unsafe {
            let start = mmap(std::ptr::null_mut(), length, 3, 0x22, -1, 0);
            assert!(start.addr() != usize::MAX, "no mmap: {}", std::io::Error::last_os_error());
            madvise(start, length, 14);
            let time = Instant::now();
            for page in 0..PAGES as usize {
                start.add(page * PAGE).write_volatile(1);
            }
            times.push(time.elapsed().as_secs_f64() / f64::from(PAGES));
            munmap(start, length);
        }
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds until a byte has come back from another process.
fn pipe() -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let mut child =
        Command::new(program).arg("echo").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let (mut there, mut back) = (child.stdin.take()?, child.stdout.take()?);
    let mut byte = [0];
    let seconds = each(10, || {
        there.write_all(&[1]).expect("the other process reads");
        back.read_exact(&mut byte).expect("the other process writes");
    });
    drop(there);
    child.wait().ok()?;
    Some(seconds)
}

/// The other process.
fn echo() {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut byte = [0];
    while input.read_exact(&mut byte).is_ok() {
        // The other side may have ended.
        let _ = output.write_all(&byte).and_then(|()| output.flush());
    }
}

/// Seconds to sort a million numbers. Arithmetic alone would flatter an emulator, which translates one short loop once:
/// this has memory and branches, too.
fn sort() -> f64 {
    let mut number = 88_172_645_463_325_252_u64;
    let mut numbers: Vec<u64> = (0..1_000_000)
        .map(|_| {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            number
        })
        .collect();
    let start = Instant::now();
    numbers.sort();
    black_box(&numbers);
    start.elapsed().as_secs_f64()
}
