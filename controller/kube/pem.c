#include "kube/pem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Copies the characters that count, so that EVP_DecodeBlock, which is lenient, gets only what is certain. */
static int pack(const char *text, char *packed, size_t *ret_len, size_t *ret_padding, struct error *err) {
    size_t len = 0, padding = 0;
    for (; *text; text++) {
        if (strchr(" \t\r\n", *text))
            continue;
        if (*text == '=')
            padding++;
        else if (padding || !is_base64(*text))
            return error_set(err, ERROR_FORMAT, "not base64");
        packed[len++] = *text;
    }
    if (padding > 2 || len % 4)
        return error_set(err, ERROR_FORMAT, "not base64: cut short, or wrongly padded");
    *ret_len = len;
    *ret_padding = padding;
    return 0;
}

int base64_decode(const char *text, char **ret_data, size_t *ret_len, struct error *err) {
    size_t room = strlen(text) + 1, len = 0, padding = 0;
    if (room > INT_MAX)
        return error_set(err, ERROR_LIMIT, "too long");
    char *packed = malloc(room);
    char *data = malloc(room);
    int result = -1;
    if (!packed || !data) {
        error_nomem(err);
    } else if (pack(text, packed, &len, &padding, err) == 0) {
        int n = len ? EVP_DecodeBlock((unsigned char *)data, (const unsigned char *)packed, (int)len) : 0;
        if (n < (int)padding) {
            error_set(err, ERROR_FORMAT, "not base64");
        } else {
            *ret_len = (size_t)n - padding;
            data[*ret_len] = '\0';
            *ret_data = data;
            data = NULL;
            result = 0;
        }
    }
    if (packed)
        explicit_bzero(packed, room);
    free(packed);
    free(data);
    return result;
}

char *base64_encode(const void *data, size_t len) {
    if (len > INT_MAX / 2)
        return NULL;
    char *text = malloc((len + 2) / 3 * 4 + 1);
    if (!text)
        return NULL;
    text[0] = '\0';
    EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    return text;
}

/* The reason OpenSSL gives, in its words, and its queue emptied. A failed allocation may be anywhere in the queue. */
static int refuse(struct error *err, const char *what) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    bool nomem = false;
    while ((code = ERR_get_error()))
        nomem = nomem || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error(); /* frees what the entries read so far still hold */
    if (nomem)
        return error_nomem(err);
    if (reason)
        return error_set(err, ERROR_FORMAT, "%s (%s)", what, reason);
    return error_set(err, ERROR_FORMAT, "%s", what);
}

static X509 *read_certificate(const char *pem) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return cert;
}

int pem_not_after(const char *pem, int64_t *ret_ms, struct error *err) {
    ERR_clear_error();
    X509 *cert = read_certificate(pem);
    if (!cert)
        return refuse(err, "no certificate in PEM form");
    struct tm tm;
    int known = ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm);
    X509_free(cert);
    if (!known)
        return refuse(err, "a certificate without a readable notAfter");
    ERR_clear_error();
    *ret_ms = (int64_t)timegm(&tm) * 1000;
    return 0;
}

/* OpenSSL's own callback would ask on the terminal. */
static int no_pass_phrase(char *buf, int size, int writing, void *arg) {
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

int pem_check_pair(const char *cert_pem, const char *key_pem, struct error *err) {
    ERR_clear_error();
    X509 *cert = read_certificate(cert_pem);
    if (!cert)
        return refuse(err, "no certificate in PEM form");
    BIO *bio = BIO_new_mem_buf(key_pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(bio);
    int result = 0;
    if (!key && strstr(key_pem, "ENCRYPTED"))
        result = refuse(err, "the private key has a pass phrase, which is not supported");
    else if (!key)
        result = refuse(err, "no private key in PEM form");
    else if (!X509_check_private_key(cert, key))
        result = refuse(err, "the private key is not that of the certificate");
    EVP_PKEY_free(key);
    X509_free(cert);
    ERR_clear_error();
    return result;
}
