//! The program that becomes a frozen hypervisor again (see `src/freeze.rs`). `jail.rs` executes it in the jail, with
//! every descriptor of the frozen process in its place and those of `layout.rs` beside them.
//!
//! It is linked to a fixed address, which is low, and uses nothing of a library, so that whatever it maps can go where it was.
//! When it is done, all that is left of it is that low piece of memory and its stack, which shows the command line.

#![no_std]
#![no_main]

mod layout;

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, Ordering};

use layout::{Header, Region, Special, Thread};

const SYS_WRITE: usize = 1;
const SYS_CLOSE: usize = 3;
const SYS_LSEEK: usize = 8;
const SYS_MMAP: usize = 9;
const SYS_RT_SIGACTION: usize = 13;
const SYS_PREAD64: usize = 17;
const SYS_MREMAP: usize = 25;
const SYS_PRCTL: usize = 157;
const SYS_ARCH_PRCTL: usize = 158;
const SYS_FUTEX: usize = 202;
const SYS_EXIT_GROUP: usize = 231;
const SYS_OPENAT: usize = 257;

const SEEK_END: usize = 2;
const AT_FDCWD: usize = -100_isize as usize;
const O_CLOEXEC: usize = 0o2_000_000;
const PROT_READ_WRITE: usize = 3;
const MAP_PRIVATE: usize = 0x2;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;
const MAP_NORESERVE: usize = 0x4000;
const MAP_POPULATE: usize = 0x8000;
const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
const MREMAP_MAYMOVE_FIXED: usize = 3;
const ARCH_SET_FS: usize = 0x1002;
const PR_SET_SECCOMP: usize = 22;
const SECCOMP_MODE_FILTER: usize = 2;
const AT_SYSINFO_EHDR: usize = 33;
const FUTEX_WAIT: usize = 0;
const FUTEX_WAKE: usize = 1;
/// VM, FS, FILES, SIGHAND, THREAD, SYSVSEM: a thread as pthread_create(3) makes it.
const THREAD_FLAGS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;

/// Where the kernel's mappings wait until their places are free.
const WAITING_ROOM: usize = 0x2000_0000;
/// A thread's stack, until it has its own.
const STACK: usize = 4096;
/// Eight bytes for each instruction of the filter.
const MAX_FILTER: usize = 4096 * 8;

/// Whether everything is in its place.
static READY: AtomicU32 = AtomicU32::new(0);

#[repr(C, align(64))]
struct Stacks([[u8; STACK]; layout::MAX_THREADS]);
static mut STACKS: Stacks = Stacks([[0; STACK]; layout::MAX_THREADS]);
#[repr(C, align(8))]
struct Filter([u8; MAX_FILTER]);
static mut FILTER: Filter = Filter([0; MAX_FILTER]);

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const u8,
}

// The kernel puts the arguments where the stack begins; a thread finds its number there.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    ".globl thread_start",
    "thread_start:",
    "xor ebp, ebp",
    "pop rdi",
    "and rsp, -16",
    "call {thread}",
    main = sym main,
    thread = sym thread,
);

/// A system call; the result is negative on failure.
///
/// # Safety
/// The kernel may do to this process's memory and descriptors whatever the call and its arguments mean.
unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's promise; the kernel changes no other registers.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _);
    }
    result
}

fn fail(what: &str) -> ! {
    // SAFETY: the text is there; the process ends.
    unsafe {
        call(SYS_WRITE, [2, what.as_ptr() as usize, what.len(), 0, 0, 0]);
        call(SYS_EXIT_GROUP, [99, 0, 0, 0, 0, 0]);
    }
    loop {}
}

fn check(result: isize, what: &str) -> usize {
    if result < 0 { fail(what) } else { result as usize }
}

/// The header; it is mapped before anything asks.
fn header() -> &'static Header {
    // SAFETY: `main` has mapped a file that begins with it.
    unsafe { &*(layout::BASE as *const Header) }
}

/// A list in the file.
fn list<T>(at: u64, count: u64) -> &'static [T] {
    // SAFETY: freeze.rs has written it there; the file's digest was checked.
    unsafe { core::slice::from_raw_parts(at as *const T, count as usize) }
}

