/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that can be asked afterwards what it was really told, and that can be told to fail.
 *
 * Preloaded (LD_PRELOAD) into a chamber, it sees every call that changes a file or a folder below LYING_ROOT.
 *   LYING_LOG     each of them is written here, with its octets and its time, for tools/lying_disk.py to replay.
 *   LYING_FAULTS  a file of lines that say what fails; it is read again whenever it changes:
 *                   space OCTETS                  so much may all files together still grow: then ENOSPC
 *                   OP PART SKIP TIMES ERRNO MS   calls of kind OP (write sync open rename link unlink mkdir, * for any of
 *                                                 them, or read)
 *                                                 on paths that contain PART (or *): the first SKIP pass, the next TIMES
 *                                                 (-1: all) wait MS milliseconds and, if ERRNO is not 0, fail with it;
 *                                                 ERRNO -9 kills the process before the call.
 * What is mapped into memory is not seen; SQLite maps only its -shm file, which nothing durable depends on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, SYNC_BEGIN, SYNC_END };

struct record {
  uint32_t magic;
  uint16_t op, path_len, path2_len, pad;
  uint32_t pad0;
  uint64_t time_ns, ino, at, id;
  uint32_t data_len, pad2;
};

#define FDS 65536
#define RULES 16
static char *paths[FDS];
static char root[PATH_MAX];
static size_t root_len;
static int log_fd = -1;
static const char *faults;
static pid_t owner;
static uint64_t syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, fault_lock = PTHREAD_MUTEX_INITIALIZER;

struct rule { char op[16], part[128]; long skip, times, error, ms; };
static struct rule rules[RULES];
static int rule_count;
static struct timespec rules_read;
static ino_t rules_ino;
static long long space = -1;

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

__attribute__((constructor)) static void begin(void) {
  const char *where = getenv("LYING_ROOT"), *log = getenv("LYING_LOG");
  faults = getenv("LYING_FAULTS");
  owner = getpid();
  if (!where) return;
  strncpy(root, where, sizeof root - 1);
  root_len = strlen(root);
  if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd >= 0) { /* out of the way of what the program expects to get */
    int high = (int)syscall(SYS_fcntl, log_fd, F_DUPFD_CLOEXEC, 900);
    if (high >= 0) { syscall(SYS_close, log_fd); log_fd = high; }
  }
}

static int watched(const char *path) {
  size_t len;
  if (!root_len || !path || strncmp(path, root, root_len) || (path[root_len] != '/' && path[root_len])) return 0;
  len = strlen(path);
  return len < 4 || strcmp(path + len - 4, "-shm");
}

static const char *whole(int dir, const char *path, char *into) {
  if (!root_len || !path) return NULL;
  if (path[0] == '/') return watched(path) ? path : NULL;
  if (dir == AT_FDCWD) {
    if (!getcwd(into, PATH_MAX)) return NULL;
  } else {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t got = readlink(link, into, PATH_MAX - 1);
    if (got < 0) return NULL;
    into[got] = 0;
  }
  size_t len = strlen(into);
  snprintf(into + len, PATH_MAX - len, "/%s", path);
  return watched(into) ? into : NULL;
}

static const char *of(int fd) { return fd >= 0 && fd < FDS && getpid() == owner ? paths[fd] : NULL; }

static void note(int op, const char *path, const char *path2, uint64_t ino, uint64_t at, uint64_t id, const void *data, size_t len) {
  struct timespec now;
  if (log_fd < 0 || getpid() != owner) return;
  int kept = errno;
  struct record head = {0x4c494e47, (uint16_t)op, path ? strlen(path) : 0, path2 ? strlen(path2) : 0, 0, 0, 0, ino, at, id, (uint32_t)len, 0};
  struct iovec parts[4] = {{&head, sizeof head}, {(void *)path, head.path_len}, {(void *)path2, head.path2_len}, {(void *)data, len}};
  pthread_mutex_lock(&lock);
  clock_gettime(CLOCK_MONOTONIC, &now);
  head.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  if (op == SYNC_BEGIN) ((struct record *)&head)->id = id;
  syscall(SYS_writev, log_fd, parts, 4);
  pthread_mutex_unlock(&lock);
  errno = kept;
}

