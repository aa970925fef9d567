//! The file that describes a frozen process's memory and threads: what `freeze.rs` writes and `main.rs` reads.
//!
//! All of it is numbers of 64 bits, in the processor's order, and the zero-terminated paths at its end. It is mapped at
//! [`BASE`], so that it can hold addresses within itself: a thread's registers are a signal frame (`rt_sigreturn(2)`).

/// Where the file is mapped: where neither the linker nor the kernel puts anything of a hypervisor.
pub const BASE: u64 = 0x3000_0000;
/// The first number, which says which version this is.
pub const MAGIC: u64 = 0x6364_665f_6672_7a31;

/// The descriptors from which a process is thawed; they are closed when that is done.
pub const PROCESS_FD: i32 = 240;
/// What the process's private pages were.
pub const PAGES_FD: i32 = 241;
/// The guest's memory.
pub const MEMORY_FD: i32 = 242;
/// The seccomp filter that the process gets, as `struct sock_filter`s.
pub const FILTER_FD: i32 = 243;

/// The most threads.
pub const MAX_THREADS: usize = 64;

/// The beginning of the file. Places are addresses, counted from [`BASE`] on.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`]
    pub magic: u64,
    /// Where the [`Region`]s are.
    pub regions: u64,
    /// How many.
    pub region_count: u64,
    /// Where the [`Thread`]s are.
    pub threads: u64,
    /// How many; the first is the process's main thread.
    pub thread_count: u64,
    /// Where the kernel's own mappings are, [`Special`]; the last is the vDSO.
    pub specials: u64,
    /// How many.
    pub special_count: u64,
    /// Bit N-1 says that signal N is ignored.
    pub ignored: u64,
}

/// A mapping.
#[repr(C)]
pub struct Region {
    /// Its address.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
    /// `PROT_…`
    pub protection: u64,
    /// What it maps: [`ZERO`], [`PAGES`], [`MEMORY`], or where the path of a file is.
    pub source: u64,
    /// Where in that, in bytes.
    pub offset: u64,
}

/// New memory.
pub const ZERO: u64 = 0;
/// The file of pages.
pub const PAGES: u64 = 1;
/// The guest's memory.
pub const MEMORY: u64 = 2;

/// A thread.
#[repr(C)]
pub struct Thread {
    /// Its thread-local storage.
    pub fs_base: u64,
    /// Where its signal frame is.
    pub frame: u64,
}

/// A mapping that the kernel makes for every process.
#[repr(C)]
pub struct Special {
    /// Its address.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}
