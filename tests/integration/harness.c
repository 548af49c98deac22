#include "harness.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64
#define SHOWN_LINES 40 /* of each process, when a test fails */
#define LOOKS_SOON 40  /* then, it takes longer: looking costs those who work, too */
#define LOOK_SOON_NS 5000000
#define LOOK_LATER_NS 25000000

struct process {
    pid_t pid;
    bool ended;
    int code;
    int terminal_fd; /* -1: none */
    bool terminal_is_out;
    char name[32];
    char out[64], err[64]; /* file names in the folder */
};

/* So that what lives until the end of the test is no leak. */
struct kept {
    struct kept *next;
    char *text;
};

static char root[64], folder[128];
static struct process processes[PROCESSES_MAX];
static int n_processes;
static struct kept *kept_texts;

static int64_t patience_ms = WAIT_MS;

int64_t wait_ms(void) {
    return patience_ms;
}

void wait_patiently(int64_t ms) {
    patience_ms = ms;
}

int64_t mono_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void let_others_run(int looks) {
    nanosleep(&(struct timespec){.tv_nsec = looks < LOOKS_SOON ? LOOK_SOON_NS : LOOK_LATER_NS}, NULL);
}

/* ---- texts ---- */

const char *keep(char *text) {
    struct kept *kept = malloc(sizeof *kept);
    if (!text || !kept)
        abort();
    *kept = (struct kept){.next = kept_texts, .text = text};
    kept_texts = kept;
    return text;
}

const char *format(const char *format_text, ...) {
    char *text;
    va_list ap;
    va_start(ap, format_text);
    if (vasprintf(&text, format_text, ap) < 0)
        abort();
    va_end(ap);
    return keep(text);
}

const char *json_format(const char *format_text, ...) {
    char *text;
    va_list ap;
    va_start(ap, format_text);
    if (vasprintf(&text, format_text, ap) < 0)
        abort();
    va_end(ap);
    for (char *at = text; *at; at++) {
        if (*at == '\'')
            *at = '"';
    }
    return keep(text);
}

int count_of(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

/* ---- failing ---- */

static const char *last_lines(const char *text) {
    const char *at = text + strlen(text);
    for (int lines = 0; at > text && lines <= SHOWN_LINES; at--)
        lines += at[-1] == '\n';
    return at;
}

noreturn void test_fail_at(const char *file, int line, const char *condition, const char *text, ...) {
    char message[4096];
    int len = condition ? snprintf(message, sizeof message, "'%.1000s' does not hold: ", condition) : 0;
    va_list ap;
    va_start(ap, text);
    vsnprintf(message + len, sizeof message - (size_t)len, text, ap);
    va_end(ap);
    for (int i = 0; i < n_processes; i++)
        fprintf(stderr, "--- %s (pid %d)\n%s", processes[i].name, (int)processes[i].pid,
                last_lines(process_err(&processes[i])));
    fflush(NULL);
    _ck_assert_failed(file, line, "Failed", "%s", message);
    abort();
}

void expect_text_at(const char *file, int line, const char *what, const char *got, const char *wanted) {
    if (!got || strcmp(got, wanted) != 0)
        test_fail_at(file, line, NULL, "%s is '%s', not '%s'", what, got ? got : "(null)", wanted);
}

void expect_number_at(const char *file, int line, const char *what, int64_t got, int64_t wanted) {
    if (got != wanted)
        test_fail_at(file, line, NULL, "%s is %" PRId64 ", not %" PRId64, what, got, wanted);
}

void expect_contains_at(
        const char *file, int line, const char *what, const char *text, const char *part, bool is_wanted) {
    if ((strstr(text, part) != NULL) != is_wanted)
        test_fail_at(file, line, NULL, "%s %s '%s': %s", what, is_wanted ? "lacks" : "contains", part, text);
}

/* ---- folders and files ---- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void harness_init(void) {
    snprintf(root, sizeof root, "/tmp/sexton-integration.XXXXXX");
    if (!mkdtemp(root)) {
        perror(root);
        exit(EXIT_FAILURE);
    }
    /* A plugin's or a person's own settings have no place here. */
    unsetenv("KUBECONFIG");
    unsetenv("NO_COLOR");
    setenv("HOME", root, 1);
    setenv("TZ", "America/St_Johns", 1); /* times are UTC, wherever one is */
    signal(SIGPIPE, SIG_IGN);
}

void harness_finish(void) {
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void test_setup(void) {
    snprintf(folder, sizeof folder, "%s/%d", root, (int)getpid());
    if (mkdir(folder, 0755) < 0)
        test_fail("%s: %s", folder, strerror(errno));
}

void test_teardown(void) {
    for (int i = 0; i < n_processes; i++) {
        if (!process_has_ended(&processes[i]))
            process_signal(&processes[i], SIGTERM);
    }
    for (int i = 0; i < n_processes; i++) {
        int code = process_wait(&processes[i]);
        expect(code != 99 && code != 128 + SIGABRT && code != 128 + SIGSEGV, "%s ended with %d", processes[i].name,
                code);
        /* Whoever was still there ends in good order. */
        expect(code != 128 + SIGTERM, "%s was killed by SIGTERM", processes[i].name);
        expect_lacks(process_err(&processes[i]), "Sanitizer");
        expect_lacks(process_err(&processes[i]), "runtime error:");
    }
}

const char *in_folder(const char *name) {
    return format("%s/%s", folder, name);
}

void write_bytes(const char *path, const void *data, size_t len) {
    const char *temporary = format("%s.new", path);
    FILE *file = fopen(temporary, "w");
    if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0 || rename(temporary, path) < 0)
        test_fail("%s: %s", path, strerror(errno));
}

