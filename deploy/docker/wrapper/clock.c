/* Time, and what we have to say to people. */
#include "wrap.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void pause_s(double seconds) {
    if (seconds <= 0) return;
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0) continue;
}

/* One line on stderr, in one write, so that it parts no line of the command. */
void say(const char *format, ...) {
    char line[2 * TEXT_CHARS] = "trialbus: ";
    const size_t head = 10;
    va_list given;
    va_start(given, format);
    int length = vsnprintf(line + head, sizeof line - head - 1, format, given);
    va_end(given);
    if (length < 0) return;
    size_t whole = head + (size_t)length;
    if (whole > sizeof line - 2) whole = sizeof line - 2;
    line[whole++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, whole);
    (void)ignored;
}
