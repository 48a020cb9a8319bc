/* batch.c - a handler that gets all requests that arrived together: what a model or a database call wants.
 *
 *     batch [ADDRESS]        then, from another shell: ab -n 1000 -c 50 -p /dev/null http://127.0.0.1:8000/predict */
#include <stdio.h>
#include <turbo.h>

/* One call for all: here would stand the inference, or the query with n keys. */
static void predict(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    char body[64];
    (void)shard;
    (void)user;
    for (size_t i = 0; i < n; i++) {
        int len = snprintf(body, sizeof body, "number %zu of a batch of %zu\n", i + 1, n);
        (void)turbo_request_reply(reqs[i], 200, "text/plain", body, (size_t)len);
    }
}

/* A batch waits up to 2 ms for more requests, unless it has 32 before. */
static int add_route(turbo_server *server) {
    turbo_route_options *options;
    int rc = turbo_route_options_new(&options);
    if (rc < 0)
        return rc;
    if ((rc = turbo_route_options_set(options, "batch_wait_us", "2000")) == 0 &&
        (rc = turbo_route_options_set(options, "batch_max", "32")) == 0 &&
        (rc = turbo_route_options_set(options, "spill_percent", "0")) == 0) /* one shard gathers them all */
        rc = turbo_server_route_batch(server, "POST", "/predict", options, predict, NULL);
    turbo_route_options_free(options);
    return rc;
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:8000";
    turbo_server *server = NULL;
    int rc = turbo_server_new(&server, NULL);
    if (rc == 0)
        rc = add_route(server);
    if (rc == 0)
        rc = turbo_server_listen(server, address);
    if (rc == 0)
        rc = turbo_server_run(server);
    if (rc < 0)
        fprintf(stderr, "batch: %s: %s\n", address, turbo_strerror(rc));
    turbo_server_release(server);
    return rc < 0;
}
