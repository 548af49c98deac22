/*
 * proxy: a network between a client and a server on this machine, which can be cut and healed.
 *
 *   proxy LISTEN-PORT TARGET-PORT
 *
 * Passes on what comes, as it is. SIGUSR1 cuts it: from then on nothing gets through in either direction, and nobody is
 * told; who connects gets silence. SIGUSR2 heals it: connections from before or during the cut are reset, and what was
 * under way in them is lost; new ones work. Each new connection is a line on stdout: when it came, in Unix ms.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINKS_MAX 512 /* connections at a time: a controller that opens more than this is what the tests look for */
#define PIPE_BYTES 65536

/* One direction of a link. */
struct pipe {
    int from, to;
    bool ended; /* nothing more will come */
    size_t at, len;
    char bytes[PIPE_BYTES];
};

struct link {
    int client, server;
    struct pipe up, down;
};

static volatile sig_atomic_t cut_wanted;

static void on_signal(int signo) {
    cut_wanted = signo == SIGUSR1;
}

static void die(const char *what) {
    fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in loopback(const char *port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
            .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int open_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        die("socket");
    return fd;
}

/* With a reset, whatever is in the buffers of the kernel. */
static void drop(int fd) {
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void link_drop(struct link **slot) {
    drop((*slot)->client);
    drop((*slot)->server);
    free(*slot);
    *slot = NULL;
}

static void tell_connection(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    fflush(stdout);
}

static void link_open(struct link **links, int listener, const struct sockaddr_in *target) {
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (client < 0)
        return;
    tell_connection();
    size_t i = 0;
    while (i < LINKS_MAX && links[i])
        i++;
    struct link *link = i < LINKS_MAX ? calloc(1, sizeof *link) : NULL;
    if (!link) {
        drop(client);
        return;
    }
    *link = (struct link){.client = client, .server = open_socket()};
    link->up.from = link->down.to = client;
    link->up.to = link->down.from = link->server;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    links[i] = link;
    if (connect(link->server, (const struct sockaddr *)target, sizeof *target) < 0 && errno != EINPROGRESS)
        link_drop(&links[i]);
}

/* Reads when there is nothing left to write, and writes what there is. False: the link is broken. */
static bool pipe_pass(struct pipe *p) {
    if (!p->len && !p->ended) {
        ssize_t n = recv(p->from, p->bytes, sizeof p->bytes, 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        p->at = 0;
        p->len = (size_t)n;
        p->ended = n == 0;
        if (p->ended && shutdown(p->to, SHUT_WR) < 0)
            return false;
    }
    if (p->len) {
        ssize_t n = send(p->to, p->bytes + p->at, p->len, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        p->at += (size_t)n;
        p->len -= (size_t)n;
    }
    return true;
}

static void pipe_wants(const struct pipe *p, struct pollfd *from, struct pollfd *to) {
    if (p->len)
        to->events |= POLLOUT;
    else if (!p->ended)
        from->events |= POLLIN;
}

/* One round: waits for something to do and does it. While it is cut, all there is to do is to take connections. */
static void pass_round(struct link **links, int listener, const struct sockaddr_in *target, bool is_cut,
        const sigset_t *while_waiting) {
    struct pollfd fds[1 + 2 * LINKS_MAX] = {{.fd = listener, .events = POLLIN}};
    size_t n = 1;
    for (size_t i = 0; i < LINKS_MAX && !is_cut; i++) {
        if (!links[i])
            continue;
        struct pollfd *client = &fds[n++], *server = &fds[n++];
        *client = (struct pollfd){.fd = links[i]->client};
        *server = (struct pollfd){.fd = links[i]->server};
        pipe_wants(&links[i]->up, client, server);
        pipe_wants(&links[i]->down, server, client);
    }
    if (ppoll(fds, (nfds_t)n, NULL, while_waiting) < 0)
        return; /* a signal */
    for (size_t i = 0, at = 1; i < LINKS_MAX && !is_cut; i++) {
        if (!links[i])
            continue;
        short client = fds[at++].revents, server = fds[at++].revents;
        struct link *link = links[i];
        bool broken = (client | server) & POLLERR;
        if (broken || ((client | server) && (!pipe_pass(&link->up) || !pipe_pass(&link->down))))
            link_drop(&links[i]);
        else if (link->up.ended && link->down.ended && !link->up.len && !link->down.len)
            link_drop(&links[i]);
    }
    if (fds[0].revents)
        link_open(links, listener, target);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: proxy LISTEN-PORT TARGET-PORT\n", stderr);
        return 2;
    }
    struct sockaddr_in here = loopback(argv[1]), target = loopback(argv[2]);
    int listener = open_socket();
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 128) < 0)
        die("listen");
    /* Signals come only while waiting, so that none is missed. */
    sigset_t blocked, while_waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, &while_waiting);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    static struct link *links[LINKS_MAX];
    for (bool is_cut = false;;) {
        bool healed = is_cut && !cut_wanted;
        for (size_t i = 0; i < LINKS_MAX && healed; i++)
            if (links[i])
                link_drop(&links[i]);
        is_cut = cut_wanted;
        pass_round(links, listener, &target, is_cut, &while_waiting);
    }
}
