/* Shipping the stream: in a thread of its own, so that a slow or absent gateway keeps neither the
 * command nor its output waiting. */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const double SHIP_EVERY_S = 0.2;    /* what is reported is stored well under a second */
/* Of the rest, from the last progress: a gateway whose node is lost is away for minutes. */
static const double END_DEADLINE_S = 600.0;
static const int TRACED_REQUESTS = 100;    /* and the last: nobody reads a trace of hours */
static const double FIRST_LOOK_S = 1.0, DEFAULT_LOOK_S = 10.0, LEAST_LOOK_S = 0.1;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t thread;
    bool ended, may_end, over, has_news;
    char stop[TEXT_CHARS], error[TEXT_CHARS];
    int wake_fd;

    /* Of the thread alone. */
    const struct settings *settings;
    struct http http;
    char path[160], note[NOTE_CHARS + 1];
    char block[BLOCK_BYTES];
    size_t length;     /* of the block */
    int64_t place;     /* where the block begins */
    int64_t end;       /* the longest that the stream was seen */
    int64_t shift;     /* place of the spool's first byte */
    bool in_long_line; /* of a file */
    bool came_again;   /* all event records are sent once more */
    int requests;
    double look_s, asked_at_s, progress_at_s;
} ship; /* all zero, so that the program holds none of it */

static struct answer answer; /* too large for a stack */

/* The stream: what follows in the block ------------------------------------------------------- */

static bool is_over(void) {
    pthread_mutex_lock(&ship.lock);
    bool over = ship.over;
    pthread_mutex_unlock(&ship.lock);
    return over;
}

static size_t after_last_line(const char *data, size_t length) {
    while (length > 0 && data[length - 1] != '\n' && data[length - 1] != '\r') length--;
    return length;
}

static size_t after_first_line(const char *data, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (data[i] == '\n' || data[i] == '\r') return i + 1;
    return 0;
}

/* A file is its own spool; it is opened anew each time, so one that comes late or takes another's
 * place is found. One that was made shorter gives nothing until it is as long as it was. */
static size_t read_file(int64_t place) {
    int fd = open(ship.settings->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return 0;
    struct stat found;
    ssize_t got = 0;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        if (found.st_size > ship.end) ship.end = found.st_size;
        got = pread(fd, ship.block, sizeof ship.block, place);
    }
    close(fd);
    return got > 0 ? (size_t)got : 0;
}

/* Whole lines; too long ones are passed over by moving on. ended: the last needs no end. */
static size_t next_of_file(bool ended) {
    for (;;) {
        size_t got = read_file(ship.place), first = after_first_line(ship.block, got);
        if (ship.in_long_line && got > 0) {
            ship.place += (int64_t)(first > 0 ? first : got);
            ship.in_long_line = first == 0;
            continue;
        }
        size_t whole = after_last_line(ship.block, got);
        if (whole > 0) return whole;
        if (got > LINE_BYTES) {
            ship.in_long_line = true;
            continue;
        }
        return ended ? got : 0;
    }
}

/* What was not taken is read again, with what came after it. */
static void fill_block(bool ended) {
    switch (ship.settings->kind) {
    case KIND_STDOUT:
        ship.end = spool_written() + ship.shift;
        ship.length = spool_read(ship.place - ship.shift, ship.block, sizeof ship.block);
        ship.length = after_last_line(ship.block, ship.length);
        if (ship.length == 0 && ship.place < ship.end && !is_over())
            ship_give_up("what waited on the disk cannot be read");
        break;
    case KIND_FILE:
        ship.length = next_of_file(ended);
        break;
    case KIND_TFEVENT:
        if (ship.length > 0) return; /* its records are read already */
        ship.length = records_next(ship.block, sizeof ship.block);
        break;
    case KIND_NONE:
        break;
    }
    if (ship.place + (int64_t)ship.length > ship.end) ship.end = ship.place + (int64_t)ship.length;
}

/* The answer: everything before `stored_to` need not be sent again. */
static void move_on(int64_t stored_to) {
    int64_t end = ship.place + (int64_t)ship.length;
    if (stored_to < ship.place) return; /* the newest note says from where it counts */
    if (stored_to > end) {
        /* More than we have: another life of this container has shipped it. */
        if (ship.settings->kind == KIND_STDOUT) ship.shift += stored_to - end;
        ship.length = 0;
    } else {
        size_t gone = (size_t)(stored_to - ship.place);
        ship.length -= gone;
        memmove(ship.block, ship.block + gone, ship.length);
    }
    ship.place = stored_to;
    if (ship.settings->kind == KIND_STDOUT) spool_forget(ship.place - ship.shift);
    if (ship.end < ship.place) ship.end = ship.place;
}

