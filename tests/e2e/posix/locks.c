// An fcntl lock of the whole file; how: F_SETLK, F_SETLKW, F_OFD_SETLK.
static int lock(int fd, int how, int kind) {
  struct flock lock = {.l_type = kind, .l_whence = SEEK_SET};
  return fcntl(fd, how, &lock);
}
// The whole file for itself alone, by either kind of lock; and no longer.
static int take(int fd, int flocked, int wait) {
  return flocked ? flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) : lock(fd, wait ? F_SETLKW : F_SETLK, F_WRLCK);
}
static int leave(int fd, int flocked) { return flocked ? flock(fd, LOCK_UN) : lock(fd, F_SETLK, F_UNLCK); }
// Whether another process would get a lock: 0 if so.
static int taken(const char *name, int flocked) {
  return CHILD(_exit(take(open(name, O_RDWR), flocked, 0) ? errno : 0));
}
// Whether another process finds this one in its way.
static int named(const char *name) {
  struct flock found = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  pid_t mine = getpid();
  return CHILD(_exit(!fcntl(open(name, O_RDWR), F_GETLK, &found) && found.l_type == F_WRLCK && found.l_pid == mine));
}
RULE(fcntl_locks) {
  OK(file("f", "")); OPENS(fd, open("f", O_RDWR)); OK(lock(fd, F_SETLK, F_WRLCK)); IS(taken("f", 0), EAGAIN);
  OK(CHILD(close(fd))); IS(taken("f", 0), EAGAIN); // A child's end is not its parent's.
  OPENS(other, open("f", O_RDWR)); OK(lock(other, F_SETLK, F_WRLCK)); // One process is in nobody's way.
  TRUE(named("f"));
  OK(close(other)); OK(taken("f", 0)); OK(close(fd)); // But a close is the end of all its locks.
}
RULE(fcntl_locks_of_ranges) {
  OK(file("f", "")); OPENS(fd, open("f", O_RDWR)); struct flock first = {.l_type = F_WRLCK, .l_len = 10};
  OK(fcntl(fd, F_SETLK, &first));
  struct flock next = {.l_type = F_WRLCK, .l_start = 10}, over = {.l_type = F_RDLCK, .l_start = 9, .l_len = 1};
  OK(CHILD(int own = open("f", O_RDWR); _exit(fcntl(own, F_SETLK, &next))));
  IS(CHILD(int own = open("f", O_RDWR); _exit(fcntl(own, F_SETLK, &over) ? errno : 0)), EAGAIN);
  struct flock shared = {.l_type = F_RDLCK, .l_len = 10}; OK(fcntl(fd, F_SETLK, &shared));
  OK(CHILD(int own = open("f", O_RDWR); _exit(fcntl(own, F_SETLK, &over))));
  struct flock part = {.l_type = F_UNLCK, .l_start = 5, .l_len = 5}; OK(fcntl(fd, F_SETLK, &part));
  over.l_type = F_WRLCK;
  OK(CHILD(int own = open("f", O_RDWR); _exit(fcntl(own, F_SETLK, &over)))); OK(close(fd));
  OPENS(reader, open("f", O_RDONLY)); FAILS(lock(reader, F_SETLK, F_WRLCK), EBADF);
  OK(lock(reader, F_SETLK, F_RDLCK)); OK(close(reader));
}
RULE(flock_locks) {
  OK(file("f", "")); OPENS(fd, open("f", O_RDWR)); OPENS(other, open("f", O_RDWR)); OK(flock(fd, LOCK_EX));
  FAILS(flock(other, LOCK_EX | LOCK_NB), EAGAIN);
  IS(taken("f", 1), EAGAIN); OK(flock(fd, LOCK_SH)); OK(flock(other, LOCK_SH)); OK(flock(fd, LOCK_UN));
  IS(taken("f", 1), EAGAIN); OK(close(other)); OK(taken("f", 1));
  OK(lock(fd, F_SETLK, F_WRLCK)); OK(taken("f", 1)); OK(close(fd)); // The two kinds do not see each other.
}
// As a shell does: exec 9>f; flock 9.
RULE(flock_belongs_to_the_open_file) {
  OK(file("f", "")); OPENS(fd, open("f", O_RDWR)); OK(CHILD(_exit(flock(fd, LOCK_EX | LOCK_NB))));
  IS(taken("f", 1), EAGAIN);
  OPENS(copy, dup(fd)); OK(close(fd)); IS(taken("f", 1), EAGAIN); OPENS(again, open("f", O_RDWR));
  OK(close(again)); IS(taken("f", 1), EAGAIN);
  OK(CHILD(_exit(flock(copy, LOCK_UN)))); OK(taken("f", 1)); OK(close(copy));
}
RULE(locks_of_open_files) {
  OK(file("f", "")); OPENS(fd, open("f", O_RDWR)); OPENS(other, open("f", O_RDWR));
  OK(lock(fd, F_OFD_SETLK, F_WRLCK));
  FAILS(lock(other, F_OFD_SETLK, F_WRLCK), EAGAIN); FAILS(lock(other, F_SETLK, F_WRLCK), EAGAIN);
  OK(close(other)); IS(taken("f", 0), EAGAIN); OK(close(fd)); OK(taken("f", 0));
}
static void nothing(int signal) { (void)signal; }
RULE(waiting_for_locks) {
  OK(file("f", "")); OPENS(fd, open("f", O_RDWR)); int ends[2]; OK(pipe(ends)); char byte;
  for (int flocked = 0; flocked < 2; flocked++) {
    OK(take(fd, flocked, 0));
    pid_t waiting = fork();
    if (!waiting) {
      alarm(60); int own = open("f", O_RDWR); write(ends[1], "r", 1);
      _exit(take(own, flocked, 1));
    }
    IS(read(ends[0], &byte, 1), 1); struct timespec pause = {0, 100000000}; nanosleep(&pause, 0);
    IS(waitpid(waiting, 0, WNOHANG), 0); TRUE(there("f")); // Others are answered meanwhile.
    OK(leave(fd, flocked)); int status;
    IS(waitpid(waiting, &status, 0), waiting); OK(status);
    // A signal ends a wait, one that kills too.
    OK(take(fd, flocked, 0));
    struct sigaction action = {.sa_handler = nothing}; struct itimerval often = {{1, 0}, {1, 0}};
    IS(CHILD(sigaction(SIGALRM, &action, 0); setitimer(ITIMER_REAL, &often, 0);
             _exit(take(open("f", O_RDWR), flocked, 1) ? errno : 0)), EINTR);
    IS(CHILD(alarm(1); take(open("f", O_RDWR), flocked, 1)), 1000 + SIGALRM);
    OK(leave(fd, flocked));
  }
  OK(close(fd)); OK(taken("f", 0)); OK(taken("f", 1));
}
