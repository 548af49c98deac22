/*
 * trust: preloaded into a program under test, tells on standard error which folder of certificate authorities it
 * trusts, as "trusts FOLDER".
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

struct x509_store_st;

int X509_STORE_load_path(struct x509_store_st *store, const char *folder);
int X509_STORE_load_locations(struct x509_store_st *store, const char *file, const char *folder);

int X509_STORE_load_path(struct x509_store_st *store, const char *folder) {
    int (*real)(struct x509_store_st *, const char *);
    void *symbol = dlsym(RTLD_NEXT, "X509_STORE_load_path");
    memcpy(&real, &symbol, sizeof real);
    fprintf(stderr, "trusts %s\n", folder);
    return real(store, folder);
}

int X509_STORE_load_locations(struct x509_store_st *store, const char *file, const char *folder) {
    int (*real)(struct x509_store_st *, const char *, const char *);
    void *symbol = dlsym(RTLD_NEXT, "X509_STORE_load_locations");
    memcpy(&real, &symbol, sizeof real);
    if (folder)
        fprintf(stderr, "trusts %s\n", folder);
    return real(store, file, folder);
}
