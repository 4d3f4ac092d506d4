"""The Lua of work in hand and of dead letters; see `scripts` for what all scripts share.

A try is counted before it begins, so that a death counts. Only a document that was tried alone is to blame: what
was in a batch that died is tried alone from then on.
"""

from __future__ import annotations

from shared.store.scripts import reading, working, writing

_TRIES = """
local function keep_try(entry, try) call('HSET', TRIES, entry, cjson.encode(try)) end
local function let_go(job, id, owner, ends)
  -- Returns the try if it was the owner's and the document waits.
  local entry = job .. '/' .. id
  local try = read_try(entry)
  if not try or try.owner ~= owner then return nil end
  if not call('ZSCORE', WAITING, entry) then
    call('HDEL', TRIES, entry)
    return nil
  end
  try.owner = ''
  call('ZADD', WAITING, ends, entry)
  return try, entry
end
"""

TAKE = working(
    _TRIES
    + """
-- job id, microseconds, owner, most tries, reason where none is known, then document ids; returns what the
-- owner has in its hands now, and what has to be tried alone; nothing of a cancelled job
local job, lease, owner, most, unknown = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local at, ends, fresh, suspects, tries = tonumber(now()), now(lease), {}, {}, {}
local is_over = is_cancelled(job)
for i = 6, #ARGV do
  local id = ARGV[i]
  local entry = job .. '/' .. id
  local leased = tonumber(call('ZSCORE', WAITING, entry) or -1)
  local try = leased >= 0 and read_try(entry)
  local is_anothers = try and try.owner ~= '' and try.owner ~= owner
  if is_over then
    leave_out(job, id)
  elseif leased < 0 or is_anothers and at < leased and leased <= at + lease then
    -- it waits no longer, or is worked on
  elseif call('EXISTS', DOCUMENT .. id) == 0 then
    finish(job, id, 'done', 0, '')
  elseif not try then
    fresh[#fresh + 1] = id
  elseif try.alone >= most then
    finish(job, id, 'failed', 0, try.reason ~= '' and try.reason or unknown)
  else
    suspects[#suspects + 1] = id
    tries[id] = try
  end
end
local taken, apart = fresh, suspects
if #fresh == 0 and #suspects == 1 then taken, apart = suspects, {} end
for _, id in ipairs(taken) do
  local try = tries[id] or {alone = 0, reason = ''}
  if #taken == 1 then try.alone = try.alone + 1 end
  try.owner = owner
  keep_try(job .. '/' .. id, try)
  call('ZADD', WAITING, ends, job .. '/' .. id)
end
for _, id in ipairs(apart) do
  tries[id].owner = ''
  keep_try(job .. '/' .. id, tries[id])
end
return {taken, apart}
"""
)

RENEW = working("""
-- job id, microseconds, owner, then document ids
local job, ends, owner = ARGV[1], now(ARGV[2]), ARGV[3]
for i = 4, #ARGV do
  local entry = job .. '/' .. ARGV[i]
  local try = read_try(entry)
  if try and try.owner == owner then call('ZADD', WAITING, 'XX', ends, entry) end
end
""")

HAND_BACK = working(
    _TRIES
    + """
-- job id, microseconds, owner, then document ids: their tries do not count
local job, ends, owner = ARGV[1], now(ARGV[2]), ARGV[3]
for i = 4, #ARGV do
  local try, entry = let_go(job, ARGV[i], owner, ends)
  if try and try.alone == 0 then
    call('HDEL', TRIES, entry)
  elseif try then
    try.alone = try.alone - 1
    keep_try(entry, try)
  end
end
"""
)

BLAME = working(
    _TRIES
    + """
-- job id, microseconds, owner, most tries, reason, then document ids; returns those that may be tried again
local job, ends, owner, most, reason = ARGV[1], now(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local left = {}
for i = 6, #ARGV do
  local id = ARGV[i]
  local try, entry = let_go(job, id, owner, ends)
  if try then
    try.reason = reason
    keep_try(entry, try)
    if try.alone >= most then
      finish(job, id, 'failed', 0, reason)
    else
      left[#left + 1] = id
    end
  end
end
return left
"""
)

CLAIM = working("""
-- limit, microseconds of the lease, microseconds of the longest lease there is; returns job id/document id of
-- what waits without a lease, longest first, then of leases that a clock put back has made too long. Whoever
-- had it in hands has it no longer.
local limit, ends, claimed = tonumber(ARGV[1]), now(ARGV[2]), {}
for _, range in ipairs({{'-inf', now()}, {'(' .. now(ARGV[3]), '+inf'}}) do
  local left = limit - #claimed
  if left > 0 then
    for _, entry in ipairs(call('ZRANGE', WAITING, range[1], range[2], 'BYSCORE', 'LIMIT', 0, left)) do
      claimed[#claimed + 1] = entry
    end
  end
end
for _, entry in ipairs(claimed) do
  local try = read_try(entry)
  if try and try.owner ~= '' then
    try.owner = ''
    call('HSET', TRIES, entry, cjson.encode(try))
  end
  call('ZADD', WAITING, ends, entry)
end
return claimed
""")

DEAD_LETTERS = reading("""
-- document id to begin after or nothing, limit; returns how many there are, then (document id, JSON)
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local found = {call('ZCARD', DEAD)}
for _, id in ipairs(call('ZRANGE', DEAD, from, '+', 'BYLEX', 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = id
  found[#found + 1] = call('HGET', DEATHS, id)
end
return found
""")

_CHOSEN = """
local function chosen(limit, first)
  -- Returns the dead among the ids asked for, or the first of all.
  if #ARGV < first then return call('ZRANGE', DEAD, '-', '+', 'BYLEX', 'LIMIT', 0, limit) end
  local ids = {}
  for i = first, #ARGV do
    if call('ZSCORE', DEAD, ARGV[i]) then ids[#ids + 1] = ARGV[i] end
  end
  return ids
end
"""

REPLAY = working(
    _CHOSEN
    + """
-- job id, limit, then document ids or none for all; returns what the job accepted
local job = ARGV[1]
local ids = {}
if call('EXISTS', JOB .. job) == 1 then return ids end
for _, id in ipairs(chosen(ARGV[2], 3)) do
  if forget_death(id) == 1 and call('EXISTS', DOCUMENT .. id) == 1 then
    call('ZADD', WAITING, 0, job .. '/' .. id)
    ids[#ids + 1] = id
  end
end
if #ids > 0 then begin(job, 'augment', #ids) end
return ids
"""
)

PURGE = writing(
    _CHOSEN
    + """
-- limit, then document ids or none for all; returns how many dead letters are no more
local purged = 0
for _, id in ipairs(chosen(ARGV[1], 2)) do purged = purged + forget_death(id) end
return purged
"""
)
