/* SPDX-License-Identifier: MIT */
/* Many senders, connected and not, send numbered datagrams to one Unix receiver whose queue is
 * short, and all of them are cancelled and timed out: a send that failed sent nothing, a receive
 * that failed took nothing, so each sender's numbers arrive without a gap and without a double. */
#include "support/io.h"
#include "support/stress.h"

enum { SENDERS = 10, MESSAGES = 400 / STRESS_SLOW };

struct world {
    struct chaos chaos;
    struct weft_address address;
    struct weft_datagram *receiver;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

struct message {
    unsigned sender, number;
    char rest[200];
};

static struct weft_datagram *open_sender(const struct actor *actor)
{
    struct weft_datagram *datagram;
    struct weft_address name;
    char text[108];
    if (actor->number % 2) {
        EXPECT_EQ(weft_datagram_connect(&actor->world->address, NULL, NULL, &datagram), 0);
        return datagram;
    }
    snprintf(text, sizeof(text), "@weft-%ld-sender-%u", (long)getpid(), actor->number);
    EXPECT_EQ(weft_address_unix(text, &name), 0);
    EXPECT_EQ(weft_datagram_bind(&name, NULL, &datagram), 0);
    return datagram;
}

static int send_all(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;
    struct weft_datagram *datagram = open_sender(actor);
    const struct weft_address *to = actor->number % 2 ? NULL : &world->address;
    struct message message = {.sender = actor->number};
    struct weft_scope scope;
    while (message.number < MESSAGES) {
        chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
        int r = weft_datagram_send(datagram, to, &message,
                                   2 * sizeof(unsigned) + dice_roll(&actor->dice, 200));
        chaos_leave(&world->chaos, actor->number, &scope);
        EXPECT(r == 0 || stress_ended(r));
        message.number += r == 0;
    }
    weft_datagram_free(datagram);
    return 0;
}

static int receive_all(void *arg)
{
    struct actor *actor = arg;
    struct world *world = actor->world;
    unsigned next[SENDERS] = {0};
    struct message message;
    struct weft_scope scope;
    size_t whole;
    for (unsigned total = 0; total < SENDERS * MESSAGES;) {
        chaos_enter(&world->chaos, actor->number, &actor->dice, &scope);
        ssize_t n =
            weft_datagram_recv(world->receiver, &message, 2 * sizeof(unsigned), NULL, &whole);
        chaos_leave(&world->chaos, actor->number, &scope);
        EXPECT(n == 2 * sizeof(unsigned) || stress_ended((int)n));
        if (n < 0)
            continue;
        EXPECT(whole >= (size_t)n && whole < sizeof(message));
        EXPECT(message.sender < SENDERS);
        EXPECT_EQ(message.number, next[message.sender]++);
        total++;
    }
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[SENDERS + 1];
    struct weft_group trouble, group;
    char name[108];
    int before = open_fds();
    EXPECT_EQ(weft_address_unix(abstract_name(name, "receiver"), &world.address), 0);
    EXPECT_EQ(weft_datagram_bind(&world.address, NULL, &world.receiver), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i <= SENDERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(
            weft_group_spawn(&group, "actor", i < SENDERS ? send_all : receive_all, &actors[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    weft_datagram_free(world.receiver);
    EXPECT_EQ(open_fds(), before);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
