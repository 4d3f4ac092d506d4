"""The Lua that Redis (7 or later) runs whole: each script is one step that happens or does not.

A script that writes is refused before it begins when memory is full (`#!lua` without `allow-oom`).
"""

from __future__ import annotations

from shared.store import keys

_PRELUDE = f"""
local DOCUMENTS, DOCUMENT = '{keys.DOCUMENTS}', '{keys.DOCUMENT}'
local SYNTHETIC, QUERY = '{keys.SYNTHETIC}', '{keys.QUERY}'
local LABELS, PROVENANCE = '{keys.LABELS}', '{keys.PROVENANCE}'
local PROBABILITY = '{keys.PROBABILITY}'
local REVIEWED, REVIEWS = '{keys.REVIEWED}', '{keys.REVIEWS}'
local JOBS, JOB, ERRORS = '{keys.JOBS}', '{keys.JOB}', '{keys.ERRORS}'
local AMONG, OPENING = '{keys.AMONG}', '{keys.OPENING}'
local WAITING, TOTALS = '{keys.WAITING}', '{keys.TOTALS}'
local TRIES, DEAD, DEATHS = '{keys.TRIES}', '{keys.DEAD}', '{keys.DEATHS}'
local FOLLOWED, BEHIND, REMOVED = '{keys.FOLLOWED}', '{keys.BEHIND}', '{keys.REMOVED}'
local IDEMPOTENCY, GENERATOR = '{keys.IDEMPOTENCY}', '{keys.GENERATOR}'
local UPLOAD, UPLOADS, UPLOADED = '{keys.UPLOAD}', '{keys.UPLOADS}', '{keys.UPLOADED}'
local STAGED, SEALED, REFUSALS = '{keys.STAGED}', '{keys.SEALED}', '{keys.REFUSALS}'
local GONE = '{keys.GONE}'
local call = redis.call
local function forget_death(id)
  call('HDEL', DEATHS, id)
  return call('ZREM', DEAD, id)
end
local function now(plus)
  local time = call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2] + (plus or 0))
end
"""
FOLLOWING = """
local function read_followed()
  local found = call('HMGET', FOLLOWED, 'version', 'policy', 'is_back')
  return found[1] and {version = tonumber(found[1]), policy = found[2], is_back = found[3]}
end
local function is_behind(version, policy, followed)
  return version ~= followed.version or policy ~= followed.policy
end
"""

_JOBS = """
local function begin(job, kind, documents)
  local accepted_at = now()
  call('HSET', JOB .. job, 'kind', kind, 'state', 'accepted', 'accepted_at', accepted_at,
       'documents', documents, 'done', 0, 'failed', 0, 'labels', 0)
  call('ZADD', JOBS, accepted_at, job)
  call('HINCRBY', TOTALS, 'jobs:accepted', 1)
  call('HINCRBY', TOTALS, 'accepted', documents)
end
local function begin_remap(job, among)
  begin(job, 'remap', 0)
  call('HSET', JOB .. job, 'after', '')
  if among ~= '' then call('SET', AMONG .. job, among) end
  call('ZADD', OPENING, call('HGET', JOB .. job, 'accepted_at'), job)
end
local function judge(job)
  local record = call('HMGET', JOB .. job, 'documents', 'done', 'failed', 'state', 'after', 'unchanged')
  local documents, done, failed = tonumber(record[1]), tonumber(record[2]), tonumber(record[3])
  if record[4] == 'cancelled' then return end
  local state = done + failed > tonumber(record[6] or 0) and 'running' or 'accepted'
  if not record[5] and done + failed == documents then
    state = failed == 0 and 'done' or done == 0 and 'failed' or 'partial'
    call('HSET', JOB .. job, 'finished_at', now())
    call('DEL', AMONG .. job)
  end
  call('HSET', JOB .. job, 'state', state)
  call('HINCRBY', TOTALS, 'jobs:' .. record[4], -1)
  call('HINCRBY', TOTALS, 'jobs:' .. state, 1)
end
local function is_cancelled(job) return call('HGET', JOB .. job, 'state') == 'cancelled' end
local function read_try(entry)
  local found = call('HGET', TRIES, entry)
  return found and cjson.decode(found)
end
local function bury(job, id, reason, tries)
  call('ZADD', DEAD, 0, id)
  call('HSET', DEATHS, id, cjson.encode({job_id = job, reason = reason, tries = tries, failed_at = now()}))
end
local function leave_out(job, id)
  local entry = job .. '/' .. id
  call('HDEL', TRIES, entry)
  if call('ZREM', WAITING, entry) == 1 then call('HINCRBY', TOTALS, 'leaving', -1) end
end
local function finish(job, id, outcome, labels, reason)
  local entry = job .. '/' .. id
  local try = read_try(entry)
  call('HDEL', TRIES, entry)
  if call('ZREM', WAITING, entry) == 0 then return end
  if is_cancelled(job) then
    call('HINCRBY', TOTALS, 'cancelled', -1)
    call('HINCRBY', TOTALS, 'leaving', -1)
  end
  call('HINCRBY', TOTALS, outcome, 1)
  call('HINCRBY', JOB .. job, outcome, 1)
  call('HINCRBY', JOB .. job, 'labels', labels)
  if outcome == 'failed' then
    call('HSET', ERRORS .. job, id, reason)
    if call('EXISTS', DOCUMENT .. id) == 1 then
      bury(job, id, reason, try and math.max(try.alone, 1) or 1)
    end
  end
  judge(job)
end
"""


