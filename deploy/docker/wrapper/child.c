/* The command: a process group of its own. Its output passes through as it comes, signals are passed
 * on to all of the group, and whatever is left to us is reaped, as PID 1 must. */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const double FULL_DEADLINE_S = 600.0; /* the command waits so long for room in the spool */
static const double DRAIN_S = 1.0;           /* for output of processes that left the group */
static const double RETRY_S = 0.2;           /* a full spool is tried again */
static const double TELL_FULL_S = 60.0;      /* so often, at most, it is said to be full */

/* One of its two outputs. buffer[passed, length) is not passed through, [taken, length) not shipped
 * yet; nothing more is read before both are done. */
struct output {
    int from, to; /* -1: closed */
    char buffer[LINE_BYTES];
    size_t length, passed, taken;
    int owed; /* what the command had said when it ended and is not read yet; 0 before */
    struct lines lines;
};

static struct output outputs[2];
static sigset_t all_signals, old_signals;
static pid_t child;

static struct {
    bool reaped;
    int status;
    bool stopping;
    double kill_at_s, drain_until_s, full_since_s, told_full_s; /* 0: not */
} state;

void child_prepare(void) {
    sigfillset(&all_signals);
    /* What tells of a fault of our own, and what we ignore: where it is blocked, it is heard. */
    static const int ours[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL, SIGABRT,
                               SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) sigdelset(&all_signals, ours[i]);
    sigprocmask(SIG_BLOCK, &all_signals, &old_signals);
    /* Orphans come to us also where we are not PID 1. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Starting ------------------------------------------------------------------------------------ */

/* execvp, except that what is neither a program nor a script with #! is not given to a shell: neither
 * does a container's runtime. Returns only if it cannot be executed, with why. */
static int execute(char *const command[]) {
    extern char **environ;
    const char *name = command[0], *path = getenv("PATH");
    if (strchr(name, '/') != NULL) {
        execve(name, command, environ);
        return errno;
    }
    if (path == NULL) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    int failed = ENOENT;
    for (size_t length; *name != '\0'; path += length + 1) {
        char file[PATH_MAX];
        length = strcspn(path, ":");
        const char *slash = length > 0 ? "/" : "";
        if (snprintf(file, sizeof file, "%.*s%s%s", (int)length, path, slash, name) < PATH_MAX) {
            execve(file, command, environ);
            if (errno != ENOENT && errno != ENOTDIR) failed = errno;
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
        }
        if (path[length] == '\0') break;
    }
    return failed;
}

static void become(char *const command[], const int pipes[2][2], int report) {
    setpgid(0, 0);
    if (isatty(STDIN_FILENO)) tcsetpgrp(STDIN_FILENO, getpid());
    dup2(pipes[0][1], STDOUT_FILENO);
    dup2(pipes[1][1], STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old_signals, NULL);
    int failed = execute(command);
    ssize_t ignored = write(report, &failed, sizeof failed);
    (void)ignored;
    _exit(EXIT_NOT_FOUND);
}

/* 0, or why it could not be started. */
static int start(char *const command[]) {
    int pipes[2][2], report[2], failed = 0;
    if (pipe2(pipes[0], O_CLOEXEC) || pipe2(pipes[1], O_CLOEXEC) || pipe2(report, O_CLOEXEC))
        return errno;
    child = fork();
    if (child < 0) return errno;
    if (child == 0) become(command, (const int(*)[2])pipes, report[1]);
    setpgid(child, child);
    for (int i = 0; i < 2; i++) {
        close(pipes[i][1]);
        fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
        outputs[i].from = pipes[i][0];
        outputs[i].to = i == 0 ? STDOUT_FILENO : STDERR_FILENO;
    }
    close(report[1]);
    ssize_t got;
    do got = read(report[0], &failed, sizeof failed);
    while (got < 0 && errno == EINTR);
    close(report[0]);
    return got == (ssize_t)sizeof failed ? failed : 0;
}

/* Output -------------------------------------------------------------------------------------- */

static bool is_busy(const struct output *output) {
    return output->passed < output->length || output->taken < output->length;
}

/* At most what a pipe that is ready takes whole, so that it never waits. */
static void pass(struct output *output) {
    size_t left = output->length - output->passed;
    ssize_t done = write(output->to, output->buffer + output->passed, left < PIPE_BUF ? left : PIPE_BUF);
    if (done > 0) output->passed += (size_t)done;
    if (done < 0 && errno != EAGAIN && errno != EINTR) { /* nobody reads it; metrics still count */
        output->to = -1;
        output->passed = output->length;
    }
}

static void take(struct output *output) {
    size_t left = output->length - output->taken;
    size_t done = lines_take(&output->lines, output->buffer + output->taken, left);
    output->taken += done;
    if (done > 0) state.full_since_s = 0;
    if (done < left && state.full_since_s == 0) {
        double now = now_s();
        state.full_since_s = now;
        if (state.told_full_s > 0 && now - state.told_full_s < TELL_FULL_S) return;
        say("the spool is full: the command waits until its metrics can be shipped");
        state.told_full_s = now;
    }
}

static void read_more(struct output *output, bool ship_output) {
    ssize_t got = read(output->from, output->buffer, sizeof output->buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        close(output->from);
        output->from = -1;
        return;
    }
    if (output->owed > 0) output->owed -= (int)got;
    output->length = (size_t)got;
    output->passed = output->to >= 0 ? 0 : output->length;
    output->taken = ship_output ? 0 : output->length;
    if (output->passed < output->length) {
        /* Without delay, where it can be done without waiting. */
        struct pollfd poller = {.fd = output->to, .events = POLLOUT};
        while (output->passed < output->length && poll(&poller, 1, 0) > 0) pass(output);
    }
    if (ship_output) take(output);
}

static bool all_closed(void) {
    return outputs[0].from < 0 && outputs[1].from < 0 && !is_busy(&outputs[0]) &&
           !is_busy(&outputs[1]);
}

/* Signals and ends ---------------------------------------------------------------------------- */

static void to_group(int number) {
    if (child > 0 && kill(-child, number) != 0 && errno == ESRCH && !state.reaped)
        kill(child, number);
}

static void reap(void) {
    int status;
    for (pid_t found; (found = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (found != child) continue;
        state.reaped = true;
        state.status = status;
    }
}

static void hear_signals(int signal_fd) {
    struct signalfd_siginfo heard;
    while (read(signal_fd, &heard, sizeof heard) == (ssize_t)sizeof heard) {
        int number = (int)heard.ssi_signo;
        if (number != SIGCHLD && number != SIGTTIN && number != SIGTTOU) to_group(number);
    }
    reap();
}

/* What the command leaves behind ends with it, as in a container without us. Its last words are in
 * the pipes by then. */
static void sweep(void) {
    kill(-child, SIGKILL);
    if (getpid() == 1) kill(-1, SIGKILL);
    for (int i = 0; i < 2; i++) {
        outputs[i].owed = 0;
        if (outputs[i].from >= 0 && ioctl(outputs[i].from, FIONREAD, &outputs[i].owed) != 0)
            outputs[i].owed = 0;
    }
    state.drain_until_s = now_s() + DRAIN_S;
}

/* reason: of what is stopped; a command that has ended before is not. */
static void obey_stop(double grace_s, char *reason, size_t size) {
    if (state.stopping || state.reaped || !ship_stop(reason, size)) return;
    state.stopping = true;
    say("the command is stopped: %s", reason);
    to_group(SIGTERM);
    to_group(SIGCONT);
    state.kill_at_s = now_s() + grace_s;
}

static void keep_deadlines(void) {
    double now = now_s();
    if (state.kill_at_s > 0 && now >= state.kill_at_s && !state.reaped) {
        to_group(SIGKILL);
        state.kill_at_s = 0;
    }
    if (state.full_since_s > 0 && now - state.full_since_s > FULL_DEADLINE_S) {
        ship_give_up("there was no room for the metrics, and nobody took them");
        state.full_since_s = 0;
    }
    if (state.drain_until_s > 0 && now >= state.drain_until_s) {
        for (int i = 0; i < 2; i++) {
            if (outputs[i].from < 0 || outputs[i].owed > 0 || is_busy(&outputs[i])) continue;
            close(outputs[i].from);
            outputs[i].from = -1;
        }
    }
}

/* Until the next deadline, in milliseconds. */
static int patience(void) {
    double least = 60.0, now = now_s();
    if (state.kill_at_s > 0 && state.kill_at_s - now < least) least = state.kill_at_s - now;
    /* When it has passed, what is owed comes first, and wakes us. */
    if (state.drain_until_s > now && state.drain_until_s - now < least)
        least = state.drain_until_s - now;
    if (state.full_since_s > 0 && RETRY_S < least) least = RETRY_S;
    return least <= 0 ? 0 : (int)(least * 1000) + 1;
}

/* One turn: wait for anything, then do it. */
static void turn(int signal_fd, int wake_fd, bool ship_output) {
    struct pollfd pollers[6] = {{.fd = signal_fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
    for (int i = 0; i < 2; i++) {
        const struct output *output = &outputs[i];
        pollers[2 + i] = (struct pollfd){.fd = is_busy(output) ? -1 : output->from, .events = POLLIN};
        bool waits = output->passed < output->length;
        pollers[4 + i] = (struct pollfd){.fd = waits ? output->to : -1, .events = POLLOUT};
    }
    if (poll(pollers, 6, patience()) < 0) return;
    uint64_t count;
    ssize_t ignored = pollers[1].revents ? read(wake_fd, &count, sizeof count) : 0;
    (void)ignored;
    for (int i = 0; i < 2; i++) {
        struct output *output = &outputs[i];
        if (pollers[4 + i].revents) pass(output);
        if (output->taken < output->length) take(output);
        if (pollers[2 + i].revents && output->from >= 0) read_more(output, ship_output);
    }
    if (pollers[0].revents) hear_signals(signal_fd);
}

static void end_lines(int signal_fd, int wake_fd) {
    bool ended[2];
    while (ended[0] = lines_end(&outputs[0].lines), ended[1] = lines_end(&outputs[1].lines),
           !ended[0] || !ended[1]) {
        if (state.full_since_s == 0) state.full_since_s = now_s();
        turn(signal_fd, wake_fd, true);
        keep_deadlines();
    }
}

static struct ended not_started(const char *name, int failed) {
    struct ended ended = {.ran = true};
    ended.exit_code = failed == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTED;
    snprintf(ended.error, sizeof ended.error, "%s: %s", name, strerror(failed));
    say("%s", ended.error);
    return ended;
}

struct ended child_run(char *const command[], double grace_s, bool ship_output, int wake_fd) {
    int failed = start(command);
    if (failed) return not_started(command[0], failed);
    int signal_fd = signalfd(-1, &all_signals, SFD_CLOEXEC | SFD_NONBLOCK);
    struct ended ended = {.ran = true};
    while (!state.reaped || !all_closed()) {
        turn(signal_fd, wake_fd, ship_output);
        /* A signal that came before there was somebody to hear it is pending, so none is missed. */
        if (state.reaped && state.drain_until_s == 0) sweep();
        obey_stop(grace_s, ended.stop, sizeof ended.stop);
        keep_deadlines();
    }
    if (ship_output) end_lines(signal_fd, wake_fd);
    reap();
    close(signal_fd);
    bool by_signal = WIFSIGNALED(state.status);
    ended.signal = by_signal ? WTERMSIG(state.status) : 0;
    ended.exit_code = by_signal ? 128 + ended.signal : WEXITSTATUS(state.status);
    return ended;
}
