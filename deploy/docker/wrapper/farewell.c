/* What is left behind at the end: a termination message, and no proxy that waits for nothing. */
#include "wrap.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

long oom_kills(void) {
    FILE *file = fopen("/sys/fs/cgroup/memory.events", "re");
    if (file == NULL) return -1;
    char line[128];
    long kills = -1;
    while (kills < 0 && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "oom_kill %ld", &kills) != 1) kills = -1;
    fclose(file);
    return kills;
}

void farewell(const struct settings *settings, const struct ended *ended,
              const struct shipped *shipped, bool oom) {
    char stop[2 * TEXT_CHARS], error[2 * TEXT_CHARS], message[4096]; /* as much as is kept */
    json_escape(ended->stop, stop, TEXT_CHARS);
    json_escape(ended->error[0] != '\0' ? ended->error : shipped->error, error, TEXT_CHARS);
    int length = snprintf(message, sizeof message,
                          "{\"trialbus\":{\"ran\":%s,\"exit\":%d,\"signal\":%d,\"total\":%" PRId64
                          ",\"stored\":%" PRId64 ",\"stop\":\"%s\",\"oom\":%s,\"error\":\"%s\"}}\n",
                          ended->ran ? "true" : "false", ended->exit_code, ended->signal, shipped->total, shipped->stored, stop,
                          oom ? "true" : "false", error);
    int fd = open(settings->termination_log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return; /* outside of a pod there is none */
    ssize_t ignored = write(fd, message, (size_t)length);
    (void)ignored;
    close(fd);
}

void quit_proxy(void) {
    static const struct address proxy = {
        .host = "127.0.0.1", .port = "15020", .authority = "127.0.0.1:15020"};
    static struct answer answer;
    struct http http = {.address = &proxy, .fd = -1};
    http_post(&http, "/quitquitquit", "text/plain", "", 0, 1.0, &answer);
    http_close(&http);
}
