"""The declarations of libturbo, for cffi. Generated from include/ by scripts/gen_cdef.py: do not edit."""

DECLARATIONS = """
#define TURBO_STATS_BATCH_BUCKETS 10
#define TURBO_STATS_LATENCY_BUCKETS 20
#define TURBO_VERSION_MAJOR 0
#define TURBO_VERSION_MINOR 1
#define TURBO_VERSION_PATCH 0
static const char *const TURBO_VERSION_STRING;
#define TURBO_VERSION_NUMBER ...
enum {
    TURBO_EINVAL = -1,
    TURBO_ENOMEM = -2,
    TURBO_ESTATE = -3,
    TURBO_EAGAIN = -4,
    TURBO_ECLOSED = -5,
    TURBO_EEXIST = -6,
    TURBO_ENOENT = -7,
    TURBO_EADDRINUSE = -8,
    TURBO_EADDR = -9,
    TURBO_EACCES = -10,
    TURBO_EMFILE = -11,
    TURBO_ESYS = -12,
    TURBO_ETOOBIG = -13,
    TURBO_ETOONEW = -14,
    TURBO_ENOTSUP = -15,
    TURBO_EUSER = -16
};
typedef struct turbo_options turbo_options;
typedef struct turbo_route_options turbo_route_options;
typedef struct turbo_server turbo_server;
typedef struct turbo_shard turbo_shard;
typedef struct turbo_request turbo_request;
typedef struct turbo_response turbo_response;
typedef struct turbo_timer turbo_timer;
typedef struct turbo_str {
    const char *data;
    size_t len;
} turbo_str;
typedef void (*turbo_free_fn)(void *user);
enum {
    TURBO_EVENT_NEW = 1,
    TURBO_EVENT_WRITABLE = 2,
    TURBO_EVENT_GONE = 4,
    TURBO_EVENT_RELEASE = 8,
    TURBO_EVENT_BODY = 16,
    TURBO_EVENT_BODY_END = 32,
    TURBO_EVENT_DEADLINE = 64
};
typedef int (*turbo_handler_fn)(turbo_request *req, void *user);
typedef void (*turbo_batch_fn)(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user);
typedef void (*turbo_request_fn)(turbo_request *req, void *user);
typedef void (*turbo_done_fn)(turbo_request *req, int status, const turbo_response *response, void *user);
enum {
    TURBO_EXECUTOR_DRIVEN = 1,
    TURBO_EXECUTOR_HOSTS_POOL = 2
};
typedef struct turbo_executor_ops {
    size_t size;
    int (*start_shard)(void *self, turbo_shard *shard);
    void (*batch)(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n);
    void (*stop_shard)(void *self, turbo_shard *shard);
    void (*events)(void *self, turbo_shard *shard, turbo_request *req, uint32_t events);
    uint32_t flags;
    uint32_t reserved0;
} turbo_executor_ops;
typedef void (*turbo_shard_fn)(turbo_shard *shard, int status, void *user);
enum {
    TURBO_LOG_ERROR = 1,
    TURBO_LOG_WARN = 2,
    TURBO_LOG_INFO = 3,
    TURBO_LOG_DEBUG = 4
};
typedef void (*turbo_log_fn)(void *user, int32_t level, const char *message);
enum {
    TURBO_SETTING_UINT = 1,
    TURBO_SETTING_ENUM = 2
};
typedef size_t (*turbo_placement_fn)(const turbo_request *req, size_t shards, void *user);
typedef int (*turbo_weight_fn)(uint64_t *out, turbo_request *req, void *user);
typedef void (*turbo_stopped_fn)(turbo_server *server, void *user);
typedef struct turbo_stats {
    size_t size;
    uint64_t taken;
    uint64_t answered;
    uint64_t shed;
    uint64_t dropped;
    uint64_t abandoned;
    uint64_t accepted;
    uint64_t connections;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t accept_errors;
    uint64_t parse_errors;
    uint64_t timeouts_head;
    uint64_t timeouts_body;
    uint64_t timeouts_idle;
    uint64_t body_memory;
    uint64_t timeouts_queue;
    uint64_t timeouts_handler;
    uint64_t refused;
} turbo_stats;
typedef struct turbo_shard_stats {
    size_t size;
    uint64_t requests;
    uint64_t batches;
    uint64_t batch_sizes[TURBO_STATS_BATCH_BUCKETS];
    uint64_t queued;
    uint64_t queued_max;
    uint64_t inflight;
    uint64_t inflight_max;
    uint64_t shed;
    uint64_t dropped;
    uint64_t wakeups;
    uint64_t latency[TURBO_STATS_LATENCY_BUCKETS];
    uint64_t pool_threads;
    uint64_t pool_queued;
    uint64_t pool_busy;
    uint64_t pool_requests;
    uint64_t pool_dropped;
    uint64_t expired;
    uint64_t timed_out;
    uint64_t batch_calls;
    uint64_t batch_call_requests;
    uint64_t batch_call_sizes[TURBO_STATS_BATCH_BUCKETS];
    uint64_t closed_full;
    uint64_t closed_turn;
    uint64_t closed_timer;
    uint64_t closed_gate;
    uint64_t closed_drained;
    uint64_t closed_weight;
    uint64_t patience_limit_ms;
} turbo_shard_stats;
enum {
    TURBO_STATS_JSON = 1,
    TURBO_STATS_PROMETHEUS = 2
};
const char *turbo_strerror(int code);
const char *turbo_errname(int code);
turbo_str turbo_request_method(const turbo_request *req);
turbo_str turbo_request_target(const turbo_request *req);
turbo_str turbo_request_path(const turbo_request *req);
turbo_str turbo_request_query(const turbo_request *req);
turbo_str turbo_request_query_value(const turbo_request *req, const char *name);
turbo_str turbo_request_host(const turbo_request *req);
int32_t turbo_request_version(const turbo_request *req);
const char *turbo_request_route(const turbo_request *req);
void *turbo_request_user(const turbo_request *req);
turbo_shard *turbo_request_shard(const turbo_request *req);
size_t turbo_request_param_count(const turbo_request *req);
turbo_str turbo_request_param(const turbo_request *req, const char *name);
int turbo_request_param_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);
size_t turbo_request_field_count(const turbo_request *req);
int turbo_request_field_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);
turbo_str turbo_request_field(const turbo_request *req, const char *name);
size_t turbo_request_trailer_count(const turbo_request *req);
int turbo_request_trailer_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);
turbo_str turbo_request_trailer(const turbo_request *req, const char *name);
turbo_str turbo_request_body(const turbo_request *req);
int turbo_request_body_read(turbo_request *req, turbo_str *out);
int turbo_request_on_body(turbo_request *req, turbo_request_fn fn, void *user);
int turbo_request_peer(const turbo_request *req, char *out, size_t size);
int turbo_request_cancelled(const turbo_request *req);
int turbo_request_timed_out(const turbo_request *req);
int64_t turbo_request_deadline_ms(const turbo_request *req);
int turbo_request_on_gone(turbo_request *req, turbo_request_fn fn, void *user);
void turbo_request_data_set(turbo_request *req, void *data);
void *turbo_request_data(const turbo_request *req);
turbo_request *turbo_request_retain(turbo_request *req);
void turbo_request_release(turbo_request *req);
int turbo_request_new(turbo_request **out, turbo_server *server, const char *method, const char *target,
    turbo_done_fn done, void *user);
int turbo_request_body_set(turbo_request *req, const void *data, size_t len);
int turbo_shard_submit(turbo_shard *shard, turbo_request *req);
void turbo_shard_run(turbo_shard *shard, turbo_request *const *reqs, size_t n);
void turbo_request_run(turbo_request *req);
size_t turbo_shard_pool_threads(const turbo_shard *shard);
int turbo_shard_pool_next(turbo_shard *shard, turbo_request *done, turbo_request **out);
size_t turbo_shard_index(const turbo_shard *shard);
void turbo_shard_data_set(turbo_shard *shard, void *data);
void *turbo_shard_data(const turbo_shard *shard);
size_t turbo_shard_queued(const turbo_shard *shard);
size_t turbo_shard_inflight(const turbo_shard *shard);
int turbo_shard_draining(const turbo_shard *shard);
void turbo_shard_flush(turbo_shard *shard);
int turbo_shard_post(turbo_shard *shard, turbo_shard_fn fn, void *user);
int turbo_shard_timer(turbo_timer **out, turbo_shard *shard, uint64_t delay_ms, turbo_shard_fn fn, void *user);
void turbo_timer_cancel(turbo_timer *timer);
int turbo_shard_fd(const turbo_shard *shard);
int turbo_shard_timeout_ms(const turbo_shard *shard);
int turbo_shard_poll(turbo_shard *shard);
int turbo_response_body_file(turbo_response *resp, int fd, uint64_t offset, uint64_t len);
int turbo_response_file(turbo_response *resp, const turbo_request *req, const char *path);
const char *turbo_media_type(const char *name);
int turbo_server_route_static(turbo_server *server, const char *pattern, const char *root,
    const turbo_route_options *options);
int turbo_server_set_log(turbo_server *server, int32_t level, turbo_log_fn fn, void *user);
size_t turbo_setting_count(void);
const char *turbo_setting_name(size_t index);
int32_t turbo_setting_type(size_t index);
const char *turbo_setting_unit(size_t index);
const char *turbo_setting_choices(size_t index);
int turbo_setting_range(size_t index, uint64_t *min, uint64_t *max, uint64_t *default_value);
const char *turbo_setting_doc(size_t index);
int turbo_options_new(turbo_options **out);
int turbo_options_set(turbo_options *options, const char *name, const char *value);
int turbo_options_set_u64(turbo_options *options, const char *name, uint64_t value);
int turbo_options_get_u64(const turbo_options *options, const char *name, uint64_t *out);
int turbo_options_load_env(turbo_options *options);
int turbo_options_load_args(turbo_options *options, int *argc, char **argv);
const char *turbo_options_error(const turbo_options *options);
void turbo_options_free(turbo_options *options);
int turbo_response_new(turbo_response **out, int32_t status);
void turbo_response_free(turbo_response *resp);
int turbo_response_field_add(turbo_response *resp, const char *name, size_t name_len, const char *value,
    size_t value_len);
int turbo_response_body_copy(turbo_response *resp, const void *data, size_t len);
int turbo_response_body_static(turbo_response *resp, const void *data, size_t len);
int turbo_response_body_ref(turbo_response *resp, const void *data, size_t len, turbo_free_fn free_fn, void *user);
int turbo_response_body_lend(turbo_response *resp, const void *data, size_t len);
int32_t turbo_response_status(const turbo_response *resp);
turbo_str turbo_response_field(const turbo_response *resp, const char *name);
turbo_str turbo_response_body(const turbo_response *resp);
int turbo_request_respond(turbo_request *req, turbo_response *resp);
int turbo_request_reply(turbo_request *req, int32_t status, const char *content_type, const void *data, size_t len);
int turbo_request_respond_begin(turbo_request *req, turbo_response *resp);
int turbo_request_respond_write(turbo_request *req, const void *data, size_t len);
int turbo_request_respond_trailer(turbo_request *req, const char *name, size_t name_len, const char *value,
    size_t value_len);
int turbo_request_respond_end(turbo_request *req);
int turbo_request_fail(turbo_request *req);
int turbo_request_on_writable(turbo_request *req, turbo_request_fn fn, void *user);
int turbo_route_options_new(turbo_route_options **out);
int turbo_route_options_set(turbo_route_options *options, const char *name, const char *value);
int turbo_route_options_set_u64(turbo_route_options *options, const char *name, uint64_t value);
int turbo_route_options_set_placement(turbo_route_options *options, turbo_placement_fn fn, void *user);
int turbo_route_options_set_weight(turbo_route_options *options, turbo_weight_fn fn, void *user);
const char *turbo_route_options_error(const turbo_route_options *options);
void turbo_route_options_free(turbo_route_options *options);
int turbo_server_route(turbo_server *server, const char *method, const char *pattern,
    const turbo_route_options *options, turbo_handler_fn fn, void *user);
int turbo_server_route_batch(turbo_server *server, const char *method, const char *pattern,
    const turbo_route_options *options, turbo_batch_fn fn, void *user);
int turbo_server_new(turbo_server **out, const turbo_options *options);
int turbo_server_listen(turbo_server *server, const char *address);
int turbo_server_listen_fd(turbo_server *server, int fd);
int turbo_server_set_executor(turbo_server *server, const turbo_executor_ops *ops, void *self);
int turbo_server_on_drain(turbo_server *server, turbo_shard_fn fn, void *user);
int turbo_server_route_stats(turbo_server *server, const char *json_path, const char *metrics_path);
int turbo_server_start(turbo_server *server);
int turbo_server_run(turbo_server *server);
int turbo_server_stop(turbo_server *server, turbo_stopped_fn fn, void *user);
int turbo_server_abort(turbo_server *server);
int turbo_server_wait(turbo_server *server);
void turbo_server_release(turbo_server *server);
uint16_t turbo_server_port(const turbo_server *server);
size_t turbo_server_shard_count(const turbo_server *server);
turbo_shard *turbo_server_shard(turbo_server *server, size_t index);
const char *turbo_server_error(const turbo_server *server);
int turbo_server_stats(turbo_server *server, turbo_stats *out);
int turbo_shard_stats_get(const turbo_shard *shard, turbo_shard_stats *out);
int turbo_server_stats_text(turbo_server *server, int32_t format, char **out, size_t *len);
void turbo_free(void *memory);
int turbo_version(void);
const char *turbo_version_string(void);
"""

# One C function for each callback type; Python defines them in callbacks.py.
TRAMPOLINES = """
extern "Python" {
    void turbo_py_free(void *user);
    int turbo_py_handler(turbo_request *req, void *user);
    void turbo_py_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user);
    void turbo_py_request(turbo_request *req, void *user);
    void turbo_py_done(turbo_request *req, int status, const turbo_response *response, void *user);
    int turbo_py_executor_start_shard(void *self, turbo_shard *shard);
    void turbo_py_executor_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n);
    void turbo_py_executor_stop_shard(void *self, turbo_shard *shard);
    void turbo_py_executor_events(void *self, turbo_shard *shard, turbo_request *req, uint32_t events);
    void turbo_py_shard(turbo_shard *shard, int status, void *user);
    void turbo_py_log(void *user, int32_t level, const char *message);
    size_t turbo_py_placement(const turbo_request *req, size_t shards, void *user);
    int turbo_py_weight(uint64_t *out, turbo_request *req, void *user);
    void turbo_py_stopped(turbo_server *server, void *user);
}
"""

# Structs that begin with their size, which the caller sets.
SIZED = (
    "turbo_executor_ops",
    "turbo_stats",
    "turbo_shard_stats",
)
