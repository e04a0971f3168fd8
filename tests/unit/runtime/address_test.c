/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

#include "support/io.h"

static void expect_text(const struct weft_address *address, const char *expected)
{
    char text[WEFT_ADDRESS_TEXT];
    EXPECT_EQ(weft_address_text(address, text, sizeof(text)), strlen(expected));
    EXPECT(strcmp(text, expected) == 0);
    EXPECT_EQ(weft_address_text(address, text, strlen(expected)), -ENOSPC);
}

Test(address, numeric_addresses_go_to_text_and_back)
{
    struct weft_address v4, v6, other;
    EXPECT_EQ(weft_address_inet("192.0.2.7", 80, &v4), 0);
    EXPECT_EQ(weft_address_inet("2001:db8::1", 443, &v6), 0);
    expect_text(&v4, "192.0.2.7:80");
    expect_text(&v6, "[2001:db8::1]:443");
    EXPECT_EQ(weft_address_family(&v4), AF_INET);
    EXPECT_EQ(weft_address_family(&v6), AF_INET6);
    EXPECT_EQ(weft_address_port(&v4), 80);
    EXPECT_EQ(weft_address_port(&v6), 443);
    weft_address_set_port(&v4, 81);
    weft_address_set_port(&v6, 444);
    expect_text(&v4, "192.0.2.7:81");
    expect_text(&v6, "[2001:db8::1]:444");
    EXPECT_EQ(weft_address_inet("192.0.2.7", 81, &other), 0);
    EXPECT(weft_address_equal(&v4, &other));
    EXPECT(!weft_address_equal(&v4, &v6));
}

Test(address, an_interface_may_be_named)
{
    struct weft_address address;
    EXPECT_EQ(weft_address_inet("fe80::1%lo", 5, &address), 0);
    expect_text(&address, "[fe80::1%lo]:5");
    EXPECT_EQ(weft_address_inet("fe80::1%nowhere0", 5, &address), -ENODEV);
    EXPECT_EQ(weft_address_inet("fe80::1%", 5, &address), -ENODEV);
    expect_text(&address, "[fe80::1%lo]:5"); /* untouched */
}

Test(address, what_is_not_numeric_is_refused)
{
    static const char *const wrong[] = {
        "",          "localhost",  "1.2.3",
        "1.2.3.4.5", "1.2.3.4:80", "[::1]",
        ":::1",      "1.2.3.4 ",   "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    struct weft_address address = {0};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        EXPECT_EQ(weft_address_inet(wrong[i], 1, &address), -EINVAL);
    EXPECT_EQ(weft_address_family(&address), AF_UNSPEC);
    EXPECT_EQ(weft_address_port(&address), 0);
    expect_text(&address, "");
}

Test(address, paths_and_abstract_names)
{
    struct weft_address address, other;
    char longest[109];
    memset(longest, 'x', sizeof(longest));
    EXPECT_EQ(weft_address_unix("/run/x.sock", &address), 0);
    expect_text(&address, "/run/x.sock");
    EXPECT_EQ(weft_address_port(&address), 0);
    weft_address_set_port(&address, 5);
    expect_text(&address, "/run/x.sock");
    EXPECT_EQ(weft_address_unix("@weft", &other), 0);
    expect_text(&other, "@weft");
    EXPECT_EQ(weft_address_family(&other), AF_UNIX);
    longest[107] = '\0';
    EXPECT_EQ(weft_address_unix(longest, &other), 0);
    expect_text(&other, longest);
    longest[107] = 'x', longest[108] = '\0';
    EXPECT_EQ(weft_address_unix(longest, &other), -ENAMETOOLONG);
    EXPECT_EQ(weft_address_unix("", &other), -EINVAL);
    EXPECT_EQ(weft_address_unix("@", &other), -EINVAL);
}

Test(address, as_the_system_gives_them)
{
    struct weft_address address, same;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/x"};
    socklen_t size;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(weft_address_from((struct sockaddr *)&v4, sizeof(v4), &address), 0);
    expect_text(&address, "127.0.0.1:9");
    const struct sockaddr *raw = weft_address_raw(&address, &size);
    EXPECT_EQ(size, sizeof(v4));
    EXPECT(memcmp(raw, &v4, sizeof(v4)) == 0);
    EXPECT_EQ(weft_address_from(raw, size, &same), 0);
    EXPECT(weft_address_equal(&address, &same));
    EXPECT_EQ(weft_address_from(raw, 1, &same), -EINVAL);
    EXPECT_EQ(weft_address_from(raw, size - 1, &same), -EINVAL);
    v4.sin_family = AF_PACKET;
    EXPECT_EQ(weft_address_from((struct sockaddr *)&v4, sizeof(v4), &same), -EAFNOSUPPORT);
    EXPECT_EQ(weft_address_from((struct sockaddr *)&path, sizeof(path), &same), 0);
    expect_text(&same, "/x");
    EXPECT_EQ(
        weft_address_from((struct sockaddr *)&path, offsetof(struct sockaddr_un, sun_path), &same),
        0);
    expect_text(&same, ""); /* an unnamed socket */
}
