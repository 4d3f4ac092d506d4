"""The Lua of taking documents in: requests in one step; uploads opened, staged, sealed, and then taken in."""

from __future__ import annotations

from shared.store.intake import MAX_REFUSALS
from shared.store.scripts import working

VALUES_PER_DOCUMENT = 5
"""Values of a document: id, content hash, body, generator, what that wrote (or nothing)."""

_INTAKE = f"""
local ROW, MAX_REFUSALS = {VALUES_PER_DOCUMENT}, {MAX_REFUSALS}
local function is_unchanged(id, content_hash)
  -- Returns the content hash before, too.
  local kept = call('HMGET', DOCUMENT .. id, 'content_hash', 'revision')
  if kept[1] ~= content_hash or not kept[2] then return false, kept[1] end
  local of = call('HMGET', PROVENANCE .. id .. ':' .. kept[2], '@of', '@')
  local is_current = of[1] == content_hash and cjson.decode(of[2]).generator == call('GET', GENERATOR)
  return is_current, kept[1]
end
local function take(entry, lease, id, content_hash, body, generator, written)
  -- Keeps a document and lets the entry wait; returns false, and does nothing, if it is unchanged.
  local is_current, before = is_unchanged(id, content_hash)
  if is_current then return false end
  if before and before ~= content_hash then call('DEL', SYNTHETIC .. id) end
  call('HSET', DOCUMENT .. id, 'content_hash', content_hash, 'body', body)
  call('ZADD', DOCUMENTS, 0, id)
  forget_death(id)
  if written ~= '' then
    call('HSETNX', SYNTHETIC .. id, content_hash .. ':' .. generator, written)
  end
  call('ZADD', WAITING, lease, entry)
  return true
end
local function begin_with(job, documents, unchanged)
  begin(job, 'augment', documents)
  call('HSET', JOB .. job, 'unchanged', unchanged, 'done', unchanged)
  call('HINCRBY', TOTALS, 'done', unchanged)
  judge(job)
end
local function remember(key, job, digest, seconds)
  if key == '' then return end
  call('HSET', IDEMPOTENCY .. key, 'job', job, 'digest', digest)
  call('EXPIRE', IDEMPOTENCY .. key, seconds)
end
local function drop(job)
  local key = call('HGET', UPLOAD .. job, 'key')
  if key and key ~= '' then call('DEL', IDEMPOTENCY .. key) end
  call('UNLINK', UPLOAD .. job, UPLOADED .. job, STAGED .. job, REFUSALS .. job)
  call('ZREM', UPLOADS, job)
end
local function hold(job, owner, lease, keep_for)
  local ends, is_keyed = now(lease), call('HGET', UPLOAD .. job, 'key') ~= ''
  call('HSET', UPLOAD .. job, 'owner', owner, 'held_until', ends)
  call('ZADD', UPLOADS, is_keyed and now(keep_for) or ends, job)
end
"""


def _taking_in(body: str) -> str:
    return working(_INTAKE + body)


def _relieving(body: str) -> str:
    """Return a script that runs when memory is full too: it only makes room."""
    return _taking_in(body).replace("#!lua\n", "#!lua flags=allow-oom\n", 1)


ACCEPT = _taking_in("""
-- job id, idempotency key or nothing, digest of the body, seconds to remember both, then (id, content hash,
-- body, generator, written) of each document; returns 'accepted', 'replayed', 'other' or 'busy', then
-- the job's id and record
local job, key, digest, seconds = unpack(ARGV, 1, 4)
local status = 'accepted'
if key ~= '' then
  local known = call('HMGET', IDEMPOTENCY .. key, 'job', 'digest')
  if known[1] and not known[2] then return {'busy'} end
  if known[1] and known[2] ~= digest then return {'other'} end
  if known[1] then job, status = known[1], known[1] == job and 'accepted' or 'replayed' end
end
if call('EXISTS', JOB .. job) == 0 then
  local as_is = {}
  for i = 5, #ARGV, ROW do
    if not take(job .. '/' .. ARGV[i], 0, unpack(ARGV, i, i + ROW - 1)) then
      as_is[#as_is + 1] = (i - 5) / ROW + 1
    end
  end
  begin_with(job, (#ARGV - 4) / ROW, #as_is)
  if #as_is > 0 then call('HSET', JOB .. job, 'as_is', table.concat(as_is, ',')) end
  remember(key, job, digest, seconds)
end
return {status, job, call('HGETALL', JOB .. job)}
""")

