/* SPDX-License-Identifier: MIT */
/*
 * The BIO between an SSL object and its socket, and the output that the socket did not take.
 *
 *   I1  Writing never fails and never asks for a repetition (T3 of session.h): bytes go to the
 *       socket, else to the output; after an error of the socket they are dropped, and the error is
 *       told by whoever flushes.  So what the peer sent before it went away can still be read.
 *   I2  Order: nothing is sent past what is left of the output.
 *
 * Under the session's mutex.  It waits for nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/tls/session.h"

/* ---- output ----------------------------------------------------------------------------- */

static int output_reserve(struct tls_output *output, size_t more)
{
    if (output->sent == output->size)
        output->sent = output->size = 0;
    if (output->capacity - output->size >= more)
        return 0;
    size_t left = output->size - output->sent;
    if (left + more > TLS_OUTPUT_MAX)
        return -ENOBUFS;
    size_t capacity = left + more + left / 2; /* it may come in many small pieces */
    char *data = malloc(capacity);
    if (!data)
        return -ENOMEM;
    if (left)
        memcpy(data, output->data + output->sent, left);
    free(output->data);
    *output = (struct tls_output){.data = data, .size = left, .capacity = capacity};
    return 0;
}

static void output_keep(struct tls *tls, const char *data, size_t size)
{
    int r = output_reserve(&tls->output, size);
    if (r < 0) {
        tls->write_error = r;
        return;
    }
    memcpy(tls->output.data + tls->output.size, data, size);
    tls->output.size += size;
}

/* Returns: how much the socket took, 0 also when it is full or broken. */
static size_t output_send(struct tls *tls, const char *data, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = stream_try_write(tls->descriptor, data + sent, size - sent);
        if (n < 0) {
            if (n != -EAGAIN)
                tls->write_error = (int)n;
            break;
        }
        sent += (size_t)n;
    }
    return sent;
}

int tls_output_flush(struct tls *tls)
{
    struct tls_output *output = &tls->output;
    if (tls_output_left(tls) && !tls->write_error)
        output->sent += output_send(tls, output->data + output->sent, tls_output_left(tls));
    if (tls->write_error)
        output->sent = output->size;
    if (tls_output_left(tls))
        return -EAGAIN;
    free(output->data); /* an idle connection holds none */
    *output = (struct tls_output){0};
    return tls->write_error;
}

/* ---- the BIO ---------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *data, size_t size, size_t *ret_written)
{
    struct tls *tls = BIO_get_data(bio);
    size_t sent = 0;
    BIO_clear_retry_flags(bio);
    tls_output_flush(tls);
    if (!tls->write_error && !tls_output_left(tls))
        sent = output_send(tls, data, size);
    if (!tls->write_error && sent < size)
        output_keep(tls, data + sent, size - sent);
    *ret_written = size;
    return 1;
}

static int bio_read(BIO *bio, char *data, size_t size, size_t *ret_read)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = stream_try_read(tls->descriptor, data, size);
    if (n > 0) {
        *ret_read = (size_t)n;
        return 1;
    }
    if (n == 0)
        tls->input_ended = true;
    else if (n == -EAGAIN)
        BIO_set_retry_read(bio);
    else
        tls->read_error = (int)n;
    return 0;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const struct tls *tls = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return tls->input_ended;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void method_init(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft stream");
    if (!made)
        return;
    BIO_meth_set_write_ex(made, bio_write);
    BIO_meth_set_read_ex(made, bio_read);
    BIO_meth_set_ctrl(made, bio_ctrl);
    method = made; /* lives as long as the process */
}

BIO *tls_bio_new(struct tls *tls)
{
    static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
    if (!CRYPTO_THREAD_run_once(&once, method_init) || !method)
        return NULL;
    BIO *bio = BIO_new(method);
    if (!bio)
        return NULL;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}