def writing(body: str) -> str:
    """Return a script that may write."""
    return f"#!lua\n{_PRELUDE}{body}"


def working(body: str) -> str:
    """Return a script that works on jobs."""
    return writing(_JOBS + body)


def reading(body: str) -> str:
    """Return a script that only reads."""
    return f"#!lua flags=no-writes\n{_PRELUDE}{body}"


LEASE = working("""
-- job id, microseconds, then document ids; returns those that still wait, none of a cancelled job. What a worker
-- has in its hands keeps the worker's lease.
local job, ends, waiting = ARGV[1], now(ARGV[2]), {}
local is_over = is_cancelled(job)
for i = 3, #ARGV do
  local id, entry = ARGV[i], job .. '/' .. ARGV[i]
  if is_over then
    leave_out(job, id)
  elseif call('ZSCORE', WAITING, entry) then
    if call('EXISTS', DOCUMENT .. id) == 0 then
      finish(job, id, 'done', 0, '')
    else
      local try = read_try(entry)
      local is_in_hands = try and try.owner ~= '' and tonumber(call('ZSCORE', WAITING, entry)) > tonumber(now())
      if not is_in_hands then call('ZADD', WAITING, ends, entry) end
      waiting[#waiting + 1] = id
    end
  end
end
return waiting
""")

ABANDONED = reading("""
-- limit; returns job id/document id of what waits without a lease, longest first
return call('ZRANGE', WAITING, '-inf', now(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
""")

FINISH = working("""
-- job id, document id, 'done' or 'failed', number of labels, reason
finish(unpack(ARGV))
""")

PUT_SYNTHETIC_QUERIES = writing("""
-- document id, content hash, generator, queries
local id, content_hash, generator, queries = unpack(ARGV)
if call('HGET', DOCUMENT .. id, 'content_hash') == content_hash then
  call('HSETNX', SYNTHETIC .. id, content_hash .. ':' .. generator, queries)
end
""")

WRITE_LABELS = writing(
    FOLLOWING
    + """
-- document id, content hash, revision, what made it, version of the train queries, policy, then
-- (query id, similarity, why, probability or nothing) of each label
local id, content_hash, revision, made_by, version, policy = unpack(ARGV, 1, 6)
local document, key, at = DOCUMENT .. id, id .. ':' .. revision, tonumber(version)
local kept = call('HMGET', document, 'content_hash', 'revision')
if kept[1] ~= content_hash then return 0 end
local followed = read_followed()
local previous = kept[2] and id .. ':' .. kept[2]
if previous then
  local of = call('HMGET', PROVENANCE .. previous, '@of', '@version')
  local newest = tonumber(of[2] or 0)
  if followed and followed.is_back then newest = math.min(newest, followed.version) end
  if of[1] == content_hash and newest > at then return 0 end
end
local before = call('ZCARD', LABELS .. key)
if previous and previous ~= key then
  local old = LABELS .. previous
  for _, query in ipairs(call('ZRANGE', old, 0, -1)) do call('SREM', QUERY .. query, id) end
  before = call('ZCARD', old)
  call('DEL', old, PROVENANCE .. previous, PROBABILITY .. previous)
end
for name, value in pairs({['@'] = made_by, ['@at'] = now(), ['@of'] = content_hash,
                          ['@version'] = version, ['@policy'] = policy}) do
  call('HSETNX', PROVENANCE .. key, name, value)
end
local is_whole = true
for i = 7, #ARGV, 4 do
  local query, similarity, why, probability = unpack(ARGV, i, i + 3)
  local removed = call('ZSCORE', REMOVED, query)
  if removed and tonumber(removed) > at then
    is_whole = false
  elseif call('ZADD', LABELS .. key, 'GT', 'CH', similarity, query) == 1 then
    call('HSET', PROVENANCE .. key, query, why)
    call('HDEL', PROBABILITY .. key, query)
    if probability ~= '' then call('HSET', PROBABILITY .. key, query, probability) end
    call('SADD', QUERY .. query, id)
  end
end
call('HSET', document, 'revision', revision)
call('HINCRBY', TOTALS, 'labels', call('ZCARD', LABELS .. key) - before)
if not is_whole or followed and is_behind(at, policy, followed) then
  call('ZADD', BEHIND, 0, id)
end
return 1
"""
)

