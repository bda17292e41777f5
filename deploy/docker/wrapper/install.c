/* `trialbus-wrap install FOLDER`: an init container leaves a copy of this program to the trial's. */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy(int from, int to) {
    char data[64 * 1024];
    for (ssize_t got; (got = read(from, data, sizeof data)) != 0;) {
        if (got < 0) return -1;
        for (ssize_t done = 0, more; done < got; done += more) {
            more = write(to, data + done, (size_t)(got - done));
            if (more < 0) return -1;
        }
    }
    return fchmod(to, 0755);
}

static int failed(const char *what) {
    say("%s: %s", what, strerror(errno));
    return 1;
}

int install(const char *folder) {
    char path[PATH_MAX], unfinished[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/wrap", folder) >= PATH_MAX ||
        snprintf(unfinished, sizeof unfinished, "%s/.wrap-%ld", folder, (long)getpid()) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return failed(folder);
    }
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (from < 0) return failed("/proc/self/exe");
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    if (to < 0) return failed(unfinished);
    /* Closed before it is named: a file that is open for writing cannot be executed. */
    bool whole = copy(from, to) == 0;
    if (close(to) != 0 || !whole || rename(unfinished, path) != 0) {
        int why = errno;
        unlink(unfinished);
        errno = why;
        return failed(path);
    }
    close(from);
    return 0;
}
