"""The Lua of reading a store as rows and of writing one from them; see `scripts` for what all scripts share."""

from __future__ import annotations

from shared.store import keys
from shared.store.intake_scripts import VALUES_PER_DOCUMENT
from shared.store.scripts import reading, working, writing

READ_DOCUMENT = reading("""
-- document id; returns body, what generators wrote, revision, its labels, probabilities and provenance, reviews, death
-- and whether it is behind; nil without the document
local id = ARGV[1]
local document = call('HMGET', DOCUMENT .. id, 'body', 'revision')
if not document[1] then return nil end
local key = id .. ':' .. (document[2] or '')
return {document[1], call('HGETALL', SYNTHETIC .. id), document[2] or '',
        call('ZRANGE', LABELS .. key, 0, -1, 'WITHSCORES'), call('HGETALL', PROBABILITY .. key),
        call('HGETALL', PROVENANCE .. key), call('HGETALL', REVIEWS .. id),
        call('HGET', DEATHS, id) or '', call('ZSCORE', BEHIND, id) and 1 or 0}
""")

_IMPORT = f"""
local IMPORT, ORPHANS, WAITS = '{keys.IMPORT}', '{keys.ORPHANS}', '{keys.WAITS}'
local ROW = {VALUES_PER_DOCUMENT}
"""

WRITE_ROWS = writing(
    _IMPORT
    + """
-- lines written before, lines with these, then for each command how many words, and these; returns the lines that are
-- written. A command that begins with `if` and a key is left out without it
local since, to, at = ARGV[1], ARGV[2], call('HGET', IMPORT, 'lines')
if at ~= since then return at end
local i = 3
while i <= #ARGV do
  local words = tonumber(ARGV[i])
  if ARGV[i + 1] ~= 'if' then
    call(unpack(ARGV, i + 1, i + words))
  elseif call('EXISTS', ARGV[i + 2]) == 1 then
    call(unpack(ARGV, i + 3, i + words))
  end
  i = i + words + 1
end
call('HSET', IMPORT, 'lines', to)
return to
"""
)

SETTLE = working(
    _IMPORT
    + """
-- job ids: counts each as having done what does not wait. Nothing that waits has a lease yet, so that all scores are 0
for _, job in ipairs(ARGV) do
  local record = call('HMGET', JOB .. job, 'documents', 'done', 'failed', 'state', 'accepted_at')
  if call('EXISTS', STAGED .. job) == 1 then call('ZADD', SEALED, record[5], job) end
  if record[4] == 'accepted' or record[4] == 'running' then
    local waiting = call('ZLEXCOUNT', WAITING, '[' .. job .. '/', '(' .. job .. '0')
    local over = record[1] - waiting - call('LLEN', STAGED .. job) / ROW
    local failed = math.min(tonumber(record[3]), over)
    call('HINCRBY', TOTALS, 'failed', failed - record[3])
    call('HINCRBY', TOTALS, 'done', over - failed - record[2])
    call('HSET', JOB .. job, 'failed', failed, 'done', over - failed)
    judge(job)
  end
end
"""
)

GATHER = working(
    _IMPORT
    + """
-- job id, limit; lets the job have documents without labels that nobody has to work on; returns how many are left
local job, gathered = ARGV[1], 0
for _, id in ipairs(call('SPOP', ORPHANS, ARGV[2])) do
  if call('SISMEMBER', WAITS, id) == 0 then
    gathered = gathered + call('ZADD', WAITING, 0, job .. '/' .. id)
  end
end
if gathered > 0 then
  if call('EXISTS', JOB .. job) == 0 then begin(job, 'augment', 0) end
  call('HINCRBY', JOB .. job, 'documents', gathered)
  call('HINCRBY', TOTALS, 'accepted', gathered)
end
return call('SCARD', ORPHANS)
"""
)
