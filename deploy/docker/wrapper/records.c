/* Event files of TensorFlow (TFRecord) below a folder: their whole records, each as a frame
 *     tfevent <pass> <bytes> <path>\n<record>
 * A record: length (8 bytes), its checksum (4), data, its checksum (4). What they say is read at the
 * other end. A file that is being written ends anywhere: what is not there in whole waits. */
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

enum {
    MOST_FILES = 1024,
    MOST_DEPTH = 32,
    NAME_CHARS = 1024, /* of a path, as it is sent */
    RECORD_HEAD = 12,
    RECORD_FRAME = 16,
};
static const uint64_t MOST_DATA_BYTES = (uint64_t)1 << 40; /* a longer one is no record */

struct event_file {
    char *path; /* below the folder */
    off_t at;
    bool broken;
};

static struct {
    const char *folder;
    struct event_file files[MOST_FILES]; /* by path */
    int count;
    int pass;
    bool skip;
    uint32_t crc_table[256];
} events;

static uint32_t masked_crc(const unsigned char *data, size_t length) {
    uint32_t crc = ~0U;
    for (size_t i = 0; i < length; i++) crc = events.crc_table[(crc ^ data[i]) & 0xFF] ^ (crc >> 8);
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

static uint64_t little_endian(const unsigned char *data, int bytes) {
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | data[bytes];
    return value;
}

/* Whether it can be named in a frame; what is no letter, digit or one of /._- as %XX. */
static bool encoded(const char *path, char *name) {
    size_t length = 0;
    for (; *path != '\0'; path++) {
        if (length + 4 > NAME_CHARS) return false;
        unsigned char byte = (unsigned char)*path;
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || strchr("/._-", byte) != NULL;
        if (plain) name[length++] = (char)byte;
        else length += (size_t)snprintf(name + length, 4, "%%%02X", byte);
    }
    name[length] = '\0';
    return true;
}

static void add_file(const char *path, off_t size) {
    int place = 0;
    while (place < events.count && strcmp(events.files[place].path, path) < 0) place++;
    if (place < events.count && strcmp(events.files[place].path, path) == 0) return;
    char name[NAME_CHARS];
    char *kept = events.count < MOST_FILES && encoded(path, name) ? strdup(path) : NULL;
    if (kept == NULL) return;
    memmove(events.files + place + 1, events.files + place,
            (size_t)(events.count - place) * sizeof *events.files);
    events.files[place] = (struct event_file){.path = kept, .at = events.skip ? size : 0};
    events.count++;
}

/* Links are not followed. path: of the folder, of length `length`; `below` is its end that is
 * below the folder of events. */
static void look_into(char *path, size_t length, size_t below, int depth) {
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        size_t more = strlen(name);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || length + more + 2 > PATH_MAX) continue;
        path[length] = '/';
        memcpy(path + length + 1, name, more + 1);
        struct stat found;
        if (lstat(path, &found) != 0) continue;
        if (S_ISDIR(found.st_mode) && depth < MOST_DEPTH)
            look_into(path, length + 1 + more, below, depth + 1);
        else if (S_ISREG(found.st_mode) && strstr(name, "tfevents") != NULL)
            add_file(path + below + 1, found.st_size);
    }
    path[length] = '\0';
    closedir(dir);
}

static void look(void) {
    char path[PATH_MAX];
    size_t length = strlen(events.folder);
    if (length >= sizeof path) return;
    memcpy(path, events.folder, length + 1);
    while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
    look_into(path, length, length, 0);
}

void records_open(const char *folder, bool skip) {
    events.folder = folder;
    events.pass = 1;
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78U : 0);
        events.crc_table[byte] = crc;
    }
    events.skip = skip;
    if (skip) look();
    events.skip = false;
}

enum outcome { TAKEN, NO_ROOM, NO_MORE };

/* One record more, from where the file was read to. */
static enum outcome take(struct event_file *file, int fd, off_t size, char *data, size_t *length,
                         size_t room) {
    unsigned char head[RECORD_HEAD];
    if (file->at + RECORD_HEAD > size) return NO_MORE;
    if (pread(fd, head, sizeof head, file->at) != (ssize_t)sizeof head) return NO_MORE;
    uint64_t bytes = little_endian(head, 8);
    if (little_endian(head + 8, 4) != masked_crc(head, 8) || bytes > MOST_DATA_BYTES) {
        file->broken = true;
        say("the event file %s is broken at byte %lld", file->path, (long long)file->at);
        return NO_MORE;
    }
    bytes += RECORD_FRAME;
    if (file->at + (off_t)bytes > size) return NO_MORE;
    char name[NAME_CHARS], line[NAME_CHARS + 64];
    encoded(file->path, name);
    int start = snprintf(line, sizeof line, "tfevent %d %llu %s\n", events.pass,
                         (unsigned long long)bytes, name);
    size_t frame = (size_t)start + bytes;
    if (frame > BLOCK_BYTES) { /* a picture or a graph: it holds no metric */
        file->at += (off_t)bytes;
        return TAKEN;
    }
    if (frame > room - *length) return NO_ROOM;
    memcpy(data + *length, line, (size_t)start);
    if (pread(fd, data + *length + start, bytes, file->at) != (ssize_t)bytes) return NO_MORE;
    *length += frame;
    file->at += (off_t)bytes;
    return TAKEN;
}

/* Whether there is room for more. */
static bool take_all(struct event_file *file, int folder, char *data, size_t *length, size_t room) {
    struct stat found;
    int fd = openat(folder, file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return true;
    enum outcome outcome = NO_MORE;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        do outcome = take(file, fd, found.st_size, data, length, room);
        while (outcome == TAKEN);
    }
    close(fd);
    return outcome != NO_ROOM;
}

size_t records_next(char *data, size_t size) {
    size_t length = 0;
    look();
    int folder = open(events.folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (folder < 0) return 0;
    bool room = true;
    for (int i = 0; i < events.count && room; i++)
        if (!events.files[i].broken) room = take_all(&events.files[i], folder, data, &length, size);
    close(folder);
    return length;
}

void records_again(void) {
    events.pass = 2;
    for (int i = 0; i < events.count; i++) {
        events.files[i].at = 0;
        events.files[i].broken = false; /* what lies before that place comes again, too */
    }
}
