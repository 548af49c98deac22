/*
 * commands: what main can start. Each takes its part of the command line, argv[0] being the command's own name, and
 * returns the exit code: 0 done, 1 failed, 2 usage or configuration. Messages for people have been printed by then.
 */
#pragma once

int cmd_run(int argc, char **argv);
int cmd_sweep(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_version(int argc, char **argv);
