/*
 * memory: what a process that runs for months gives back of what its start took. Any thread.
 */
#pragma once

/* To the kernel: what malloc keeps free, and the pages of the program's and its libraries' code and constants. Loading
 * and initialising some forty libraries touches 10 MB of these, and most are never needed again; those that are, come
 * back from the page cache as they are used. Costs about a millisecond: for the ends of phases, not for every turn. */
void memory_give_back(void);
