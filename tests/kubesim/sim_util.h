/*
 * sim_util: clocks, times as text, random names and base64. No state, any thread.
 */
#ifndef KUBESIM_SIM_UTIL_H
#define KUBESIM_SIM_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_TIME_SIZE = 40, SIM_UID_SIZE = 37 };

int64_t sim_wall_ms(void);
int64_t sim_mono_ms(void);

/* RFC 3339 in UTC with whole seconds, as metav1.Time has it. */
void sim_time_format(int64_t wall_ms, char out[SIM_TIME_SIZE]);

/* The HTTP Date header's IMF-fixdate, RFC 9110 5.6.7; not by strftime, which asks the locale. */
void sim_date_format(int64_t wall_ms, char out[SIM_TIME_SIZE]);

void sim_uid_make(char out[SIM_UID_SIZE]);

/* len characters of the alphabet that Kubernetes uses for generated names, and a NUL. */
void sim_suffix_make(char *out, size_t len);

/* All of these return memory to be freed, and never NULL: kubesim aborts when memory is out. */
void *sim_alloc(size_t size);
char *sim_strdup(const char *text);
char *sim_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *sim_base64_encode(const void *data, size_t len);

/* NULL if the text is not base64. A NUL follows the data. */
char *sim_base64_decode(const char *text, size_t *ret_len);

/* NULL, with errno set, if it cannot be read. A NUL follows the data. */
char *sim_file_read(const char *path, size_t *ret_len);

/* Decimal digits only, the whole string. */
bool sim_parse_uint(const char *text, uint64_t *ret);

#endif
