// Locks of one file, for containers that share it. KIND is fcntl, ofd or flock.
//   contend hold KIND FILE     takes the lock, says so, and keeps it until it is killed
//   contend try KIND FILE      says whether the lock is free
//   contend wait KIND FILE     says so before it waits, and when it has it
//   contend count KIND FILE N  N times: takes the lock, adds one to the number in the file, and lets it go
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int lock(int fd, const char *kind, int type, int wait) {
  if (!strcmp(kind, "flock")) return flock(fd, (type == F_UNLCK ? LOCK_UN : LOCK_EX) | (wait ? 0 : LOCK_NB));
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
  if (!strcmp(kind, "ofd")) return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
  return fcntl(fd, wait ? F_SETLKW : F_SETLK, &lock);
}

int main(int count, char **words) {
  if (count < 4) return 2;
  const char *verb = words[1], *kind = words[2];
  setvbuf(stdout, 0, _IOLBF, 0);
  int fd = open(words[3], O_RDWR | O_CREAT, 0666);
  if (fd < 0) return perror(words[3]), 1;
  if (!strcmp(verb, "hold")) {
    if (lock(fd, kind, F_WRLCK, 0)) return perror("hold"), 1;
    puts("held");
    for (;;) pause();
  }
  if (!strcmp(verb, "try")) {
    if (!lock(fd, kind, F_WRLCK, 0)) return puts("free"), 0;
    return puts(errno == EAGAIN ? "taken" : strerror(errno)), 0;
  }
  if (!strcmp(verb, "wait")) {
    puts("waiting");
    if (lock(fd, kind, F_WRLCK, 1)) return perror("wait"), 1;
    return puts("got it"), 0;
  }
  for (int i = 0; i < atoi(words[4]); i++) {
    char text[32] = "";
    struct stat seen;
    if (lock(fd, kind, F_WRLCK, 1)) return perror("lock"), 1;
    // The size tells of what another has appended, the data of what another has written.
    if (fstat(fd, &seen) || pread(fd, text, 31, 0) < 0) return perror("read"), 1;
    int number = atoi(text) + 1;
    if (number > 1 && seen.st_size != 32 + number - 1) return printf("size %ld at %d\n", (long)seen.st_size, number), 1;
    snprintf(text, 32, "%d", number);
    if (pwrite(fd, text, 32, 0) != 32 || pwrite(fd, ".", 1, 32 + number - 1) != 1) return perror("write"), 1;
    if (lock(fd, kind, F_UNLCK, 0)) return perror("unlock"), 1;
  }
  puts("done");
}
