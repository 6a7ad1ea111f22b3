/* The least that a gateway can do: HTTP requests in, batches to one replica, replies out.
 *
 *     bare_relay PORT SOCKET COLUMNS REPLY_FILE
 *
 * For one comparison only: how much is left to gain by a faster gateway, whatever it is written in? It batches as ours
 * does (one batch in flight, formed when the replica is free) and speaks `divisions.wire` to the product's own
 * replica, but knows nothing: no parsing, no decoding, no deadlines, no counting, no retry. Every request costs one
 * read and one write; the row that it sends is always the same, and so is the reply.
 *
 * All requests of a connection must be as long as its first one, whose head must come in one piece, and none may be
 * pipelined: `wrk` does just that.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_FD = 4096, MAX_BATCH = 256, EVENTS = 1024, REQUEST_HEADER = 24, HELLO = 8, GONE = -1 };

static struct { int got, need; } callers[MAX_FD]; /* bytes of the present request; of a whole one, 0: unknown yet */
static int queue[MAX_FD], queued;                 /* who waits for a batch */
static int in_flight[MAX_BATCH], flying;          /* who waits for the replica */
static char *frame, reply[8192];
static int replica, columns, reply_bytes;
static uint64_t batches;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void send_batch(void) {
    uint32_t rows = queued < MAX_BATCH ? queued : MAX_BATCH, deadline_us = 1000000;
    uint32_t payload = rows * columns * sizeof(float), length = REQUEST_HEADER - 4 + payload;
    memcpy(frame, &length, 4);
    memcpy(frame + 8, &rows, 4);
    memcpy(frame + 12, &batches, 8);
    memcpy(frame + 20, &deadline_us, 4);
    batches++;
    flying = rows;
    memcpy(in_flight, queue, rows * sizeof *queue);
    queued -= rows;
    memmove(queue, queue + rows, queued * sizeof *queue);
    if (write(replica, frame, length + 4) != (ssize_t)length + 4) fail("cannot write to the replica");
}

/* Reads what the replica says; a whole frame is the answer to the batch in flight. */
static void hear_replica(void) {
    static char answer[4096];
    static int got;
    uint32_t length;
    int answered[MAX_BATCH], num_answered = flying;
    ssize_t n = read(replica, answer + got, sizeof answer - got);
    if (n <= 0) exit(0); /* the replica has ended */
    got += n;
    memcpy(&length, answer, 4);
    if (got < 4 || got < (int)length + 4) return;
    if (answer[6] || answer[7]) { /* the status, as in the answer to the greeting */
        fputs("the replica refused a batch\n", stderr);
        exit(1);
    }
    got = 0;
    memcpy(answered, in_flight, flying * sizeof *answered);
    flying = 0;
    if (queued) send_batch(); /* first: the replica works while we answer */
    for (int i = 0; i < num_answered; i++)
        if (write(answered[i], reply, reply_bytes) < 0) continue; /* gone; its read tells, if it has not yet */
}

/* The length of the request whose head is in `text`: up to the empty line, and the body. */
static int request_bytes(const char *text) {
    const char *end = strstr(text, "\r\n\r\n"), *field = strcasestr(text, "\ncontent-length:");
    if (!end) return 0;
    return end + 4 - text + (field && field < end ? atoi(field + 16) : 0);
}

static void hear_caller(int fd) {
    static char text[65536];
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n <= 0) { /* it may wait for a reply, which must not go to the next one that gets its number */
        for (int i = 0; i < queued; i++)
            if (queue[i] == fd) queue[i] = GONE;
        for (int i = 0; i < flying; i++)
            if (in_flight[i] == fd) in_flight[i] = GONE;
        close(fd);
        return;
    }
    text[n] = 0;
    if (callers[fd].need == 0) callers[fd].need = request_bytes(text);
    callers[fd].got += n;
    if (callers[fd].need && callers[fd].got >= callers[fd].need) {
        callers[fd].got = 0;
        queue[queued++] = fd;
    }
}

static void watch(int poll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) fail("cannot watch a socket");
}

static int greet(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char hello[HELLO] = {HELLO - 4, 0, 0, 0, 1 /* version */}, ack[512];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail(path);
    if (write(fd, hello, HELLO) != HELLO || read(fd, ack, sizeof ack) < HELLO) fail("no greeting");
    if (ack[6] || ack[7]) {
        fputs("the replica refused the greeting\n", stderr);
        exit(1);
    }
    return fd;
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 512)) fail("cannot listen");
    return fd;
}

int main(int count, char **arguments) {
    struct epoll_event events[EVENTS];
    if (count != 5) {
        fputs("usage: bare_relay PORT SOCKET COLUMNS REPLY_FILE\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    FILE *file = fopen(arguments[4], "rb");
    if (!file) fail(arguments[4]);
    reply_bytes = fread(reply, 1, sizeof reply, file);
    fclose(file);
    columns = atoi(arguments[3]);
    frame = calloc(1, REQUEST_HEADER + (size_t)MAX_BATCH * columns * sizeof(float));
    if (!frame) fail("no memory");
    frame[4] = 1; /* version */
    frame[5] = 2; /* REQUEST */
    frame[6] = columns & 0xff;
    frame[7] = columns >> 8;
    replica = greet(arguments[2]);
    int listener = listen_on(atoi(arguments[1])), poll = epoll_create1(0), yes = 1;
    watch(poll, listener);
    watch(poll, replica);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == replica) {
                hear_replica();
            } else if (fd != listener) {
                hear_caller(fd);
            } else if ((fd = accept(listener, NULL, NULL)) >= MAX_FD) {
                close(fd);
            } else if (fd >= 0) {
                memset(&callers[fd], 0, sizeof *callers);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                watch(poll, fd);
            }
        }
        if (queued && !flying) send_batch();
    }
}
