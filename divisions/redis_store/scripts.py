"""What a writer has the server do in one step, as Lua. ``KEYS[1]`` is the prefix of the endpoint's keys.

Steps are short, because the server answers nobody meanwhile. Those that change layers check the writer's lock.
"""

from __future__ import annotations

from typing import Final

STAGE: Final = b"""
-- ARGV: layer, then entity, row, entity, row, ...  Stores rows unless newer ones are there; returns how many are new.
local key, ids, wins = KEYS[1] .. 'rows:' .. ARGV[1], {}, {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local old = redis.call('HMGET', key, unpack(ids))
for i = 1, #ids do
  local row = ARGV[2 * i + 1]
  if not old[i] or struct.unpack('>d', row) >= struct.unpack('>d', old[i]) then
    wins[#wins + 1] = ids[i]
    wins[#wins + 1] = row
  end
end
return #wins > 0 and redis.call('HSET', key, unpack(wins)) or 0
"""

_CHECK_LOCK = b"""
if redis.call('GET', KEYS[1] .. 'lock') ~= ARGV[1] then return redis.error_reply('LOCKLOST another writer has it') end
redis.call('PEXPIRE', KEYS[1] .. 'lock', ARGV[2])
"""

COMMIT: Final = (
    _CHECK_LOCK
    + b"""
-- ARGV: token, milliseconds, layer, rows staged. Leaves out deleted customers, and puts the layer in front.
local key, layers, left_out = KEYS[1] .. 'rows:' .. ARGV[3], redis.call('GET', KEYS[1] .. 'layers'), 0
if redis.call('HLEN', key) ~= tonumber(ARGV[4]) then return redis.error_reply('STAGELOST rows were evicted') end
local deleted = redis.call('HGETALL', KEYS[1] .. 'deleted')
for i = 1, #deleted, 2 do
  if string.sub(deleted[i + 1], 1, 1) ~= '-' then
    left_out = left_out + redis.call('HDEL', key, deleted[i])
    if layers then redis.call('HDEL', KEYS[1] .. 'rows:' .. layers, deleted[i]) end
  end
end
if redis.call('PERSIST', key) == 1 then
  redis.call('SET', KEYS[1] .. 'layers', layers and ARGV[3] .. ' ' .. layers or ARGV[3])
end
return {left_out, redis.call('HLEN', key)}
"""
)

MERGE: Final = (
    _CHECK_LOCK
    + b"""
-- ARGV: token, milliseconds, source, target, cursor, count, whether the source wins ties ('1').
-- Copies rows of the source that are newer; returns the cursor, how many rows had an older one or none in the target.
local source, target = KEYS[1] .. 'rows:' .. ARGV[3], KEYS[1] .. 'rows:' .. ARGV[4]
local scan = redis.call('HSCAN', source, ARGV[5], 'COUNT', ARGV[6])
local ids, wins, replaced = {}, {}, 0
for i = 1, #scan[2], 2 do ids[#ids + 1] = scan[2][i] end
if #ids > 0 then
  local old = redis.call('HMGET', target, unpack(ids))
  for i = 1, #ids do
    local row = scan[2][2 * i]
    local time = struct.unpack('>d', row)
    local was = old[i] and struct.unpack('>d', old[i])
    if not was or time > was or (ARGV[7] == '1' and time == was) then
      wins[#wins + 1] = ids[i]
      wins[#wins + 1] = row
      if was then replaced = replaced + 1 end
    end
  end
  if #wins > 0 then redis.call('HSET', target, unpack(wins)) end
end
return {scan[1], #wins / 2, replaced}
"""
)

_DROP_EMPTY = b"""
local function drop_empty()
  local layers, are_rows = redis.call('GET', KEYS[1] .. 'layers'), false
  if not layers then return end
  for layer in string.gmatch(layers, '%S+') do
    are_rows = are_rows or redis.call('EXISTS', KEYS[1] .. 'rows:' .. layer) == 1
  end
  if not are_rows then redis.call('DEL', KEYS[1] .. 'layers') end
end
"""

FINISH: Final = (
    _CHECK_LOCK
    + _DROP_EMPTY
    + b"""
-- ARGV: token, milliseconds, the layer to keep, the layer to drop.
redis.call('SET', KEYS[1] .. 'layers', ARGV[3])
redis.call('UNLINK', KEYS[1] .. 'rows:' .. ARGV[4])
drop_empty()
return 1
"""
)

DELETE: Final = (
    _DROP_EMPTY
    + b"""
-- ARGV: entity, time. Notes the deletion and removes the rows; returns whether there was one.
local was = redis.call('HGET', KEYS[1] .. 'deleted', ARGV[1])
if not was or string.sub(was, 1, 1) == '-' then redis.call('HSET', KEYS[1] .. 'deleted', ARGV[1], ARGV[2]) end
local removed = 0
for layer in string.gmatch(redis.call('GET', KEYS[1] .. 'layers') or '', '%S+') do
  removed = removed + redis.call('HDEL', KEYS[1] .. 'rows:' .. layer, ARGV[1])
end
drop_empty()
return removed > 0 and 1 or 0
"""
)

EXPIRE: Final = (
    _CHECK_LOCK
    + _DROP_EMPTY
    + b"""
-- ARGV: token, milliseconds, layer, cursor, count, the earliest time to keep. Returns the cursor and how many went.
local key, old = KEYS[1] .. 'rows:' .. ARGV[3], {}
local scan = redis.call('HSCAN', key, ARGV[4], 'COUNT', ARGV[5])
for i = 1, #scan[2], 2 do
  if struct.unpack('>d', scan[2][i + 1]) < tonumber(ARGV[6]) then old[#old + 1] = scan[2][i] end
end
local removed = #old > 0 and redis.call('HDEL', key, unpack(old)) or 0
drop_empty()
return {scan[1], removed}
"""
)

UNLOCK: Final = b"""
if redis.call('GET', KEYS[1] .. 'lock') == ARGV[1] then return redis.call('DEL', KEYS[1] .. 'lock') end
return 0
"""

RESTORE: Final = b"""
-- ARGV: entity, time. Takes a deletion back; returns whether there was one.
local was = redis.call('HGET', KEYS[1] .. 'deleted', ARGV[1])
redis.call('HSET', KEYS[1] .. 'deleted', ARGV[1], '-' .. ARGV[2])
return was and string.sub(was, 1, 1) ~= '-' and 1 or 0
"""
