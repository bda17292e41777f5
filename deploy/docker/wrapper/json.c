/* JSON, as much as the gateway's answers need: the fields of one object. */
#include "wrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *past_space(const char *at) {
    return at + strspn(at, " \t\r\n");
}

/* After the closing quote; NULL: there is none. */
static const char *past_text(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\0' || (*at == '\\' && *++at == '\0')) return NULL;
    }
    return at + 1;
}

static const char *past_value(const char *at) {
    int depth = 0;
    do {
        if (*at == '"') {
            at = past_text(at);
            if (at == NULL) return NULL;
            continue;
        }
        if (*at == '\0') return NULL;
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') {
            if (depth == 0) return at;
            depth--;
        }
        if (*at == ',' && depth == 0) return at;
        at++;
    } while (depth > 0 || (*at != ',' && *at != '}' && *at != ']'));
    return at;
}

/* Where the value of a field begins; NULL: there is no such field. */
static const char *find(const char *object, const char *name) {
    size_t length = strlen(name);
    const char *at = past_space(object);
    if (*at != '{') return NULL;
    at = past_space(at + 1);
    while (*at == '"') {
        const char *key = at + 1;
        at = past_text(at);
        if (at == NULL) return NULL;
        bool is_it = (size_t)(at - 1 - key) == length && memcmp(key, name, length) == 0;
        at = past_space(at);
        if (*at != ':') return NULL;
        at = past_space(at + 1);
        if (is_it) return at;
        at = past_value(at);
        if (at == NULL) return NULL;
        at = past_space(at);
        if (*at != ',') return NULL;
        at = past_space(at + 1);
    }
    return NULL;
}

bool json_whole(const char *object, const char *name, int64_t *value) {
    const char *at = find(object, name);
    if (at == NULL || *at < '0' || *at > '9') return false;
    *value = strtoll(at, NULL, 10);
    return *value <= MOST_PLACE;
}

bool json_real(const char *object, const char *name, double *value) {
    const char *at = find(object, name);
    if (at == NULL || *at < '0' || *at > '9') return false;
    *value = strtod(at, NULL);
    return true;
}

bool json_true(const char *object, const char *name) {
    const char *at = find(object, name);
    return at != NULL && strncmp(at, "true", 4) == 0;
}

/* `at` is after the backslash; returns the last character that was read. */
static const char *unescape(const char *at, char *text, size_t *length) {
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *known = *at != '\0' ? strchr(from, *at) : NULL;
    if (*at != 'u') {
        text[(*length)++] = known != NULL ? to[known - from] : *at;
        return at;
    }
    char digits[5] = "";
    size_t count = strspn(at + 1, "0123456789abcdefABCDEF");
    memcpy(digits, at + 1, count < 4 ? count : 4); /* fewer: the text may end there */
    unsigned long code = strtoul(digits, NULL, 16);
    /* What is no ASCII is for people only. */
    text[(*length)++] = code < 0x80 && code > 0 ? (char)code : '?';
    return at + strlen(digits);
}

bool json_text(const char *object, const char *name, char *text, size_t size) {
    const char *at = find(object, name);
    if (at == NULL || *at != '"' || past_text(at) == NULL) return false;
    size_t length = 0;
    for (at++; *at != '"' && length + 1 < size; at++) {
        if (*at == '\\') at = unescape(at + 1, text, &length);
        else text[length++] = *at;
    }
    text[length] = '\0';
    return true;
}

void json_escape(const char *text, char *escaped, size_t size) {
    size_t length = 0;
    for (; *text != '\0' && length + 7 < size; text++) {
        unsigned char character = (unsigned char)*text;
        if (character == '"' || character == '\\') {
            escaped[length++] = '\\';
            escaped[length++] = (char)character;
        } else if (character < ' ') {
            length += (size_t)snprintf(escaped + length, 7, "\\u%04x", character);
        } else {
            escaped[length++] = (char)character;
        }
    }
    escaped[length] = '\0';
}
