/*
 * pem: base64, and as much of X.509 as a kubeconfig needs. The only module that includes OpenSSL. Pure, any thread.
 *
 * Texts are borrowed; results are on the heap and the caller's. Nothing is left in OpenSSL's error queue, which libcurl
 * shares. Errors say what is wrong, not where: the caller knows the file and the key, and adds them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* RFC 4648, section 4, padded; line breaks and spaces are skipped. A NUL follows the data and is not in ret_len. */
int base64_decode(const char *text, char **ret_data, size_t *ret_len, struct error *err) must_check;
/* On one line. NULL: no memory. */
char *base64_encode(const void *data, size_t len);

/* When the first certificate in the text ends to be valid (notAfter of RFC 5280), in Unix ms. */
int pem_not_after(const char *pem, int64_t *ret_ms, struct error *err) must_check;

/* Is the key that of the first certificate? A key with a pass phrase is refused: there is nobody to ask. */
int pem_check_pair(const char *cert_pem, const char *key_pem, struct error *err) must_check;
