/* trialbus-wrap install FOLDER
 * wrap [--] COMMAND ARGUMENTS... */
#include "wrap.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct settings settings;

/* Before there is a command: PID 1 has no other way to end by a signal. */
static void leave(int number) {
    _exit(128 + number);
}

static int refuse(int code, const char *why) {
    struct ended ended = {.exit_code = code};
    struct shipped shipped = {0};
    snprintf(ended.error, sizeof ended.error, "%s", why);
    say("%s", why);
    if (settings.termination_log != NULL) farewell(&settings, &ended, &shipped, false);
    quit_proxy();
    return code;
}

static int run(const char *program, char *const command[]) {
    char why[TEXT_CHARS];
    const char *wrong = settings_read(&settings);
    if (wrong != NULL) return refuse(EXIT_UNANSWERED, wrong);
    int64_t stored_to = 0;
    switch (ship_claim(&settings, &stored_to, why, sizeof why)) {
    case CLAIM_REFUSED:
        return refuse(EXIT_REFUSED, why);
    case CLAIM_UNANSWERED:
        return refuse(EXIT_UNANSWERED, why);
    case CLAIM_HELD:
        break;
    }
    if (!checkpoint_prepare(&settings, why, sizeof why)) return refuse(EXIT_NOT_EXECUTED, why);

    long kills = oom_kills();
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    child_prepare();
    bool printed = settings.kind == KIND_STDOUT;
    if (printed) spool_open(settings.spool_dir, program, settings.spool_bytes);
    ship_start(&settings, stored_to, wake_fd);
    struct ended ended = child_run(command, settings.grace_s, printed, wake_fd);
    struct shipped shipped = ship_end(ended.exit_code);
    bool oom = ended.signal == SIGKILL && kills >= 0 && oom_kills() > kills;
    farewell(&settings, &ended, &shipped, oom);
    quit_proxy();
    return ended.exit_code;
}

int main(int count, char *arguments[]) {
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    signal(SIGCHLD, SIG_DFL); /* ignored by who starts us, nobody could wait for the command */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a spool that may not grow is a full one */
    if (count == 3 && strcmp(arguments[1], "install") == 0) return install(arguments[2]);
    int first = count > 1 && strcmp(arguments[1], "--") == 0 ? 2 : 1;
    if (first >= count) {
        say("usage: %s install FOLDER | %s -- COMMAND ARGUMENTS...", arguments[0], arguments[0]);
        return 2;
    }
    return run(arguments[0], arguments + first);
}
