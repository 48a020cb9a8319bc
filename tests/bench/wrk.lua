-- Makes wrk pipeline, take paths in turn, or post bodies, and print what loads.py reads as one JSON line.
-- Arguments: how many requests at once; how many paths (the path's "/0" becomes "/0", "/1" and so on; 0: the one path);
-- a file with what to post, a body a request in turn ("": GET). Its first line is their Content-Type, and before each
-- body stands a line with its length.

local function take_in_turn(requests)
    local at = 0
    function request()
        at = at % #requests + 1
        return requests[at]
    end
end

local function of_paths(routes)
    local requests = {}
    for i = 0, routes - 1 do
        requests[i + 1] = wrk.format(nil, (wrk.path:gsub("/0", "/" .. i, 1)))
    end
    return requests
end

local function of_bodies(name)
    local file, requests = assert(io.open(name, "rb")), {}
    wrk.method, wrk.headers["Content-Type"] = "POST", file:read("*l")
    for length in file:lines() do
        wrk.body = file:read(tonumber(length))
        requests[#requests + 1] = wrk.format()
    end
    file:close()
    return requests
end

function init(args)
    local depth, routes, name = tonumber(args[1]) or 1, tonumber(args[2]) or 0, args[3] or ""
    local requests = name ~= "" and of_bodies(name) or of_paths(routes)
    if #requests > 1 then
        take_in_turn(requests)
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