/// # Safety
/// `stack` is where the kernel has put the arguments; it is called once, by one thread.
unsafe extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: calls of the kernel on memory that is this program's own or nobody's yet.
    unsafe {
        let size = check(call(SYS_LSEEK, [layout::PROCESS_FD as usize, 0, SEEK_END, 0, 0, 0]), "thaw: process\n");
        let flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | MAP_POPULATE;
        let arguments = [layout::BASE as usize, size, PROT_READ_WRITE, flags, layout::PROCESS_FD as usize, 0];
        check(call(SYS_MMAP, arguments), "thaw: process\n");
        let header = header();
        if header.magic != layout::MAGIC || header.thread_count as usize > layout::MAX_THREADS {
            fail("thaw: another version's process\n");
        }
        install_filter();
        for number in 1..header.thread_count as usize {
            start_thread(number);
        }
        move_specials(list(header.specials, header.special_count), vdso(stack));
        map(list(header.regions, header.region_count));
        for signal in (1..=64).filter(|signal| header.ignored >> (signal - 1) & 1 == 1) {
            let ignore: [usize; 4] = [1, 0, 0, 0];
            check(call(SYS_RT_SIGACTION, [signal, ignore.as_ptr() as usize, 0, 8, 0, 0]), "thaw: signals\n");
        }
        for fd in [layout::PROCESS_FD, layout::PAGES_FD, layout::MEMORY_FD, layout::FILTER_FD] {
            call(SYS_CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
        }
        READY.store(1, Ordering::Release);
        call(SYS_FUTEX, [READY.as_ptr() as usize, FUTEX_WAKE, layout::MAX_THREADS, 0, 0, 0]);
        go_on(0)
    }
}

/// Refuses from here on what the frozen process had forbidden itself.
///
/// # Safety
/// There is one thread yet, so nobody else uses the buffer.
unsafe fn install_filter() {
    let buffer = (&raw mut FILTER).cast::<u8>();
    // SAFETY: the buffer is as long as is said.
    unsafe {
        let arguments = [layout::FILTER_FD as usize, buffer as usize, MAX_FILTER, 0, 0, 0];
        let length = check(call(SYS_PREAD64, arguments), "thaw: filter\n");
        if length == 0 || length == MAX_FILTER || length % 8 != 0 {
            fail("thaw: no filter\n");
        }
        let program = Program { length: (length / 8) as u16, instructions: buffer };
        let arguments = [PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program as usize, 0, 0, 0];
        check(call(SYS_PRCTL, arguments), "thaw: seccomp\n");
    }
}

/// Starts a thread that waits until everything is in its place.
///
/// # Safety
/// `number` is below the number of stacks, and no other thread has it.
unsafe fn start_thread(number: usize) {
    // SAFETY: each thread has a stack of its own, with its number on top; the child goes on elsewhere.
    unsafe {
        let top = (&raw mut STACKS.0).cast::<u8>().add((number + 1) * STACK - 16).cast::<usize>();
        top.write(number);
        let result: isize;
        asm!("syscall", "test rax, rax", "jz thread_start", inlateout("rax") 56_usize => result,
            in("rdi") THREAD_FLAGS, in("rsi") top, in("rdx") 0, in("r10") 0, in("r8") 0,
            lateout("rcx") _, lateout("r11") _);
        check(result, "thaw: thread\n");
    }
}

/// # Safety
/// `number` is a frozen thread's that nobody else takes on.
unsafe extern "C" fn thread(number: usize) -> ! {
    while READY.load(Ordering::Acquire) == 0 {
        // SAFETY: waits for the number to change.
        unsafe { call(SYS_FUTEX, [READY.as_ptr() as usize, FUTEX_WAIT, 0, 0, 0, 0]) };
    }
    // SAFETY: everything is mapped.
    unsafe { go_on(number) }
}

