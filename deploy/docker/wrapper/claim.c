/* Claiming the attempt, and what all requests to the gateway have in common. */
#include "wrap.h"

#include <stdio.h>

static const double CLAIM_DEADLINE_S = 120.0;
static const double FIRST_PAUSE_S = 0.2, LAST_PAUSE_S = 5.0;

void reason_of(const struct answer *found, char *why, size_t size) {
    char message[TEXT_CHARS / 2];
    if (!json_text(found->body, "message", message, sizeof message)) message[0] = '\0';
    const char *without = found->status / 100 == 3 ? "a redirect, which is not followed"
                                                   : "the gateway gave no reason";
    snprintf(why, size, "%s (%d)", message[0] != '\0' ? message : without, found->status);
}

bool is_passing(int status) {
    return status >= 500 || status == 408 || status == 425 || status == 429;
}

double next_pause(double pause, double asked_s) {
    pause = pause == 0 ? FIRST_PAUSE_S : pause * 2;
    if (pause > LAST_PAUSE_S) pause = LAST_PAUSE_S;
    return asked_s > pause && asked_s <= MOST_LOOK_S ? asked_s : pause;
}

enum claim ship_claim(const struct settings *settings, int64_t *stored_to, char *why, size_t size) {
    static struct answer answer; /* too large for a stack */
    struct http http = {.address = &settings->gateway, .token = settings->token, .fd = -1};
    http.trace = settings->trace;
    char path[160], body[192];
    snprintf(path, sizeof path, "/v1/trials/%s/attempts/%s/claim", settings->trial, settings->attempt);
    int length = snprintf(body, sizeof body, "{\"holder\":\"%s\"}", settings->holder);
    enum claim outcome = CLAIM_UNANSWERED;
    double deadline_s = now_s() + CLAIM_DEADLINE_S, pause = 0;
    bool told = false;
    snprintf(why, size, "the gateway at %s did not answer", settings->gateway.authority);
    for (;;) {
        bool heard = http_post(&http, path, "application/json", body, (size_t)length, REQUEST_S, &answer);
        if (heard && answer.status == 200 && json_whole(answer.body, "stored_to", stored_to)) {
            outcome = CLAIM_HELD;
            break;
        }
        if (heard) reason_of(&answer, why, size);
        if (heard && !is_passing(answer.status)) {
            outcome = answer.status >= 400 ? CLAIM_REFUSED : CLAIM_UNANSWERED;
            break;
        }
        pause = next_pause(pause, heard ? answer.retry_after_s : 0);
        if (now_s() + pause >= deadline_s) break;
        if (!told && pause > 1) {
            say("waiting to claim the attempt: %s", why);
            told = true;
        }
        pause_s(pause);
    }
    http_close(&http);
    return outcome;
}
