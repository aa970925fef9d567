RULE(chmod_rules) {
  OPENS(fd, make("f", 0600)); OK(close(fd));
  OK(chmod("f", 04751)); IS(mode("f"), 04751);
  OK(symlink("f", "l")); OK(chmod("l", 0644)); IS(mode("f"), 0644); IS(mode("l"), 0777);
  as(1000, 1000); FAILS(chmod("f", 0600), EPERM); root();
  FAILS(chmod("no", 0600), ENOENT);
  OK(chown("f", 1000, 2000)); as(1000, 1000); OK(chmod("f", 02755)); root();
  IS(mode("f"), 0755); // Not a member of the group.
}
RULE(chown_rules) {
  OPENS(fd, make("f", 06755)); OK(close(fd)); struct timespec before = see("f").st_ctim;
  struct timespec pause = {0, 20000000}; nanosleep(&pause, 0);
  OK(chown("f", 1000, 1001)); IS(see("f").st_uid, 1000); IS(see("f").st_gid, 1001); IS(mode("f"), 0755);
  struct stat after = see("f"); TRUE(memcmp(&before, &after.st_ctim, sizeof before));
  OK(chown("f", -1, 1002)); IS(see("f").st_uid, 1000); IS(see("f").st_gid, 1002);
  OK(symlink("f", "l")); OK(lchown("l", 7, 8)); IS(see("l").st_uid, 7); IS(see("f").st_uid, 1000);
  as(1000, 1000); FAILS(chown("f", 1001, -1), EPERM); FAILS(chown("f", -1, 1003), EPERM);
  OK(chown("f", -1, 1000)); root();
  IS(see("f").st_gid, 1000);
}
RULE(new_files_have_their_makers_owner) {
  OK(chmod(".", 0777)); umask(022); as(1234, 2345);
  OPENS(fd, open("f", O_CREAT | O_RDWR, 0666)); OK(close(fd)); OK(mkdir("d", 0777)); OK(symlink("x", "l"));
  OK(mkfifo("p", 0666));
  root();
  const char *names[] = {"f", "d", "l", "p"};
  for (int i = 0; i < 4; i++) { IS(see(names[i]).st_uid, 1234); IS(see(names[i]).st_gid, 2345); }
  IS(mode("f"), 0644); IS(mode("d"), 0755);
}
RULE(set_group_id_directories_give_their_group) {
  OK(mkdir("d", 0777)); OK(chown("d", 0, 777)); OK(chmod("d", 02777)); as(1000, 1000);
  OPENS(fd, open("d/f", O_CREAT | O_RDWR, 0644)); OK(close(fd)); OK(mkdir("d/e", 0755));
  OK(symlink("x", "d/l"));
  root();
  IS(see("d/f").st_gid, 777); IS(see("d/e").st_gid, 777); IS(see("d/l").st_gid, 777);
  IS(mode("d/e"), 02755); IS(mode("d/f"), 0644); IS(see("d/f").st_uid, 1000);
}
RULE(sticky_directories) {
  OK(mkdir("d", 01777)); OK(file("d/f", "")); OK(chown("d/f", 1000, 1000)); OK(chmod("d", 01777));
  as(1001, 1001);
  FAILS(unlink("d/f"), EPERM); FAILS(rename("d/f", "d/g"), EPERM); OK(mkdir("d/own", 0700));
  OK(rmdir("d/own"));
  root(); as(1000, 1000); OK(rename("d/f", "d/g")); OK(unlink("d/g")); root();
}
RULE(permissions_are_checked) {
  OPENS(fd, make("f", 0640)); OK(close(fd)); OK(mkdir("d", 0700)); OK(file("d/f", ""));
  OK(chown("f", 1000, 1000));
  as(1001, 1001); FAILS(open("f", O_RDONLY), EACCES); FAILS(open("d/f", O_RDONLY), EACCES);
  FAILS(unlink("f"), EACCES); FAILS(open("new", O_CREAT | O_RDWR, 0600), EACCES); root();
  as(1001, 1000); OPENS(group, open("f", O_RDONLY)); OK(close(group)); FAILS(open("f", O_WRONLY), EACCES);
  root();
  gid_t more = 1000; OK(setgroups(1, &more)); OK(setegid(1001)); OK(seteuid(1001));
  OPENS(member, open("f", O_RDONLY)); OK(close(member)); root(); OK(setgroups(0, 0));
}
RULE(set_user_id_goes_when_another_writes) {
  OPENS(fd, make("f", 06777)); OK(chown("f", 1000, 1000)); OK(chmod("f", 06777)); OK(close(fd));
  as(1001, 1001); OPENS(other, open("f", O_RDWR)); IS(write(other, "x", 1), 1); OK(close(other)); root();
  IS(mode("f"), 0777);
  OK(chmod("f", 06777)); as(1001, 1001); OK(truncate("f", 9)); root(); IS(mode("f"), 0777);
  OK(chmod("f", 06777)); as(1001, 1001); OPENS(emptied, open("f", O_WRONLY | O_TRUNC)); OK(close(emptied));
  root(); IS(mode("f"), 0777);
}
RULE(set_user_id_programs) {
  char buffer[65536]; OPENS(from, open(self, O_RDONLY)); OPENS(to, make("program", 0755)); ssize_t count;
  while ((count = read(from, buffer, sizeof buffer)) > 0) IS(write(to, buffer, count), count);
  OK(close(from) + close(to));
  IS(CHILD(execl("program", "program", "--user", NULL); _exit(99)), 0);
  OK(chown("program", 42, 42)); OK(chmod("program", 04755));
  IS(CHILD(execl("program", "program", "--user", NULL); _exit(99)), 42);
  OPENS(writer, open("program", O_RDWR)); FAILS(execl("program", "program", "--user", NULL), ETXTBSY);
  OK(close(writer));
}
RULE(times_are_set) {
  OK(file("f", "x")); OK(symlink("f", "l"));
  struct timespec times[2] = {{100, 123456789}, {200, 987654321}}; OK(utimensat(AT_FDCWD, "f", times, 0));
  IS(see("f").st_atim.tv_sec, 100); IS(see("f").st_mtim.tv_sec, 200); IS(see("f").st_mtim.tv_nsec, 987654321);
  times[0].tv_nsec = UTIME_OMIT; times[1].tv_sec = 300; OK(utimensat(AT_FDCWD, "f", times, 0));
  IS(see("f").st_atim.tv_sec, 100); IS(see("f").st_mtim.tv_sec, 300);
  struct timespec old[2] = {{-5, 0}, {4102444800, 1}}; OK(utimensat(AT_FDCWD, "l", old, AT_SYMLINK_NOFOLLOW));
  IS(see("l").st_mtim.tv_sec, 4102444800); IS(see("f").st_mtim.tv_sec, 300);
  OK(utimensat(AT_FDCWD, "f", NULL, 0)); TRUE(llabs((long long)see("f").st_mtim.tv_sec - time(0)) < 300);
  as(1000, 1000); FAILS(utimensat(AT_FDCWD, "f", times, 0), EPERM);
  FAILS(utimensat(AT_FDCWD, "f", NULL, 0), EACCES); root();
}
RULE(changes_move_times) {
  OK(file("f", "x")); struct timespec old[2] = {{100, 0}, {100, 0}}; OK(utimensat(AT_FDCWD, "f", old, 0));
  OK(utimensat(AT_FDCWD, ".", old, 0));
  OPENS(fd, open("f", O_WRONLY)); IS(write(fd, "y", 1), 1); OK(close(fd));
  TRUE(see("f").st_mtim.tv_sec > 100);
  IS(see(".").st_mtim.tv_sec, 100); OK(file("g", "")); TRUE(see(".").st_mtim.tv_sec > 100);
}
RULE(extended_attributes) {
  OK(file("f", "")); char value[3000], list[500]; memset(value, 'v', sizeof value);
  FAILS(getxattr("f", "user.a", value, 9), ENODATA); OK(setxattr("f", "user.a", "one", 3, XATTR_CREATE));
  FAILS(setxattr("f", "user.a", "two", 3, XATTR_CREATE), EEXIST);
  FAILS(setxattr("f", "user.b", "x", 1, XATTR_REPLACE), ENODATA);
  OK(setxattr("f", "user.a", "three", 5, XATTR_REPLACE)); IS(getxattr("f", "user.a", 0, 0), 5);
  FAILS(getxattr("f", "user.a", list, 2), ERANGE); IS(getxattr("f", "user.a", list, 500), 5);
  OK(memcmp(list, "three", 5));
  OK(setxattr("f", "user.big", value, sizeof value, 0)); IS(getxattr("f", "user.big", 0, 0), sizeof value);
  OK(setxattr("f", "user.none", "", 0, 0)); OK(getxattr("f", "user.none", list, 500));
  IS(listxattr("f", list, sizeof list), 26); IS(listxattr("f", 0, 0), 26);
  FAILS(listxattr("f", list, 3), ERANGE);
  OK(removexattr("f", "user.big")); FAILS(removexattr("f", "user.big"), ENODATA); OK(symlink("f", "l"));
  FAILS(lsetxattr("l", "user.a", "x", 1, 0), EPERM); IS(getxattr("l", "user.a", list, 500), 5);
  OK(mkdir("d", 0755)); OK(setxattr("d", "user.d", "x", 1, 0)); IS(getxattr("d", "user.d", list, 9), 1);
  as(1000, 1000); FAILS(setxattr("f", "user.a", "x", 1, 0), EACCES); root();
}
RULE(capabilities_of_files) {
  OK(file("f", "x"));
  unsigned char capability[20] = {1, 0, 0, 2, 0, 4}; // Version 2, effective: CAP_NET_BIND_SERVICE.
  OK(setxattr("f", "security.capability", capability, 20, 0)); char seen[30];
  IS(getxattr("f", "security.capability", seen, 30), 20);
  OK(memcmp(seen, capability, 20)); OPENS(fd, open("f", O_WRONLY)); IS(write(fd, "y", 1), 1); OK(close(fd));
  FAILS(getxattr("f", "security.capability", seen, 30), ENODATA);
}
// An ACL: version, then tag, permissions and number of each entry.
static int acl(const char *name, const char *kind, uint32_t user, int bits) {
  struct { uint32_t version; struct { uint16_t tag, bits; uint32_t number; } entries[5]; } acl =
      {2, {{1, 6, -1}, {2, bits, user}, {4, 0, -1}, {16, bits, -1}, {32, 0, -1}}};
  return setxattr(name, kind, &acl, sizeof acl, 0);
}
RULE(access_control_lists) {
  OK(file("f", "text")); OK(chmod("f", 0600)); OK(chmod(".", 0755));
  as(1001, 1001); FAILS(open("f", O_RDONLY), EACCES); root();
  OK(acl("f", "system.posix_acl_access", 1001, 4)); IS(mode("f"), 0640);
  as(1001, 1001); OPENS(fd, open("f", O_RDONLY)); OK(close(fd)); FAILS(open("f", O_WRONLY), EACCES); root();
  as(1002, 1002); FAILS(open("f", O_RDONLY), EACCES); root();
  OK(mkdir("d", 0700)); OK(acl("d", "system.posix_acl_default", 1001, 7)); umask(077);
  OPENS(in, open("d/f", O_CREAT | O_RDWR, 0666)); OK(close(in)); OK(mkdir("d/e", 0777));
  IS(mode("d/f"), 0660); IS(mode("d/e"), 0670); // By the list, not by the mask.
  TRUE(getxattr("d/f", "system.posix_acl_access", 0, 0) > 0);
  TRUE(getxattr("d/e", "system.posix_acl_default", 0, 0) > 0);
  OK(removexattr("f", "system.posix_acl_access")); as(1001, 1001); FAILS(open("f", O_RDONLY), EACCES); root();
}
RULE(file_systems_are_described) {
  struct statvfs system; OK(statvfs(".", &system));
  TRUE(system.f_blocks > 1000 && system.f_bsize >= 512 && system.f_namemax == 255);
  IS(system.f_flag & (ST_NOSUID | ST_NOEXEC | ST_RDONLY), 0);
}
