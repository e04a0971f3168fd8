/* SPDX-License-Identifier: MIT */
/* A session's options: checked, copied, and their defaults filled in.  Called before the session is
 * shared, and when it ends. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/http/session.h"
#include "io/http/text.h"
#include "weft/time.h"

enum {
    DEFAULT_CONNECTIONS = 100,
    DEFAULT_READ_AHEAD = 256 * 1024,
    DEFAULT_REDIRECTS = 10,
};

#define DEFAULT_TOTAL_NS   (300 * WEFT_SECOND)
#define DEFAULT_CONNECT_NS (30 * WEFT_SECOND)
#define DEFAULT_KEEP_NS    (15 * WEFT_SECOND)

static void fill_defaults(struct weft_http_session_options *options)
{
    if (options->connections == 0)
        options->connections = DEFAULT_CONNECTIONS;
    if (options->read_ahead == 0)
        options->read_ahead = DEFAULT_READ_AHEAD;
    if (options->max_redirects == 0)
        options->max_redirects = DEFAULT_REDIRECTS;
    if (options->total_ns == 0)
        options->total_ns = DEFAULT_TOTAL_NS;
    if (options->connect_ns == 0)
        options->connect_ns = DEFAULT_CONNECT_NS;
    if (options->first_byte_ns == 0)
        options->first_byte_ns = WEFT_NO_DEADLINE;
    if (options->low_speed_ns == 0)
        options->low_speed_ns = WEFT_NO_DEADLINE;
    if (options->keep_ns == 0)
        options->keep_ns = DEFAULT_KEEP_NS;
    if (options->low_speed_bytes == 0)
        options->low_speed_bytes = 1;
}

static int check(const struct weft_http_session_options *options)
{
    if (options->connections > INT_MAX || options->connections_per_host > INT_MAX)
        return -EINVAL;
    if (options->version > WEFT_HTTP_2_DIRECTLY || (options->header_count && !options->headers))
        return -EINVAL;
    if (options->key_file && !options->certificate_file)
        return -EINVAL;
    if (options->base_url && !text_is_url(options->base_url))
        return -EINVAL;
    return text_check_headers(options->headers, options->header_count);
}

/* Returns: false when there is no memory. */
static bool copy(char **ret_copy, const char *text)
{
    if (!text)
        return true;
    *ret_copy = strdup(text);
    return *ret_copy;
}

static bool copy_headers(struct http_config *config, const struct weft_http_field *headers,
                         size_t count)
{
    config->headers = calloc(count ? count : 1, sizeof(*headers));
    if (!config->headers)
        return false;
    for (size_t i = 0; i < count; i++) {
        char *name = NULL, *value = NULL;
        bool done = copy(&name, headers[i].name) && copy(&value, headers[i].value);

        config->headers[config->header_count++] = (struct weft_http_field){name, value};
        if (!done)
            return false;
    }
    return true;
}

static bool copy_texts(struct http_config *config, const struct weft_http_session_options *options)
{
    const char *agent = options->user_agent ? options->user_agent : "weft/" WEFT_VERSION;

    return copy(&config->base_url, options->base_url) && copy(&config->user_agent, agent) &&
           copy(&config->user, options->user) && copy(&config->password, options->password) &&
           copy(&config->bearer, options->bearer) && copy(&config->ca_file, options->ca_file) &&
           copy(&config->certificate_file, options->certificate_file) &&
           copy(&config->key_file, options->key_file) &&
           copy(&config->key_password, options->key_password) &&
           copy(&config->proxy, options->proxy) && copy(&config->no_proxy, options->no_proxy) &&
           copy(&config->unix_path, options->unix_path);
}

int config_init(struct http_config *config, const struct weft_http_session_options *given)
{
    static const struct weft_http_session_options none;
    const struct weft_http_session_options *options = given ? given : &none;

    int r = check(options);
    if (r < 0)
        return r;
    *config = (struct http_config){.options = *options};
    fill_defaults(&config->options);
    if (copy_texts(config, options) &&
        copy_headers(config, options->headers, options->header_count))
        return 0;
    config_destroy(config);
    return -ENOMEM;
}

void config_destroy(struct http_config *config)
{
    char *texts[] = {config->base_url,
                     config->user_agent,
                     config->user,
                     config->password,
                     config->bearer,
                     config->ca_file,
                     config->certificate_file,
                     config->key_file,
                     config->key_password,
                     config->proxy,
                     config->no_proxy,
                     config->unix_path};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < config->header_count; i++) {
        free((char *)(uintptr_t)config->headers[i].name);
        free((char *)(uintptr_t)config->headers[i].value);
    }
    free(config->headers);
}
