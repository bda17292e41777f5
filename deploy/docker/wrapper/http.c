/* HTTP/1.1, as much as it takes to post to the gateway. No TLS. Redirects are answers like others:
 * nothing here follows them. */
#include "wrap.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static const double CONNECT_S = 5.0; /* to one of its addresses */
enum {
    HEAD_LINES = 200,
    LINE_CHARS = 2048,
    BODY_BYTES = 1024 * 1024,
    MOST_BYTES = 2 * BODY_BYTES, /* of a whole answer: what has no end is none */
};

void http_close(struct http *http) {
    if (http->fd >= 0) close(http->fd);
    http->fd = -1;
    http->have = http->used = 0;
}

/* Whether the socket is ready before the deadline. */
static bool ready(int fd, short wanted, double deadline_s) {
    for (;;) {
        double left = deadline_s - now_s();
        if (left <= 0) return false;
        struct pollfd poller = {.fd = fd, .events = wanted};
        int found = poll(&poller, 1, left > 60 ? 60000 : (int)(left * 1000) + 1);
        if (found > 0) return true;
        if (found < 0 && errno != EINTR) return false;
    }
}

static int connected(const struct addrinfo *to, double deadline_s) {
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    if (fd < 0) return -1;
    int failed = 0, one = 1;
    socklen_t size = sizeof failed;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        if (errno != EINPROGRESS || !ready(fd, POLLOUT, deadline_s)) failed = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) failed = errno;
    }
    if (failed) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* The name is looked up each time: a gateway that moved is found again. */
static bool http_connect(struct http *http, double deadline_s) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(http->address->host, http->address->port, &hints, &found) != 0) return false;
    for (struct addrinfo *to = found; to != NULL && http->fd < 0; to = to->ai_next) {
        double own_s = now_s() + CONNECT_S;
        http->fd = connected(to, own_s < deadline_s ? own_s : deadline_s);
    }
    freeaddrinfo(found);
    http->have = http->used = 0;
    return http->fd >= 0;
}

static bool send_all(int fd, const char *data, size_t length, double deadline_s) {
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        } else if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!ready(fd, POLLOUT, deadline_s)) return false;
        } else {
            return false;
        }
    }
    return true;
}

/* -1: the connection has ended, or time is up, or too much has come. */
static int next_byte(struct http *http, double deadline_s) {
    while (http->used == http->have) {
        if (http->taken >= MOST_BYTES) return -1;
        ssize_t got = recv(http->fd, http->in, sizeof http->in, 0);
        if (got > 0) {
            http->have = (size_t)got;
            http->taken += http->have;
            http->used = 0;
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return -1;
        } else if (!ready(http->fd, POLLIN, deadline_s)) {
            return -1;
        }
    }
    return (unsigned char)http->in[http->used++];
}

/* Without its end. What does not fit is cut. */
static bool next_line(struct http *http, char *line, size_t size, double deadline_s) {
    size_t length = 0;
    for (;;) {
        int byte = next_byte(http, deadline_s);
        if (byte < 0) return false;
        if (byte == '\n') break;
        if (length + 1 < size) line[length++] = (char)byte;
    }
    if (length > 0 && line[length - 1] == '\r') length--;
    line[length] = '\0';
    return true;
}

struct head {
    int status;
    long long length; /* -1: until the connection ends */
    bool chunked, closes;
    double retry_after_s;
};

static void note_header(struct head *head, const char *line) {
    const char *value = strchr(line, ':');
    if (value == NULL) return;
    size_t name = (size_t)(value - line);
    do value++;
    while (*value == ' ' || *value == '\t');
    if (name == 14 && strncasecmp(line, "content-length", name) == 0) {
        char *end;
        head->length = isdigit((unsigned char)*value) ? strtoll(value, &end, 10) : BODY_BYTES + 1;
    } else if (name == 17 && strncasecmp(line, "transfer-encoding", name) == 0) {
        head->chunked = strcasestr(value, "chunked") != NULL;
    } else if (name == 10 && strncasecmp(line, "connection", name) == 0) {
        head->closes = strcasestr(value, "close") != NULL;
    } else if (name == 11 && strncasecmp(line, "retry-after", name) == 0) {
        head->retry_after_s = strtod(value, NULL);
    }
}

