/*
 * history_verify: the subcommand 'sexton history verify'.
 */
#pragma once

/* As main's, without the words before "verify". Returns the exit code: 0 clean, 1 something was found or could not be
 * read, 2 usage. */
int history_verify_command(int argc, char **argv);