static uint64_t ino_of(int fd) { struct stat about; return fstat(fd, &about) ? 0 : about.st_ino; }
static uint64_t ino_at(const char *path) { struct stat about; return lstat(path, &about) ? 0 : about.st_ino; }
static long long size_of(int fd) { struct stat about; return fstat(fd, &about) ? 0 : about.st_size; }

static void read_rules(void) {
  struct stat about;
  char text[4096], *line, *rest;
  if (stat(faults, &about)) { rule_count = 0; space = -1; rules_ino = 0; return; }
  if (about.st_ino == rules_ino && about.st_mtim.tv_sec == rules_read.tv_sec && about.st_mtim.tv_nsec == rules_read.tv_nsec) return;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, faults, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return;
  ssize_t got = (ssize_t)syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  if (got < 0) return;
  text[got] = 0;
  rules_ino = about.st_ino;
  rules_read = about.st_mtim;
  rule_count = 0;
  space = -1;
  for (line = strtok_r(text, "\n", &rest); line && rule_count < RULES; line = strtok_r(NULL, "\n", &rest)) {
    struct rule *one = &rules[rule_count];
    if (sscanf(line, "space %lld", &space) == 1) continue;
    if (sscanf(line, "%15s %127s %ld %ld %ld %ld", one->op, one->part, &one->skip, &one->times, &one->error, &one->ms) == 6) rule_count++;
  }
}

/* 0, or the error that a call must fail with. `grown`: octets that it would add. */
static int fault(const char *op, const char *path, long long grown) {
  int error = 0;
  long ms = 0;
  if (!faults || !path || getpid() != owner) return 0;
  int kept = errno;
  pthread_mutex_lock(&fault_lock);
  read_rules();
  for (int i = 0; i < rule_count && !error && !ms; i++) {
    struct rule *one = &rules[i];
    if (strcmp(one->op, op) && (strcmp(one->op, "*") || !strcmp(op, "read"))) continue;
    if (strcmp(one->part, "*") && !strstr(path + root_len, one->part)) continue;
    if (one->skip > 0) { one->skip--; continue; }
    if (one->times == 0) continue;
    if (one->times > 0) one->times--;
    error = (int)one->error;
    ms = one->ms;
  }
  if (!error && space >= 0 && grown) {
    if (grown > space) error = ENOSPC; else space -= grown;
  }
  pthread_mutex_unlock(&fault_lock);
  if (error == -9) syscall(SYS_kill, getpid(), 9);
  if (ms) { struct timespec wait = {ms / 1000, ms % 1000 * 1000000}; nanosleep(&wait, NULL); }
  errno = kept;
  return error;
}
#define FAIL(op, path, grown) do { int e_ = fault(op, path, grown); if (e_) { errno = e_; return -1; } } while (0)

static void opened(int fd, const char *path, int made, int cut) {
  if (fd < 0 || fd >= FDS) return;
  free(paths[fd]);
  paths[fd] = strdup(path);
  if (made) note(CREATE, path, NULL, ino_of(fd), 0, 0, NULL, 0);
  else if (cut) note(TRUNC, path, NULL, ino_of(fd), 0, 0, NULL, 0);
}

static int opening(int dir, const char *path, int flags, mode_t mode) {
  char into[PATH_MAX];
  const char *full = getpid() == owner ? whole(dir, path, into) : NULL;
  if (!full) return (int)syscall(SYS_openat, dir, path, flags, mode);
  struct stat about;
  int there = !lstat(full, &about);
  if ((flags & O_CREAT) && !there) FAIL("open", full, 4096);
  else if (flags & (O_WRONLY | O_RDWR)) FAIL("open", full, 0);
  if (there && (flags & O_TRUNC) && faults) { pthread_mutex_lock(&fault_lock); if (space >= 0) space += about.st_size; pthread_mutex_unlock(&fault_lock); }
  int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
  if (fd >= 0) opened(fd, full, (flags & O_CREAT) && !there, (flags & O_TRUNC) && there);
  return fd;
}

