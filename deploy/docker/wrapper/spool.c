/* What is printed and not yet stored. A healthy gateway keeps up with it in memory: one block. What
 * is more goes into a file that has no name any more, and so leaves nothing behind.
 *
 * A place counts all bytes of the stream. Memory holds [begun, begun + in_memory), the file what
 * comes after that; while the file holds anything, memory takes nothing. */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t HOLE_BYTES = 1024 * 1024;

static struct {
    pthread_mutex_t lock;
    char memory[BLOCK_BYTES];
    size_t in_memory;
    int64_t begun;    /* place of memory's first byte */
    int fd;           /* -1: there is no file */
    int64_t file_at;  /* place of the file's first byte */
    int64_t freed;    /* before this place the file is a hole */
    int64_t written;  /* place after the last byte */
    int64_t stored;   /* what lies before it is not needed */
    int64_t most;     /* bytes in the file */
    bool abandoned;
} spool; /* all zero, so that the program holds none of it */

static int open_in(const char *dir) {
    char path[PATH_MAX];
    if (dir[0] == '\0' || snprintf(path, sizeof path, "%s/.spool-XXXXXX", dir) >= PATH_MAX) return -1;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

void spool_open(const char *dir, const char *program, int64_t most_bytes) {
    pthread_mutex_init(&spool.lock, NULL);
    spool.fd = -1;
    spool.most = most_bytes;
    char beside[PATH_MAX] = "";
    const char *slash = strrchr(program, '/');
    if (slash != NULL && slash - program < PATH_MAX) memcpy(beside, program, (size_t)(slash - program));
    const char *const dirs[] = {dir, beside, "/tmp"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs && spool.fd < 0; i++) spool.fd = open_in(dirs[i]);
}

static bool file_is_empty(void) {
    return spool.stored >= spool.written || spool.begun + (int64_t)spool.in_memory == spool.written;
}

static void empty_file(void) {
    /* What cannot be cut off stays, and is written over. */
    if (spool.fd >= 0 && ftruncate(spool.fd, 0) != 0 && errno == EIO) close(spool.fd), spool.fd = -1;
    spool.file_at = spool.freed = spool.written;
}

/* Whether the disk took it. What it took of less is written over the next time. */
static bool to_file(const char *data, size_t length) {
    if (spool.fd < 0 || spool.written - spool.stored + (int64_t)length > spool.most) return false;
    off_t at = spool.written - spool.file_at;
    while (length > 0) {
        ssize_t done = pwrite(spool.fd, data, length, at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        data += done;
        at += done;
        length -= (size_t)done;
    }
    return true;
}

enum appended spool_append(const char *data, size_t length) {
    pthread_mutex_lock(&spool.lock);
    bool taken = true;
    if (!spool.abandoned) {
        if (file_is_empty() && spool.in_memory + length <= sizeof spool.memory) {
            memcpy(spool.memory + spool.in_memory, data, length);
            spool.in_memory += length;
        } else {
            if (file_is_empty()) empty_file();
            taken = to_file(data, length);
        }
    }
    if (taken) spool.written += (int64_t)length;
    pthread_mutex_unlock(&spool.lock);
    if (taken) ship_news();
    return taken ? APPENDED : FULL;
}

size_t spool_read(int64_t place, char *data, size_t size) {
    pthread_mutex_lock(&spool.lock);
    size_t got = 0;
    int64_t in_memory = spool.begun + (int64_t)spool.in_memory - place;
    if (in_memory > 0) {
        got = (size_t)in_memory < size ? (size_t)in_memory : size;
        memcpy(data, spool.memory + (place - spool.begun), got);
    } else if (place < spool.written) {
        size_t left = (size_t)(spool.written - place);
        ssize_t found = pread(spool.fd, data, left < size ? left : size, place - spool.file_at);
        got = found > 0 ? (size_t)found : 0;
    }
    pthread_mutex_unlock(&spool.lock);
    return got;
}

static void free_file(void) {
#ifdef FALLOC_FL_PUNCH_HOLE
    if (spool.stored - spool.freed < HOLE_BYTES) return;
    fallocate(spool.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, spool.freed - spool.file_at,
              spool.stored - spool.freed);
    spool.freed = spool.stored;
#endif
}

void spool_forget(int64_t place) {
    pthread_mutex_lock(&spool.lock);
    if (place > spool.stored) spool.stored = place;
    if (spool.stored >= spool.written) {
        if (spool.begun + (int64_t)spool.in_memory < spool.written) empty_file();
        spool.in_memory = 0;
        spool.begun = spool.written;
    } else if (spool.stored >= spool.begun) {
        size_t gone = (size_t)(spool.stored - spool.begun);
        if (gone > spool.in_memory) gone = spool.in_memory;
        memmove(spool.memory, spool.memory + gone, spool.in_memory - gone);
        spool.in_memory -= gone;
        spool.begun += (int64_t)gone;
        if (spool.in_memory == 0) free_file();
    }
    pthread_mutex_unlock(&spool.lock);
}

void spool_abandon(void) {
    pthread_mutex_lock(&spool.lock);
    spool.abandoned = true;
    if (spool.fd >= 0) close(spool.fd);
    spool.fd = -1;
    pthread_mutex_unlock(&spool.lock);
}

int64_t spool_written(void) {
    pthread_mutex_lock(&spool.lock);
    int64_t written = spool.written;
    pthread_mutex_unlock(&spool.lock);
    return written;
}