OPEN = _taking_in("""
-- idempotency key or nothing, job id, owner, microseconds it holds the upload, microseconds it is kept for;
-- returns 'open', job, bytes, lines, digest; 'sealed', job, digest; or 'busy', microseconds left
local key, job, owner, lease, keep_for = unpack(ARGV)
local known = key ~= '' and call('HMGET', IDEMPOTENCY .. key, 'job', 'digest') or {}
if known[1] and known[2] then return {'sealed', known[1], known[2]} end
job = known[1] or job
local held = call('HMGET', UPLOAD .. job, 'owner', 'held_until')
local left = tonumber(held[2] or 0) - tonumber(now())
if held[1] and held[1] ~= owner and left > 0 then
  return {'busy', string.format('%.0f', left)}
end
if not held[1] then
  call('HSET', UPLOAD .. job, 'key', key, 'bytes', 0, 'lines', 0, 'digest', '',
       'staged', 0, 'unchanged', 0, 'refused', 0)
  if key ~= '' then call('HSET', IDEMPOTENCY .. key, 'job', job) end
end
hold(job, owner, lease, keep_for)
local at = call('HMGET', UPLOAD .. job, 'bytes', 'lines', 'digest')
return {'open', job, at[1], at[2], at[3]}
""")

STAGE = _taking_in("""
-- job id, owner, microseconds it holds the upload, microseconds it is kept for, bytes before, bytes, lines and digest
-- with this chunk, number of refused lines, how many are listed, (JSON) of each, then (line, id, content hash, body, generator,
-- written) of each document; returns 0 if the upload is not the owner's, or is elsewhere
local job, owner, lease, keep_for, before, bytes, lines, digest, refused, listed = unpack(ARGV, 1, 10)
local upload, refusals = UPLOAD .. job, REFUSALS .. job
local at = call('HMGET', upload, 'owner', 'bytes')
if at[1] ~= owner then return 0 end
hold(job, owner, lease, keep_for)
if at[2] ~= before then return at[2] == bytes and 1 or 0 end
local function list(refusal)
  if call('LLEN', refusals) < MAX_REFUSALS then call('RPUSH', refusals, refusal) end
end
for i = 11, 10 + listed do list(ARGV[i]) end
local staged, unchanged = 0, 0
for i = 11 + listed, #ARGV, ROW + 1 do
  local line, id, content_hash = unpack(ARGV, i, i + 2)
  if call('SADD', UPLOADED .. job, id) == 0 then
    refused = refused + 1
    list(cjson.encode({line = tonumber(line), id = id, reason = 'the id came before'}))
  elseif is_unchanged(id, content_hash) then
    unchanged = unchanged + 1
  else
    call('RPUSH', STAGED .. job, unpack(ARGV, i + 1, i + ROW))
    staged = staged + 1
  end
end
call('HSET', upload, 'bytes', bytes, 'lines', lines, 'digest', digest)
for name, value in pairs({staged = staged, unchanged = unchanged, refused = refused}) do
  call('HINCRBY', upload, name, value)
end
return 1
""")

