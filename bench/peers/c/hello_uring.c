/* SPDX-License-Identifier: MIT */
/* The hello server on io_uring: a multishot accept, and for each request a receive and a send. */
#include "hello.h"

#include <liburing.h>
#include <unistd.h>

#define ENTRIES 4096
#define SENT    1 /* in the lowest bit of a completion's pointer: it is a send's */

static struct io_uring ring;

static struct io_uring_sqe *next_entry(void)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);

    if (!entry) {
        io_uring_submit(&ring);
        entry = io_uring_get_sqe(&ring);
    }
    peer_check(entry != NULL, "io_uring_get_sqe");
    return entry;
}

static void receive(struct hello_connection *connection)
{
    struct io_uring_sqe *entry = next_entry();

    io_uring_prep_recv(entry, connection->fd, connection->request + connection->have,
                       sizeof(connection->request) - connection->have, 0);
    io_uring_sqe_set_data(entry, connection);
}

/* The client asks again only when it has the answer, so the next receive may go along. */
static void answer(struct hello_connection *connection)
{
    struct io_uring_sqe *entry = next_entry();

    io_uring_prep_send(entry, connection->fd, HELLO_ANSWER, HELLO_ANSWER_SIZE, 0);
    io_uring_sqe_set_data64(entry, (uint64_t)(uintptr_t)connection | SENT);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    receive(connection);
}

static void accept_always(int listener)
{
    struct io_uring_sqe *entry = next_entry();

    io_uring_prep_multishot_accept(entry, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(entry, NULL);
}

static void complete(int listener, uint64_t data, int result, unsigned flags)
{
    struct hello_connection *connection = (struct hello_connection *)(uintptr_t)data;

    if (!data) {
        peer_check(result >= 0, "accept");
        receive(hello_connection_new(result));
        if (!(flags & IORING_CQE_F_MORE))
            accept_always(listener);
    } else if (data & SENT) {
        return; /* it failed: the receive that goes along ends the connection */
    } else if (result <= 0) {
        close(connection->fd);
        free(connection);
    } else if (hello_add(connection, (size_t)result)) {
        answer(connection);
    } else {
        receive(connection);
    }
}

int main(void)
{
    int listener = hello_listen(0);

    peer_check(io_uring_queue_init(ENTRIES, &ring,
                                   IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) == 0,
               "io_uring_queue_init");
    accept_always(listener);
    for (;;) {
        struct io_uring_cqe *completion;
        unsigned head, count = 0;

        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, completion)
        {
            complete(listener, completion->user_data, completion->res, completion->flags);
            count++;
        }
        io_uring_cq_advance(&ring, count);
    }
}
