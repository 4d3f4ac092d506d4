"""The Lua that tells how what waits fares, in time that does not grow with the queue."""

from __future__ import annotations

from shared.store import keys

LOOKED_AT = 500
"""Documents next in line, and as many last in line, whose jobs' ages count."""

READ_QUEUE = f"""#!lua flags=no-writes
-- returns microseconds: since the oldest job was accepted, since the first lease ran out; then how many are leased
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local oldest, seen = now, {{}}
local function look(from, to)
  for _, entry in ipairs(redis.call('ZRANGE', '{keys.WAITING}', from, to)) do
    local job = string.match(entry, '^[^/]+')
    if not seen[job] then
      seen[job] = true
      local accepted_at, state = unpack(redis.call('HMGET', '{keys.JOB}' .. job, 'accepted_at', 'state'))
      if accepted_at and state ~= 'cancelled' then oldest = math.min(oldest, tonumber(accepted_at)) end
    end
  end
end
look(0, {LOOKED_AT - 1})
look(-{LOOKED_AT}, -1)
local current = string.format('%.0f', now)
local over = redis.call('ZRANGE', '{keys.WAITING}', '(0', current, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local overdue = over[2] and now - tonumber(over[2]) or 0
return {{now - oldest, overdue, redis.call('ZCOUNT', '{keys.WAITING}', '(' .. current, '+inf')}}
"""
