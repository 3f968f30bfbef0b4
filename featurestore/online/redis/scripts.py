"""The scripts that run within the server, where nobody comes between looking and writing.

Each is sent once to a server, and named by its hash from then on. Numbers in Lua are doubles, exact up to 2^53, so the
halves of 64-bit numbers are handled apart; and texts are not compared by Lua's ``<``, which goes by the server's
language.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Script(NamedTuple):
    """A script: its text, and the hash by which a server knows it."""

    text: bytes
    sha: bytes


_STAMP = """
local function stamp(numbers, places)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local last = redis.call('GETRANGE', numbers, 0, 7)
  if #last == 8 then
    local high, low = struct.unpack('>I4I4', last)
    now = math.max(now, high * 4294967296 + low + 1)
  end
  local packed = struct.pack('>I4I4', math.floor(now / 4294967296), now % 4294967296)
  redis.call('SETRANGE', numbers, 0, packed)
  for _, place in ipairs(places) do
    if place > 0 then redis.call('SETRANGE', numbers, place * 8, packed) end
  end
end
"""

#: KEYS: state, numbers; for each section: lock, rows. ARGV: the state that is expected, the one to put in its place or
#: nothing, how many sections; for each section: the table's number, what to do, the lock's token, milliseconds to keep
#: rows, up to which event time they go, how many rows; and the values.
#: What to do: n: put what is newer; s: settle (two values each); w: put whatever it is, or remove what gets an empty
#: value; d: remove; x: remove what is older, and have the rest stay as long as it shall.
#: Returns 'ok', rows written or removed, the others; or 'state' and the present one; or 'locked', or 'lost'.
_WRITE = """
local VALUES = {n = 1, s = 2, w = 1, d = 0, x = 0}
local state = redis.call('GET', KEYS[1]) or ''
if state ~= ARGV[1] then return {'state', state} end
local sections, k, a, places = tonumber(ARGV[3]), 3, 4, {}
for section = 1, sections do
  local lock, token, count = redis.call('GET', KEYS[k]), ARGV[a + 2], tonumber(ARGV[a + 5])
  if token == '' and lock then return {'locked'} end
  if token ~= '' and lock ~= token then return {'lost'} end
  places[section] = tonumber(ARGV[a])
  k, a = k + 1 + count, a + 6 + count * VALUES[ARGV[a + 1]]
end
local function older(present, value)
  local mine = {struct.unpack('>I4I4I4I4I4I4I4I4', present)}
  local yours = {struct.unpack('>I4I4I4I4I4I4I4I4', value)}
  for place = 1, 8 do
    if mine[place] ~= yours[place] then return mine[place] < yours[place] end
  end
  return false
end
local function ending(value, keep)
  local high, low = struct.unpack('>I4I4', value)
  local event = math.floor(((high - 2147483648) * 4294967296 + low) / 1000)
  return string.format('%.0f', math.max(event + tonumber(keep), 1))
end
local function set(key, value, keep)
  if keep == '' then return redis.call('SET', key, value) end
  return redis.call('SET', key, value, 'PXAT', ending(value, keep))
end
local function set_new(key, value, keep)
  if keep == '' then return redis.call('SET', key, value, 'NX') end
  return redis.call('SET', key, value, 'NX', 'PXAT', ending(value, keep))
end
local done, left = 0, 0
k, a = 3, 4
for section = 1, sections do
  local what, keep, before, count = ARGV[a + 1], ARGV[a + 3], ARGV[a + 4], tonumber(ARGV[a + 5])
  local v = a + 6
  for row = k + 1, k + count do
    local key, written = KEYS[row], false
    if what == 'n' then
      local value = ARGV[v]
      written = set_new(key, value, keep)
      if not written and older(redis.call('GETRANGE', key, 0, 31), value) then
        written = set(key, value, keep)
      end
      v = v + 1
    elseif what == 's' then
      local present = redis.call('GET', key)
      if not present or present == ARGV[v] or older(present, ARGV[v + 1]) then
        written = set(key, ARGV[v + 1], keep)
      end
      v = v + 2
    elseif what == 'w' then
      if ARGV[v] == '' then
        redis.call('UNLINK', key)
      else
        written = set(key, ARGV[v], keep)
      end
      v = v + 1
    elseif what == 'd' then
      written = redis.call('UNLINK', key) == 1
    else
      local present = redis.call('GETRANGE', key, 0, 7)
      if #present == 8 then
        local high, low = struct.unpack('>I4I4', present)
        local least, rest = struct.unpack('>I4I4', before)
        if high < least or (high == least and low < rest) then
          written = redis.call('UNLINK', key) == 1
        elseif keep == '' then
          redis.call('PERSIST', key)
        else
          redis.call('PEXPIREAT', key, ending(present, keep))
        end
      end
    end
    if written then done = done + 1 else left = left + 1 end
  end
  k, a = k + 1 + count, v