/* Interim answers (1xx) are passed over. */
static bool read_head(struct http *http, struct head *head, double deadline_s) {
    char line[LINE_CHARS];
    do {
        *head = (struct head){.length = -1};
        if (!next_line(http, line, sizeof line, deadline_s)) return false;
        int minor;
        if (sscanf(line, "HTTP/1.%d %d", &minor, &head->status) != 2) return false;
        head->closes = minor == 0;
        for (int count = 0;; count++) {
            if (count > HEAD_LINES || !next_line(http, line, sizeof line, deadline_s)) return false;
            if (line[0] == '\0') break;
            note_header(head, line);
        }
    } while (head->status >= 100 && head->status < 200);
    if (head->status == 204 || head->status == 304) head->length = 0;
    return true;
}

static bool read_bytes(struct http *http, long long count, struct answer *answer, double until_s) {
    for (; count > 0; count--) {
        int byte = next_byte(http, until_s);
        if (byte < 0) return false;
        if (answer->length + 1 < sizeof answer->body) answer->body[answer->length++] = (char)byte;
    }
    return true;
}

static bool read_chunks(struct http *http, struct answer *answer, double deadline_s) {
    char line[LINE_CHARS];
    for (long long all = 0;;) {
        if (!next_line(http, line, sizeof line, deadline_s)) return false;
        char *end;
        long long size = strtoll(line, &end, 16);
        if (end == line || size < 0 || size > BODY_BYTES - all) return false;
        if (size == 0) break;
        all += size;
        if (!read_bytes(http, size, answer, deadline_s)) return false;
        if (!next_line(http, line, sizeof line, deadline_s)) return false;
    }
    do
        if (!next_line(http, line, sizeof line, deadline_s)) return false;
    while (line[0] != '\0');
    return true;
}

/* started: whether anything came. */
static bool read_answer(struct http *http, struct answer *answer, double deadline_s, bool *started) {
    struct head head;
    bool whole = read_head(http, &head, deadline_s);
    *started = http->have > 0;
    if (!whole) return false;
    *answer = (struct answer){.status = head.status, .retry_after_s = head.retry_after_s};
    if (head.chunked) {
        whole = read_chunks(http, answer, deadline_s);
    } else if (head.length >= 0) {
        whole = head.length <= BODY_BYTES && read_bytes(http, head.length, answer, deadline_s);
    } else {
        head.closes = true;
        read_bytes(http, BODY_BYTES, answer, deadline_s);
    }
    answer->body[answer->length] = '\0';
    if (head.closes || !whole) http_close(http);
    return whole;
}

bool http_post(struct http *http, const char *path, const char *type, const void *body,
               size_t length, double timeout_s, struct answer *answer) {
    char head[2 * 4096 + 1024];
    bool has_token = http->token != NULL && http->token[0] != '\0';
    bool has_trace = http->trace != NULL && http->trace[0] != '\0';
    int size = snprintf(head, sizeof head,
                        "POST %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: trialbus-wrap\r\n"
                        "Content-Type: %s\r\nContent-Length: %zu\r\n%s%s%s%s%s%s\r\n",
                        http->address->base, path, http->address->authority, type, length,
                        has_token ? "Authorization: Bearer " : "", has_token ? http->token : "",
                        has_token ? "\r\n" : "", has_trace ? "traceparent: " : "",
                        has_trace ? http->trace : "", has_trace ? "\r\n" : "");
    if (size < 0 || (size_t)size >= sizeof head) return false;
    double deadline_s = now_s() + timeout_s;
    for (;;) {
        bool reused = http->fd >= 0, started = false;
        if (!reused && !http_connect(http, deadline_s)) return false;
        http->have = http->used = http->taken = 0;
        if (send_all(http->fd, head, (size_t)size, deadline_s) &&
            send_all(http->fd, body, length, deadline_s) &&
            read_answer(http, answer, deadline_s, &started))
            return true;
        http_close(http);
        /* A server closes what was idle: then the next connection is tried, once. */
        if (!reused || started || now_s() >= deadline_s) return false;
    }
}