SEAL = _taking_in("""
-- job id, owner, bytes, digest, seconds to remember key and digest; returns 'sealed', 'empty' (and drops it)
-- or 'lost'
local job, owner, bytes, digest, seconds = unpack(ARGV)
if call('EXISTS', JOB .. job) == 1 then return 'sealed' end
local kept = call('HMGET', UPLOAD .. job, 'owner', 'bytes', 'staged', 'unchanged', 'refused', 'key')
if kept[1] ~= owner or kept[2] ~= bytes then return 'lost' end
local staged, unchanged = tonumber(kept[3]), tonumber(kept[4])
if staged + unchanged == 0 then
  drop(job)
  return 'empty'
end
begin_with(job, staged + unchanged, unchanged)
call('HSET', JOB .. job, 'refused', kept[5])
remember(kept[6], job, digest, seconds)
if staged > 0 then
  call('ZADD', SEALED, now(), job)
  call('HINCRBY', TOTALS, 'staged', staged)
end
call('UNLINK', UPLOAD .. job, UPLOADED .. job)
call('ZREM', UPLOADS, job)
return 'sealed'
""")

TAKE_IN = _taking_in("""
-- job id, documents; returns 1 if none is left staged, else 0, then those that wait now
local job, last = ARGV[1], ARGV[2] * ROW - 1
if not call('ZSCORE', SEALED, job) then return {1} end
local rows, taken, unchanged, lease = call('LRANGE', STAGED .. job, 0, last), {0}, 0, now()
for i = 1, #rows, ROW do
  local is_gone = call('SISMEMBER', GONE .. job, rows[i]) == 1
  if not is_gone and take(job .. '/' .. rows[i], lease, unpack(rows, i, i + ROW - 1)) then
    taken[#taken + 1] = rows[i]
  else
    unchanged = unchanged + 1
  end
end
if #rows > 0 then
  call('LTRIM', STAGED .. job, last + 1, -1)
  call('HINCRBY', TOTALS, 'staged', -#rows / ROW)
end
if unchanged > 0 then
  call('HINCRBY', JOB .. job, 'done', unchanged)
  call('HINCRBY', TOTALS, 'done', unchanged)
  judge(job)
end
if call('EXISTS', STAGED .. job) == 0 then
  call('ZREM', SEALED, job)
  call('UNLINK', GONE .. job)
  taken[1] = 1
end
return taken
""")

RELEASE = _relieving("""
-- job id, owner; what cannot be resumed is dropped
local job, owner = unpack(ARGV)
local kept = call('HMGET', UPLOAD .. job, 'owner', 'key')
if kept[1] ~= owner then return end
if kept[2] == '' then drop(job) else call('HSET', UPLOAD .. job, 'held_until', 0) end
""")

DROP = _relieving("""
-- job id, owner
if call('HGET', UPLOAD .. ARGV[1], 'owner') == ARGV[2] then drop(ARGV[1]) end
""")

DROP_EXPIRED = _relieving("""
-- limit; returns how many uploads were dropped
local jobs = call('ZRANGE', UPLOADS, '-inf', now(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, job in ipairs(jobs) do drop(job) end
return #jobs
""")

CANCEL = _relieving("""
-- job id; returns its kind, nil without a job
local job = ARGV[1]
local record = call('HMGET', JOB .. job, 'state', 'kind', 'documents', 'done', 'failed')
local state, kind = record[1], record[2] or 'augment'
if not state then return nil end
if kind == 'augment' and (state == 'accepted' or state == 'running') then
  local staged = call('LLEN', STAGED .. job) / ROW
  local left = record[3] - record[4] - record[5]
  call('UNLINK', STAGED .. job, GONE .. job)
  call('ZREM', SEALED, job)
  call('HSET', JOB .. job, 'state', 'cancelled', 'finished_at', now())
  call('HINCRBY', TOTALS, 'staged', -staged)
  call('HINCRBY', TOTALS, 'leaving', left - staged)
  call('HINCRBY', TOTALS, 'cancelled', left)
  call('HINCRBY', TOTALS, 'jobs:' .. state, -1)
  call('HINCRBY', TOTALS, 'jobs:cancelled', 1)
end
return kind
""")
