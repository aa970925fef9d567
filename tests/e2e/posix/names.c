RULE(mkdir_mode_and_umask) {
  umask(027);
  OK(mkdir("d", 0777)); IS(mode("d"), 0750);
  umask(0);
  OK(mkdir("e", 01777)); IS(mode("e"), 01777);
  FAILS(mkdir("d", 0700), EEXIST);
  FAILS(mkdir("no/d", 0700), ENOENT);
  OK(file("f", "")); FAILS(mkdir("f/d", 0700), ENOTDIR); FAILS(mkdir("f", 0700), EEXIST);
}
RULE(rmdir_only_empty_directories) {
  OK(mkdir("d", 0755)); OK(file("d/f", ""));
  FAILS(rmdir("d"), ENOTEMPTY);
  OK(unlink("d/f")); OK(rmdir("d")); FAILS(rmdir("d"), ENOENT);
  OK(file("f", "")); FAILS(rmdir("f"), ENOTDIR);
  OK(mkdir("d", 0755)); FAILS(rmdir("d/."), EINVAL);
}
RULE(rmdir_of_the_working_directory) {
  OK(mkdir("d", 0755)); OPENS(up, open(".", O_RDONLY)); OK(chdir("d"));
  OK(unlinkat(up, "d", AT_REMOVEDIR));
  FAILS(open("x", O_CREAT | O_RDWR, 0600), ENOENT);
  OK(fchdir(up)); OK(close(up));
}
RULE(unlink_rules) {
  FAILS(unlink("no"), ENOENT);
  OK(mkdir("d", 0755)); FAILS(unlink("d"), EISDIR);
  OK(file("f", "")); FAILS(unlink("f/x"), ENOTDIR);
  OK(symlink("f", "l")); OK(unlink("l")); TRUE(there("f"));
}
RULE(unlink_while_open) {
  OPENS(fd, make("f", 0644));
  IS(write(fd, "before", 6), 6); OK(unlink("f")); TRUE(!there("f"));
  struct stat seen; OK(fstat(fd, &seen)); IS(seen.st_nlink, 0); IS(seen.st_size, 6);
  IS(pwrite(fd, "after!", 6, 6), 6);
  char text[20]; IS(pread(fd, text, 20, 0), 12); OK(memcmp(text, "beforeafter!", 12));
  OK(ftruncate(fd, 3)); OK(fchmod(fd, 0600)); OK(fstat(fd, &seen)); IS(seen.st_size, 3);
  IS(seen.st_mode & 0777, 0600);
  OK(file("f", "another")); OK(fstat(fd, &seen)); IS(seen.st_size, 3);
  OK(close(fd));
}
RULE(link_counts_and_shares) {
  OK(file("a", "text")); OK(link("a", "b"));
  IS(see("a").st_nlink, 2); IS(see("a").st_ino, see("b").st_ino);
  OPENS(fd, open("b", O_WRONLY | O_APPEND)); IS(write(fd, "!", 1), 1); OK(close(fd));
  TRUE(holds("a", "text!"));
  OK(unlink("a")); IS(see("b").st_nlink, 1);
}
RULE(link_refusals) {
  OK(file("a", "")); OK(file("b", "")); OK(mkdir("d", 0755));
  FAILS(link("a", "b"), EEXIST); FAILS(link("d", "e"), EPERM); FAILS(link("no", "e"), ENOENT);
  FAILS(link("a", "no/e"), ENOENT); FAILS(link("a", "b/e"), ENOTDIR);
  OK(symlink("a", "l")); OK(link("l", "m")); TRUE(S_ISLNK(see("m").st_mode)); IS(see("l").st_nlink, 2);
}
RULE(rename_replaces) {
  OK(file("a", "new")); OK(file("b", "old")); OPENS(old, open("b", O_RDONLY));
  OK(rename("a", "b")); TRUE(!there("a")); TRUE(holds("b", "new"));
  char text[4] = ""; IS(read(old, text, 3), 3); OK(strcmp(text, "old")); OK(close(old));
  OK(link("b", "c")); OK(rename("b", "c")); TRUE(there("b") && there("c"));
}
RULE(rename_of_directories) {
  OK(mkdir("a", 0755)); OK(file("a/f", "x")); OK(mkdir("b", 0755));
  OK(rename("a", "b")); TRUE(holds("b/f", "x"));
  OK(mkdir("c", 0755)); FAILS(rename("c", "b"), ENOTEMPTY);
  FAILS(rename("b", "b/in"), EINVAL);
  OK(file("f", "")); FAILS(rename("c", "f"), ENOTDIR); FAILS(rename("f", "c"), EISDIR);
  FAILS(rename("no", "x"), ENOENT); FAILS(rename("f", "no/x"), ENOENT);
}
RULE(rename_with_flags) {
  OK(file("a", "A")); OK(file("b", "B"));
  FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
  OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE)); TRUE(holds("a", "B") && holds("b", "A"));
  OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE)); TRUE(holds("c", "B"));
}
RULE(symlinks) {
  OK(symlink("target", "l")); IS(see("l").st_size, 6); TRUE(S_ISLNK(see("l").st_mode));
  char text[PATH_MAX]; IS(readlink("l", text, sizeof text), 6); OK(memcmp(text, "target", 6));
  FAILS(open("l", O_RDONLY), ENOENT); FAILS(symlink("x", "l"), EEXIST); FAILS(readlink(".", text, 9), EINVAL);
  FAILS(open("l", O_RDONLY | O_NOFOLLOW), ELOOP); FAILS(open("l", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
  OPENS(fd, open("l", O_CREAT | O_RDWR, 0600)); OK(close(fd)); TRUE(there("target"));
  FAILS(symlink("", "e"), ENOENT);
}
RULE(symlink_loops_and_lengths) {
  OK(symlink("a", "b")); OK(symlink("b", "a")); FAILS(open("a", O_RDONLY), ELOOP);
  char name[PATH_MAX + 1]; memset(name, 'x', sizeof name); name[PATH_MAX] = 0;
  FAILS(symlink(name, "l"), ENAMETOOLONG);
  name[1000] = 0; OK(symlink(name, "l")); IS(see("l").st_size, 1000);
}
RULE(lengths_of_names) {
  char name[PATH_MAX + 10]; memset(name, 'n', sizeof name);
  name[255] = 0; OK(file(name, "")); TRUE(there(name)); OK(unlink(name));
  name[255] = 'n'; name[256] = 0; FAILS(open(name, O_CREAT | O_RDWR, 0600), ENAMETOOLONG);
  FAILS(mkdir(name, 0700), ENAMETOOLONG);
  for (int i = 0; i < PATH_MAX; i++) name[i] = i % 2 ? '/' : '.';
  name[PATH_MAX] = 0; FAILS(open(name, O_RDONLY), ENAMETOOLONG);
}
RULE(names_are_bytes) {
  const char *names[] = {"\xff\xfe", "a b", "new\nline", "\xc3\x28", "*", "-rf"};
  for (unsigned i = 0; i < 6; i++) OK(file(names[i], "x"));
  int seen = 0; DIR *dir = opendir("."); TRUE(dir);
  for (struct dirent *entry; (entry = readdir(dir));)
    for (unsigned i = 0; i < 6; i++) seen += !strcmp(entry->d_name, names[i]);
  closedir(dir); IS(seen, 6);
}
RULE(pipes_sockets_and_nodes) {
  OK(mkfifo("p", 0640)); TRUE(S_ISFIFO(see("p").st_mode)); IS(mode("p"), 0640);
  FAILS(mkfifo("p", 0600), EEXIST);
  OPENS(reader, open("p", O_RDONLY | O_NONBLOCK)); OPENS(writer, open("p", O_WRONLY)); char text[5] = "";
  IS(write(writer, "data", 4), 4); IS(read(reader, text, 4), 4); OK(strcmp(text, "data"));
  OK(close(reader) + close(writer));
  struct sockaddr_un address = {AF_UNIX, "s"}; OPENS(s, socket(AF_UNIX, SOCK_STREAM, 0));
  OK(bind(s, (void *)&address, sizeof address)); OK(listen(s, 1)); TRUE(S_ISSOCK(see("s").st_mode));
  OPENS(c, socket(AF_UNIX, SOCK_STREAM, 0)); OK(connect(c, (void *)&address, sizeof address));
  OK(close(c) + close(s));
  OK(mknod("f", S_IFREG | 0600, 0)); TRUE(S_ISREG(see("f").st_mode)); IS(see("f").st_size, 0);
}
RULE(directories_are_listed_whole) {
  char name[20]; static char seen[600];
  for (int i = 0; i < 500; i++) { sprintf(name, "entry-%d", i); OK(mknod(name, S_IFREG | 0600, 0)); }
  memset(seen, 0, sizeof seen); long place = -1; int number = -1, other = -1;
  DIR *dir = opendir("."); TRUE(dir);
  for (struct dirent *entry; (entry = readdir(dir));)
    if (sscanf(entry->d_name, "entry-%d", &number) == 1) {
      if (++seen[number] == 1 && place < 0 && number % 7 == 3) place = telldir(dir);
      else if (place >= 0 && other < 0) other = number;
      if (number % 3 == 0) OK(unlink(entry->d_name));
      TRUE(entry->d_type == DT_REG && entry->d_ino);
    }
  for (int i = 0; i < 500; i++) IS(seen[i], 1);
  seekdir(dir, place);
  struct dirent *entry;
  do entry = readdir(dir); while (entry && entry->d_name[0] == '.');
  if (other % 3) { TRUE(entry); sscanf(entry->d_name, "entry-%d", &number); IS(number, other); }
  closedir(dir);
}