/* Talking ------------------------------------------------------------------------------------- */

static void wake_child(void) {
    uint64_t one = 1;
    ssize_t ignored = write(ship.wake_fd, &one, sizeof one);
    (void)ignored;
}

void ship_give_up(const char *why) {
    say("metrics are shipped no more: %s", why);
    pthread_mutex_lock(&ship.lock);
    snprintf(ship.error, sizeof ship.error, "%s", why);
    ship.over = true;
    pthread_mutex_unlock(&ship.lock);
    if (ship.settings->kind == KIND_STDOUT) spool_abandon(); /* of others there is none */
    wake_child();
}

static void ask_to_stop(const char *reason) {
    pthread_mutex_lock(&ship.lock);
    bool is_new = ship.stop[0] == '\0';
    if (is_new) snprintf(ship.stop, sizeof ship.stop, "%s", reason);
    pthread_mutex_unlock(&ship.lock);
    if (is_new) wake_child();
}

static bool has_ended(void) {
    pthread_mutex_lock(&ship.lock);
    bool ended = ship.ended;
    pthread_mutex_unlock(&ship.lock);
    return ended;
}

/* Whether the end of the command is the end of the stream. */
static bool may_end(void) {
    pthread_mutex_lock(&ship.lock);
    bool may = ship.may_end && ship.settings->kind != KIND_NONE;
    pthread_mutex_unlock(&ship.lock);
    return may;
}

enum said { STORED, FINAL, AGAIN, LATER, OVER };

static enum said understood(bool final) {
    int64_t stored_to;
    char stop[TEXT_CHARS / 2] = "";
    if (!json_whole(answer.body, "stored_to", &stored_to)) return LATER;
    if (!json_text(answer.body, "note", ship.note, sizeof ship.note)) ship.note[0] = '\0';
    if (!json_real(answer.body, "look_s", &ship.look_s)) ship.look_s = DEFAULT_LOOK_S;
    if (ship.look_s < LEAST_LOOK_S) ship.look_s = LEAST_LOOK_S;
    if (ship.look_s > MOST_LOOK_S) ship.look_s = MOST_LOOK_S;
    bool stuck = (final || ship.length > 0) && stored_to <= ship.place;
    bool again = json_true(answer.body, "again") && final && !ship.came_again &&
                 ship.settings->kind == KIND_TFEVENT;
    if (!stuck || again) ship.progress_at_s = now_s();
    move_on(stored_to);
    wake_child();
    if (json_text(answer.body, "stop", stop, sizeof stop) && stop[0] != '\0') ask_to_stop(stop);
    if (json_true(answer.body, "final")) return FINAL;
    if (again) return AGAIN;
    return stuck ? LATER : STORED;
}

/* One request with the block, which may be empty. asked_s: when to come again, if it was said. */
static enum said send_block(bool final, double *asked_s) {
    char target[sizeof ship.path + NOTE_CHARS + 80], why[TEXT_CHARS];
    snprintf(target, sizeof target, "%s?from=%lld&final=%s%s%s", ship.path, (long long)ship.place,
             final ? "true" : "false", ship.note[0] != '\0' ? "&note=" : "", ship.note);
    ship.asked_at_s = now_s();
    *asked_s = 0;
    bool traced = final || ship.requests < TRACED_REQUESTS;
    if (!final && traced) ship.requests++;
    ship.http.trace = traced ? ship.settings->trace : ship.settings->unkept;
    if (!http_post(&ship.http, target, "application/octet-stream", ship.block, ship.length, REQUEST_S,
                   &answer))
        return LATER;
    if (answer.status == 200) return understood(final);
    *asked_s = answer.retry_after_s;
    if (is_passing(answer.status)) return LATER;
    reason_of(&answer, why, sizeof why);
    if (answer.status == 409) ask_to_stop(why);
    ship_give_up(why);
    return OVER;
}

/* Waiting ------------------------------------------------------------------------------------- */

void ship_news(void) {
    pthread_mutex_lock(&ship.lock);
    ship.has_news = true;
    pthread_cond_signal(&ship.news);
    pthread_mutex_unlock(&ship.lock);
}

/* Until the time has come, or the command has ended, or, if so wanted, something was printed.
 * Returns whether the command has ended. */