#define MODE(flags) ({ mode_t m_ = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list a_; va_start(a_, flags); m_ = va_arg(a_, mode_t); va_end(a_); } m_; })
int open(const char *path, int flags, ...) { return opening(AT_FDCWD, path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { return opening(AT_FDCWD, path, flags | O_LARGEFILE, MODE(flags)); }
int openat(int dir, const char *path, int flags, ...) { return opening(dir, path, flags, MODE(flags)); }
int openat64(int dir, const char *path, int flags, ...) { return opening(dir, path, flags | O_LARGEFILE, MODE(flags)); }
int creat(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
  if (of(fd)) { free(paths[fd]); paths[fd] = NULL; }
  return REAL(close)(fd);
}
static int doubled(int from, int to) {
  if (to >= 0 && to < FDS && getpid() == owner) { free(paths[to]); paths[to] = of(from) ? strdup(of(from)) : NULL; }
  return to;
}
int dup(int fd) { return doubled(fd, REAL(dup)(fd)); }
int dup2(int fd, int to) { return doubled(fd, REAL(dup2)(fd, to)); }
int dup3(int fd, int to, int flags) { return doubled(fd, REAL(dup3)(fd, to, flags)); }
static int control(int fd, int what, void *value) {
  int got = (int)syscall(SYS_fcntl, fd, what, value);
  return what == F_DUPFD || what == F_DUPFD_CLOEXEC ? doubled(fd, got) : got;
}
#define VALUE(what) ({ va_list a_; va_start(a_, what); void *v_ = va_arg(a_, void *); va_end(a_); v_; })
int fcntl(int fd, int what, ...) { return control(fd, what, VALUE(what)); }
int fcntl64(int fd, int what, ...) { return control(fd, what, VALUE(what)); }

static long long grows(int fd, off_t at, size_t len) {
  long long more = (long long)at + (long long)len - size_of(fd);
  return faults && more > 0 ? more : 0;
}
static off_t place(int fd) {
  return (REAL(fcntl)(fd, F_GETFL) & O_APPEND) ? (off_t)size_of(fd) : lseek(fd, 0, SEEK_CUR);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) {
  const char *path = of(fd);
  if (path) FAIL("write", path, grows(fd, at, len));
  ssize_t done = (ssize_t)syscall(SYS_pwrite64, fd, data, len, at);
  if (path && done > 0) note(WRITE, NULL, NULL, ino_of(fd), (uint64_t)at, 0, data, (size_t)done);
  return done;
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return pwrite64(fd, data, len, at); }
ssize_t write(int fd, const void *data, size_t len) {
  const char *path = of(fd);
  if (!path) return (ssize_t)syscall(SYS_write, fd, data, len);
  off_t at = place(fd);
  FAIL("write", path, grows(fd, at, len));
  ssize_t done = (ssize_t)syscall(SYS_write, fd, data, len);
  if (done > 0) note(WRITE, NULL, NULL, ino_of(fd), (uint64_t)at, 0, data, (size_t)done);
  return done;
}

/* Octets that the kernel, or a vector, put there: read back. */
static void arrived(int fd, off_t at, ssize_t count) {
  if (log_fd < 0 || count <= 0) return;
  char name[64], *data = malloc((size_t)count);
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int again = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
  ssize_t got = 0, more;
  while (got < count && (more = (ssize_t)syscall(SYS_pread64, again, data + got, count - got, at + got)) > 0) got += more;
  syscall(SYS_close, again);
  note(WRITE, NULL, NULL, ino_of(fd), (uint64_t)at, 0, data, (size_t)got);
  free(data);
}
static size_t total(const struct iovec *parts, int count) { size_t sum = 0; while (count-- > 0) sum += parts[count].iov_len; return sum; }
ssize_t writev(int fd, const struct iovec *parts, int count) {
  const char *path = of(fd);
  if (!path) return (ssize_t)syscall(SYS_writev, fd, parts, count);
  off_t at = place(fd);
  FAIL("write", path, grows(fd, at, total(parts, count)));
  ssize_t done = (ssize_t)syscall(SYS_writev, fd, parts, count);
  arrived(fd, at, done);
  return done;
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
  const char *path = of(fd);
  if (path) FAIL("write", path, grows(fd, at, total(parts, count)));
  ssize_t done = REAL(pwritev2)(fd, parts, count, at, flags);
  if (path) arrived(fd, at, done);
  return done;
}
ssize_t pwritev64v2(int fd, const struct iovec *p, int c, off64_t at, int f) { return pwritev2(fd, p, c, at, f); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev2(fd, parts, count, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return pwritev2(fd, parts, count, at, 0); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t len, unsigned flags) {
  const char *path = of(out);
  off_t at = path ? (to ? *to : lseek(out, 0, SEEK_CUR)) : 0;
  if (path) FAIL("write", path, grows(out, at, len));
  ssize_t done = (ssize_t)syscall(SYS_copy_file_range, in, from, out, to, len, flags);
  if (path) arrived(out, at, done);
  return done;
}
static ssize_t sending(int out, int in, off64_t *from, size_t len) {
  const char *path = of(out);
  off_t at = path ? lseek(out, 0, SEEK_CUR) : 0;
  if (path) FAIL("write", path, grows(out, at, len));
  ssize_t done = (ssize_t)syscall(SYS_sendfile, out, in, from, len);
  if (path) arrived(out, at, done);
  return done;
}
ssize_t sendfile(int out, int in, off_t *from, size_t len) { return sending(out, in, from, len); }
ssize_t sendfile64(int out, int in, off64_t *from, size_t len) { return sending(out, in, from, len); }
ssize_t splice(int in, off64_t *from, int out, off64_t *to, size_t len, unsigned flags) {
  const char *path = of(out);
  off_t at = path ? (to ? *to : lseek(out, 0, SEEK_CUR)) : 0;
  if (path) FAIL("write", path, grows(out, at, len));
  ssize_t done = (ssize_t)syscall(SYS_splice, in, from, out, to, len, flags);
  if (path) arrived(out, at, done);
  return done;
}
ssize_t pread64(int fd, void *data, size_t len, off64_t at) {
  if (of(fd)) FAIL("read", of(fd), 0);
  return (ssize_t)syscall(SYS_pread64, fd, data, len, at);
}
ssize_t pread(int fd, void *data, size_t len, off_t at) { return pread64(fd, data, len, at); }
ssize_t read(int fd, void *data, size_t len) {
  if (of(fd)) FAIL("read", of(fd), 0);
  return (ssize_t)syscall(SYS_read, fd, data, len);
}

int ftruncate64(int fd, off64_t len) {
  const char *path = of(fd);
  long long was = path && faults ? size_of(fd) : 0;
  if (path) FAIL("write", path, 0);
  int done = (int)syscall(SYS_ftruncate, fd, len);
  if (path && !done) {
    if (faults) { pthread_mutex_lock(&fault_lock); if (space >= 0 && was > len) space += was - len; pthread_mutex_unlock(&fault_lock); }
    note(TRUNC, NULL, NULL, ino_of(fd), (uint64_t)len, 0, NULL, 0);
  }
  return done;
}
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }
static int reserving(int fd, int mode, off_t at, off_t len) {
  const char *path = of(fd);
  if (path) { int error = fault("write", path, grows(fd, at, (size_t)len)); if (error) return error; }
  int done = (int)syscall(SYS_fallocate, fd, mode, at, len);
  if (path && !done && !(mode & FALLOC_FL_KEEP_SIZE)) note(TRUNC, NULL, NULL, ino_of(fd), (uint64_t)size_of(fd), 0, NULL, 0);
  return done ? errno : 0;
}
int posix_fallocate(int fd, off_t at, off_t len) { return reserving(fd, 0, at, len); }
int posix_fallocate64(int fd, off64_t at, off64_t len) { return reserving(fd, 0, at, len); }
int fallocate(int fd, int mode, off_t at, off_t len) { int e = reserving(fd, mode, at, len); if (e) errno = e; return e ? -1 : 0; }
int fallocate64(int fd, int mode, off64_t at, off64_t len) { return fallocate(fd, mode, at, len); }

static int syncing(int fd, long call) {
  const char *path = of(fd);
  if (!path) return (int)syscall(call, fd);
  uint64_t ino = ino_of(fd), id = __sync_add_and_fetch(&syncs, 1);
  FAIL("sync", path, 0);
  note(SYNC_BEGIN, NULL, NULL, ino, 0, id, NULL, 0);
  int done = (int)syscall(call, fd);
  if (!done) note(SYNC_END, NULL, NULL, ino, 0, id, NULL, 0);
  return done;
}
int fsync(int fd) { return syncing(fd, SYS_fsync); }
int fdatasync(int fd) { return syncing(fd, SYS_fdatasync); }

int renameat2(int dir, const char *path, int dir2, const char *path2, unsigned flags) {
  char a[PATH_MAX], b[PATH_MAX];
  const char *from = whole(dir, path, a), *to = whole(dir2, path2, b);
  if (from || to) FAIL("rename", to ? to : from, 0);
  int done = (int)syscall(SYS_renameat2, dir, path, dir2, path2, flags);
  if (!done && from && to) note(RENAME, from, to, ino_at(to), 0, 0, NULL, 0);
  return done;
}
int renameat(int dir, const char *path, int dir2, const char *path2) { return renameat2(dir, path, dir2, path2, 0); }
int rename(const char *path, const char *path2) { return renameat2(AT_FDCWD, path, AT_FDCWD, path2, 0); }
int linkat(int dir, const char *path, int dir2, const char *path2, int flags) {
  char b[PATH_MAX];
  const char *to = whole(dir2, path2, b);
  if (to) FAIL("link", to, 0);
  int done = (int)syscall(SYS_linkat, dir, path, dir2, path2, flags);
  if (!done && to) note(LINK, NULL, to, ino_at(to), 0, 0, NULL, 0);
  return done;
}
int link(const char *path, const char *path2) { return linkat(AT_FDCWD, path, AT_FDCWD, path2, 0); }
int unlinkat(int dir, const char *path, int flags) {
  char a[PATH_MAX];
  struct stat about;
  const char *from = whole(dir, path, a);
  if (from) FAIL("unlink", from, 0);
  int back = from && faults && !lstat(from, &about) && about.st_nlink == 1;
  int done = (int)syscall(SYS_unlinkat, dir, path, flags);
  if (!done && from) {
    if (back) { pthread_mutex_lock(&fault_lock); if (space >= 0) space += about.st_size; pthread_mutex_unlock(&fault_lock); }
    note(flags & AT_REMOVEDIR ? RMDIR : UNLINK, from, NULL, 0, 0, 0, NULL, 0);
  }
  return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dir, const char *path, mode_t mode) {
  char a[PATH_MAX];
  const char *full = whole(dir, path, a);
  if (full) FAIL("mkdir", full, 4096);
  int done = (int)syscall(SYS_mkdirat, dir, path, mode);
  if (!done && full) note(MKDIR, full, NULL, ino_at(full), 0, 0, NULL, 0);
  return done;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

static void told(unsigned long unit, unsigned long *free_, unsigned long *avail) {
  if (!faults || getpid() != owner || !unit) return;
  pthread_mutex_lock(&fault_lock);
  read_rules();
  if (space >= 0) *free_ = *avail = (unsigned long)space / unit;
  pthread_mutex_unlock(&fault_lock);
}
int statvfs64(const char *path, struct statvfs64 *about) {
  int done = REAL(statvfs64)(path, about);
  if (!done) { unsigned long f, a; f = about->f_bfree; a = about->f_bavail; told(about->f_frsize, &f, &a); about->f_bfree = f; about->f_bavail = a; }
  return done;
}
int statvfs(const char *path, struct statvfs *about) { return statvfs64(path, (struct statvfs64 *)about); }
