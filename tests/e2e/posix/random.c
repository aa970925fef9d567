// random FILE SEED STEPS: random operations on one file, each compared with a model in memory.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST (256 * 1024)
static unsigned char model[MOST], buffer[MOST];
static long size, step, seed;
static const char *what = "start";
static uint64_t state;

static uint64_t number(uint64_t below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return below ? (state >> 11) % below : 0;
}
static void fail(const char *why, long at) {
  printf("seed %ld, step %ld, %s: %s at %ld of %ld (%s)\n", seed, step, what, why, at, size, strerror(errno));
  exit(1);
}
static void must(int good, const char *why) { if (!good) fail(why, -1); }
static void same(const unsigned char *seen, long from, long length) {
  for (long i = 0; i < length; i++)
    if (seen[i] != model[from + i]) fail("other data", from + i);
}
static void grow(long to) {
  if (to > size) memset(model + size, 0, to - size), size = to;
}

int main(int count, char **words) {
  if (count != 4) return 2;
  seed = atol(words[2]);
  state = seed * 0x9e3779b97f4a7c15 + 1;
  long steps = atol(words[3]), punches = 0;
  int fd = open(words[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
  must(fd >= 0, "open");
  for (step = 0; step < steps; step++) {
    long from = number(MOST), length = 1 + number(number(4) ? 5000 : MOST - 1);
    if (from + length > MOST) length = MOST - from;
    long within = from < size ? (length < size - from ? length : size - from) : 0;
    switch (number(11)) {
    case 0: case 1:
      what = "write";
      for (long i = 0; i < length; i++) buffer[i] = number(256);
      grow(from);
      must(pwrite(fd, buffer, length, from) == length, "short");
      grow(from + length), memcpy(model + from, buffer, length);
      break;
    case 2: case 3:
      what = "read";
      must(pread(fd, buffer, length, from) == within, "another length");
      same(buffer, from, within);
      break;
    case 4: case 5: {
      int writes = number(2);
      what = writes ? "write to a mapping" : "read from a mapping";
      if (!within) break;
      long page = from & ~4095L, all = from + within - page;
      unsigned char *map = mmap(0, all, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, fd, page);
      must(map != MAP_FAILED, "mmap");
      same(map + (from - page), from, within);
      if (writes)
        for (long i = 0; i < within; i++) map[from - page + i] = model[from + i] = number(256);
      // Seen before it is unmapped, too.
      if (number(2)) must(pread(fd, buffer, within, from) == within, "short"), same(buffer, from, within);
      if (number(2)) must(!msync(map, all, MS_SYNC), "msync");
      must(!munmap(map, all), "munmap");
      break;
    }
    case 6:
      what = "truncate";
      must(!ftruncate(fd, from), "ftruncate");
      if (from < size) size = from; else grow(from);
      break;
    case 7:
      what = "punch";
      if (!within) break;
      if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, length)) { must(errno == EOPNOTSUPP, "fallocate"); break; }
      memset(model + from, 0, within), punches++;
      break;
    case 8:
      what = "append";
      if (size + length > MOST) break;
      must(!fcntl(fd, F_SETFL, O_APPEND), "F_SETFL");
      for (long i = 0; i < length; i++) buffer[i] = number(256);
      must(write(fd, buffer, length) == length, "short");
      must(!fcntl(fd, F_SETFL, 0), "F_SETFL");
      grow(size + length), memcpy(model + size - length, buffer, length);
      break;
    case 9:
      what = "allocate";
      if (fallocate(fd, 0, from, length)) { must(errno == EOPNOTSUPP, "fallocate"); break; }
      grow(from + length);
      break;
    default:
      what = "open again";
      if (number(2)) must(!fsync(fd), "fsync");
      must(!close(fd), "close");
      must((fd = open(words[1], O_RDWR)) >= 0, "open");
    }
    struct stat seen;
    must(!fstat(fd, &seen) && seen.st_size == size, "another size");
  }
  what = "end";
  must(pread(fd, buffer, MOST, 0) == size, "another length");
  same(buffer, 0, size);
  printf("%ld steps, %ld holes, the same\n", steps, punches);
}
