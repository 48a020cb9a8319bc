-- Makes wrk pipeline, take paths in turn, or post bodies, and print what loads.py reads as one JSON line.
-- Arguments: how many requests at once; how many paths (the path's "/0" becomes "/0", "/1" and so on; 0: the one path);
-- how many bytes of "x" to post with each (0: GET).

local function rotate(routes)
    local requests, at = {}, 0
    for i = 0, routes - 1 do
        requests[i] = wrk.format(nil, (wrk.path:gsub("/0", "/" .. i, 1)))
    end
    function request()
        at = (at + 1) % routes
        return requests[at]
    end
end

function init(args)
    local depth, routes, bytes = tonumber(args[1]) or 1, tonumber(args[2]) or 0, tonumber(args[3]) or 0
    if bytes > 0 then
        wrk.method, wrk.body = "POST", string.rep("x", bytes)
    end
    if routes > 0 then
        rotate(routes)
    elseif depth > 1 then -- otherwise wrk sends the same bytes itself, without calling Lua for each request
        local batch = string.rep(wrk.format(), depth)
        function request()
            return batch
        end
    end
end

-- wrk "corrects" latencies before done() sees them: for each above twice the mean time between requests of a
-- connection it adds ones shorter by that time, down to it. Pipelined requests are timed as a batch, so there that
-- fills the table with times that nobody waited. What it added is taken out again, from the longest time down, which
-- leaves the times as they were measured.
local function measured(latency, interval)
    local counts, times, total = {}, {}, 0
    for i = 1, #latency do
        local time, count = latency(i)
        times[i] = tonumber(time)
        counts[times[i]] = tonumber(count)
    end
    for i = #times, 1, -1 do
        local count, time = counts[times[i]], times[i]
        total = total + count
        if time >= 2 * interval and count > 0 then
            for shorter = time - interval, interval + 1, -interval do
                counts[shorter] = (counts[shorter] or 0) - count
            end
        end
    end
    return times, counts, total
end

local function percentile(times, counts, total, percent)
    local seen = 0
    for _, time in ipairs(times) do
        seen = seen + counts[time]
        if seen >= total * percent / 100 then
            return time
        end
    end
    return 0
end

function done(summary, latency, requests)
    local e = summary.errors
    local each = math.floor(summary.requests / tonumber(os.getenv("BENCH_CONNECTIONS")))
    local interval = each > 0 and math.floor(summary.duration / each) or math.huge
    local times, counts, total = measured(latency, interval)
    io.write(string.format(
        '{"requests": %d, "us": %d, "p50": %d, "p95": %d, "p99": %d, "timed": %d, "failed": %d}\n',
        summary.requests, summary.duration, percentile(times, counts, total, 50), percentile(times, counts, total, 95),
        percentile(times, counts, total, 99), total, e.connect + e.read + e.write + e.status + e.timeout))
end
