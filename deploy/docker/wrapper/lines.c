/* Whole lines out of a stream that comes in pieces: a carriage return ends a line, too. */
#include "wrap.h"

#include <string.h>

/* After the last end of a line; 0: there is none. */
static size_t whole_lines(const char *data, size_t length) {
    while (length > 0 && data[length - 1] != '\n' && data[length - 1] != '\r') length--;
    return length;
}

static size_t first_line(const char *data, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (data[i] == '\n' || data[i] == '\r') return i + 1;
    return 0;
}

/* A line begins in `part` and ends in the first `length` bytes of data. */
static bool append_joined(struct lines *lines, const char *data, size_t length) {
    char joined[LINE_BYTES + 1];
    if (lines->length + length > sizeof joined) return true; /* too long: left out */
    memcpy(joined, lines->part, lines->length);
    memcpy(joined + lines->length, data, length);
    return spool_append(joined, lines->length + length) == APPENDED;
}

size_t lines_take(struct lines *lines, const char *data, size_t length) {
    size_t taken = 0;
    if (lines->length > 0 || lines->skipping) {
        taken = first_line(data, length);
        if (taken > 0) {
            if (!lines->skipping && !append_joined(lines, data, taken)) return 0;
            lines->length = 0;
            lines->skipping = false;
        }
    }
    size_t whole = whole_lines(data + taken, length - taken);
    if (whole > 0) {
        if (spool_append(data + taken, whole) == FULL) return taken;
        taken += whole;
    }
    size_t rest = length - taken;
    if (lines->skipping || rest == 0) return length;
    if (lines->length + rest > sizeof lines->part) {
        lines->skipping = true;
        lines->length = 0;
        return length;
    }
    memcpy(lines->part + lines->length, data + taken, rest);
    lines->length += rest;
    return length;
}

bool lines_end(struct lines *lines) {
    if (lines->length == 0) return true;
    /* Its end, so that the last lines of stdout and stderr are two. */
    if (!append_joined(lines, "\n", 1)) return false;
    lines->length = 0;
    return true;
}