/// Where the kernel has put the vDSO.
///
/// # Safety
/// `stack` is where the kernel has put the arguments.
unsafe fn vdso(stack: *const usize) -> usize {
    // SAFETY: behind argc are the arguments, the environment, each with a zero at its end, and the auxiliary vector.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != 0 {
            if *at == AT_SYSINFO_EHDR {
                return *at.add(1);
            }
            at = at.add(2);
        }
    }
    fail("thaw: no vDSO\n")
}

/// Puts the kernel's mappings where they were: libraries remember the vDSO's functions. They lie one behind another as
/// they did, because this is the same kernel.
///
/// # Safety
/// Nothing here uses the vDSO, and its places are not taken.
unsafe fn move_specials(specials: &[Special], vdso: usize) {
    let Some(last) = specials.last() else { fail("thaw: no vDSO\n") };
    let shift = vdso.wrapping_sub(last.address as usize);
    let room = |special: &Special| WAITING_ROOM + (special.address - specials[0].address) as usize;
    // SAFETY: nobody uses them meanwhile.
    unsafe {
        let shove = |from: usize, to: usize, length: u64| {
            let length = length as usize;
            check(call(SYS_MREMAP, [from, length, length, MREMAP_MAYMOVE_FIXED, to, 0]), "thaw: vDSO\n");
        };
        for special in specials {
            shove((special.address as usize).wrapping_add(shift), room(special), special.length);
        }
        for special in specials {
            shove(room(special), special.address as usize, special.length);
        }
    }
}

/// Maps what the frozen process had mapped.
///
/// # Safety
/// The regions are those of freeze.rs, whose paths end with a zero.
unsafe fn map(regions: &[Region]) {
    let (mut path, mut file) = (0, 0);
    for region in regions {
        let (flags, fd) = match region.source {
            layout::ZERO => (MAP_ANONYMOUS | MAP_NORESERVE, usize::MAX),
            layout::PAGES => (0, layout::PAGES_FD as usize),
            layout::MEMORY => (MAP_NORESERVE, layout::MEMORY_FD as usize),
            name => {
                if name != path {
                    // SAFETY: the path ends with a zero.
                    let opened = unsafe { call(SYS_OPENAT, [AT_FDCWD, name as usize, O_CLOEXEC, 0, 0, 0]) };
                    let opened = check(opened, "thaw: a library is gone\n");
                    if path != 0 {
                        // SAFETY: it is ours.
                        unsafe { call(SYS_CLOSE, [file, 0, 0, 0, 0, 0]) };
                    }
                    (path, file) = (name, opened);
                }
                (0, file)
            }
        };
        // Pages lie upon the mapping that they belong to; that one must not lie upon anything.
        let how = if region.source == layout::PAGES { MAP_FIXED } else { MAP_FIXED_NOREPLACE };
        let flags = MAP_PRIVATE | how | flags;
        let (address, length) = (region.address as usize, region.length as usize);
        let arguments = [address, length, region.protection as usize, flags, fd, region.offset as usize];
        // SAFETY: nothing of this program is there.
        check(unsafe { call(SYS_MMAP, arguments) }, "thaw: a place in memory is taken\n");
    }
    if path != 0 {
        // SAFETY: it is ours.
        unsafe { call(SYS_CLOSE, [file, 0, 0, 0, 0, 0]) };
    }
}

/// Takes on what a frozen thread was.
///
/// # Safety
/// Everything is mapped; `number` is below the number of threads.
unsafe fn go_on(number: usize) -> ! {
    let header = header();
    let thread = &list::<Thread>(header.threads, header.thread_count)[number];
    // SAFETY: rt_sigreturn(2) takes everything from the frame and does not come back.
    unsafe {
        call(SYS_ARCH_PRCTL, [ARCH_SET_FS, thread.fs_base as usize, 0, 0, 0, 0]);
        asm!("mov rsp, {frame}", "mov eax, 15", "syscall", "hlt", frame = in(reg) thread.frame, options(noreturn));
    }
}

#[panic_handler]
fn panic(_information: &core::panic::PanicInfo<'_>) -> ! {
    fail("thaw: broken\n")
}

/// The core library, which can unwind elsewhere, names it; nothing here calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
