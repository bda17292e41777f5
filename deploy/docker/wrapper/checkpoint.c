/* The checkpoint of a trial that goes on from another's: a copy, whole or not at all. It gets its
 * name when it is complete and on disk. Links are copied as links; those into the other's folder
 * lead into the own. (The same as beside local runs: adapters/local_process/inherit.py.) */
#include "wrap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char UNFINISHED[] = ".unfinished-";
static const char *copied_from, *copied_to;

static bool copy_tree(const char *from, const char *to);

static bool joined(char *path, const char *folder, const char *name) {
    int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    if (length < PATH_MAX) return true;
    errno = ENAMETOOLONG;
    return false;
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* With all that is in it. */
static void remove_tree(const char *path) {
    struct stat found;
    if (lstat(path, &found) != 0) return;
    if (!S_ISDIR(found.st_mode)) {
        unlink(path);
        return;
    }
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char inner[PATH_MAX];
        if (!is_dots(entry->d_name) && joined(inner, path, entry->d_name)) remove_tree(inner);
    }
    if (dir != NULL) closedir(dir);
    rmdir(path);
}

/* What earlier attempts of this trial have left. */
static void remove_unfinished(const char *own) {
    char folder[PATH_MAX], path[PATH_MAX], start[NAME_MAX + 32];
    const char *slash = strrchr(own, '/');
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - own), own);
    snprintf(start, sizeof start, "%.255s%s", slash + 1, UNFINISHED);
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, start, strlen(start)) == 0 && joined(path, folder, entry->d_name))
            remove_tree(path);
    closedir(dir);
}

static bool copy_data(int from, int to) {
    char data[64 * 1024];
    for (ssize_t got; (got = read(from, data, sizeof data)) != 0;) {
        if (got < 0) return false;
        for (ssize_t done = 0, more; done < got; done += more) {
            more = write(to, data + done, (size_t)(got - done));
            if (more < 0) return false;
        }
    }
    return true;
}

/* And closed. */
static bool to_disk(int fd, const struct stat *like, bool good) {
    const struct timespec times[2] = {like->st_atim, like->st_mtim};
    good = good && fchmod(fd, like->st_mode & 07777) == 0 && futimens(fd, times) == 0;
    good = good && (fsync(fd) == 0 || errno == EINVAL);
    int why = errno;
    if (close(fd) != 0) return false;
    errno = why;
    return good;
}

static bool copy_file(const char *from, const char *to, const struct stat *like) {
    int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (source < 0) return false;
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = target >= 0 && to_disk(target, like, copy_data(source, target));
    int why = errno;
    close(source);
    errno = why;
    return good;
}

static bool copy_link(const char *from, const char *to) {
    char link[PATH_MAX], led[2 * PATH_MAX];
    ssize_t length = readlink(from, link, sizeof link - 1);
    if (length < 0) return false;
    link[length] = '\0';
    size_t parent = strlen(copied_from);
    bool inside = strncmp(link, copied_from, parent) == 0 && (link[parent] == '/' || !link[parent]);
    snprintf(led, sizeof led, "%s%s", inside ? copied_to : "", link + (inside ? parent : 0));
    return symlink(led, to) == 0;
}

static bool copy_entry(const char *from, const char *to) {
    struct stat found;
    if (lstat(from, &found) != 0) return false;
    if (S_ISLNK(found.st_mode)) return copy_link(from, to);
    if (S_ISDIR(found.st_mode)) return copy_tree(from, to);
    if (S_ISREG(found.st_mode)) return copy_file(from, to, &found);
    return true; /* a socket or pipe is of a process that has ended */
}

static bool copy_tree(const char *from, const char *to) {
    struct stat found;
    DIR *dir = opendir(from);
    if (dir == NULL) return false;
    bool good = fstat(dirfd(dir), &found) == 0 && mkdir(to, 0700) == 0;
    for (struct dirent *entry; good && (entry = readdir(dir)) != NULL;) {
        /* Not on the stack: trees are deep. */
        char *paths = malloc(2 * PATH_MAX);
        if (is_dots(entry->d_name)) {
            free(paths);
            continue;
        }
        good = paths != NULL && joined(paths, from, entry->d_name) &&
               joined(paths + PATH_MAX, to, entry->d_name) && copy_entry(paths, paths + PATH_MAX);
        free(paths);
    }
    int why = errno;
    closedir(dir);
    errno = why;
    int target = good ? open(to, O_RDONLY | O_CLOEXEC | O_DIRECTORY) : -1;
    return target >= 0 && to_disk(target, &found, true);
}

/* Whether the folder is there, made if need be, with those that it lies in. */
static bool make_folders(const char *path) {
    char made[PATH_MAX];
    if (snprintf(made, sizeof made, "%s", path) >= PATH_MAX) return false;
    for (char *slash = made + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (mkdir(made, 0777) != 0 && errno != EEXIST) return false;
        *slash = '/';
    }
    return mkdir(made, 0777) == 0 || errno == EEXIST;
}

static bool inherit(const char *own, const char *holder) {
    char unfinished[PATH_MAX], folder[PATH_MAX];
    const char *slash = strrchr(own, '/');
    if (snprintf(unfinished, sizeof unfinished, "%s%s%s", own, UNFINISHED, holder) >= PATH_MAX)
        return false;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - own), own);
    if (folder[0] != '\0' && !make_folders(folder)) return false;
    remove_unfinished(own);
    bool good = copy_tree(copied_from, unfinished) &&
                /* Another attempt, taken for lost, may have been faster. */
                (rename(unfinished, own) == 0 || errno == EEXIST || errno == ENOTEMPTY);
    int why = errno;
    remove_tree(unfinished);
    errno = why;
    return good;
}

bool checkpoint_prepare(const struct settings *settings, char *why, size_t size) {
    const char *own = settings->checkpoint, *from = settings->checkpoint_copy_of;
    struct stat found;
    if (own[0] != '/' || own[1] == '\0' || stat(own, &found) == 0) return true;
    if (from[0] == '\0' || stat(from, &found) != 0) {
        /* It begins anew; a command that uses no checkpoint needs no such folder. */
        bool made = make_folders(own);
        if (!made) say("the folder %s cannot be made: %s", own, strerror(errno));
        return true;
    }
    copied_from = from;
    copied_to = own;
    if (inherit(own, settings->holder)) return true;
    snprintf(why, size, "cannot copy the checkpoint %.400s: %s", from, strerror(errno));
    return false;
}