const char *write_file(const char *name, const char *text) {
    const char *path = in_folder(name);
    write_bytes(path, text, strlen(text));
    return path;
}

const char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    if (!file)
        test_fail("%s: %s", path, strerror(errno));
    FILE *memory = open_memstream(&text, &size);
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        fwrite(buffer, 1, n, memory);
    fclose(memory);
    fclose(file);
    return keep(text);
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* ---- processes ---- */

static int open_in_folder(const char *name, int flags) {
    int fd = open(in_folder(name), flags | O_CLOEXEC, 0644);
    if (fd < 0)
        test_fail("%s: %s", name, strerror(errno));
    return fd;
}

/* The terminal's other end is written to the file as it comes. */
static void drain_terminal(struct process *process) {
    char buffer[4096];
    if (process->terminal_fd < 0)
        return;
    int file = open_in_folder(process->terminal_is_out ? process->out : process->err, O_WRONLY | O_CREAT | O_APPEND);
    for (ssize_t n; (n = read(process->terminal_fd, buffer, sizeof buffer)) > 0;)
        (void)!write(file, buffer, (size_t)n);
    close(file);
}

struct process *process_start(const struct start *start) {
    if (n_processes == PROCESSES_MAX)
        test_fail("more than %d processes", PROCESSES_MAX);
    static int serial;
    struct process *process = &processes[n_processes++];
    const char *slash = strrchr(start->argv[0], '/');
    *process = (struct process){.terminal_fd = -1};
    serial++;
    snprintf(process->name, sizeof process->name, "%s %s", slash ? slash + 1 : start->argv[0],
            start->argv[1] ? start->argv[1] : "");
    snprintf(process->out, sizeof process->out, "process-%d.out", serial);
    snprintf(process->err, sizeof process->err, "process-%d.err", serial);
    const char *input = format("process-%d.in", serial);
    if (start->input)
        write_bytes(in_folder(input), start->input, start->input_len ? start->input_len : strlen(start->input));
    int in = start->input ? open_in_folder(input, O_RDONLY) : open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = open_in_folder(process->out, O_WRONLY | O_CREAT | O_TRUNC);
    int err = open_in_folder(process->err, O_WRONLY | O_CREAT | O_TRUNC);
    if (start->terminal) {
        int *side = start->terminal == TERMINAL_OUT ? &out : &err;
        process->terminal_is_out = start->terminal == TERMINAL_OUT;
        close(*side);
        if (openpty(&process->terminal_fd, side, NULL, NULL, NULL) < 0)
            test_fail("openpty: %s", strerror(errno));
        fcntl(process->terminal_fd, F_SETFL, O_NONBLOCK);
        fcntl(process->terminal_fd, F_SETFD, FD_CLOEXEC);
    }
    pid_t parent = getpid();
    process->pid = fork();
    if (process->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        signal(SIGPIPE, SIG_DFL);
        for (const char *const *pair = start->env; pair && *pair; pair++)
            putenv((char *)*pair);
        execv(start->argv[0], (char *const *)start->argv);
        fprintf(stderr, "%s: %s\n", start->argv[0], strerror(errno));
        _exit(127);
    }
    close(in);
    close(out);
    close(err);
    if (process->pid < 0)
        test_fail("fork: %s", strerror(errno));
    return process;
}

void process_signal(struct process *process, int number) {
    if (!process->ended)
        kill(process->pid, number);
}

int process_id(const struct process *process) {
    return (int)process->pid;
}

bool process_has_ended(struct process *process) {
    int status;
    if (process->ended)
        return true;
    drain_terminal(process);
    if (waitpid(process->pid, &status, WNOHANG) != process->pid)
        return false;
    drain_terminal(process);
    if (process->terminal_fd >= 0)
        close(process->terminal_fd);
    process->terminal_fd = -1;
    process->ended = true;
    process->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

int process_wait(struct process *process) {
    wait_until(process_has_ended(process));
    return process->code;
}

const char *process_out(struct process *process) {
    drain_terminal(process);
    return read_file(in_folder(process->out));
}

const char *process_err(struct process *process) {
    drain_terminal(process);
    return read_file(in_folder(process->err));
}

struct result process_run(const struct start *start) {
    struct process *process = process_start(start);
    struct result result = {.code = process_wait(process)};
    result.out = process_out(process);
    result.err = process_err(process);
    if (process == &processes[n_processes - 1] && result.code != 99)
        n_processes--; /* nothing more to know of it: a table of cases may run hundreds */
    expect_lacks(result.err, "Sanitizer");
    expect_lacks(result.err, "runtime error:");
    return result;
}
