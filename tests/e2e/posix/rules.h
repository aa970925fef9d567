// Rules of POSIX, and of Linux where POSIX leaves it open, each a function that is run in an empty directory of the
// volume under test. It prints one line for each: "ok NAME", or "FAIL NAME: what was expected, and what came".
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static const char *self;
static char failure[400];

// The first thing that is not as it should be ends the rule.
#define FAILED(...) do { snprintf(failure, sizeof failure, __VA_ARGS__); return; } while (0)
#define IS(call, wanted) do { \
    errno = 0; long long got_ = (call), wanted_ = (wanted); \
    if (got_ != wanted_) FAILED("line %d: %s is %lld, not %lld (%s)", __LINE__, #call, got_, wanted_, strerror(errno)); \
  } while (0)
#define OK(call) IS(call, 0)
#define TRUE(what) IS(!!(what), 1)
#define FAILS(call, error) do { \
    errno = 0; long long got_ = (call); \
    if (got_ != -1 || errno != (error)) \
      FAILED("line %d: %s should fail with %s, but is %lld (%s)", __LINE__, #call, #error, got_, strerror(errno)); \
  } while (0)
#define OPENS(fd, call) int fd = (call); TRUE(fd >= 0)

// What follows runs as another user, until root().
static void as(uid_t uid, gid_t gid) {
  if (setgroups(0, 0) || setegid(gid) || seteuid(uid)) { perror("as"); exit(2); }
}
static void root(void) {
  if (seteuid(0) || setegid(0)) { perror("root"); exit(2); }
}

static int make(const char *name, mode_t mode) {
  int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0 || fchmod(fd, mode)) return -1;
  return fd;
}
static int file(const char *name, const char *text) {
  int fd = make(name, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) return -1;
  return close(fd);
}
static int holds(const char *name, const char *text) {
  char buffer[200] = "";
  int fd = open(name, O_RDONLY);
  ssize_t count = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
  if (fd >= 0) close(fd);
  return count == (ssize_t)strlen(text) && !memcmp(buffer, text, count);
}
static struct stat see(const char *name) {
  struct stat seen = {0};
  lstat(name, &seen);
  return seen;
}
static int mode(const char *name) { return see(name).st_mode & 07777; }
static int there(const char *name) { return !faccessat(AT_FDCWD, name, F_OK, AT_SYMLINK_NOFOLLOW); }

// Runs in a child; its exit code.
#define CHILD(code) ({ \
    pid_t pid_ = fork(); int status_ = 0; \
    if (!pid_) { alarm(60); code; _exit(0); } \
    waitpid(pid_, &status_, 0); WIFEXITED(status_) ? WEXITSTATUS(status_) : 1000 + status_; })

#define RULE(name) static void name(void)
