RULE(open_flags) {
  OPENS(fd, open("f", O_CREAT | O_EXCL | O_RDWR, 0600)); IS(write(fd, "text", 4), 4); OK(close(fd));
  FAILS(open("f", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST); OPENS(again, open("f", O_CREAT | O_RDWR, 0));
  OK(close(again));
  OPENS(emptied, open("f", O_WRONLY | O_TRUNC)); IS(see("f").st_size, 0); char byte;
  FAILS(read(emptied, &byte, 1), EBADF); OK(close(emptied));
  OPENS(reader, open("f", O_RDONLY)); FAILS(write(reader, "x", 1), EBADF);
  FAILS(ftruncate(reader, 0), EINVAL); OK(close(reader));
  FAILS(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR); OK(mkdir("d", 0755)); FAILS(open("d", O_WRONLY), EISDIR);
  FAILS(open("d", O_CREAT | O_RDWR, 0600), EISDIR); FAILS(open("no", O_RDONLY), ENOENT);
  FAILS(open("f/x", O_RDONLY), ENOTDIR);
  OPENS(dir, open("d", O_RDONLY)); FAILS(read(dir, &byte, 1), EISDIR); OK(close(dir));
}
RULE(appending) {
  OPENS(a, open("f", O_CREAT | O_WRONLY | O_APPEND, 0600)); OPENS(b, open("f", O_WRONLY | O_APPEND));
  for (int i = 0; i < 5; i++) { IS(write(a, "a", 1), 1); IS(write(b, "b", 1), 1); }
  OK(lseek(a, 0, SEEK_SET)); IS(write(a, "!", 1), 1); TRUE(holds("f", "ababababab!"));
  OPENS(c, open("f", O_RDWR)); OK(fcntl(c, F_SETFL, O_APPEND)); IS(write(c, "?", 1), 1);
  TRUE(holds("f", "ababababab!?"));
  OK(fcntl(c, F_SETFL, 0)); IS(pwrite(c, "A", 1, 0), 1); TRUE(holds("f", "Abababab" "ab!?"));
  OK(close(a) + close(b) + close(c));
}
RULE(files_without_names) {
  OPENS(fd, open(".", O_TMPFILE | O_RDWR, 0640)); IS(write(fd, "text", 4), 4);
  char path[40]; sprintf(path, "/proc/self/fd/%d", fd);
  OK(linkat(AT_FDCWD, path, AT_FDCWD, "f", AT_SYMLINK_FOLLOW)); TRUE(holds("f", "text")); IS(mode("f"), 0640);
  OK(close(fd));
}
RULE(truncating) {
  OK(file("f", "0123456789")); OK(truncate("f", 4)); TRUE(holds("f", "0123")); OK(truncate("f", 8));
  char text[9]; OPENS(fd, open("f", O_RDWR)); IS(read(fd, text, 9), 8); OK(memcmp(text, "0123\0\0\0\0", 8));
  FAILS(ftruncate(fd, -1), EINVAL); OK(ftruncate(fd, 0)); IS(see("f").st_size, 0); OK(close(fd));
  FAILS(truncate(".", 0), EISDIR); FAILS(truncate("no", 0), ENOENT);
}
RULE(large_and_sparse_files) {
  OPENS(fd, make("f", 0600)); off_t far = (5LL << 30) + 123; IS(pwrite(fd, "end", 3, far), 3);
  IS(see("f").st_size, far + 3); TRUE(see("f").st_blocks < 1000);
  char text[4] = ""; IS(pread(fd, text, 3, far), 3); OK(strcmp(text, "end"));
  IS(pread(fd, text, 3, 1LL << 32), 3); OK(memcmp(text, "\0\0\0", 3));
  OK(ftruncate(fd, 6LL << 30)); IS(lseek(fd, 0, SEEK_END), 6LL << 30); OK(close(fd));
}
RULE(holes) {
  OPENS(fd, make("f", 0600)); static char block[65536]; memset(block, 'x', sizeof block);
  for (int i = 0; i < 4; i++) IS(write(fd, block, sizeof block), sizeof block);
  OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536));
  IS(see("f").st_size, 4 * 65536);
  char bytes[2]; IS(pread(fd, bytes, 2, 65535), 2); TRUE(bytes[0] == 'x' && bytes[1] == 0);
  IS(lseek(fd, 0, SEEK_HOLE), 65536); IS(lseek(fd, 65536, SEEK_DATA), 2 * 65536);
  FAILS(lseek(fd, 4 * 65536, SEEK_DATA), ENXIO);
  OK(fallocate(fd, 0, 0, 5 * 65536)); IS(see("f").st_size, 5 * 65536);
  OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 6 * 65536));
  IS(see("f").st_size, 5 * 65536); OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 10));
  IS(pread(fd, bytes, 1, 9), 1); IS(bytes[0], 0); OK(close(fd));
}
RULE(copying_in_the_kernel) {
  OK(file("a", "0123456789")); OPENS(from, open("a", O_RDONLY)); OPENS(to, make("b", 0600));
  loff_t at = 2; IS(copy_file_range(from, &at, to, NULL, 5, 0), 5); IS(at, 7); TRUE(holds("b", "23456"));
  OK(close(from) + close(to));
}
RULE(syncing) {
  OPENS(fd, make("f", 0600)); IS(write(fd, "x", 1), 1); OK(fsync(fd)); OK(fdatasync(fd));
  OPENS(dir, open(".", O_RDONLY)); OK(fsync(dir));
  OK(syncfs(fd)); OPENS(synced, open("f", O_WRONLY | O_SYNC)); IS(write(synced, "y", 1), 1);
  OK(close(fd) + close(dir) + close(synced));
}
RULE(positions_are_shared_by_dup_and_fork) {
  OK(file("f", "0123456789")); OPENS(fd, open("f", O_RDONLY)); OPENS(copy, dup(fd)); char byte;
  IS(read(fd, &byte, 1), 1); IS(read(copy, &byte, 1), 1); IS(byte, '1');
  IS(CHILD(_exit(lseek(fd, 5, SEEK_SET))), 5);
  IS(read(copy, &byte, 1), 1); IS(byte, '5'); IS(read(fd, &byte, 0), 0); OK(close(fd) + close(copy));
}
RULE(shared_mappings) {
  OPENS(fd, make("f", 0600)); OK(ftruncate(fd, 8192));
  char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); TRUE(map != MAP_FAILED);
  memcpy(map + 4090, "over pages", 10); char text[11] = ""; IS(pread(fd, text, 10, 4090), 10);
  OK(strcmp(text, "over pages"));
  IS(pwrite(fd, "written", 7, 100), 7); OK(memcmp(map + 100, "written", 7));
  IS(CHILD(map[7000] = 'c'; _exit(0)), 0); IS(map[7000], 'c'); OK(msync(map, 8192, MS_SYNC));
  OPENS(other, open("f", O_RDONLY)); IS(pread(other, text, 1, 7000), 1); IS(text[0], 'c'); map[1] = 'z';
  OK(munmap(map, 8192));
  IS(pread(other, text, 1, 1), 1); IS(text[0], 'z'); OK(close(other) + close(fd));
}
RULE(private_mappings) {
  OK(file("f", "original")); OPENS(fd, open("f", O_RDONLY));
  char *map = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0); TRUE(map != MAP_FAILED);
  OK(memcmp(map, "original", 8)); map[0] = 'X'; TRUE(holds("f", "original")); OK(munmap(map, 8));
  OK(close(fd)); OK(unlink("f"));
}
RULE(mappings_outlive_names_and_descriptors) {
  OPENS(fd, make("f", 0600)); OK(ftruncate(fd, 4096));
  char *map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); TRUE(map != MAP_FAILED);
  OPENS(kept, open("f", O_RDONLY)); OK(close(fd)); OK(unlink("f")); map[9] = 'm'; OK(munmap(map, 4096));
  char byte; IS(pread(kept, &byte, 1, 9), 1); IS(byte, 'm'); OK(close(kept));
}
