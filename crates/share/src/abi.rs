//! The numbers of `linux/fuse.h`, version 7.39, that are used here.

/// The protocol's version.
pub const MAJOR: u32 = 7;
/// What is known of it.
pub const MINOR: u32 = 39;

/// The most bytes of one read or write; the kernel takes no more than 256 pages.
pub const MAX_TRANSFER: u32 = 1 << 20;
/// The longest request or reply: data and what stands before it.
pub const MAX_MESSAGE: usize = (1 << 20) + 4096;
/// The root directory's node.
pub const ROOT: u64 = 1;

/// Declares constants of one kind.
macro_rules! numbers {
    ($kind:ty: $($(#[$note:meta])* $name:ident = $value:expr,)*) => {
        $($(#[$note])* pub const $name: $kind = $value;)*
    };
}

/// What a request asks for.
pub mod op {
    numbers! { u32:
        LOOKUP = 1,
        FORGET = 2,
        GETATTR = 3,
        SETATTR = 4,
        READLINK = 5,
        SYMLINK = 6,
        MKNOD = 8,
        MKDIR = 9,
        UNLINK = 10,
        RMDIR = 11,
        RENAME = 12,
        LINK = 13,
        OPEN = 14,
        READ = 15,
        WRITE = 16,
        STATFS = 17,
        RELEASE = 18,
        FSYNC = 20,
        SETXATTR = 21,
        GETXATTR = 22,
        LISTXATTR = 23,
        REMOVEXATTR = 24,
        FLUSH = 25,
        INIT = 26,
        OPENDIR = 27,
        READDIR = 28,
        RELEASEDIR = 29,
        FSYNCDIR = 30,
        GETLK = 31,
        SETLK = 32,
        SETLKW = 33,
        CREATE = 35,
        INTERRUPT = 36,
        DESTROY = 38,
        IOCTL = 39,
        BATCH_FORGET = 42,
        FALLOCATE = 43,
        RENAME2 = 45,
        LSEEK = 46,
        COPY_FILE_RANGE = 47,
        TMPFILE = 51,
    }
}

/// What kernel and server can do.
pub mod init {
    numbers! { u64:
        ASYNC_READ = 1 << 0,
        POSIX_LOCKS = 1 << 1,
        ATOMIC_O_TRUNC = 1 << 3,
        BIG_WRITES = 1 << 5,
        DONT_MASK = 1 << 6,
        FLOCK_LOCKS = 1 << 10,
        AUTO_INVAL_DATA = 1 << 12,
        PARALLEL_DIROPS = 1 << 18,
        POSIX_ACL = 1 << 20,
        MAX_PAGES = 1 << 22,
        HANDLE_KILLPRIV_V2 = 1 << 28,
        SETXATTR_EXT = 1 << 29,
        INIT_EXT = 1 << 30,
        DIRECT_IO_ALLOW_MMAP = 1 << 36,
    }
}

/// Which attributes to set.
pub mod set {
    numbers! { u32:
        MODE = 1 << 0,
        UID = 1 << 1,
        GID = 1 << 2,
        SIZE = 1 << 3,
        ATIME = 1 << 4,
        MTIME = 1 << 5,
        HANDLE = 1 << 6,
        ATIME_NOW = 1 << 7,
        MTIME_NOW = 1 << 8,
        KILL_SUIDGID = 1 << 11,
    }
}

numbers! { u32:
    /// The kernel is not to keep data of this open file, but for `mmap`.
    OPENED_DIRECT_IO = 1 << 0,
    /// Opening takes set-user-ID bits away.
    OPEN_KILL_SUIDGID = 1 << 0,
    /// Written by the kernel from a mapping.
    WRITE_FROM_CACHE = 1 << 0,
    /// Writing takes set-user-ID bits away.
    WRITE_KILL_SUIDGID = 1 << 2,
    /// The lock is `flock`'s.
    LOCK_IS_FLOCK = 1 << 0,
    /// Only data, not attributes.
    FSYNC_DATA = 1 << 0,
    /// Setting an ACL takes the set-group-ID bit away.
    ACL_KILL_SGID = 1 << 0,
}

/// The notice that a node's attributes are no longer what they were.
pub const NOTIFY_INVAL_INODE: i32 = 2;
