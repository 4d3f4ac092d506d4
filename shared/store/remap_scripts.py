"""The Lua of remaps and of how far labels have followed the mapping service."""

from __future__ import annotations

from shared.store.scripts import FOLLOWING, working

BEGIN_REMAP = working("""
-- job id, JSON of the train queries it is about or nothing; returns the time of acceptance
local job, among = unpack(ARGV)
if call('EXISTS', JOB .. job) == 0 then begin_remap(job, among) end
return call('HGET', JOB .. job, 'accepted_at')
""")

ACCEPT_PAGE = working("""
-- job id, documents to look at; returns 1 if no more follow, else 0, then what was accepted
local job, limit = ARGV[1], tonumber(ARGV[2])
local after = call('HGET', JOB .. job, 'after')
if not after then return {1} end
local from = after == '' and '-' or '(' .. after
local ids = call('ZRANGE', DOCUMENTS, from, '+', 'BYLEX', 'LIMIT', 0, limit)
local is_last = #ids < limit and 1 or 0
local accepted = {is_last}
for _, id in ipairs(ids) do
  if call('HEXISTS', DOCUMENT .. id, 'revision') == 1 then
    call('ZADD', WAITING, 0, job .. '/' .. id)
    accepted[#accepted + 1] = id
  end
end
call('HINCRBY', JOB .. job, 'documents', #accepted - 1)
call('HINCRBY', TOTALS, 'accepted', #accepted - 1)
if is_last == 1 then
  call('HDEL', JOB .. job, 'after')
  call('ZREM', OPENING, job)
  judge(job)
else
  call('HSET', JOB .. job, 'after', ids[#ids])
end
return accepted
""")

FOLLOW = working("""
-- version and policy followed before (or nothing), those to follow now, a job id, whether it is wanted
-- (1 or 0), JSON of the train queries it is about or nothing; returns 1 if moved on
local since, since_policy, version, policy, job, is_wanted, among = unpack(ARGV)
if call('EXISTS', JOB .. job) == 1 then return 1 end
local seen = call('HMGET', FOLLOWED, 'version', 'policy')
if (seen[1] or '') ~= since or (seen[2] or '') ~= since_policy then return 0 end
call('HSET', FOLLOWED, 'version', version, 'policy', policy)
call('HDEL', FOLLOWED, 'job')
local step = since == '' and 0 or tonumber(version) - tonumber(since)
if step > 0 then call('HDEL', FOLLOWED, 'is_back') end
if step < 0 then
  call('HSET', FOLLOWED, 'is_back', 1)
  call('DEL', REMOVED)
end
if is_wanted == '1' and call('ZCARD', DOCUMENTS) > 0 then
  begin_remap(job, among)
  call('HSET', FOLLOWED, 'job', job)
end
return 1
""")

REMAP_BEHIND = working(
    FOLLOWING
    + """
-- job id, limit; returns the documents of the job, nothing where none are behind
local job, ids = ARGV[1], {}
local followed = read_followed()
if not followed or call('EXISTS', JOB .. job) == 1 then return ids end
for _, id in ipairs(call('ZRANGE', BEHIND, 0, ARGV[2] - 1)) do
  local revision = call('HGET', DOCUMENT .. id, 'revision')
  local of = call('HMGET', PROVENANCE .. id .. ':' .. (revision or ''), '@version', '@policy')
  if revision and is_behind(tonumber(of[1] or 0), of[2] or '', followed) then
    call('ZADD', WAITING, 0, job .. '/' .. id)
    ids[#ids + 1] = id
  end
  call('ZREM', BEHIND, id)
end
if #ids > 0 then begin(job, 'remap', #ids) end
return ids
"""
)
