// Makes a tree of every kind of file (`make DIR`), and says everything about one (`see DIR`).
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static void must(int result, const char *what) {
    if (result < 0) { perror(what); exit(1); }
}

static void text(const char *path, const char *content) {
    int file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    must(file, path);
    must(write(file, content, strlen(content)), path);
    close(file);
}

static void make(void) {
    text("file", "content");
    must(link("file", "other name"), "link");
    must(symlink("../nowhere", "soft"), "symlink");
    must(lchown("soft", 5, 6), "lchown");
    must(mkdir("d", 01770), "mkdir");
    must(chmod("d", 03771), "chmod");
    text("d/suid", "x");
    must(chown("d/suid", 7, 8), "chown");
    must(chmod("d/suid", 06755), "chmod");
    must(mkfifo("fifo", 0600), "mkfifo");
    must(mknod("null", S_IFCHR | 0666, makedev(1, 3)), "mknod");
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "socket" };
    must(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name), "bind");
    text("not \xff\xfe UTF-8", "x");
    text("two\nlines", "x");
    text(".wh.no whiteout", "x");
    int holes = open("holes", O_CREAT | O_WRONLY, 0644);
    must(pwrite(holes, "a", 1, 0), "pwrite");
    must(pwrite(holes, "b", 1, 5000000), "pwrite");
    must(ftruncate(holes, 300000000), "ftruncate");
    must(setxattr("file", "user.note", "a\n=\0b", 5, 0), "user.note");
    unsigned char capability[20] = { 1, 0, 0, 2, 0, 4 };
    must(setxattr("d/suid", "security.capability", capability, 20, 0), "security.capability");
    unsigned char acl[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
                            16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255 };
    must(setxattr("file", "system.posix_acl_access", acl, sizeof acl, 0), "acl");
    must(setxattr("d", "system.posix_acl_default", acl, sizeof acl, 0), "default acl");
    struct timespec times[2] = { { 1000000000, 987654321 }, { -5, 123456789 } };
    must(utimensat(AT_FDCWD, "file", times, 0), "utimensat");
    must(utimensat(AT_FDCWD, "soft", times, AT_SYMLINK_NOFOLLOW), "utimensat");
    must(utimensat(AT_FDCWD, "d", times, 0), "utimensat");
}

static void quoted(const unsigned char *bytes, ssize_t length) {
    for (ssize_t i = 0; i < length; i++)
        if (bytes[i] > 32 && bytes[i] < 127) putchar(bytes[i]); else printf("\\%02x", bytes[i]);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void see(const char *path) {
    struct stat s;
    must(lstat(path, &s), path);
    quoted((const unsigned char *)path, strlen(path));
    printf(" %o %u:%u %lld.%09ld", s.st_mode, s.st_uid, s.st_gid, (long long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    if (!S_ISDIR(s.st_mode)) printf(" links=%u size=%lld", (unsigned)s.st_nlink, (long long)s.st_size);
    if (S_ISCHR(s.st_mode)) printf(" dev=%u:%u", major(s.st_rdev), minor(s.st_rdev));
    char list[4096], target[4096];
    ssize_t length = llistxattr(path, list, sizeof list);
    char *attributes[64];
    int many = 0;
    for (ssize_t at = 0; at < length && many < 64; at += strlen(list + at) + 1) attributes[many++] = list + at;
    qsort(attributes, many, sizeof *attributes, by_text);
    for (int i = 0; i < many; i++) {
        unsigned char value[4096];
        ssize_t size = lgetxattr(path, attributes[i], value, sizeof value);
        if (!strcmp(attributes[i], "security.selinux")) continue;
        printf(" %s=", attributes[i]);
        quoted(value, size);
    }
    if (S_ISLNK(s.st_mode)) { length = readlink(path, target, sizeof target); printf(" -> "); quoted((unsigned char *)target, length); }
    if (S_ISREG(s.st_mode)) {
        static unsigned char buffer[1 << 20];
        uint64_t hash = 1469598103934665603u;
        int file = open(path, O_RDONLY);
        must(file, path);
        off_t at = 0;
        // Holes are as good as zeroes, and quicker.
        while ((at = lseek(file, at, SEEK_DATA)) >= 0) {
            ssize_t count = pread(file, buffer, sizeof buffer - at % sizeof buffer, at);
            if (count <= 0) break;
            for (ssize_t i = 0; i < count; i++) if (buffer[i]) hash = (hash ^ buffer[i] ^ (uint64_t)(at + i)) * 1099511628211u;
            at += count;
        }
        close(file);
        printf(" %016llx%s", (unsigned long long)hash, s.st_size > 1000000 && s.st_blocks * 512 < s.st_size / 2 ? " sparse" : "");
    }
    putchar('\n');
    if (!S_ISDIR(s.st_mode)) return;
    struct dirent **names;
    int count = scandir(path, &names, NULL, by_name);
    for (int i = 0; i < count; i++) {
        if (!strcmp(names[i]->d_name, ".") || !strcmp(names[i]->d_name, "..")) continue;
        char *below;
        must(asprintf(&below, "%s/%s", path, names[i]->d_name), "memory");
        see(below);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    umask(022);
    if (!strcmp(argv[1], "make")) { must(chdir(argv[2]), argv[2]); make(); } else for (int i = 2; i < argc; i++) see(argv[i]);
    return 0;
}
