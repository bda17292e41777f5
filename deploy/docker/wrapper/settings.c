/* The environment, read and judged before anything is done. */
#include "wrap.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char DEFAULT_PORT[] = "80";
static const double DEFAULT_GRACE_S = 30.0;
static const int64_t DEFAULT_SPOOL_BYTES = (int64_t)256 * 1024 * 1024;

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value != NULL ? value : "";
}

/* Of at most `most` characters from `among`; what goes into a request must not break it. */
static bool consists_of(const char *text, const char *among, size_t most) {
    size_t length = strlen(text);
    return length > 0 && length <= most && strspn(text, among) == length;
}

static bool is_printable(const char *text, size_t most) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\') return false;
    return length <= most;
}

const char *address_read(struct address *address, const char *url) {
    static const char scheme[] = "http://";
    if (strncasecmp(url, "https://", 8) == 0)
        return "TRIALBUS_URL is https, which this program does not speak: give it the gateway's "
               "plain HTTP address inside the cluster, or let a mesh encrypt";
    if (strncasecmp(url, scheme, strlen(scheme)) != 0) return "TRIALBUS_URL is no http:// address";
    const char *authority = url + strlen(scheme);
    size_t length = strcspn(authority, "/?#");
    const char *base = authority + length;
    if (length == 0 || length >= sizeof address->authority || memchr(authority, '@', length))
        return "TRIALBUS_URL names no host";
    if (!is_printable(url, 1024) || strpbrk(base, "?#") != NULL)
        return "TRIALBUS_URL is no plain address";
    memcpy(address->authority, authority, length);
    address->authority[length] = '\0';

    const char *host = address->authority, *end, *port = DEFAULT_PORT;
    if (*host == '[') {
        end = strchr(++host, ']');
        if (end == NULL) return "TRIALBUS_URL has no ] after its IPv6 address";
        if (end[1] == ':') port = end + 2;
    } else {
        end = strchr(host, ':');
        if (end != NULL) port = end + 1;
        else end = host + strlen(host);
    }
    size_t host_length = (size_t)(end - host);
    if (host_length == 0 || host_length >= sizeof address->host) return "TRIALBUS_URL names no host";
    memcpy(address->host, host, host_length);
    address->host[host_length] = '\0';
    if (!consists_of(port, "0123456789", 5) || atoi(port) < 1 || atoi(port) > 65535)
        return "TRIALBUS_URL has a port that is none";
    strcpy(address->port, port);

    size_t base_length = strlen(base);
    while (base_length > 0 && base[base_length - 1] == '/') base_length--;
    if (base_length >= sizeof address->base) return "TRIALBUS_URL is too long";
    memcpy(address->base, base, base_length);
    address->base[base_length] = '\0';
    return NULL;
}

/* W3C Trace Context, level 1. What is none is ignored, as everybody must. */
static void trace_read(struct settings *settings, const char *text) {
    static const char shape[] = "00-00000000000000000000000000000000-0000000000000000-00";
    if (strlen(text) != TRACE_CHARS || strncmp(text, "ff", 2) == 0) return;
    for (size_t i = 0; i < TRACE_CHARS; i++)
        if (shape[i] == '-' ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL) return;
    if (strspn(text + 3, "0") == 32 || strspn(text + 36, "0") == 16) return;
    memcpy(settings->trace, text, TRACE_CHARS + 1);
    memcpy(settings->unkept, text, TRACE_CHARS + 1);
    memcpy(settings->unkept + TRACE_CHARS - 2, "00", 2);
}

static const char *kind_read(struct settings *settings) {
    static const char *const names[] = {"stdout", "file", "tfevent", "none"};
    const char *name = variable("TRIALBUS_WRAP_KIND");
    settings->path = variable("TRIALBUS_WRAP_PATH");
    for (int kind = KIND_STDOUT; kind <= KIND_NONE; kind++) {
        if (strcmp(name, names[kind]) != 0) continue;
        settings->kind = (enum kind)kind;
        bool needs_path = kind == KIND_FILE || kind == KIND_TFEVENT;
        return needs_path && settings->path[0] == '\0' ? "TRIALBUS_WRAP_PATH is missing" : NULL;
    }
    return "TRIALBUS_WRAP_KIND is none of stdout, file, tfevent, none";
}

const char *settings_read(struct settings *settings) {
    static const char name_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    settings->trial = variable("TRIALBUS_TRIAL");
    settings->attempt = variable("TRIALBUS_ATTEMPT");
    settings->holder = variable("TRIALBUS_POD_UID");
    settings->token = variable("TRIALBUS_TOKEN");
    settings->checkpoint = variable("TRIALBUS_CHECKPOINT");
    settings->checkpoint_copy_of = variable("TRIALBUS_CHECKPOINT_COPY_OF");
    settings->spool_dir = variable("TRIALBUS_SPOOL_DIR");
    settings->termination_log = variable("TRIALBUS_TERMINATION_LOG");
    if (settings->termination_log[0] == '\0') settings->termination_log = "/dev/termination-log";
    trace_read(settings, variable("TRACEPARENT"));
    settings->restarts = strcmp(variable("TRIALBUS_WRAP_RESTARTS"), "1") == 0;

    char *end;
    settings->grace_s = strtod(variable("TRIALBUS_GRACE_S"), &end);
    if (end == variable("TRIALBUS_GRACE_S") || !(settings->grace_s >= 0 && settings->grace_s < 1e6))
        settings->grace_s = DEFAULT_GRACE_S;
    settings->spool_bytes = strtoll(variable("TRIALBUS_SPOOL_BYTES"), &end, 10);
    if (end == variable("TRIALBUS_SPOOL_BYTES") || settings->spool_bytes < 0)
        settings->spool_bytes = DEFAULT_SPOOL_BYTES;

    const char *why = address_read(&settings->gateway, variable("TRIALBUS_URL"));
    if (why != NULL) return why;
    if (!consists_of(settings->trial, name_characters, 63)) return "TRIALBUS_TRIAL is no name";
    if (!consists_of(settings->attempt, "0123456789", 9)) return "TRIALBUS_ATTEMPT is no number";
    if (settings->holder[0] == '\0' || !is_printable(settings->holder, 128))
        return "TRIALBUS_POD_UID is missing";
    if (!is_printable(settings->token, 4096)) return "TRIALBUS_TOKEN cannot be sent";
    return kind_read(settings);
}
