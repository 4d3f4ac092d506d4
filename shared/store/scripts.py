"""The Lua that Redis (7 or later) runs whole: each script is one step that happens or does not.

A script that writes is refused before it begins when memory is full (`#!lua` without `allow-oom`).
"""

from __future__ import annotations

from shared.store import keys

_PRELUDE = f"""
local DOCUMENTS, DOCUMENT = '{keys.DOCUMENTS}', '{keys.DOCUMENT}'
local SYNTHETIC, QUERY = '{keys.SYNTHETIC}', '{keys.QUERY}'
local LABELS, PROVENANCE = '{keys.LABELS}', '{keys.PROVENANCE}'
local JOBS, JOB, ERRORS = '{keys.JOBS}', '{keys.JOB}', '{keys.ERRORS}'
local WAITING, TOTALS = '{keys.WAITING}', '{keys.TOTALS}'
local call = redis.call
local function now(plus)
  local time = call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2] + (plus or 0))
end
"""


def _writing(body: str) -> str:
    return f"#!lua\n{_PRELUDE}{body}"


def _reading(body: str) -> str:
    return f"#!lua flags=no-writes\n{_PRELUDE}{body}"


ACCEPT = _writing("""
-- job id, then (document id, content hash, body) of each document; returns the time of acceptance
local job = ARGV[1]
if call('EXISTS', JOB .. job) == 0 then
  for i = 2, #ARGV, 3 do
    local id, content_hash, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if call('HGET', DOCUMENT .. id, 'content_hash') ~= content_hash then
      call('DEL', SYNTHETIC .. id)
    end
    call('HSET', DOCUMENT .. id, 'content_hash', content_hash, 'body', body)
    call('ZADD', DOCUMENTS, 0, id)
    call('ZADD', WAITING, 0, job .. '/' .. id)
  end
  local documents, accepted_at = (#ARGV - 1) / 3, now()
  call('HSET', JOB .. job, 'state', 'accepted', 'accepted_at', accepted_at,
       'documents', documents, 'done', 0, 'failed', 0, 'labels', 0)
  call('ZADD', JOBS, accepted_at, job)
  call('HINCRBY', TOTALS, 'jobs:accepted', 1)
  call('HINCRBY', TOTALS, 'accepted', documents)
end
return call('HGET', JOB .. job, 'accepted_at')
""")

LEASE = _writing("""
-- job id, microseconds, then document ids; returns those that still wait
local job, ends, waiting = ARGV[1], now(ARGV[2]), {}
for i = 3, #ARGV do
  local entry = job .. '/' .. ARGV[i]
  if call('ZSCORE', WAITING, entry) then
    call('ZADD', WAITING, ends, entry)
    waiting[#waiting + 1] = ARGV[i]
  end
end
return waiting
""")

ABANDONED = _reading("""
-- limit; returns job id/document id of what waits without a lease, longest first
return call('ZRANGE', WAITING, '-inf', now(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
""")

FINISH = _writing("""
-- job id, document id, 'done' or 'failed', number of labels, reason
local job, id, outcome, labels, reason = unpack(ARGV)
if call('ZREM', WAITING, job .. '/' .. id) == 0 then return end
call('HINCRBY', TOTALS, outcome, 1)
call('HINCRBY', JOB .. job, outcome, 1)
call('HINCRBY', JOB .. job, 'labels', labels)
if outcome == 'failed' then call('HSET', ERRORS .. job, id, reason) end
local record = call('HMGET', JOB .. job, 'documents', 'done', 'failed', 'state')
local documents, done, failed = tonumber(record[1]), tonumber(record[2]), tonumber(record[3])
local state = 'running'
if done == documents then
  state = 'done'
elseif failed == documents then
  state = 'failed'
elseif done + failed == documents then
  state = 'partial'
end
if state ~= 'running' then call('HSET', JOB .. job, 'finished_at', now()) end
call('HSET', JOB .. job, 'state', state)
call('HINCRBY', TOTALS, 'jobs:' .. record[4], -1)
call('HINCRBY', TOTALS, 'jobs:' .. state, 1)
""")

PUT_SYNTHETIC_QUERIES = _writing("""
-- document id, content hash, generator, queries
local id, content_hash, generator, queries = unpack(ARGV)
if call('HGET', DOCUMENT .. id, 'content_hash') == content_hash then
  call('HSETNX', SYNTHETIC .. id, content_hash .. ':' .. generator, queries)
end
""")

WRITE_LABELS = _writing("""
-- document id, content hash, revision, what made it, then (query id, similarity, why) of each label
local id, content_hash, revision, made_by = unpack(ARGV, 1, 4)
local document = DOCUMENT .. id
if call('HGET', document, 'content_hash') ~= content_hash then return 0 end
local labels, provenance = LABELS .. id .. ':' .. revision, PROVENANCE .. id .. ':' .. revision
local before = call('ZCARD', labels)
local previous = call('HGET', document, 'revision')
if previous and previous ~= revision then
  local old = LABELS .. id .. ':' .. previous
  for _, query in ipairs(call('ZRANGE', old, 0, -1)) do call('SREM', QUERY .. query, id) end
  before = call('ZCARD', old)
  call('DEL', old, PROVENANCE .. id .. ':' .. previous)
end
call('HSETNX', provenance, '@', made_by)
call('HSETNX', provenance, '@at', now())
for i = 5, #ARGV, 3 do
  local query, similarity, why = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if call('ZADD', labels, 'GT', 'CH', similarity, query) == 1 then
    call('HSET', provenance, query, why)
    call('SADD', QUERY .. query, id)
  end
end
call('HSET', document, 'revision', revision)
call('HINCRBY', TOTALS, 'labels', call('ZCARD', labels) - before)
return 1
""")

READ_MAKER = _reading("""
-- document id; returns what made its labels, nil without labels
local revision = call('HGET', DOCUMENT .. ARGV[1], 'revision')
if not revision then return nil end
return call('HGET', PROVENANCE .. ARGV[1] .. ':' .. revision, '@')
""")

READ_LABELS = _reading("""
-- document id, 'why' to get the provenance too; returns nil without labels
local revision = call('HGET', DOCUMENT .. ARGV[1], 'revision')
if not revision then return nil end
local key = ARGV[1] .. ':' .. revision
local why = ARGV[2] == 'why' and call('HGETALL', PROVENANCE .. key) or {}
return {revision, call('ZRANGE', LABELS .. key, 0, -1, 'WITHSCORES'), why}
""")
