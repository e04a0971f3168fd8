/* SPDX-License-Identifier: MIT */
/* text: see text.h. */
#include "client/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

char *text_duration(double seconds, char buffer[static TEXT_SHORT_MAX])
{
    static const struct {
        uint64_t seconds;
        const char *name, *rest_name;
        uint64_t rest; /* seconds of the smaller unit shown behind it */
    } units[] = {{86400, "d", "h", 3600}, {3600, "h", "m", 60}, {60, "m", "s", 1}};
    if (!(seconds >= 0) || seconds > 1e12) {
        strcpy(buffer, "-");
        return buffer;
    }
    uint64_t whole = (uint64_t)seconds;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (whole < units[i].seconds)
            continue;
        snprintf(buffer, TEXT_SHORT_MAX, "%llu%s%llu%s",
                 (unsigned long long)(whole / units[i].seconds), units[i].name,
                 (unsigned long long)(whole % units[i].seconds / units[i].rest),
                 units[i].rest_name);
        return buffer;
    }
    if (seconds < 1)
        snprintf(buffer, TEXT_SHORT_MAX, "%dms", (int)(seconds * 1000));
    else
        snprintf(buffer, TEXT_SHORT_MAX, seconds < 10 ? "%.1fs" : "%.0fs", seconds);
    return buffer;
}

char *text_bytes(uint64_t bytes, char buffer[static TEXT_SHORT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(buffer, TEXT_SHORT_MAX, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}

char *text_time(double seconds, char buffer[static TEXT_SHORT_MAX])
{
    struct tm parts;
    time_t time = (time_t)seconds;
    if (!localtime_r(&time, &parts) ||
        strftime(buffer, TEXT_SHORT_MAX, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        strcpy(buffer, "-");
    return buffer;
}

/* ---- what others wrote ---- */

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* One character of text, escaped, into piece; bytes taken from text. */
static size_t safe_piece(const char *text, size_t size, char piece[static 8])
{
    static const char named[] = "\n\t\r", names[] = "ntr";
    unsigned char byte = (unsigned char)*text;
    const char *found = byte ? strchr(named, byte) : NULL;
    if (found)
        return (size_t)snprintf(piece, 8, "\\%c", names[found - named]) - 1;
    if (byte < 0x20 || byte == 0x7F) {
        snprintf(piece, 8, "\\x%02x", byte);
        return 1;
    }
    size_t length = 1;
    while (byte >= 0xC0 && length < 4 && length < size && is_continuation(text[length]))
        length++;
    bool is_control = byte == 0xC2 && length == 2 && (unsigned char)text[1] < 0xA0; /* U+0080… */
    snprintf(piece, 8, "%.*s", is_control ? 1 : (int)length, is_control ? "?" : text);
    return length;
}

/* What of the buffer stays in front of "...": whole characters only. */
static void cut(char *buffer, size_t length, size_t size)
{
    size_t keep = size - 4 < length ? size - 4 : length;
    while (keep > 0 && keep < length && is_continuation(buffer[keep]))
        keep--;
    strcpy(buffer + keep, "...");
}

char *text_safe(const char *text, size_t text_size, char *buffer, size_t size)
{
    size_t length = 0;
    buffer[0] = '\0';
    for (size_t at = 0; at < text_size;) {
        char piece[8];
        at += safe_piece(text + at, text_size - at, piece);
        size_t piece_size = strlen(piece);
        if (length + piece_size >= size) {
            cut(buffer, length, size);
            return buffer;
        }
        memcpy(buffer + length, piece, piece_size + 1);
        length += piece_size;
    }
    return buffer;
}

size_t text_columns(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += !is_continuation(*text);
    return columns;
}

size_t text_prefix(const char *text, size_t columns)
{
    size_t size = 0;
    while (text[size] && (columns > 0 || is_continuation(text[size])))
        columns -= !is_continuation(text[size++]);
    return size;
}

/* ---- base64 ---- */

static int base64_value(char character)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = character ? strchr(alphabet, character) : NULL;
    return found ? (int)(found - alphabet) : -EINVAL;
}

int text_from_base64(const char *text, size_t size, char *data, size_t *ret_size)
{
    size_t written = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    if (size % 4 != 0)
        return -EINVAL;
    size_t padding = 0;
    while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < size - padding; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return value;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        data[written++] = (char)(bits >> have & 0xFF);
    }
    *ret_size = written;
    return 0;
}
