/*
 * timeouts: preloaded into a program under test, takes the time-outs of libcurl away, as if they were not there: a
 * request that is not answered waits for ever.
 */
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>

#undef curl_easy_setopt

/* Each option's value is a long, a pointer or an offset: what a register holds. */
CURLcode curl_easy_setopt(CURL *handle, CURLoption option, ...) {
    static CURLcode (*real)(CURL *, CURLoption, ...);
    va_list args;
    va_start(args, option);
    void *value = va_arg(args, void *);
    va_end(args);
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "curl_easy_setopt");
        memcpy(&real, &symbol, sizeof real);
    }
    return option == CURLOPT_TIMEOUT_MS || option == CURLOPT_TIMEOUT ? CURLE_OK : real(handle, option, value);
}
