#include "ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX (1 << 20)

static const char *told_address(struct process *controller) {
    const char *line = strstr(process_err(controller), "msg=serving address=");
    return line && strchr(line, '\n') ? strstr(line, "address=") : NULL;
}

int served_port(struct process *controller) {
    wait_until(told_address(controller) || process_has_ended(controller));
    const char *address = told_address(controller);
    if (!address)
        test_fail("it ended");
    size_t len = strcspn(address, "\n");
    while (len && address[len - 1] != ':')
        len--;
    return atoi(address + len);
}

int ask_open(int port, const char *from) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}, own = {.sin_family = AF_INET};
    const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &peer.sin_addr);
    inet_pton(AF_INET, from ? from : "127.0.0.1", &own.sin_addr);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
            connect(fd, (struct sockaddr *)&peer, sizeof peer) < 0)
        test_fail("no connection to port %d: %s", port, strerror(errno));
    return fd;
}

void ask_send(int fd, const char *text) {
    /* The other end may have closed it: what it says of that is what matters. */
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

const char *ask_read(int fd) {
    char *all = malloc(ANSWER_MAX);
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, all + len, ANSWER_MAX - 1 - len, 0)) > 0)
        len += (size_t)n;
    if (n < 0 && errno != ECONNRESET)
        test_fail("waited in vain for an answer: %s", strerror(errno));
    all[len] = '\0';
    close(fd);
    return keep(all);
}

bool ask_is_closed(int fd) {
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

struct asked ask(int port, const char *request) {
    int fd = ask_open(port, NULL);
    ask_send(fd, request);
    struct asked asked = {.all = ask_read(fd), .body = ""};
    const char *end = strstr(asked.all, "\r\n\r\n");
    if (strncmp(asked.all, "HTTP/1.1 ", 9) == 0 && end) {
        asked.code = atoi(asked.all + 9);
        asked.body = end + 4;
    }
    return asked;
}

struct asked ask_for(int port, const char *path) {
    return ask(port, format("GET %s HTTP/1.1\r\nHost: sexton\r\n\r\n", path));
}
