/* Preloaded: a machine on which no more inotify instances are to be had, as when fs.inotify.max_user_instances is used
 * up. */
#include <errno.h>
#include <sys/inotify.h>

int inotify_init1(int flags) {
    (void)flags;
    errno = EMFILE;
    return -1;
}