end
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2]) end
stamp(KEYS[2], places)
return {'ok', done, left}
"""

#: KEYS: state, numbers, and with a token the lock, the progress, the record of what expired. ARGV: the state that is
#: expected, or '*' for any that is older than the new one; the new one; the number of a table; a token; its progress.
_MOVE = """
local state = redis.call('GET', KEYS[1]) or ''
if ARGV[1] == '*' then
  local present = tonumber(string.sub(state, 1, 16), 16) or 0
  if present >= tonumber(string.sub(ARGV[2], 1, 16), 16) then return {'ok'} end
elseif state ~= ARGV[1] then
  return {'state', state}
end
if ARGV[4] ~= '' then
  if redis.call('GET', KEYS[3]) ~= ARGV[4] then return {'lost'} end
  if ARGV[5] == '' then redis.call('DEL', KEYS[4]) else redis.call('SET', KEYS[4], ARGV[5]) end
  redis.call('DEL', KEYS[5])
end
redis.call('SET', KEYS[1], ARGV[2])
stamp(KEYS[2], {tonumber(ARGV[3])})
return {'ok'}
"""

#: KEYS: lock, record. ARGV: token, value.
_NOTE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""

#: KEYS: lock. ARGV: token, milliseconds for which it is held from now on; 0 lets go.
_HOLD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

#: KEYS: the record of what expired. ARGV: up to which instant; how many rows, or 'some' for at least one if that is
#: later than what the record says.
_EXPIRED = """
local record = redis.call('GET', KEYS[1]) or ''
local before, count = string.match(record, '^(-?%d+) (%d+)$')
local later = not before or tonumber(ARGV[1]) > tonumber(before)
if ARGV[2] == 'some' then
  if not later then return 0 end
  count = (tonumber(count) or 0) + 1
else
  count = (tonumber(count) or 0) + tonumber(ARGV[2])
end
if later then before = ARGV[1] end
redis.call('SET', KEYS[1], before .. ' ' .. string.format('%.0f', count))
return 1
"""

#: KEYS: rows. ARGV: eight bytes, below which an event time is too old. Returns rows, bytes of values, the first bytes
#: of the newest, and the places of those that are too old.
_LOOK = """
local rows, bytes, high, low, newest, old = 0, 0, -1, -1, '', {}
local least, rest = struct.unpack('>I4I4', ARGV[1])
for place = 1, #KEYS do
  local first = redis.call('GETRANGE', KEYS[place], 0, 7)
  if #first == 8 then
    local h, l = struct.unpack('>I4I4', first)
    rows, bytes = rows + 1, bytes + redis.call('STRLEN', KEYS[place])
    if h > high or (h == high and l > low) then high, low, newest = h, l, first end
    if h < least or (h == least and l < rest) then old[#old + 1] = place - 1 end
  end
end
return {rows, bytes, newest, old}
"""


def _script(text: str) -> Script:
    encoded = text.encode()
    return Script(encoded, hashlib.sha1(encoded, usedforsecurity=False).hexdigest().encode())


WRITE = _script(_STAMP + _WRITE)
MOVE = _script(_STAMP + _MOVE)
NOTE = _script(_NOTE)
HOLD = _script(_HOLD)
EXPIRED = _script(_EXPIRED)
LOOK = _script(_LOOK)

BY_SHA = {one.sha: one for one in (WRITE, MOVE, NOTE, HOLD, EXPIRED, LOOK)}
