#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster.h"
#include "harness.h"

#define PAIRS_MAX 64
#define POLL_MS 10 /* how soon a new rule is seen */

/* What the test and the proxy's process share. */
struct order {
    volatile uint32_t serial; /* a change is a new rule */
    char match[64];
    enum proxy_action action;
    int64_t after;
    volatile int left, cuts, connections;
};

struct pair {
    int client, server; /* -1: none */
    char first[256];    /* of what the client sent */
    size_t first_len;
    int64_t answered; /* bytes since the rule */
    uint32_t serial;  /* of the rule */
    bool dead;        /* silent for good */
};

static struct order *order;

/* ---- the proxy's process ---- */

static struct pair pairs[PAIRS_MAX];

static void pair_end(struct pair *pair, bool reset) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(pair->client);
    close(pair->server);
    *pair = (struct pair){.client = -1, .server = -1};
}

/* Segments that come in are dropped before TCP sees them: nothing is acknowledged, and nothing can be sent. */
static void vanish(int fd) {
    struct sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const struct sock_fprog program = {.len = 1, .filter = drop};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        _exit(1);
}

static bool pair_is_meant(struct pair *pair) {
    if (pair->serial != order->serial) {
        pair->serial = order->serial;
        pair->answered = 0;
    }
    const char *end = memchr(pair->first, '\n', pair->first_len);
    return order->left > 0 && end &&
           memmem(pair->first, (size_t)(end - pair->first), order->match, strlen(order->match));
}

static void pair_cut(struct pair *pair) {
    order->left--;
    order->cuts++;
    pair->dead = true;
    if (order->action == PROXY_VANISH)
        vanish(pair->client);
    else if (order->action != PROXY_SILENT)
        pair_end(pair, order->action == PROXY_RESET);
}

/* One direction. */
static void pair_move(struct pair *pair, bool answer) {
    char buffer[16384];
    int64_t most = sizeof buffer;
    if (answer && pair_is_meant(pair) && order->after - pair->answered < most)
        most = order->after - pair->answered;
    if (answer && most <= 0) {
        pair_cut(pair);
        return;
    }
    ssize_t n = recv(answer ? pair->server : pair->client, buffer, (size_t)most, 0);
    if (n <= 0 || send(answer ? pair->client : pair->server, buffer, (size_t)n, MSG_NOSIGNAL) != n) {
        pair_end(pair, false);
        return;
    }
    if (answer) {
        pair->answered += n;
        return;
    }
    /* A request, as long as no other came by the same connection. */
    pair->first_len = (size_t)n < sizeof pair->first ? (size_t)n : sizeof pair->first;
    memcpy(pair->first, buffer, pair->first_len);
}

static void proxy_accept(int listener, int port) {
    struct pair *pair = pairs;
    while (pair < pairs + PAIRS_MAX && pair->client >= 0)
        pair++;
    int client = accept(listener, NULL, NULL), on = 1;
    order->connections++;
    const struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair == pairs + PAIRS_MAX || connect(server, (const struct sockaddr *)&address, sizeof address) < 0) {
        close(client);
        close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *pair = (struct pair){.client = client, .server = server, .serial = order->serial};
}

static _Noreturn void proxy_run(int listener, int port) {
    for (int i = 0; i < PAIRS_MAX; i++)
        pairs[i] = (struct pair){.client = -1, .server = -1};
    for (;;) {
        struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
        for (int i = 0; i < PAIRS_MAX; i++) {
            struct pair *pair = &pairs[i];
            /* One that is open, and has nothing more to say: cut it now. */
            if (pair->client >= 0 && !pair->dead && pair_is_meant(pair) && pair->answered >= order->after)
                pair_cut(pair);
            bool moves = pair->client >= 0 && !pair->dead;
            fds[1 + 2 * i] = (struct pollfd){.fd = moves ? pair->client : -1, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = moves ? pair->server : -1, .events = POLLIN};
        }
        if (poll(fds, 1 + 2 * PAIRS_MAX, POLL_MS) < 0 && errno != EINTR)
            _exit(1);
        for (int i = 0; i < PAIRS_MAX; i++) {
            if (fds[1 + 2 * i].revents && pairs[i].client >= 0)
                pair_move(&pairs[i], false);
            if (fds[2 + 2 * i].revents && pairs[i].client >= 0 && !pairs[i].dead)
                pair_move(&pairs[i], true);
        }
        if (fds[0].revents)
            proxy_accept(listener, port);
    }
}

/* ---- the test ---- */

void proxy_start(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = sim_port();
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0 ||
            getsockname(listener, (struct sockaddr *)&address, &len) < 0)
        test_fail("the proxy cannot listen: %s", strerror(errno));
    order = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (order == MAP_FAILED)
        test_fail("the proxy: %s", strerror(errno));
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        signal(SIGTERM, SIG_DFL);
        proxy_run(listener, port);
    }
    close(listener);
    if (pid < 0)
        test_fail("the proxy: %s", strerror(errno));
    sim_redirect(ntohs(address.sin_port));
}

void proxy_cut(const char *match, enum proxy_action action, int64_t after, int times) {
    order->left = 0;
    strncpy(order->match, match, sizeof order->match - 1);
    order->action = action;
    order->after = after;
    order->cuts = 0;
    __atomic_add_fetch(&order->serial, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&order->left, times, __ATOMIC_SEQ_CST);
}

int proxy_cuts(void) {
    return order->cuts;
}

int proxy_connections(void) {
    return order->connections;
}