static bool wait_until(double time_s, bool for_news) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    double left = time_s - now_s();
    if (left > 0) {
        until.tv_sec += (time_t)left;
        until.tv_nsec += (long)((left - (double)(time_t)left) * 1e9);
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
    }
    pthread_mutex_lock(&ship.lock);
    int failed = 0;
    while (left > 0 && !ship.ended && !(for_news && ship.has_news) && failed == 0)
        failed = pthread_cond_timedwait(&ship.news, &ship.lock, &until);
    bool ended = ship.ended;
    ship.has_news = false;
    pthread_mutex_unlock(&ship.lock);
    return ended;
}

/* Something to say, or time to ask whether to stop. Returns whether the command has ended. */
static bool wait_for_more(void) {
    double look_at_s = ship.asked_at_s + ship.look_s, ship_at_s = ship.asked_at_s + SHIP_EVERY_S;
    bool printed = ship.settings->kind == KIND_STDOUT;
    bool ended = has_ended();
    for (;;) {
        fill_block(ended);
        /* Much is shipped at once, little waits for more. */
        bool enough = ship.length >= BLOCK_BYTES / 2, due = ship.length > 0 && now_s() >= ship_at_s;
        if (ended || enough || due || now_s() >= look_at_s) return ended;
        /* Files tell nobody when they grow. */
        double until_s = ship.length > 0 ? ship_at_s : printed ? look_at_s : now_s() + SHIP_EVERY_S;
        ended = wait_until(until_s, printed && ship.length == 0);
    }
}

/* Nothing follows this block. */
static bool is_last(bool ended) {
    bool all = ship.length == 0 || ship.place + (int64_t)ship.length == ship.end;
    return ended && may_end() && (ship.settings->kind == KIND_TFEVENT ? ship.length == 0 : all);
}

static void *ship_all(void *unused) {
    double pause = 0, asked_s;
    bool was_ended = false;
    for (;;) {
        bool ended = wait_for_more();
        if (ended && !was_ended) ship.progress_at_s = now_s();
        was_ended = ended;
        if (is_over() || (ended && ship.length == 0 && !may_end())) break;
        bool last = is_last(ended);
        enum said said = send_block(last, &asked_s);
        if (said == FINAL && !last) ship_give_up("the stream was ended before the command");
        if (said == OVER || said == FINAL) break;
        if (said == AGAIN) {
            records_again();
            ship.came_again = true;
        }
        pause = said == LATER ? next_pause(pause, asked_s) : 0;
        if (said == LATER && ended && now_s() - ship.progress_at_s > END_DEADLINE_S) {
            ship_give_up("the rest could not be shipped in time");
            break;
        }
        if (ended) pause_s(pause);
        else if (pause > 0) wait_until(now_s() + pause, false);
    }
    http_close(&ship.http);
    return unused;
}

/* From the other thread ----------------------------------------------------------------------- */

void ship_start(const struct settings *settings, int64_t stored_to, int wake_fd) {
    pthread_mutex_init(&ship.lock, NULL);
    ship.settings = settings;
    ship.wake_fd = wake_fd;
    ship.place = ship.shift = ship.end = stored_to;
    ship.look_s = FIRST_LOOK_S;
    ship.progress_at_s = ship.asked_at_s = now_s();
    ship.http = (struct http){.address = &settings->gateway, .token = settings->token, .fd = -1};
    snprintf(ship.path, sizeof ship.path, "/v1/trials/%s/attempts/%s/output", settings->trial,
             settings->attempt);
    if (settings->kind == KIND_TFEVENT) records_open(settings->path, stored_to > 0);
    pthread_condattr_t steady;
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&ship.news, &steady);
    int failed = pthread_create(&ship.thread, NULL, ship_all, NULL);
    if (failed) {
        ship.thread = pthread_self();
        ship_give_up(strerror(failed));
    }
}

bool ship_stop(char *reason, size_t size) {
    pthread_mutex_lock(&ship.lock);
    bool stop = ship.stop[0] != '\0';
    if (stop) snprintf(reason, size, "%s", ship.stop);
    pthread_mutex_unlock(&ship.lock);
    return stop;
}

struct shipped ship_end(int exit_code) {
    pthread_mutex_lock(&ship.lock);
    ship.ended = true;
    ship.may_end = exit_code == 0 || !ship.settings->restarts;
    pthread_cond_signal(&ship.news);
    pthread_mutex_unlock(&ship.lock);
    if (!pthread_equal(ship.thread, pthread_self())) pthread_join(ship.thread, NULL);
    struct shipped shipped = {.total = ship.end, .stored = ship.place};
    if (ship.settings->kind == KIND_STDOUT) shipped.total = spool_written() + ship.shift;
    memcpy(shipped.error, ship.error, sizeof shipped.error);
    return shipped;
}
