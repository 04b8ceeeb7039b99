/* core/engine_redis_scripts.c - what runs in the server, in one piece each.
 *
 * A channel's meta hash: e epoch, o offset of the last publication, r run id of the server that the
 * epoch was made on, t when the time to live was last set, v and ve version and its epoch. The guard:
 * where r is not the run id of the server that a script runs on, what that server knows may lack what
 * another one has acknowledged (a failover, a restart, a restored copy), so a new epoch begins, and
 * whoever recovers is told so. The count and what is kept go on. Errors come before the first write:
 * a script that fails half way is not undone. */
#include "engine_redis_internal.h"

/* KEYS: meta, stream. ARGV: 1 run id, 2 an epoch if one is needed, 3 the meta's time to live, ms.
 * Leaves epoch and offset. */
#define META                                                                                       \
    "local m = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 't', 'v', 've')\n"                      \
    "local kept = redis.call('XLEN', KEYS[2])\n"                                                   \
    "local epoch, offset = m[1], tonumber(m[2] or '0')\n"                                          \
    "if not epoch then\n"                                                                          \
    "  epoch = ARGV[2]\n"                                                                          \
    "  redis.call('DEL', KEYS[2])\n"                                                               \
    "  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 'r', ARGV[1])\n"                          \
    "  redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"                                                  \
    "elseif m[3] ~= ARGV[1] then\n"                                                                \
    "  epoch = ARGV[2]\n"                                                                          \
    "  redis.call('HSET', KEYS[1], 'e', epoch, 'r', ARGV[1])\n"                                    \
    "end\n"

/* Appends to what is kept. ARGV: 4 size, 5 time to live, ms, 6 now, ms: from several machines, so
 * only roughly the same. */
#define KEEP                                                                                       \
    "local function keep(item)\n"                                                                  \
    "  offset = offset + 1\n"                                                                      \
    "  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], string.format('%.0f-0', offset), 'd', "      \
    "item)\n"                                                                                      \
    "end\n"                                                                                        \
    "local function touch()\n"                                                                     \
    "  redis.call('HSET', KEYS[1], 'o', string.format('%.0f', offset))\n"                          \
    "  local old = tonumber(m[4] or '0')\n"                                                        \
    "  if math.abs(tonumber(ARGV[6]) - old) * 10 > tonumber(ARGV[5]) then\n"                       \
    "    redis.call('HSET', KEYS[1], 't', ARGV[6])\n"                                              \
    "    redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"                                                \
    "    redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"                                                \
    "  elseif redis.call('PTTL', KEYS[2]) < 0 then\n"                                              \
    "    redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"                                                \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function send(channel, first, items)\n"                                                 \
    "  redis.call('PUBLISH', channel, epoch .. ':' .. string.format('%.0f', first) .. ':' .. "     \
    "items)\n"                                                                                     \
    "end\n"

/* The offset of what was kept from the same place in the same ring before, else nil. */
#define BEFORE                                                                                     \
    "local function before(item)\n"                                                                \
    "  local origin = string.sub(item, 17, 40)\n"                                                  \
    "  for _, e in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 256)) do\n"          \
    "    if string.sub(e[2][2], 17, 40) == origin then\n"                                          \
    "      return string.match(e[1], '^%d+')\n"                                                    \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "end\n"

_Static_assert(ENVELOPE_ORIGIN_AT == 16 && ENVELOPE_ORIGIN_BYTES == 24, "BEFORE says 17 to 40");

const char *const redis_scripts[REDIS_SCRIPT_NR] = {
    /* ARGV: 7 channel, 8 and on: publications. Returns the epoch and the offset of the first. */
    [REDIS_SCRIPT_PUBLISH] = META KEEP "local first = offset + 1\n"
                                       "for i = 8, #ARGV do keep(ARGV[i]) end\n"
                                       "touch()\n"
                                       "send(ARGV[7], first, table.concat(ARGV, '', 8))\n"
                                       "return {epoch, string.format('%.0f', first)}\n",
    /* One publication under conditions. KEYS: 3 what became of the idempotency key. ARGV: 7 channel, 8 the
     * publication, 9 is it kept, 10 may it have been done, 11 time to live of the key, ms, 0: none,
     * 12 version, 0: none, 13 its epoch. Returns the status, epoch, offset. */
    [REDIS_SCRIPT_PUBLISH_IF] =
        "if ARGV[11] ~= '0' then\n"
        "  local known = redis.call('HMGET', KEYS[3], 'e', 'o')\n"
        "  if known[1] then return {'duplicate', known[1], known[2]} end\n"
        "end\n"
        "local function remember(e, o)\n"
        "  if ARGV[11] ~= '0' then\n"
        "    redis.call('HSET', KEYS[3], 'e', e, 'o', o)\n"
        "    redis.call('PEXPIRE', KEYS[3], ARGV[11])\n"
        "  end\n"
        "end\n"
        "if ARGV[9] == '0' then\n"
        "  redis.call('PUBLISH', ARGV[7], '0:0:' .. ARGV[8])\n"
        "  remember('0', '0')\n"
        "  return {'ok', '0', '0'}\n"
        "end\n" META KEEP BEFORE "local was = ARGV[10] == '1' and before(ARGV[8])\n"
        "if was then return {'known', epoch, was} end\n"
        "if ARGV[12] ~= '0' and m[5] and (ARGV[13] == '' or ARGV[13] == m[6]) and\n"
        "   (#m[5] > #ARGV[12] or (#m[5] == #ARGV[12] and m[5] >= ARGV[12])) then\n"
        "  return {'suppressed', epoch, string.format('%.0f', offset)}\n"
        "end\n"
        "keep(ARGV[8])\n"
        "touch()\n"
        "local o = string.format('%.0f', offset)\n"
        "if ARGV[12] ~= '0' then redis.call('HSET', KEYS[1], 'v', ARGV[12], 've', ARGV[13]) end\n"
        "send(ARGV[7], offset, ARGV[8])\n"
        "remember(epoch, o)\n"
        "return {'ok', epoch, o}\n",
    /* ARGV: 4 limit, 5 reverse, 6 the first offset, 7 the last, as XRANGE takes them. Returns epoch,
     * offset of the newest, entries. */
    [REDIS_SCRIPT_HISTORY] =
        META "local list = {}\n"
             "if ARGV[4] ~= '0' then\n"
             "  if ARGV[5] == '1' then\n"
             "    list = redis.call('XREVRANGE', KEYS[2], ARGV[7], ARGV[6], 'COUNT', ARGV[4])\n"
             "  else\n"
             "    list = redis.call('XRANGE', KEYS[2], ARGV[6], ARGV[7], 'COUNT', ARGV[4])\n"
             "  end\n"
             "end\n"
             "return {epoch, string.format('%.0f', offset), list}\n",
    [REDIS_SCRIPT_REMOVE] = META "redis.call('DEL', KEYS[2])\n"
                                 "return {epoch, string.format('%.0f', offset)}\n",
    /* KEYS: log. ARGV: 1 channel, 2 the message. */
    [REDIS_SCRIPT_CONTROL] =
        "local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', '10000', '*', 'd', ARGV[2])\n"
        "redis.call('PEXPIRE', KEYS[1], 300000)\n"
        "redis.call('PUBLISH', ARGV[1], id .. ':' .. ARGV[2])\n"
        "return id\n",
};
