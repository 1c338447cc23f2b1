/* The least that any guard must do on this machine, for bench/latency.py: hear of the write by inotify, read the
 * line, count to five by address, hand the address to a second process, which puts it into a set of nftables and
 * reads the kernel's answer; answer the first process.
 *
 *     floor LOG        (the set is `s` of `table inet floor`, IPv6, with timeouts)
 *
 * It understands nothing but the lines of the bench and forgets nothing: no guard. Exits 1 where a call fails.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

enum { FAILURES = 5, ROOM = 1 << 20 };
static const char WORD[] = "auth failed", SOURCE[] = "rip=2001:db8:";

static unsigned char message[512];
static int length, address, sequences[3];

static void need(int true_) { if (!true_) _exit(1); }

static int begin(int type, int flags, int family, int resource)
{
    int at = length;
    struct nlmsghdr *head = (void *)(message + at);
    struct nfgenmsg *own = (void *)(message + at + sizeof *head);
    head->nlmsg_type = type;
    head->nlmsg_flags = NLM_F_REQUEST | flags;
    own->nfgen_family = family;
    own->res_id = (uint16_t)(resource << 8);
    length += sizeof *head + sizeof *own;
    return at;
}

static void end(int at) { ((struct nlmsghdr *)(message + at))->nlmsg_len = length - at; }

static int open_attribute(int type, int nested)
{
    struct nlattr *head = (void *)(message + length);
    head->nla_type = type | (nested ? NLA_F_NESTED : 0);
    length += sizeof *head;
    return length - sizeof *head;
}

static void close_attribute(int at)
{
    ((struct nlattr *)(message + at))->nla_len = length - at;
    length = (length + 3) & ~3;
}

static int value(int type, const void *data, int size)
{
    int at = open_attribute(type, 0), start = length;
    memcpy(message + length, data, size);
    length += size;
    close_attribute(at);
    return start;
}

/* The transaction of one element, made once. */
static void prepare(void)
{
    static const unsigned char nowhere[16], minutes[8] = {0, 0, 0, 0, 0, 9, 0x27, 0xC0};
    int list, element, key, at = begin(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES);
    end(at);
    sequences[0] = at + 8;
    at = begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK, 1, 0);
    sequences[1] = at + 8;
    value(NFTA_SET_ELEM_LIST_TABLE, "floor", 6);
    value(NFTA_SET_ELEM_LIST_SET, "s", 2);
    list = open_attribute(NFTA_SET_ELEM_LIST_ELEMENTS, 1);
    element = open_attribute(NFTA_LIST_ELEM, 1);
    key = open_attribute(NFTA_SET_ELEM_KEY, 1);
    address = value(NFTA_DATA_VALUE, nowhere, 16);
    close_attribute(key);
    value(NFTA_SET_ELEM_TIMEOUT, minutes, 8);
    close_attribute(element);
    close_attribute(list);
    end(at);
    at = begin(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES);
    end(at);
    sequences[2] = at + 8;
}

static void enforce(int judge)
{
    int line = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), number, on = 1;
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    unsigned char wanted[16], answer[4096];
    uint32_t sequence = 0;
    need(line >= 0 && !bind(line, (void *)&own, sizeof own));
    setsockopt(line, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    prepare();
    while (recv(judge, wanted, sizeof wanted, 0) == sizeof wanted) {
        for (number = 0; number < 3; number++, sequence++)
            memcpy(message + sequences[number], &sequence, 4);
        memcpy(message + address, wanted, 16);
        need(send(line, message, length, 0) == length);
        need(recv(line, answer, sizeof answer, 0) > 0);
        need(send(judge, answer, 1, 0) == 1);
    }
    _exit(0);
}

int main(int count, char **words)
{
    static unsigned char seen[1 << 16];
    static char data[ROOM + 1];
    char events[4096], *at, *rest, answer;
    int pair[2], log, notes, waiting, kept = 0;
    off_t offset;
    ssize_t size;
    struct epoll_event event = {.events = EPOLLIN};
    need(count == 2 && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    if (!fork()) {
        close(pair[0]);
        enforce(pair[1]);
    }
    close(pair[1]);
    log = open(words[1], O_RDONLY);
    notes = inotify_init1(IN_CLOEXEC);
    waiting = epoll_create1(0);
    need(log >= 0 && inotify_add_watch(notes, words[1], IN_MODIFY) >= 0);
    need(!epoll_ctl(waiting, EPOLL_CTL_ADD, notes, &event));
    offset = lseek(log, 0, SEEK_END);
    while (epoll_wait(waiting, &event, 1, -1) == 1) {
        need(read(notes, events, sizeof events) > 0);
        while ((size = pread(log, data + kept, ROOM - kept, offset)) > 0) {
            offset += size;
            size += kept;
            data[size] = 0;
            rest = memrchr(data, '\n', size);
            if (!rest) {
                kept = size;
                continue;
            }
            *rest++ = 0;
            for (at = data; (at = strstr(at, WORD)); ) {
                unsigned char wanted[16] = {0x20, 1, 0x0D, 0xB8};
                char *line = strchrnul(at, '\n');
                char *found = memmem(at, line - at, SOURCE, sizeof SOURCE - 1);
                at = line;
                if (found) {
                    unsigned long number = strtoul(found + sizeof SOURCE - 1, 0, 16) & 0xFFFF;
                    if (seen[number] < FAILURES && ++seen[number] == FAILURES) {
                        wanted[4] = number >> 8;
                        wanted[5] = number;
                        need(send(pair[0], wanted, 16, 0) == 16 && recv(pair[0], &answer, 1, 0) == 1);
                    }
                }
            }
            kept = data + size - rest;
            memmove(data, rest, kept);
        }
    }
    return 1;
}
