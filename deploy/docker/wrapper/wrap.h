/* trialbus-wrap: runs a trial's command in its pod and ships its metrics.
 * The protocol: docs/explanation/wrapper.md. The names: shared/trialbus/contracts/shipping.py. */
#ifndef WRAP_H
#define WRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    EXIT_REFUSED = 78,     /* asked, and told no: another pod has the attempt, or it is over */
    EXIT_UNANSWERED = 75,  /* nobody answered what we understand */
    EXIT_NOT_EXECUTED = 126,
    EXIT_NOT_FOUND = 127,
    BLOCK_BYTES = 128 * 1024,  /* of one request */
    LINE_BYTES = 64 * 1024,    /* longer lines hold no metric: the parser skips them, too */
    NOTE_CHARS = 2048,
    TEXT_CHARS = 1024,  /* of a reason or an error */
    TRACE_CHARS = 55,   /* of a trace context: 00-<trace>-<span>-<flags> */
};
/* Of a stream, as the collector takes it. */
#define MOST_PLACE INT64_C(999999999999999)

/* settings.c ---------------------------------------------------------------------------------- */

enum kind { KIND_STDOUT, KIND_FILE, KIND_TFEVENT, KIND_NONE };

/* http://host[:port][/base] */
struct address {
    char host[256];
    char port[8];
    char authority[300]; /* as the Host header has it */
    char base[512];
};

struct settings {
    struct address gateway;
    const char *token; /* "": the gateway asks nobody */
    const char *trial, *attempt, *holder;
    enum kind kind;
    const char *path;
    bool restarts; /* the container may be started again */
    double grace_s;
    const char *termination_log;
    const char *spool_dir; /* "": where there is room */
    int64_t spool_bytes;
    const char *checkpoint, *checkpoint_copy_of;
    /* Of the run's span, and the same with the flags of what nobody keeps; "": no trace is kept. */
    char trace[TRACE_CHARS + 1], unkept[TRACE_CHARS + 1];
};

/* NULL, or why the environment cannot be used. */
const char *settings_read(struct settings *settings);
/* NULL, or what is wrong with it. */
const char *address_read(struct address *address, const char *url);

/* clock.c ------------------------------------------------------------------------------------- */

double now_s(void); /* monotonic */
void pause_s(double seconds);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* http.c -------------------------------------------------------------------------------------- */

/* One connection that is kept open between requests. */
struct http {
    const struct address *address;
    const char *token; /* NULL or "": none is sent */
    const char *trace; /* alike */
    int fd;            /* -1: not connected */
    size_t have, used; /* of `in` */
    size_t taken;      /* of the answer that is read */
    char in[4096];
};

struct answer {
    int status;
    double retry_after_s;
    size_t length; /* of what was kept of the body */
    char body[16 * 1024];
};

/* Returns false when there is no answer: then nobody knows whether the request had its effect. */
bool http_post(struct http *http, const char *path, const char *type, const void *body,
               size_t length, double timeout_s, struct answer *answer);
void http_close(struct http *http);

/* json.c: of the fields of one object -------------------------------------------------------- */

/* Not above MOST_PLACE. */
bool json_whole(const char *object, const char *name, int64_t *value);
bool json_real(const char *object, const char *name, double *value);
bool json_true(const char *object, const char *name);
/* Cut at size - 1 bytes. */
bool json_text(const char *object, const char *name, char *text, size_t size);
void json_escape(const char *text, char *escaped, size_t size);

/* spool.c: what is printed and not yet stored ------------------------------------------------- */

enum appended { APPENDED, FULL };

void spool_open(const char *dir, const char *program, int64_t most_bytes);
/* All of it or nothing. FULL: neither memory nor disk takes it now. */
enum appended spool_append(const char *data, size_t length);
/* From a place that was not forgotten; 0: there is no more. */
size_t spool_read(int64_t place, char *data, size_t size);
/* What lies before this place is stored. */
void spool_forget(int64_t place);
/* Nothing will be read any more: what comes is counted only. */
void spool_abandon(void);
int64_t spool_written(void);

/* records.c: the records of event files as frames --------------------------------------------- */

/* skip: what is there now was shipped before. */
void records_open(const char *folder, bool skip);
/* Whole frames that follow those of the call before, at most `size` bytes. */
size_t records_next(char *data, size_t size);
/* All of them once more, as pass 2. */
void records_again(void);

/* claim.c ------------------------------------------------------------------------------------- */

#define REQUEST_S 30.0
/* No answer asks us to wait for longer. */
#define MOST_LOOK_S 60.0

enum claim { CLAIM_HELD, CLAIM_REFUSED, CLAIM_UNANSWERED };

/* why: of what is not HELD. */
enum claim ship_claim(const struct settings *settings, int64_t *stored_to, char *why, size_t size);
/* Why the gateway refuses. */
void reason_of(const struct answer *found, char *why, size_t size);
/* Worth another try: nobody there, or not now. */
bool is_passing(int status);
/* After a pause, 0: the first; asked_s: as the answer said, 0: it did not. */
double next_pause(double pause, double asked_s);

/* ship.c -------------------------------------------------------------------------------------- */

/* In a thread of its own. wake_fd: an eventfd that tells when `ship_stop` or the room in the spool
 * has changed. */
void ship_start(const struct settings *settings, int64_t stored_to, int wake_fd);
/* Why the command is to be stopped; false: it is not. */
bool ship_stop(char *reason, size_t size);
/* Something may be there to be shipped. */
void ship_news(void);

/* Nothing more is shipped; the command goes on. */
void ship_give_up(const char *why);

struct shipped {
    int64_t total, stored;
    char error[TEXT_CHARS]; /* why metrics are missing */
};

/* The command has ended with this code: ships the rest and waits for it. */
struct shipped ship_end(int exit_code);

/* child.c ------------------------------------------------------------------------------------- */

struct ended {
    bool ran;      /* false: the attempt was not ours to run */
    int exit_code; /* as a shell has it */
    int signal;    /* 0: none */
    char stop[TEXT_CHARS]; /* why we stopped it */
    char error[TEXT_CHARS]; /* why there was no command */
};

/* Before ship_start: signals are blocked from here on, in all threads. */
void child_prepare(void);
struct ended child_run(char *const command[], double grace_s, bool ship_output, int wake_fd);

/* lines.c: whole lines out of a stream that comes in pieces ----------------------------------- */

struct lines {
    char part[LINE_BYTES];
    size_t length;
    bool skipping; /* in a line that is too long */
};

/* How much was taken; less than `length`: the spool is full. */
size_t lines_take(struct lines *lines, const char *data, size_t length);
/* The last line needs no end. False: the spool is full. */
bool lines_end(struct lines *lines);

/* install.c, checkpoint.c, farewell.c --------------------------------------------------------- */

int install(const char *folder);
/* Makes the checkpoint's folder, of another's content if so told. False: why. */
bool checkpoint_prepare(const struct settings *settings, char *why, size_t size);
/* How often the kernel has killed for want of memory here; -1: not known. */
long oom_kills(void);
void farewell(const struct settings *settings, const struct ended *ended,
              const struct shipped *shipped, bool oom);
/* A proxy beside us would keep the pod alive. */
void quit_proxy(void);

#endif