REMOVE_DOCUMENTS = writing("""
-- document ids; returns those there were. What sealed uploads are still to bring of them is not taken in
local removed = {}
for _, job in ipairs(call('ZRANGE', SEALED, 0, -1)) do call('SADD', GONE .. job, unpack(ARGV)) end
for _, id in ipairs(ARGV) do
  if call('ZREM', DOCUMENTS, id) == 1 then
    local revision = call('HGET', DOCUMENT .. id, 'revision')
    if revision then
      local key = id .. ':' .. revision
      local queries = call('ZRANGE', LABELS .. key, 0, -1)
      for _, query in ipairs(queries) do call('SREM', QUERY .. query, id) end
      call('HINCRBY', TOTALS, 'labels', -#queries)
      call('DEL', LABELS .. key, PROVENANCE .. key, PROBABILITY .. key)
    end
    call('DEL', DOCUMENT .. id, SYNTHETIC .. id, REVIEWS .. id)
    call('ZREM', BEHIND, id)
    forget_death(id)
    call('ZREM', REVIEWED, id)
    removed[#removed + 1] = id
  end
end
return removed
""")

REMEMBER_REMOVED = writing("""
-- version, how many to remember, then train query ids
for i = 3, #ARGV do call('ZADD', REMOVED, 'GT', ARGV[1], ARGV[i]) end
call('ZREMRANGEBYRANK', REMOVED, 0, -ARGV[2] - 1)
""")

REMOVE_LABELS = writing("""
-- train query id, version, then document ids; returns how many labels were removed
local query, version, removed = ARGV[1], tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local revision = call('HGET', DOCUMENT .. id, 'revision')
  if revision then
    local key = id .. ':' .. revision
    local at = tonumber(call('HGET', PROVENANCE .. key, '@version') or 0)
    if at < version and call('ZREM', LABELS .. key, query) == 1 then
      call('HDEL', PROVENANCE .. key, query)
      call('HDEL', PROBABILITY .. key, query)
      call('SREM', QUERY .. query, id)
      call('ZADD', BEHIND, 0, id)
      removed = removed + 1
    end
  end
end
call('HINCRBY', TOTALS, 'labels', -removed)
return removed
""")

READ_STORED = reading("""
-- document id; returns its body, its labels' generator, and what that wrote for its current content;
-- nil without labels or without that
local id = ARGV[1]
local document = call('HMGET', DOCUMENT .. id, 'body', 'content_hash', 'revision')
if not document[3] then return nil end
local made_by = call('HGET', PROVENANCE .. id .. ':' .. document[3], '@')
local generator = cjson.decode(made_by).generator
local written = call('HGET', SYNTHETIC .. id, document[2] .. ':' .. generator)
return written and {document[1], generator, written}
""")

READ_QUERY = reading("""
-- train query id, documents to look at; returns how many have it, then (document id, similarity)
local key, limit = QUERY .. ARGV[1], tonumber(ARGV[2])
local total = call('SCARD', key)
local ids = total > limit and call('SRANDMEMBER', key, limit) or call('SMEMBERS', key)
local found = {total}
for _, id in ipairs(ids) do
  local revision = call('HGET', DOCUMENT .. id, 'revision')
  found[#found + 1] = id
  found[#found + 1] = call('ZSCORE', LABELS .. id .. ':' .. revision, ARGV[1])
end
return found
""")

PUT_REVIEWS = writing("""
-- (document id, train query id, verdict or nothing) of each review; returns {how many there were and are
-- taken back}, or the first document that is unknown
for i = 1, #ARGV, 3 do
  if call('EXISTS', DOCUMENT .. ARGV[i]) == 0 then return ARGV[i] end
end
local reviewed_at, withdrawn = now(), 0
for i = 1, #ARGV, 3 do
  local id, query, verdict = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if verdict ~= '' then
    call('HSET', REVIEWS .. id, query, reviewed_at .. ':' .. verdict)
    call('ZADD', REVIEWED, 0, id)
  else
    withdrawn = withdrawn + call('HDEL', REVIEWS .. id, query)
    if call('EXISTS', REVIEWS .. id) == 0 then call('ZREM', REVIEWED, id) end
  end
end
return {withdrawn}
""")

READ_MAKER = reading("""
-- document id; returns what made its labels, nil without labels
local revision = call('HGET', DOCUMENT .. ARGV[1], 'revision')
if not revision then return nil end
return call('HGET', PROVENANCE .. ARGV[1] .. ':' .. revision, '@')
""")

READ_LABELS = reading("""
-- document id, 'why' to get the provenance too; returns nil without labels
local revision = call('HGET', DOCUMENT .. ARGV[1], 'revision')
if not revision then return nil end
local key = ARGV[1] .. ':' .. revision
local why = ARGV[2] == 'why' and call('HGETALL', PROVENANCE .. key) or {}
return {revision, call('ZRANGE', LABELS .. key, 0, -1, 'WITHSCORES'),
        call('HGETALL', PROBABILITY .. key), why}
""")
